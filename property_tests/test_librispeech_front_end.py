"""What holds for the speech front end and its masks, whatever was said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref.workloads.librispeech import features
from algoperf_ref.workloads.librispeech.features import SpecAugment
from conformance_tests.workloads.samples import FRAMEWORKS, backend, to_numpy
from conformance_tests.workloads.test_librispeech_front_end import front_end, log_mel

SAMPLES = 1_300
"""Six frames; one size, so that JAX compiles once."""
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
seeds = st.integers(0, 1000)


def test_frames_of_every_length_are_those_that_fit() -> None:
    for samples in range(401, 5_001):
        count = features.num_frames(samples)
        assert count == sum(1 for start in range(0, samples, 160) if start + 401 <= samples)
    for samples in range(401):
        with pytest.raises(ValueError, match="at least 401 samples"):
            features.num_frames(samples)


def test_two_convolutions_leave_a_quarter_of_every_length() -> None:
    for length in range(1, 5_001):
        once = len(range(0, length, 2))
        assert features.subsampled(length) == len(range(0, once, 2)) == -(-length // 4)
        # A kernel of three fits as often as that, with a step of two.
        before, after = features.same_padding(length)
        assert (before + length + after - 3) // 2 + 1 == once
        assert 0 <= after - before <= 1


@given(st.integers(1, 600))
def test_places_of_the_position_embedding_are_on_circles(width: int) -> None:
    frequencies = features.inverse_timescales(width)
    assert frequencies.shape == (width // 2,)
    assert (np.diff(frequencies) < 0).all()
    if width > 3:
        np.testing.assert_allclose(frequencies[[0, -1]], [1.0, 1e-4], rtol=1e-6)


@per_framework
@given(st.integers(0, SAMPLES))
@example(0)
@example(1)
@example(160)
@example(161)
@example(SAMPLES)
def test_a_frame_is_real_if_one_of_its_samples_is(framework: str, length: int) -> None:
    paddings = (np.arange(SAMPLES) >= length).astype(np.float32)[None]
    _, found = log_mel(framework, np.zeros((1, SAMPLES)), paddings)
    real = min(features.num_frames(SAMPLES), -(-length // 160))
    np.testing.assert_array_equal(found[0], np.arange(6) >= real)


@per_framework
@given(hnp.arrays(np.bool_, (2, SAMPLES)), hnp.arrays(np.bool_, (2, SAMPLES // 100)))
def test_padding_of_any_form_is_the_least_of_a_frame(
    framework: str, fine: np.ndarray, coarse: np.ndarray
) -> None:
    paddings = np.repeat(coarse, 100, 1) | (fine & np.roll(fine, 1, 1))
    _, found = log_mel(framework, np.zeros((2, SAMPLES)), paddings)
    for row, frames in zip(paddings, found, strict=True):
        expected = [row[start : start + 401].min() for start in range(0, 160 * 6, 160)]
        np.testing.assert_array_equal(frames, expected)


@st.composite
def utterances(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Audio ``[2, samples]`` of any loudness, and paddings behind any length."""
    random = np.random.RandomState(draw(seeds))
    loudness = draw(st.sampled_from([0.0, 0.5, 30.0, 3_000.0, 30_000.0]))
    lengths = draw(hnp.arrays(np.int64, (2, 1), elements=st.integers(0, SAMPLES)))
    paddings = np.arange(SAMPLES) >= lengths
    return (loudness * random.randn(2, SAMPLES)).astype(np.float32), paddings


@per_framework
@given(utterances(), st.sampled_from([1.0, -20_000.0]))
def test_what_is_said_in_the_padding_is_not_heard(
    framework: str, audio: tuple[np.ndarray, np.ndarray], filling: float
) -> None:
    values, paddings = audio
    expected, frames = log_mel(framework, np.where(paddings, 0.0, values), paddings)
    found, again = log_mel(framework, np.where(paddings, filling, values), paddings)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again, frames)
    floor = (np.log(1e-5) - features.MEAN) / features.STDDEV
    assert (found >= floor - 1e-5).all()
    silent = found[frames == 1]
    np.testing.assert_allclose(silent, np.broadcast_to(floor, silent.shape), rtol=0, atol=1e-5)


@given(utterances())
def test_twins_agree(audio: tuple[np.ndarray, np.ndarray]) -> None:
    (one, first), (other, second) = (log_mel(name, *audio) for name in FRAMEWORKS)
    np.testing.assert_array_equal(first, second)
    # A power near the floor is a difference of larger numbers.
    np.testing.assert_allclose(one, other, rtol=0, atol=5e-4)


FRAMES, TIME_MASKS, FREQ_MASKS = 60, 3, 2
uniforms = st.one_of(
    st.floats(0, 1, exclude_max=True, width=32), st.sampled_from([0.0, float(1 - 2.0**-24)])
)
masks = st.builds(
    SpecAugment,
    freq_mask_count=st.just(FREQ_MASKS),
    freq_mask_max_bins=st.integers(0, 80),
    time_mask_count=st.just(TIME_MASKS),
    time_mask_max_ratio=st.one_of(st.just(0.05), st.floats(0, 1)),
)


def plain_masks(
    numbers: np.ndarray, length: int, most: np.float32, bound: np.float32, places: int
) -> np.ndarray:
    """The written formula for one example: which places each mask covers, ``[masks, places]``.

    Source: Workload facts (librispeech_data), 4.
    """
    covered = np.zeros((numbers.shape[1], places), bool)
    for row, first, second in zip(covered, *numbers, strict=True):
        size = min(int(np.float32(most * first)), max(int(bound), 1))
        start = int(np.float32(second * np.float32(length - size + 1)))
        row[start : start + size] = True
    return covered


@per_framework
@given(
    parameters=masks,
    lengths=hnp.arrays(np.int64, 2, elements=st.integers(0, FRAMES)),
    for_time=hnp.arrays(np.float32, (2, 2, TIME_MASKS), elements=uniforms),
    for_frequency=hnp.arrays(np.float32, (2, 2, FREQ_MASKS), elements=uniforms),
)
def test_masks_are_the_written_formula_and_keep_their_limits(
    framework: str,
    parameters: SpecAugment,
    lengths: np.ndarray,
    for_time: np.ndarray,
    for_frequency: np.ndarray,
) -> None:
    values = np.random.RandomState(0).randn(2, FRAMES, 80).astype(np.float32)
    paddings = (np.arange(FRAMES) >= lengths[:, None]).astype(np.float32)
    arrays = map(backend(framework).replicate, (values, paddings, for_time, for_frequency))
    found = masked(framework, parameters, *arrays)
    ratio = np.float32(parameters.time_mask_max_ratio)
    for number, length in enumerate(lengths):
        most = ratio * np.float32(length)
        in_time = plain_masks(for_time[:, number], length, most, most, FRAMES)
        widest = np.float32(parameters.freq_mask_max_bins)
        in_frequency = plain_masks(for_frequency[:, number], 80, widest, np.float32(80), 80)
        is_masked = in_time.any(0)[:, None] | in_frequency.any(0)
        expected = np.where(is_masked, 0, values[number])
        np.testing.assert_array_equal(found[number], expected)
        # Within the utterance, and below the limits.
        assert not in_time[:, length:].any()
        assert (in_time.sum(1) <= most).all()
        assert (in_frequency.sum(1) <= max(parameters.freq_mask_max_bins - 1, 0)).all()


def masked(
    framework: str, parameters: SpecAugment, values: Any, paddings: Any, *numbers: Any
) -> np.ndarray:
    """Features behind masks of given random numbers."""
    return to_numpy(front_end(framework).mask_features(values, paddings, parameters, *numbers))
