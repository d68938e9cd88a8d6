"""The loss of the imaging workload against the official numbers, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import fastmri_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, golden_arrays, to_numpy

GOLDEN = golden_arrays("losses_fastmri.npz")
MASKS = {"nomask": None, "mask01": "mask01", "maskfrac": "mask_frac"}
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def loss(framework: str, *arrays: np.ndarray | None, **keywords: Any) -> dict[str, Any]:
    """Calls the loss with numpy arrays placed on the device."""
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    placed = [None if array is None else samples.place(framework, array) for array in arrays]
    result: dict[str, Any] = losses.mean_absolute_error(*placed, **keywords)
    return result


def golden_inputs(case: str) -> list[np.ndarray | None]:
    name = MASKS[case]
    mask = None if name is None else GOLDEN[f"fastmri/in/{name}"]
    return [GOLDEN["fastmri/in/labels"], GOLDEN["fastmri/in/logits"], mask]


@per_framework
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("case", MASKS)
def test_the_loss_is_the_official_one(case: str, smoothing: float, framework: str) -> None:
    """Label smoothing is ignored, as in the official loss."""
    result = loss(framework, *golden_inputs(case), label_smoothing=smoothing)
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    for name, value in result.items():
        expected = GOLDEN[f"fastmri/{framework}/{case}/ls{smoothing}/{name}"]
        assert tuple(value.shape) == expected.shape
        np.testing.assert_allclose(to_numpy(value), expected, rtol=2e-5, atol=1e-5)
        # Without a mask the number of examples is an integer; JAX has 32 bits of it.
        assert to_numpy(value).dtype.kind == expected.dtype.kind


@per_framework
def test_a_boolean_mask_means_the_same_as_zeros_and_ones(framework: str) -> None:
    labels, logits, mask = golden_inputs("mask01")
    expected = loss(framework, labels, logits, mask)
    assert mask is not None
    for name, value in loss(framework, labels, logits, mask.astype(bool)).items():
        np.testing.assert_array_equal(to_numpy(value), to_numpy(expected[name]))


@per_framework
def test_the_gradient_is_the_sign_over_the_pixels_and_zero_on_masked_nan(framework: str) -> None:
    labels = np.zeros((2, 2, 3), np.float32)
    logits = np.array([[[1, -2, 3], [-4, 5, -6]], [[np.nan] * 3] * 2], np.float32)
    mask = np.array([1, 0], np.float32)
    expected = np.where(np.isnan(logits), 0, np.sign(logits) / 6)
    if framework == "jax":
        import jax

        gradient = jax.grad(lambda x: loss("jax", labels, x, mask)["summed"])(logits)
    else:
        import torch

        values = torch.tensor(logits, requires_grad=True)
        losses = load_twin("algoperf_ref.frameworks.{}_losses", "pytorch")
        arrays = torch.tensor(labels), values, torch.tensor(mask)
        losses.mean_absolute_error(*arrays)["summed"].backward()
        gradient = values.grad
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


@per_framework
@pytest.mark.parametrize(
    ("labels", "logits", "mask", "message"),
    [
        ((2, 3, 4), (2, 3, 5), None, r"one shape .*, got \(2, 3, 4\), \(2, 3, 5\)"),
        ((2, 3, 4), (2, 3, 4, 1), None, r"one shape .*, got \(2, 3, 4\), \(2, 3, 4, 1\)"),
        ((4,), (4,), None, r"one shape .*, got \(4,\), \(4,\)"),
        ((2, 3, 4), (2, 3, 4), (3,), r"mask must have shape \[examples\], \(2,\), got \(3,\)"),
        ((2, 3, 4), (2, 3, 4), (2, 1), r"mask must have shape \[examples\], \(2,\), got \(2, 1\)"),
    ],
)
def test_other_shapes_are_refused(
    framework: str,
    labels: tuple[int, ...],
    logits: tuple[int, ...],
    mask: tuple[int, ...] | None,
    message: str,
) -> None:
    arrays = [None if shape is None else np.ones(shape, np.float32) for shape in (labels, logits)]
    with pytest.raises(ValueError, match=message):
        loss(framework, *arrays, None if mask is None else np.ones(mask, np.float32))


def test_jax_label_smoothing_may_be_traced() -> None:
    import jax

    labels, logits, mask = golden_inputs("mask01")
    losses = load_twin("algoperf_ref.frameworks.{}_losses", "jax")
    compiled = jax.jit(lambda a: losses.mean_absolute_error(labels, logits, mask, a)["summed"])
    np.testing.assert_allclose(compiled(0.1), GOLDEN["fastmri/jax/mask01/ls0.1/summed"], rtol=2e-5)
