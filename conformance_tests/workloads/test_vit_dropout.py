"""Dropout of the vision transformer: its places, and a rate that is an argument of every call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import vit_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy
from conformance_tests.workloads.vit_samples import CASES

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_case = pytest.mark.parametrize("case", CASES)


class Runner:
    """A tiny network with parameters and images; logits as numpy. JAX rates are traced."""

    def __init__(self, framework: str, case: str = "base", num_images: int = 2) -> None:
        sizes = CASES[case]
        self.framework, self.backend = framework, backend(framework)
        self.model = samples.build(framework, sizes)
        self.jax_params = samples.random_params(sizes)
        self.params = samples.load_weights(framework, sizes, self.jax_params)
        self.images = samples.place(framework, samples.images(num_images, 16, 20))
        self._compiled = self.run
        if framework == "jax":
            self._compiled = fast_jit(self.run, static_argnums=0)

    def run(self, training: bool, key: Any, rate: Any) -> Any:
        return self.model.forward(
            self.params, self.images, training=training, key=key, dropout_rate=rate
        )

    def logits(self, training: bool, seed: int, rate: float) -> np.ndarray:
        key = self.backend.seed_key(seed)
        self.backend.seed_global_generators(key)
        return to_numpy(self._compiled(training, key, rate))


@pytest.fixture(scope="module", params=FRAMEWORKS)
def runner(request: pytest.FixtureRequest) -> Runner:
    return Runner(request.param)


@pytest.mark.clause("DROP-5")
def test_dropout_is_off_in_evaluation_and_at_rate_zero(runner: Runner) -> None:
    expected = runner.logits(False, 0, 0.5)
    np.testing.assert_array_equal(runner.logits(False, 1, 0.0), expected)
    np.testing.assert_allclose(runner.logits(True, 2, 0.0), expected, rtol=0, atol=1e-5)


@pytest.mark.clause("DROP-5")
def test_a_rate_changes_the_training_pass_reproducibly(runner: Runner) -> None:
    first = runner.logits(True, 2, 0.3)
    np.testing.assert_array_equal(runner.logits(True, 2, 0.3), first)
    assert not np.allclose(runner.logits(True, 3, 0.3), first)
    assert not np.allclose(runner.logits(True, 2, 0.6), first)


@pytest.mark.clause("DROP-5")
def test_rate_one_leaves_only_what_follows_the_last_norm(runner: Runner) -> None:
    """All tokens are then the bias of that norm, whatever the image."""
    params = runner.jax_params
    bias = params["Transformer"]["encoder_layernorm"]["bias"]
    hidden = np.tanh(bias @ params["pre_logits"]["kernel"] + params["pre_logits"]["bias"])
    expected = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    logits = runner.logits(True, 0, 1.0)
    np.testing.assert_allclose(logits, np.stack([expected] * 2), rtol=0, atol=1e-5)


def record(runner: Runner, monkeypatch: pytest.MonkeyPatch, rate: float, **replaced: Any) -> Any:
    """Logits of a training pass, and inputs and outputs of every call of dropout, in order."""
    layers = load_twin("algoperf_ref.frameworks.{}_layers", runner.framework)
    original = layers.dropout
    calls: list[tuple[Any, Any]] = []

    def note(*arguments: Any) -> Any:
        inputs = arguments[1] if runner.framework == "jax" else arguments[0]
        outputs = inputs if replaced.get("by_identity") else original(*arguments)
        calls.append((inputs, outputs))
        return outputs

    monkeypatch.setattr(layers, "dropout", note)

    def run(key: Any) -> Any:
        calls.clear()
        return runner.run(True, key, rate), list(calls)

    key = runner.backend.seed_key(4)
    runner.backend.seed_global_generators(key)
    logits, noted = (fast_jit(run) if runner.framework == "jax" else run)(key)
    return to_numpy(logits), [tuple(map(to_numpy, pair)) for pair in noted]


@pytest.mark.clause("DROP-1")
@per_framework
@per_case
def test_the_places_are_those_of_the_jax_side(
    framework: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the positions; behind attention, inside and behind the feed-forward block.

    With these places switched off a training pass is an evaluation pass, so there are no others:
    none on attention weights and none in the pooling head, where the official PyTorch model has
    some (Decisions, 1).
    """
    runner = Runner(framework, case)
    expected = runner.logits(False, 0, 0.0)
    logits, calls = record(runner, monkeypatch, 0.9, by_identity=True)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-6)
    block = [(2, 20, 16), (2, 20, 32), (2, 20, 16)]
    active = calls[:7]
    assert [inputs.shape for inputs, _ in active] == [(2, 20, 16), *block, *block]
    inactive = [inputs.shape for inputs, _ in calls[7:]]
    # The head's feed-forward block is shared code; PyTorch calls dropout in it with rate zero.
    assert inactive == ([(2, 1, 32)] if (framework, case) == ("pytorch", "map") else [])


@per_framework
def test_the_pooling_head_drops_nothing(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = record(Runner(framework, "map"), monkeypatch, 0.5)
    for inputs, outputs in calls[7:]:
        np.testing.assert_array_equal(outputs, inputs)


@pytest.mark.clause("DROP-5")
@per_framework
def test_every_place_drops_at_the_rate_with_a_mask_of_its_own_and_keeps_the_mean(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 0.3
    _, calls = record(Runner(framework, num_images=8), monkeypatch, rate)
    masks = []
    for inputs, outputs in calls:
        factors = (outputs / inputs)[inputs != 0]
        is_zero = factors == 0
        np.testing.assert_allclose(factors[~is_zero], 1 / (1 - rate), rtol=1e-5)
        # Five standard errors; so the mean factor is one within five as well.
        assert abs(is_zero.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / is_zero.size)
        masks.append((outputs == 0)[..., :16])
    assert len(masks) == 7
    for number, mask in enumerate(masks):
        for other in masks[:number]:  # Equal with probability 0.58, not always.
            assert abs((mask == other).mean() - 0.58) < 0.1


def test_pytorch_switches_between_training_and_evaluation_mode() -> None:
    runner = Runner("pytorch")
    outputs = runner.run(True, None, 0.0)
    assert runner.params.training
    assert outputs.requires_grad
    outputs = runner.run(False, None, 0.0)
    assert not runner.params.training
    assert not outputs.requires_grad
