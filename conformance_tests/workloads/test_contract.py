"""The contract of a workload (spec.submission), for all that are registered, in both frameworks.

A new workload is covered by registering it: its batches come from ``synthetic_batch``.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import pytest

from algoperf_ref import workloads
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    backend,
    fast_jit,
    flatten,
    nested,
    to_numpy,
)
from spec import calls, tiers
from spec import workloads as spec_workloads
from spec.submission import ForwardPassMode, LossType, ParameterType, ShapeTuple
from spec.workloads import base_name

IN_MINI = (*workloads.names("mini"), *workloads.development_names("mini"))
NAMES = (*workloads.names("mini"), *workloads.development_names("full"))


def tier_of(name: str) -> str:
    """The smallest tier of a workload."""
    return "mini" if name in IN_MINI else "full"


def has_dropout(name: str) -> bool:
    return tiers.get(name, tier_of(name)).dropout_rate is not None


CASES = [(name, framework) for name in NAMES for framework in FRAMEWORKS]
WITH_DROPOUT = [case for case in CASES if has_dropout(case[0])]
WITHOUT_DROPOUT = [case for case in CASES if not has_dropout(case[0])]
ROWS = 4


def array(logits: Any) -> np.ndarray:
    """Logits as numpy; those of sequences come with their paddings."""
    return to_numpy(logits[0] if isinstance(logits, tuple) else logits)


class AnyText:
    """Stands in for a tokenizer: every id is a word."""

    def decode(self, ids: np.ndarray, lengths: np.ndarray | None = None) -> list[str]:
        """Returns the ids of each row."""
        ends = [None] * len(ids) if lengths is None else [int(length) for length in lengths]
        return [" ".join(map(str, row[:end])) for row, end in zip(ids, ends, strict=True)]


class Case:
    """A workload of its smallest tier with parameters and a batch on the device."""

    def __init__(self, name: str, framework: str) -> None:
        self.backend = backend(framework)
        self.is_jax = framework == "jax"
        self.workload: Any = workloads.load(name, framework, tier_of(name), backend=self.backend)
        self.key = self.backend.seed_key(0)
        self.params, self.model_state = self.workload.init_model_fn(self.key)
        self.numpy_batch = self.workload.synthetic_batch(ROWS)
        self.batch = self.backend.place_batch(self.numpy_batch)
        self._jitted: dict[tuple[Any, ...], Any] = {}

    def forward(
        self,
        mode: ForwardPassMode = ForwardPassMode.EVAL,
        rate: Any = None,
        params: Any = None,
        seed: int = 0,
    ) -> Any:
        """Returns logits and the new model state."""
        params = self.params if params is None else params
        key = self.backend.seed_key(seed)
        self.backend.seed_global_generators(key)

        def run(params: Any, batch: Any, state: Any, key: Any, rate: Any) -> Any:
            return self.workload.model_fn(
                params, batch, state, mode, key, update_batch_norm=True, dropout_rate=rate
            )

        if not self.is_jax:
            return run(params, self.batch, self.model_state, key, rate)
        if (mode, rate is None) not in self._jitted:
            static = (4,) if rate is None else ()  # a rate is traced, None cannot be
            self._jitted[mode, rate is None] = fast_jit(run, static_argnums=static)
        return self._jitted[mode, rate is None](params, self.batch, self.model_state, key, rate)

    def loss(self, logits: Any, mask: Any = "weights", **more: Any) -> dict[str, np.ndarray]:
        """Returns the loss of the batch, as numpy arrays."""
        mask = self.batch[mask] if isinstance(mask, str) else mask
        result = self.workload.loss_fn(self.batch["targets"], logits, mask, **more)
        calls.check_loss_result(result)
        return {name: to_numpy(value) for name, value in result.items()}

    def num_valid(self, weights: np.ndarray) -> float:
        """How many examples count, by the definition of the loss."""
        if self.workload.loss_type is not LossType.CTC_LOSS:
            return float(weights.sum())
        _, paddings = self.numpy_batch["targets"]
        return max(1.0, float(((1 - paddings) * weights[:, None]).sum()))

    def named(self, params: Any = None) -> dict[str, np.ndarray]:
        """Returns the parameters by name."""
        params = self.params if params is None else params
        tree = params if self.is_jax else dict(params.named_parameters())
        return {name: to_numpy(value) for name, value in flatten(tree).items()}

    def with_values(self, values: dict[str, np.ndarray]) -> Any:
        """Returns parameters of these values."""
        if self.is_jax:
            return self.backend.replicate(nested(values))
        import torch

        params, _ = self.workload.init_model_fn(self.key)
        params.load_state_dict(
            {name: torch.tensor(value) for name, value in values.items()}, strict=False
        )
        return params

    @functools.cached_property
    def moved(self) -> Any:
        """Parameters a little away from the first ones, some of which are zero and block others."""
        random = np.random.RandomState(0)
        return self.with_values(
            {
                name: value + 0.02 * random.randn(*value.shape).astype(np.float32)
                for name, value in self.named().items()
            }
        )

    def gradients(self, params: Any) -> dict[str, np.ndarray]:
        """Returns the gradient of the mean loss of a training pass without dropout, by name."""

        def mean_loss(params: Any, batch: Any) -> Any:
            logits, _ = self.workload.model_fn(
                params,
                batch,
                self.model_state,
                ForwardPassMode.TRAIN,
                self.key,
                update_batch_norm=True,
                dropout_rate=0.0,
            )
            loss = self.workload.loss_fn(batch["targets"], logits, batch["weights"])
            return loss["summed"] / loss["n_valid_examples"]

        if self.is_jax:
            import jax

            gradients = fast_jit(jax.grad(mean_loss))(params, self.batch)
            return {name: to_numpy(value) for name, value in flatten(gradients).items()}
        mean_loss(params, self.batch).backward()
        return {name: p.grad.numpy().copy() for name, p in params.named_parameters()}


@functools.cache
def made(name: str, framework: str) -> Case:
    return Case(name, framework)


@pytest.fixture(params=CASES, ids="-".join, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return made(*request.param)


@pytest.fixture(params=WITH_DROPOUT, ids="-".join, scope="module")
def with_dropout(request: pytest.FixtureRequest) -> Case:
    return made(*request.param)


@pytest.mark.clause("SUB-21")
@pytest.mark.parametrize("function", list(calls.FIXED_SIGNATURES))
def test_the_fixed_functions_have_the_documented_parameters(case: Case, function: str) -> None:
    parameters = inspect.signature(getattr(case.workload, function)).parameters
    names = calls.FIXED_SIGNATURES[function]
    assert tuple(parameters)[: len(names)] == names
    required = [p.name for p in parameters.values() if p.default is p.empty]
    optional = {"dropout_rate", "mask_batch", "label_smoothing"}
    assert required == [parameter for parameter in names if parameter not in optional]


@pytest.mark.clause("SUB-3", "SUB-5", "SUB-18")
def test_shapes_and_types_describe_the_parameters(case: Case) -> None:
    named = case.named()
    shapes, types = flatten(case.workload.param_shapes), flatten(case.workload.model_params_types)
    assert list(shapes) == list(types)
    assert {name: shape.shape_tuple for name, shape in shapes.items()} == {
        name: value.shape for name, value in named.items()
    }
    assert {type(shape) for shape in shapes.values()} == {ShapeTuple}
    assert {type(kind) for kind in types.values()} == {ParameterType}
    assert {str(value.dtype) for value in named.values()} == {calls.PARAMETER_DTYPE}


@pytest.mark.clause("SUB-5")
def test_initial_parameters_are_a_function_of_the_key(case: Case) -> None:
    first, again = case.named(), case.named(case.workload.init_model_fn(case.key)[0])
    other = case.named(case.workload.init_model_fn(case.backend.seed_key(1))[0])
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_the_output_layer_is_known_and_small(case: Case) -> None:
    keys = [key for key in case.workload.param_shapes if case.workload.is_output_params(key)]
    assert 1 <= len(keys) <= 2
    assert len(keys) < len(flatten(case.workload.param_shapes))


@pytest.mark.clause("SUB-16", "SUB-17")
def test_an_evaluation_pass_is_the_same_twice_and_keeps_the_state(case: Case) -> None:
    logits, state = case.forward()
    assert np.isfinite(array(logits)).all()
    np.testing.assert_array_equal(array(case.forward(seed=1)[0]), array(logits))
    assert (state is None) == (case.model_state is None)


def test_dropout_is_off_in_evaluation_and_at_rate_0_and_follows_the_rate(
    with_dropout: Case,
) -> None:
    case, params = with_dropout, with_dropout.moved
    train, evaluation = ForwardPassMode.TRAIN, ForwardPassMode.EVAL
    logits = array(case.forward(params=params)[0])
    evaluated = array(case.forward(evaluation, rate=0.5, params=params)[0])
    np.testing.assert_array_equal(evaluated, logits)
    without = array(case.forward(train, rate=0.0, params=params)[0])
    if case.workload.loss_type is not LossType.CTC_LOSS:  # of which SpecAugment masks something
        np.testing.assert_allclose(without, logits, rtol=1e-4, atol=1e-5)
    dropped = [
        array(case.forward(train, rate=0.5, params=params, seed=seed)[0]) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], without, atol=1e-4)
    assert not np.allclose(dropped[0], dropped[2], atol=1e-4)


def test_the_default_rate_of_dropout_is_the_documented_one(with_dropout: Case) -> None:
    case, params = with_dropout, with_dropout.moved
    rate = float(case.workload.spec.dropout_rate)
    train = ForwardPassMode.TRAIN
    default = array(case.forward(train, params=params)[0])
    documented = array(case.forward(train, rate=rate, params=params)[0])
    np.testing.assert_allclose(default, documented, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "case", [c for c in WITHOUT_DROPOUT if c[0] == base_name(c[0])], ids="-".join
)
def test_a_model_without_dropout_trains_at_its_default_rate_none(case: tuple[str, str]) -> None:
    found, train = made(*case), ForwardPassMode.TRAIN
    default = array(found.forward(train)[0])
    dropped = array(found.forward(train, rate=0.5)[0])
    np.testing.assert_allclose(default, dropped, rtol=1e-5, atol=1e-5)


@pytest.mark.clause("SUB-15")
def test_the_loss_is_the_sum_over_what_the_mask_lets_through(case: Case) -> None:
    logits, _ = case.forward()
    result = case.loss(logits)
    assert result["summed"].shape == result["n_valid_examples"].shape == ()
    targets = case.numpy_batch["targets"]
    assert len(result["per_example"]) == len(targets[0] if isinstance(targets, tuple) else targets)
    total = result["per_example"].sum(dtype=np.float64)
    assert float(result["summed"]) == pytest.approx(float(total), rel=1e-5)
    weights = case.numpy_batch["weights"]
    assert float(result["n_valid_examples"]) == case.num_valid(weights)
    assert np.isfinite(result["per_example"]).all()
    nothing = case.loss(logits, case.batch["weights"] * 0)
    assert float(nothing["summed"]) == 0.0
    assert float(nothing["n_valid_examples"]) == case.num_valid(weights * 0)
    assert not nothing["per_example"].any()


@pytest.mark.clause("SUB-15")
def test_masked_examples_do_not_count(case: Case) -> None:
    logits, _ = case.forward()
    weights = case.numpy_batch["weights"].copy()
    weights[0] = 0
    masked = case.loss(logits, case.backend.place_batch({"weights": weights})["weights"])
    whole = case.loss(logits)["per_example"]
    assert not masked["per_example"][0].any()
    np.testing.assert_allclose(masked["per_example"][1:], whole[1:], rtol=1e-6)
    assert float(masked["n_valid_examples"]) == case.num_valid(weights)


def test_every_parameter_has_a_gradient_and_a_small_step_lowers_the_loss(case: Case) -> None:
    params, values = case.moved, case.named(case.moved)
    gradients = case.gradients(params)
    assert gradients.keys() == values.keys()
    assert not [name for name, gradient in gradients.items() if not gradient.any()]
    train = ForwardPassMode.TRAIN
    before = case.loss(case.forward(train, rate=0.0, params=params)[0])
    squares = sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values())
    # First order: the mean loss falls by the step times the squared length of the gradient.
    count = float(before["n_valid_examples"])
    step = 1e-2 * (float(before["summed"]) / count) / squares
    moved = {name: value - step * gradients[name] for name, value in values.items()}
    after = case.loss(case.forward(train, rate=0.0, params=case.with_values(moved))[0])
    assert float(after["summed"]) < float(before["summed"])


@pytest.mark.clause("EVAL-5")
def test_an_evaluation_gives_the_target_metric_of_every_split(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        case.workload, "_numpy_batches", lambda *_: iter([case.numpy_batch, case.numpy_batch])
    )
    if hasattr(case.workload, "_tokenizer"):
        monkeypatch.setattr(case.workload, "_tokenizer", AnyText())
    result = case.workload.eval_model(ROWS, case.params, case.model_state, case.key, "nowhere")
    metric = case.workload.target_metric_name
    for split in ("train", "validation", "test"):
        assert isinstance(result[f"{split}/{metric}"], float)
        is_speech = case.workload.loss_type is LossType.CTC_LOSS
        assert np.isfinite(result[f"{split}/{'ctc_loss' if is_speech else 'loss'}"])
    assert result["validation/num_examples"] == case.workload.num_validation_examples
    assert result["test/num_examples"] == case.workload.num_test_examples
    assert case.workload.has_reached_validation_target(result) in (True, False)


def test_all_workloads_of_the_benchmark_are_there_in_both_tiers() -> None:
    assert set(workloads.names("mini")) == set(workloads.names("full"))
    assert workloads.names("full") == spec_workloads.names()


def test_both_frameworks_make_the_same_synthetic_batches() -> None:
    for name in NAMES:
        first, second = (
            made(name, framework).workload.synthetic_batch(ROWS) for framework in FRAMEWORKS
        )
        assert first.keys() == second.keys()
        for key in first.keys() - {"inputs"}:
            np.testing.assert_array_equal(first[key], second[key])
