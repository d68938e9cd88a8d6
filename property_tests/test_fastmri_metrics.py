"""Structural similarity and loss of the imaging workload, for every input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref import frameworks
from algoperf_ref.frameworks.twins import load_twin

# One shape, so that JAX compiles each function once.
SHAPE = (3, 10, 9)
per_framework = pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
images = hnp.arrays(np.float32, SHAPE, elements=st.floats(-6, 6, width=16))
seeds = st.integers(0, 2**32 - 1)
ranges = hnp.arrays(np.float32, SHAPE[0], elements=st.floats(0.5, 20, width=16))
masks = hnp.arrays(np.bool_, SHAPE[0])
permutations = st.permutations(range(SHAPE[0]))


@st.composite
def scales(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and range of each slice, of one order of magnitude as in data."""
    rows = SHAPE[0]
    mean = draw(hnp.arrays(np.float32, rows, elements=st.floats(0, 1, width=16)))
    std = draw(hnp.arrays(np.float32, rows, elements=st.floats(0.125, 1, width=16)))
    return mean, std, draw(ranges)


def noisy(true: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.RandomState(seed).randn(*true.shape)
    return (true + noise).astype(np.float32)


@functools.cache
def function(framework: str, name: str) -> Callable[..., Any]:
    if name == "ssim":
        found = load_twin("algoperf_ref.workloads.fastmri.ssim_{}", framework).ssim
    else:
        found = load_twin("algoperf_ref.frameworks.{}_losses", framework).mean_absolute_error
    if framework == "pytorch":
        return found  # type: ignore[no-any-return]
    import jax

    return jax.jit(found)


def call(framework: str, name: str, *arrays: np.ndarray) -> Any:
    if framework == "pytorch":
        import torch

        result = function(framework, name)(*(torch.from_numpy(a.copy()) for a in arrays))
    else:
        result = function(framework, name)(*arrays)
    if isinstance(result, dict):
        return {key: np.asarray(value) for key, value in result.items()}
    return np.asarray(result)


def ssim(framework: str, *arrays: np.ndarray) -> np.ndarray:
    result: np.ndarray = call(framework, "ssim", *arrays)
    return result


def loss(framework: str, *arrays: np.ndarray) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = call(framework, "loss", *arrays)
    return result


def slow_ssim(
    logits: np.ndarray,
    targets: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    volume_max: np.ndarray,
) -> list[float]:
    """The definition, window by window, in float64."""
    results = []
    for row in range(len(logits)):
        x, y = (a[row].astype(np.float64) * std[row] + mean[row] for a in (logits, targets))
        level = float(volume_max[row]) or 1.0
        c1, c2 = (0.01 * level) ** 2, (0.03 * level) ** 2
        values = []
        for top in range(x.shape[0] - 6):
            for left in range(x.shape[1] - 6):
                a, b = (im[top : top + 7, left : left + 7].ravel() for im in (x, y))
                covariance = np.cov(a, b)
                ua, ub = a.mean(), b.mean()
                values.append(
                    (2 * ua * ub + c1)
                    * (2 * covariance[0, 1] + c2)
                    / ((ua**2 + ub**2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2))
                )
        results.append(float(np.mean(values)))
    return results


@given(true=images, seed=seeds, scale=scales())
def test_the_similarity_is_that_of_the_definition_in_both_frameworks(
    true: np.ndarray, seed: int, scale: tuple[np.ndarray, ...]
) -> None:
    expected = slow_ssim(noisy(true, seed), true, *scale)
    for framework in frameworks.FRAMEWORKS:
        result = ssim(framework, noisy(true, seed), true, *scale)
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


@per_framework
@given(first=images, second=images, scale=scales())
def test_the_similarity_is_bounded_and_symmetric(
    framework: str, first: np.ndarray, second: np.ndarray, scale: tuple[np.ndarray, ...]
) -> None:
    result = ssim(framework, first, second, *scale)
    assert (np.abs(result) <= 1).all()
    np.testing.assert_allclose(ssim(framework, second, first, *scale), result, rtol=0, atol=1e-5)


@per_framework
@given(true=images, scale=scales())
def test_an_image_is_like_itself(
    framework: str, true: np.ndarray, scale: tuple[np.ndarray, ...]
) -> None:
    np.testing.assert_allclose(ssim(framework, true, true, *scale), 1.0, rtol=0, atol=1e-5)


@per_framework
@given(true=images, seed=seeds, scale=scales(), order=permutations)
def test_permuting_a_batch_permutes_similarities_and_losses(
    framework: str,
    true: np.ndarray,
    seed: int,
    scale: tuple[np.ndarray, ...],
    order: list[int],
) -> None:
    other = noisy(true, seed)
    permuted = [array[order] for array in (other, true, *scale)]
    expected = ssim(framework, other, true, *scale)[order]
    np.testing.assert_allclose(ssim(framework, *permuted), expected, rtol=0, atol=1e-6)
    mask = np.ones(SHAPE[0], np.float32)
    losses = loss(framework, true, other, mask)["per_example"][order]
    permuted_losses = loss(framework, true[order], other[order], mask)["per_example"]
    np.testing.assert_allclose(permuted_losses, losses, rtol=1e-6)


@per_framework
@given(true=images, seed=seeds, mask=masks)
def test_the_loss_is_the_mean_of_absolute_differences(
    framework: str, true: np.ndarray, seed: int, mask: np.ndarray
) -> None:
    other = noisy(true, seed)
    expected = np.abs(other.astype(np.float64) - true).mean((1, 2)) * mask
    result = loss(framework, true, other, mask)
    np.testing.assert_allclose(result["per_example"], expected, rtol=2e-5)
    np.testing.assert_allclose(result["summed"], expected.sum(), rtol=2e-5)
    assert result["n_valid_examples"] == mask.sum()


@per_framework
@given(true=images, seed=seeds, mask=masks)
def test_masking_an_example_is_leaving_it_out(
    framework: str, true: np.ndarray, seed: int, mask: np.ndarray
) -> None:
    other = noisy(true, seed)
    unknown = np.where(mask[:, None, None], true, np.nan).astype(np.float32)
    masked = loss(framework, unknown, other, mask.astype(np.float32))
    # Not compiled: the number of examples differs from draw to draw.
    shorter = loss("pytorch", true[mask], other[mask])
    np.testing.assert_allclose(masked["per_example"][mask], shorter["per_example"], rtol=1e-5)
    np.testing.assert_allclose(masked["summed"], shorter["summed"], rtol=1e-5)
    assert masked["n_valid_examples"] == shorter["n_valid_examples"]
    np.testing.assert_array_equal(masked["per_example"][~mask], 0.0)
