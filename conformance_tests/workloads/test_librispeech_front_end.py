"""The speech front end and SpecAugment: official numbers, and the written formulas."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.librispeech import features
from algoperf_ref.workloads.librispeech.features import SpecAugment
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    backend,
    fast_jit,
    golden_arrays,
    to_numpy,
)
from spec import workloads

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def front_end(framework: str) -> Any:
    """The module of one framework."""
    return load_twin("algoperf_ref.workloads.librispeech.front_end_{}", framework)


@functools.cache
def compiled(framework: str) -> Callable[..., Any]:
    """``log_mel`` of arrays in the framework's memory."""
    function: Callable[..., Any] = front_end(framework).log_mel
    return fast_jit(function) if framework == "jax" else function


def log_mel(framework: str, audio: np.ndarray, paddings: np.ndarray) -> tuple[np.ndarray, ...]:
    """Features and paddings of numpy arrays."""
    arrays = (audio.astype(np.float32), paddings.astype(np.float32))
    return tuple(map(to_numpy, compiled(framework)(*map(backend(framework).replicate, arrays))))


@functools.cache
def golden() -> dict[str, np.ndarray]:
    return golden_arrays("featurizer.npz")


def plain_features(audio: np.ndarray) -> np.ndarray:
    """Features of one utterance without padding by the written steps, in float64."""
    frames = []
    for start in range(0, len(audio) - 401 + 1, 160):
        frame = audio[start : start + 401] * 2.0**-15
        emphasised = np.append(0.03 * frame[0], frame[1:400] - 0.97 * frame[:399])
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
        frames.append(np.abs(np.fft.rfft(emphasised * hann, 512)) ** 2)
    mel = np.array(frames) @ features.mel_matrix().astype(np.float64)
    return (np.log(np.maximum(mel, 1e-5)) - features.MEAN) / features.STDDEV


def sheet_signal() -> tuple[np.ndarray, np.ndarray]:
    """The signal of the fact sheet: a second of two tones, then a quarter of padding."""
    t = np.arange(16_000) / 16_000
    tones = np.round(3000 * np.sin(2 * np.pi * 440 * t) + 500 * np.sin(2 * np.pi * 2500 * t))
    audio = np.concatenate([tones, np.zeros(4_000)])[None]
    return audio, (np.arange(20_000) >= 16_000).astype(np.float32)[None]


def test_normalisers_and_window_are_the_official_ones() -> None:
    arrays = golden()
    np.testing.assert_array_equal(features.MEAN, arrays["norm_mean"])
    np.testing.assert_array_equal(features.STDDEV, arrays["norm_std"])
    assert features.window()[0] == 0
    for framework in FRAMEWORKS:
        expected = arrays[f"{framework}/window"]
        np.testing.assert_allclose(features.window(), expected, rtol=0, atol=3e-7)


def test_the_mel_matrix_is_the_official_one() -> None:
    matrix, arrays = features.mel_matrix(), golden()
    for framework in FRAMEWORKS:
        expected = arrays[f"{framework}/mel_weights_257x80"]
        np.testing.assert_allclose(matrix, expected, rtol=0, atol=2e-5)
        # Not where it is 0: at 125 Hz, an edge and a frequency, one twin has a rounding error.
        np.testing.assert_array_equal(matrix > 2e-5, expected > 2e-5)
    # Source: Workload facts (librispeech_data), 3.
    bins = [0, 1, 40, 79]
    np.testing.assert_allclose(matrix.sum(dtype=np.float64), 234.9484, rtol=0, atol=2e-4)
    sums = [0.695547, 0.742312, 2.346826, 7.359438]
    np.testing.assert_allclose(matrix.sum(0)[bins], sums, rtol=0, atol=4e-5)
    assert (matrix > 0).sum(0)[bins].tolist() == [1, 2, 4, 15]
    assert (matrix > 0).sum() == 470
    assert not matrix[0].any()


def test_the_mel_matrix_has_any_number_of_bins() -> None:
    matrix = features.mel_matrix(40)
    assert matrix.shape == (257, 40)
    assert (matrix.sum(0) > 0).all()
    assert matrix.max() <= 1


@per_framework
def test_features_and_paddings_are_the_official_ones(framework: str) -> None:
    arrays = golden()
    found, paddings = log_mel(framework, arrays["in/wave"], arrays["in/paddings"])
    for official in FRAMEWORKS:
        expected = arrays[f"{official}/features"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=official)
        np.testing.assert_array_equal(paddings, arrays[f"{official}/feature_paddings"])
    assert 0 < paddings.sum() < paddings.size
    assert found.dtype == paddings.dtype == np.float32


@per_framework
def test_the_signal_of_the_sheet_has_its_values(framework: str) -> None:
    found, paddings = log_mel(framework, *sheet_signal())
    assert found.shape == (1, 123, 80)
    assert paddings.sum() == 23
    assert not paddings[0, :100].any()
    bins = [0, 1, 10, 20, 40, 79]
    first = [-1.137633, -1.221342, 1.819697, -1.214002, -1.512033, -1.332703]
    last = [0.197011, 0.142415, 1.249082, 0.520175, -0.847588, 0.138050]
    np.testing.assert_allclose(found[0, 0, bins], first, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found[0, 99, bins], last, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.mean(dtype=np.float64), -1.085843, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.std(dtype=np.float64), 0.837241, rtol=0, atol=2e-5)


@per_framework
def test_silence_and_padding_have_the_floor(framework: str) -> None:
    audio = np.stack([np.zeros(1_000), np.full(1_000, 30_000.0)])
    paddings = np.stack([np.zeros(1_000), np.ones(1_000)])
    found, frames = log_mel(framework, audio, paddings)
    floor = (np.log(1e-5) - features.MEAN) / features.STDDEV
    np.testing.assert_allclose(found, np.broadcast_to(floor, (2, 4, 80)), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(frames, [[0, 0, 0, 0], [1, 1, 1, 1]])


@per_framework
def test_features_are_the_written_steps(framework: str) -> None:
    """Pre-emphasis of each frame by itself, though the code has it of the whole audio."""
    audio = np.random.RandomState(0).randn(2, 1_500) * 2_000
    audio[:, 480:490] = 30_000  # Where a frame starts.
    found, _ = log_mel(framework, audio, np.zeros_like(audio))
    for row, expected in zip(found, map(plain_features, audio), strict=True):
        np.testing.assert_allclose(row, expected, rtol=0, atol=2e-5)


@per_framework
@pytest.mark.parametrize(("samples", "frames"), [(401, 1), (560, 1), (561, 2), (1_200, 5)])
def test_the_401st_sample_makes_a_frame_and_its_padding_but_is_not_heard(
    framework: str, samples: int, frames: int
) -> None:
    audio = np.random.RandomState(1).randn(1, samples) * 2_000
    found, _ = log_mel(framework, audio, np.zeros_like(audio))
    assert found.shape == (1, frames, 80)
    assert features.num_frames(samples) == frames
    last = 160 * (frames - 1) + 400
    changed = audio.copy()
    changed[:, last] = 20_000
    again, _ = log_mel(framework, changed, np.zeros_like(audio))
    np.testing.assert_array_equal(again, found)
    all_but_one = np.ones_like(audio)
    all_but_one[:, last] = 0
    _, paddings = log_mel(framework, audio, all_but_one)
    assert paddings[0, -1] == 0
    assert paddings[0, :-1].tolist() == [float(160 * n + 400 < last) for n in range(frames - 1)]


@per_framework
def test_audio_that_is_too_short_or_has_another_shape_is_refused(framework: str) -> None:
    short, longer = np.zeros((2, 400)), np.zeros((2, 401))
    with pytest.raises(ValueError, match="audio must have at least 401 samples, got 400"):
        log_mel(framework, short, short)
    with pytest.raises(ValueError, match=r"must be \[batch, samples\], got \(2, 401\) and \(2, 4"):
        log_mel(framework, longer, short)


def test_lengths_of_the_full_size() -> None:
    """Source: Workload facts (librispeech_conformer), 2."""
    assert features.num_frames(320_000) == 1998
    assert features.subsampled(1998) == 500
    assert features.subsampled(80) == 20
    assert [features.same_padding(n) for n in (1998, 999, 80, 40)] == [(0, 1), (1, 1)] + [
        (0, 1)
    ] * 2


def test_position_embedding_has_the_values_of_the_sheet() -> None:
    jax_layers, torch_layers = (
        load_twin("algoperf_ref.workloads.librispeech.layers_{}", name) for name in FRAMEWORKS
    )
    embedding = np.asarray(jax_layers.position_embedding(500, 512))
    columns = [0, 1, 255, 256, 257, 511]
    expected = [0.841471, 0.821779, 1.0e-4, 0.540302, 0.569807, 1.0]
    np.testing.assert_allclose(embedding[1, columns], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(embedding[0], np.repeat([0.0, 1.0], 256))
    twin = torch_layers.Positions(512)(500).numpy()
    np.testing.assert_allclose(twin, embedding[None], rtol=0, atol=2e-6)
    for odd in (jax_layers.position_embedding(4, 5), torch_layers.Positions(5)(4)[0]):
        assert odd.shape == (4, 5)
        assert not to_numpy(odd)[:, -1].any()


def augment(
    framework: str, values: np.ndarray, paddings: np.ndarray, parameters: SpecAugment, seed: int
) -> np.ndarray:
    """``spec_augment`` with random numbers of a seed."""
    module, key = front_end(framework), backend(framework).seed_key(seed)
    arrays = tuple(map(backend(framework).replicate, (values, paddings)))
    if framework == "jax":
        return to_numpy(module.spec_augment(*arrays, parameters, key))
    backend(framework).seed_global_generators(key)
    return to_numpy(module.spec_augment(*arrays, parameters))


@per_framework
def test_masks_follow_the_seed_and_differ_between_examples(framework: str) -> None:
    values, paddings = np.ones((3, 100, 80), np.float32), np.zeros((3, 100), np.float32)
    first = augment(framework, values, paddings, SpecAugment(), 1)
    np.testing.assert_array_equal(augment(framework, values, paddings, SpecAugment(), 1), first)
    assert not np.array_equal(augment(framework, values, paddings, SpecAugment(), 2), first)
    assert not np.array_equal(first[0], first[1])


@per_framework
def test_what_is_not_masked_stays_and_what_is_masked_is_zero(framework: str) -> None:
    values = np.random.RandomState(0).randn(2, 200, 80).astype(np.float32)
    found = augment(framework, values, np.zeros((2, 200), np.float32), SpecAugment(), 3)
    is_kept = found != 0
    np.testing.assert_array_equal(found[is_kept], values[is_kept])
    # Masked cells are whole rows and whole columns.
    for kept in is_kept:
        rows, columns = kept.any(1), kept.any(0)
        np.testing.assert_array_equal(kept, rows[:, None] & columns)
        assert 0 < rows.sum() < 200
        assert 0 < columns.sum() < 80


@per_framework
@pytest.mark.parametrize(
    "parameters",
    [
        SpecAugment(freq_mask_count=0, time_mask_count=0),
        SpecAugment(freq_mask_max_bins=0, time_mask_max_ratio=0.0),
    ],
)
def test_no_masks_or_masks_of_no_size_change_nothing(
    framework: str, parameters: SpecAugment
) -> None:
    values = np.random.RandomState(0).randn(2, 30, 80).astype(np.float32)
    found = augment(framework, values, np.zeros((2, 30), np.float32), parameters, 0)
    np.testing.assert_array_equal(found, values)


@per_framework
def test_an_example_of_padding_alone_has_no_time_masks(framework: str) -> None:
    """Sizes are a part of its length, 0."""
    values, parameters = np.ones((1, 30, 80), np.float32), SpecAugment(freq_mask_count=0)
    found = augment(framework, values, np.ones((1, 30), np.float32), parameters, 0)
    np.testing.assert_array_equal(found, values)


@per_framework
def test_sizes_and_places_of_masks_have_their_distribution(framework: str) -> None:
    """Of 100 frames a mask takes 0 to 4, of 80 bins 0 to 26, each size and place alike."""
    count = 2_000
    values, paddings = np.ones((count, 120, 80), np.float32), np.zeros((count, 120), np.float32)
    paddings[:, 100:] = 1
    parameters = SpecAugment(freq_mask_count=1, time_mask_count=1)
    is_masked = augment(framework, values, paddings, parameters, 5) == 0
    for axis, length, most in ((2, 100, 5), (1, 80, 27)):
        covered = is_masked.all(axis)
        assert not covered[:, length:].any()
        sizes = covered.sum(1)
        shares = np.bincount(sizes, minlength=most) / count
        assert len(shares) == most
        # Five standard errors; likewise below.
        errors = 5 * np.sqrt((1 - 1 / most) / most / count)
        np.testing.assert_allclose(shares, 1 / most, rtol=0, atol=errors)
        has_mask = sizes > 0
        starts, last = covered.argmax(1)[has_mask], length - sizes[has_mask]
        places = starts / last  # 0 to 1, on a grid: half of it on average.
        assert places.min() >= 0
        assert places.max() == 1
        assert abs(places.mean() - 0.5) < 5 / np.sqrt(12 * has_mask.sum()) + 1e-3


@pytest.mark.clause("WORK-5")
def test_masks_are_read_from_the_specification() -> None:
    row = workloads.get("librispeech_conformer").model_config
    assert SpecAugment.of(row) == SpecAugment(2, 27, 10, 0.05)
    more = workloads.get("librispeech_deepspeech_norm_and_spec_aug").model_config
    assert SpecAugment.of(more) == SpecAugment(4, 27, 15, 0.05)
    small = {"freq_mask_count": 1, "freq_mask_max_bins": 10, "time_mask_count": 2}
    assert SpecAugment.of({**row, **small}) == SpecAugment(1, 10, 2, 0.05)
    assert SpecAugment.of({**row, "use_specaug": False}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"freq_mask_count": -1}, "counts of masks must not be negative"),
        ({"time_mask_count": -1}, "counts of masks must not be negative"),
        ({"freq_mask_max_bins": 81}, "freq_mask_max_bins must be from 0 to 80, got 81"),
        ({"time_mask_max_ratio": 1.5}, "time_mask_max_ratio must be from 0 to 1, got 1.5"),
    ],
)
def test_masks_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpecAugment(**change)
