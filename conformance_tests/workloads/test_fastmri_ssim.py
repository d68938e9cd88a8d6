"""Structural similarity: official numbers, scikit-image, edge cases."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import fastmri_samples as samples
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    fast_jit,
    golden_arrays,
    golden_json,
    to_numpy,
)

ARRAYS = golden_arrays("metrics_fastmri.npz")
# The smooth images were compared in a range of 2, which is not among the stored arrays.
ARRAYS["range_2"] = np.full(2, 2.0, np.float32)
CASES = golden_json("metrics_fastmri.json")["cases"]
INPUTS = {
    "plain": ("a", "b"),
    "scaled": ("a", "b", "mean", "std", "volume_max"),
    "square": ("sq", "sq2"),
    "smooth": ("smooth", "smooth2", None, None, "range_2"),
    "vmax_only": ("a", "b", None, None, "volume_max"),
}
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@functools.cache
def compiled(framework: str) -> Any:
    function = load_twin("algoperf_ref.workloads.fastmri.ssim_{}", framework).ssim
    return fast_jit(function) if framework == "jax" else function


def ssim(framework: str, *arrays: np.ndarray | None) -> np.ndarray:
    placed = [None if array is None else samples.place(framework, array) for array in arrays]
    return to_numpy(compiled(framework)(*placed))


@per_framework
@pytest.mark.parametrize("case", CASES)
def test_the_similarity_is_the_official_one(case: str, framework: str) -> None:
    arrays = [None if name is None else ARRAYS[name] for name in INPUTS[case]]
    result = ssim(framework, *arrays)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, CASES[case][framework], rtol=0, atol=1e-6)


@per_framework
def test_the_numbers_of_the_fact_sheet(framework: str) -> None:
    """Workload facts (fastmri), 4; they are rounded to six digits."""
    i, j = np.mgrid[:64, :48]
    a = np.sin(0.1 * i) + np.cos(0.07 * j)
    b = a + 0.1 * np.sin(0.03 * i * j)
    logits, targets = (np.stack(p).astype(np.float32) for p in ([a, 0.5 * a], [b, 0.7 * b]))
    plain = ssim(framework, logits, targets)
    np.testing.assert_allclose(plain, [0.886571, 0.782096], rtol=0, atol=2e-6)
    scale = [np.array(v, np.float32) for v in ([0.3, 1.0], [2, 0.5], [4, 0])]
    scaled = ssim(framework, logits, targets, *scale)
    np.testing.assert_allclose(scaled, [0.899953, 0.84896], rtol=0, atol=2e-6)


@per_framework
@pytest.mark.parametrize("volume_max", [1.0, 3e-4, 700.0])
def test_scikit_image_agrees(framework: str, volume_max: float) -> None:
    """Images between 0 and the maximum, like real slices; scikit-image computes in float64."""
    random = np.random.RandomState(5)
    i, j = np.mgrid[:40, :33]
    true = np.abs(np.sin(0.2 * i + random.rand(3, 1, 1)) * np.cos(0.1 * j))
    images = [true + 0.1 * random.randn(*true.shape), true]
    images = [(volume_max * image).astype(np.float32) for image in images]
    expected = [
        structural_similarity(
            *(image.astype(np.float64) for image in pair),
            win_size=7,
            gaussian_weights=False,
            use_sample_covariance=True,
            data_range=volume_max,
        )
        for pair in zip(*images, strict=True)
    ]
    assert 0.2 < min(expected) < max(expected) < 0.98
    level = np.full(3, volume_max, np.float32)
    result = ssim(framework, *images, None, None, level)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


@per_framework
def test_padding_of_zeros_is_finite_and_leaves_other_rows_alone(framework: str) -> None:
    arrays = [ARRAYS[name] for name in ("a", "b", "mean", "std", "volume_max")]
    padded = [np.concatenate([a, np.zeros((2, *a.shape[1:]), a.dtype)]) for a in arrays]
    result = ssim(framework, *padded)
    np.testing.assert_allclose(result[:4], ssim(framework, *arrays), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(result[4:], 1.0)


@per_framework
def test_an_image_of_one_window_is_enough(framework: str) -> None:
    a, b = ARRAYS["a"][:, :7, :7], ARRAYS["b"][:, :7, :7]
    va, vb = a.var((1, 2), ddof=1, dtype=np.float64), b.var((1, 2), ddof=1, dtype=np.float64)
    ua, ub = a.mean((1, 2), dtype=np.float64), b.mean((1, 2), dtype=np.float64)
    cov = ((a - ua[:, None, None]) * (b - ub[:, None, None])).sum((1, 2)) / 48
    expected = (2 * ua * ub + 1e-4) / (ua**2 + ub**2 + 1e-4) * (2 * cov + 9e-4) / (va + vb + 9e-4)
    np.testing.assert_allclose(ssim(framework, a, b), expected, atol=1e-5)


@per_framework
@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        ((1, 6, 9), (1, 6, 9), "images of 6 x 9 pixels are smaller than the window of 7 x 7"),
        ((1, 9, 6), (1, 9, 6), "images of 9 x 6 pixels are smaller than the window of 7 x 7"),
        ((1, 9, 9), (2, 9, 9), r"one shape .*, got \(1, 9, 9\), \(2, 9, 9\)"),
        ((9, 9), (9, 9), r"one shape .*, got \(9, 9\), \(9, 9\)"),
    ],
)
def test_other_shapes_are_refused(
    framework: str, logits: tuple[int, ...], targets: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ssim(framework, np.ones(logits, np.float32), np.ones(targets, np.float32))
