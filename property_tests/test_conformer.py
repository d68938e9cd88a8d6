"""What holds for the Conformer whatever was said, and however it is padded.

More padding changes no logit of a real frame if two things hold. A convolution that halves an axis
has its extra zero before an odd and behind an even number of frames, so the numbers of frames of
features must be equal modulo 4, for the places that the two convolutions look at to be the same.
And features behind the end of the utterance are those of silence, while behind the last frame of
the batch there are zeros; so nothing real may have looked there: with T frames of features, L of
them real, 2 * floor((L - 1) / 2) + 2 - T % 2 must be below T. All later layers mask the padding.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import conformer_samples as samples
from conformance_tests.workloads.conformer_samples import CASES, TINY
from conformance_tests.workloads.deepspeech_samples import place, waves
from conformance_tests.workloads.samples import FRAMEWORKS, backend, to_numpy

SAMPLES = 3_200
"""18 frames of features; twice as many samples give 38."""
LONGEST = 2_560
"""16 frames."""
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
lengths_lists = st.lists(st.integers(401, LONGEST), min_size=2, max_size=2)
seeds = st.integers(0, 1000)


@functools.cache
def weights(framework: str, case: str) -> tuple[Any, Any]:
    """Parameters and state of a forward vector."""
    return samples.loaded(case, framework)


def logits_of(framework: str, case: str, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logits and paddings of an evaluation pass."""
    return samples.logits_of(framework, CASES[case], weights(framework, case), inputs)


def trained(framework: str, inputs: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Logits, paddings and new statistics of a training pass without dropout."""
    # A PyTorch network changes its own statistics, so it starts from new ones every time.
    params, state = samples.loaded("base", framework)
    run, key = samples.run_pass(framework, TINY, True), backend(framework).seed_key(0)
    (logits, paddings), state = run(params, state, place(framework, inputs), key, 0.0)
    found = samples.statistics_of(framework, params, state)
    return to_numpy(logits), to_numpy(paddings), found


def padded(inputs: tuple[np.ndarray, np.ndarray], filling: float) -> Any:
    """The same audio with as many samples more, all of them padding."""
    audio, paddings = inputs
    more = np.full_like(audio, filling)
    return np.concatenate([audio, more], 1), np.concatenate([paddings, np.ones_like(paddings)], 1)


@per_framework
@pytest.mark.parametrize("case", ["base", "gelu"])
@given(lengths=lengths_lists, seed=seeds, filling=st.sampled_from([0.0, 1.0, -20_000.0]))
def test_more_padding_changes_nothing_that_was_said(
    framework: str, case: str, lengths: list[int], seed: int, filling: float
) -> None:
    inputs = waves(lengths, SAMPLES, seed)
    expected, paddings = logits_of(framework, case, inputs)
    found, more = logits_of(framework, case, padded(inputs, filling))
    is_real, frames = paddings == 0, paddings.shape[1]
    np.testing.assert_array_equal(more[:, :frames], paddings)
    assert (more[:, frames:] == 1).all()
    np.testing.assert_allclose(found[:, :frames][is_real], expected[is_real], rtol=0, atol=2e-5)


@per_framework
@given(lengths=lengths_lists, seed=seeds)
def test_more_padding_changes_no_statistic(framework: str, lengths: list[int], seed: int) -> None:
    inputs = waves(lengths, SAMPLES, seed)
    expected, paddings, statistics = trained(framework, inputs)
    found, _, more = trained(framework, padded(inputs, 5.0))
    is_real, frames = paddings == 0, paddings.shape[1]
    # A statistic of few frames may be the square root of a tiny variance.
    np.testing.assert_allclose(found[:, :frames][is_real], expected[is_real], rtol=0, atol=2e-3)
    assert set(more) == set(statistics)
    for name, value in statistics.items():
        np.testing.assert_allclose(more[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def is_invariant(real: int, frames: int, more: int) -> bool:
    """Whether ``more`` frames of padding leave the real frames alone; see the module."""
    return more % 4 == 0 and 2 * ((real - 1) // 2) + 2 - frames % 2 < frames


@functools.cache
def subsampling(framework: str) -> Any:
    """Features and paddings -> frames, without positions."""
    if framework == "pytorch":
        layer = weights("pytorch", "base")[0].subsample.eval()
        return lambda *arrays: layer(*map(backend("pytorch").replicate, arrays), 0.0)
    layers = load_twin("algoperf_ref.workloads.librispeech.layers_{}", "jax")
    params = samples.golden("base")[1]["Subsample_0"]
    channels = TINY.subsampling_channels
    module = layers.Subsample(TINY.encoder_dim, channels=channels, has_positions=True)
    return lambda *arrays: module.apply({"params": params}, *arrays, False, 0.0)


def with_and_without_more(
    framework: str, real: int, frames: int, more: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the subsampling makes of the real frames, with and without more padding."""
    random = np.random.RandomState(seed)
    features = random.randn(1, frames + more, 80).astype(np.float32)
    features[:, real:] = -1.2  # Silence is not 0.
    paddings = (np.arange(frames + more) >= real).astype(np.float32)[None]
    run = subsampling(framework)
    outputs, ends = map(to_numpy, run(features[:, :frames], paddings[:, :frames]))
    outputs_of_more, _ = map(to_numpy, run(features, paddings))
    count = int((ends == 0).sum())
    assert count == -(-real // 4)
    return outputs[:, :count], outputs_of_more[:, :count]


@given(st.integers(1, 24), st.data(), st.integers(0, 3), seeds)
def test_the_rule_of_padding_is_enough(
    frames: int, data: st.DataObject, more: int, seed: int
) -> None:
    real = data.draw(st.integers(1, frames), "real")
    assume(is_invariant(real, frames, 4 * more))
    expected, found = with_and_without_more("pytorch", real, frames, 4 * more, seed)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@per_framework
@pytest.mark.parametrize(
    ("real", "frames", "more"), [(18, 18, 4), (17, 18, 4), (16, 18, 1), (16, 18, 2), (9, 13, 3)]
)
def test_beyond_the_rule_padding_is_noticed(
    framework: str, real: int, frames: int, more: int
) -> None:
    """As officially; the lengths of a workload's audio are therefore a part of its function."""
    assert not is_invariant(real, frames, more)
    expected, found = with_and_without_more(framework, real, frames, more, 0)
    assert np.abs(found - expected).max() > 1e-3


@pytest.mark.parametrize("case", list(CASES))
@given(lengths=lengths_lists, seed=seeds)
def test_twins_agree(case: str, lengths: list[int], seed: int) -> None:
    inputs = waves(lengths, SAMPLES, seed)
    (one, first), (other, second) = (logits_of(name, case, inputs) for name in FRAMEWORKS)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(one, other, rtol=0, atol=3e-4)


@per_framework
@given(lengths=lengths_lists, seed=seeds)
def test_examples_do_not_meet_in_an_evaluation(
    framework: str, lengths: list[int], seed: int
) -> None:
    audio, paddings = waves(lengths, SAMPLES, seed)
    expected, ends = logits_of(framework, "base", (audio, paddings))
    swapped = audio[::-1].copy(), paddings[::-1].copy()
    found, swapped_ends = logits_of(framework, "base", swapped)
    np.testing.assert_array_equal(swapped_ends[::-1], ends)
    np.testing.assert_allclose(found[::-1], expected, rtol=0, atol=2e-5)
