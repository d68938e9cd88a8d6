"""Dropout of the graph network: an argument of every call, off in evaluation, reproducible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads import load
from conformance_tests.workloads import samples
from conformance_tests.workloads.samples import FRAMEWORKS
from spec.submission import ForwardPassMode

TRAIN, EVAL = ForwardPassMode.TRAIN, ForwardPassMode.EVAL


class Runner:
    """A mini workload with parameters and a batch; logits as numpy."""

    def __init__(self, framework: str) -> None:
        self.backend = samples.backend(framework)
        self.workload = load("ogbg", framework, "mini", backend=self.backend)
        self.key = self.backend.seed_key(1)
        self.params, self.state = self.workload.init_model_fn(self.key)
        self.batch = self.backend.place_batch(samples.batch(3))
        self._compiled = self._run
        if framework == "jax":
            self._compiled = samples.fast_jit(self._run, static_argnums=0)

    def _run(self, mode: ForwardPassMode, rng: Any, keywords: dict[str, Any]) -> Any:
        return self.workload.model_fn(
            self.params, self.batch, self.state, mode, rng, update_batch_norm=True, **keywords
        )[0]

    def logits(self, mode: ForwardPassMode, seed: int = 0, **keywords: Any) -> np.ndarray:
        rng = self.backend.seed_key(seed)
        self.backend.seed_global_generators(rng)
        return samples.to_numpy(self._compiled(mode, rng, keywords))


@pytest.fixture(scope="module", params=FRAMEWORKS)
def runner(request: pytest.FixtureRequest) -> Runner:
    return Runner(request.param)


@pytest.mark.clause("DROP-5", "SUB-2")
def test_dropout_is_off_in_evaluation(runner: Runner) -> None:
    expected = runner.logits(EVAL, dropout_rate=0.5)
    np.testing.assert_array_equal(runner.logits(EVAL, seed=1, dropout_rate=0.0), expected)
    np.testing.assert_allclose(runner.logits(TRAIN, dropout_rate=0.0), expected, atol=1e-5)


@pytest.mark.clause("DROP-5")
def test_a_rate_changes_the_training_pass_reproducibly(runner: Runner) -> None:
    first = runner.logits(TRAIN, seed=2, dropout_rate=0.3)
    np.testing.assert_array_equal(runner.logits(TRAIN, seed=2, dropout_rate=0.3), first)
    assert not np.allclose(runner.logits(TRAIN, seed=3, dropout_rate=0.3), first)
    assert not np.allclose(runner.logits(TRAIN, seed=2, dropout_rate=0.6), first)


@pytest.mark.clause("DROP-1", "DROP-4")
def test_without_an_argument_the_documented_rate_is_used(runner: Runner) -> None:
    assert runner.workload.spec.dropout_rate == 0.1
    expected = runner.logits(TRAIN, seed=4, dropout_rate=0.1)
    np.testing.assert_array_equal(runner.logits(TRAIN, seed=4), expected)


@pytest.mark.clause("DROP-5")
def test_rate_one_leaves_only_biases(runner: Runner) -> None:
    """All rows are the decoder's bias, which is zero at first."""
    np.testing.assert_array_equal(runner.logits(TRAIN, dropout_rate=1.0), 0.0)


def test_jax_rate_zero_may_be_traced_and_equals_no_dropout() -> None:
    import jax
    import jax.numpy as jnp

    from algoperf_ref.frameworks.jax_layers import dropout

    inputs = jnp.arange(-6.0, 6.0)
    compiled = jax.jit(lambda rate: dropout(jax.random.PRNGKey(0), inputs, rate))
    np.testing.assert_array_equal(compiled(0.0), inputs)
    gradient = jax.grad(lambda x: dropout(jax.random.PRNGKey(0), x, jnp.float32(1)).sum())(inputs)
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_kept_elements_are_scaled_and_the_share_of_zeros_is_the_rate(framework: str) -> None:
    if framework == "jax":
        import jax

        from algoperf_ref.frameworks import jax_layers

        dropped = jax_layers.dropout(jax.random.PRNGKey(3), np.ones(40_000, np.float32), 0.3)
    else:
        import torch

        from algoperf_ref.frameworks import torch_layers

        torch.manual_seed(3)
        dropped = torch_layers.dropout(torch.ones(40_000), 0.3, training=True)
    values = samples.to_numpy(dropped)
    np.testing.assert_allclose(np.unique(values), [0.0, 1 / 0.7], rtol=1e-6)
    # Five standard errors of a share of 0.3 in 40,000.
    assert abs((values == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 40_000)


def test_a_pytorch_rate_may_be_a_tensor_without_dimensions() -> None:
    import torch

    runner = Runner("pytorch")
    expected = runner.logits(TRAIN, dropout_rate=0.25)
    np.testing.assert_array_equal(runner.logits(TRAIN, dropout_rate=torch.tensor(0.25)), expected)


def test_pytorch_switches_between_training_and_evaluation_mode() -> None:
    runner = Runner("pytorch")
    arguments = (runner.params, runner.batch, None)
    logits, _ = runner.workload.model_fn(*arguments, TRAIN, runner.key, True)
    assert runner.params.training
    assert logits.requires_grad
    logits, _ = runner.workload.model_fn(*arguments, EVAL, runner.key, False)
    assert not runner.params.training
    assert not logits.requires_grad
