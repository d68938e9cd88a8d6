"""What submissions and the harness find on a workload (harness contract, section 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref import workloads
from conformance_tests.workloads import samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend
from spec.submission import ForwardPassMode, LossType

CONSTANTS = (
    "loss_type",
    "target_metric_name",
    "validation_target_value",
    "test_target_value",
    "max_allowed_runtime_sec",
    "eval_period_time_sec",
    "step_hint",
    "num_train_examples",
    "num_eval_train_examples",
    "num_validation_examples",
    "num_test_examples",
    "eval_batch_size",
    "batch_size_divisor",
)


@pytest.fixture(params=FRAMEWORKS)
def workload(request: pytest.FixtureRequest) -> Any:
    return workloads.load("ogbg", request.param, "mini", backend=backend(request.param))


@pytest.mark.clause("WORK-1", "SUB-1")
@pytest.mark.parametrize("constant", CONSTANTS)
def test_constants_come_from_the_specification_and_cannot_be_set(
    workload: Any, constant: str
) -> None:
    assert getattr(workload, constant) == getattr(workload.spec, constant)
    with pytest.raises(AttributeError):
        setattr(workload, constant, 1)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", samples.OGBG)
def test_constants_of_the_full_tier_are_the_official_ones(name: str, framework: str) -> None:
    workload = workloads.load(name, framework, backend=backend(framework))
    golden = samples.golden_json(f"params/{name}_{framework}.json")["constants"]
    for constant in CONSTANTS[1:-1]:
        assert getattr(workload, constant) == golden[constant], constant
    assert workload.loss_type.name == golden["loss_type"]
    assert workload.spec.dropout_rate == golden["_model_fn_defaults"]["dropout_rate"]


@pytest.mark.parametrize("name", ["train_mean", "train_stddev"])
def test_image_statistics_are_not_defined_for_molecules(workload: Any, name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"ogbg has no {name}"):
        getattr(workload, name)


@pytest.mark.clause("SUB-5")
@pytest.mark.parametrize("name", ["param_shapes", "model_params_types"])
def test_the_parameter_tree_is_known_after_initialisation(workload: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is known after init_model_fn"):
        getattr(workload, name)


@pytest.mark.clause("EVAL-5")
def test_goals_are_reached_by_equality_and_never_by_nan(workload: Any) -> None:
    for split, reached, target in [
        ("validation", workload.has_reached_validation_target, workload.validation_target_value),
        ("test", workload.has_reached_test_target, workload.test_target_value),
    ]:
        key = f"{split}/mean_average_precision"
        assert reached({key: target})
        assert reached({key: target + 0.01})
        assert not reached({key: target - 1e-6})
        assert not reached({key: float("nan")})


def test_a_metrics_logger_can_be_attached(workload: Any) -> None:
    assert workload.metrics_logger is None
    logger = object()
    workload.attach_metrics_logger(logger)
    assert workload.metrics_logger is logger


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_output_activation_follows_the_type_of_the_loss(framework: str) -> None:
    from algoperf_ref.frameworks.twins import load_twin

    logits = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 3.0]], np.float32)
    placed = backend(framework).replicate(logits)
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = {
        LossType.SOFTMAX_CROSS_ENTROPY: softmax,
        LossType.CTC_LOSS: softmax,
        LossType.SIGMOID_CROSS_ENTROPY: 1 / (1 + np.exp(-logits)),
        LossType.MEAN_SQUARED_ERROR: logits,
        LossType.MEAN_ABSOLUTE_ERROR: logits,
    }
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    for loss_type, values in expected.items():
        result = samples.to_numpy(losses.output_activation(placed, loss_type))
        np.testing.assert_allclose(result, values, rtol=1e-5)
    workload = workloads.load("ogbg", framework, "mini", backend=backend(framework))
    activated = samples.to_numpy(workload.output_activation_fn(placed, framework))
    np.testing.assert_allclose(activated, softmax, rtol=1e-5)
    with pytest.raises(ValueError, match="unknown framework 'keras'"):
        workload.output_activation_fn(placed, "keras")


def test_a_model_state_is_refused(workload: Any) -> None:
    with pytest.raises(ValueError, match="ogbg has no model state"):
        workload.model_fn(None, {}, {}, ForwardPassMode.TRAIN, None, update_batch_norm=True)


@pytest.mark.clause("DROP-5", "SUB-2")
def test_a_jax_workload_is_a_static_argument_that_is_traced_once() -> None:
    """Submissions make ``jax.jit`` anew at every step and rely on the cache of traces."""
    import jax

    workload = workloads.load("ogbg", "jax", "mini", backend=backend("jax"))
    shapes = jax.eval_shape(lambda key: workload.init_model_fn(key)[0], jax.random.PRNGKey(0))
    batch = backend("jax").place_batch(samples.batch(2))
    traces = []

    def logits(workload: Any, params: Any, batch: Any, rng: Any, rate: Any) -> Any:
        traces.append(rate)
        mode = ForwardPassMode.TRAIN
        return workload.model_fn(
            params, batch, None, mode, rng, update_batch_norm=True, dropout_rate=rate
        )

    for rate in (0.1, 0.2):
        jax.eval_shape(
            lambda *args: jax.jit(logits, static_argnums=0)(workload, *args),
            shapes,
            batch,
            jax.random.PRNGKey(0),
            rate,
        )
    assert len(traces) == 1
