"""Dropout of the Conformer: its places, and a rate that is an argument of every call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import conformer_samples as samples
from conformance_tests.workloads.conformer_samples import CASES, TINY
from conformance_tests.workloads.deepspeech_samples import place, waves
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy
from spec.dropout import DEFAULTS, DropoutKind

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
FRAMES = 5  # of logits, of the longest utterance
AUDIO = waves([3_200, 2_000], 3_200)
# Behind the subsampling; in every block one of the attention and two of feed-forward modules.
PLACES = 1 + 3 * TINY.num_encoder_layers


class Runner:
    """A tiny network with weights and audio; logits as numpy. JAX rates are traced."""

    def __init__(self, framework: str, case: str = "base") -> None:
        self.framework, self.backend = framework, backend(framework)
        self.model = samples.build(framework, CASES[case])
        self.params, self.state = samples.loaded(case, framework)
        self.inputs = place(framework, AUDIO)
        self._compiled = self.run
        if framework == "jax":
            self._compiled = fast_jit(self.run, static_argnums=0)

    def run(self, training: bool, key: Any, rate: Any) -> Any:
        (logits, _), _ = self.model.forward_with_state(
            self.params,
            self.state,
            self.inputs,
            training=training,
            key=key,
            update_batch_norm=False,
            dropout_rate=rate,
        )
        return logits

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
    trained = runner.logits(True, 2, 0.0)
    np.testing.assert_array_equal(runner.logits(True, 3, 0.0), trained)


@pytest.mark.clause("DROP-5")
def test_a_rate_changes_the_training_pass_reproducibly(runner: Runner) -> None:
    first = runner.logits(True, 2, 0.3)
    np.testing.assert_array_equal(runner.logits(True, 2, 0.3), first)
    assert not np.allclose(runner.logits(True, 3, 0.3), first)
    assert not np.allclose(runner.logits(True, 2, 0.6), first)


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


@pytest.mark.clause("DROP-1", "DROP-2")
@per_framework
def test_the_places_are_those_of_the_rules(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With these switched off a training pass has no dropout: there is none in the convolution
    module, inside the feed-forward module or on attention weights.
    """
    defaults = DEFAULTS["librispeech_conformer"]
    assert {kind for kind, default in defaults.items() if default.rate} == {
        DropoutKind.INPUT,
        DropoutKind.ATTENTION_RESIDUAL,
        DropoutKind.FEED_FORWARD_RESIDUAL,
    }
    runner = Runner(framework)
    expected = runner.logits(True, 0, 0.0)
    logits, calls = record(runner, monkeypatch, 0.9, by_identity=True)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    assert [inputs.shape for inputs, _ in calls] == [(2, FRAMES, TINY.encoder_dim)] * PLACES


@pytest.mark.clause("DROP-2")
@per_framework
def test_what_is_dropped_is_what_is_added_to_the_frames(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feed-forward outputs are 0 on padded frames; those of the other two places are not."""
    _, calls = record(Runner(framework), monkeypatch, 0.0, by_identity=True)
    is_padding = np.array([False] * 4 + [True])  # Of the second utterance, 2,000 samples long.
    is_zero = [not inputs[1, is_padding].any() for inputs, _ in calls]
    assert is_zero == [False, *[True, False, True] * TINY.num_encoder_layers]


@pytest.mark.clause("DROP-5")
@per_framework
def test_every_place_drops_at_the_rate_with_a_mask_of_its_own(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 0.5
    _, calls = record(Runner(framework), monkeypatch, rate)
    assert len(calls) == PLACES
    masks = []
    for inputs, outputs in calls:
        is_given = inputs != 0
        factors = (outputs / np.where(is_given, inputs, 1.0))[is_given]
        is_zero = factors == 0
        np.testing.assert_allclose(factors[~is_zero], 2.0, rtol=1e-5)
        # Five standard errors.
        assert abs(is_zero.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / is_zero.size)
        masks.append((outputs == 0, is_given))
    for number, (mask, is_given) in enumerate(masks):
        for other, is_given_too in masks[:number]:
            both = is_given & is_given_too
            assert 0 < (mask == other)[both].mean() < 1


def test_pytorch_switches_between_training_and_evaluation_mode() -> None:
    runner = Runner("pytorch")
    outputs = runner.run(True, None, 0.0)
    assert runner.params.training
    assert outputs.requires_grad
    outputs = runner.run(False, None, 0.0)
    assert not runner.params.training
    assert not outputs.requires_grad
