"""The loss of the recommendation model against the official numbers, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import samples
from conformance_tests.workloads.samples import FRAMEWORKS

GOLDEN = samples.golden_arrays("losses_criteo1tb.npz")
MASKS = {"nomask": None, "mask01": "mask01", "maskfrac": "mask_frac"}


def loss(framework: str, *arrays: np.ndarray | None, **keywords: Any) -> dict[str, Any]:
    """Calls the loss with numpy arrays placed on the device."""
    backend = samples.backend(framework)
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    placed = [None if array is None else backend.replicate(array) for array in arrays]
    result: dict[str, Any] = losses.sigmoid_cross_entropy(*placed, **keywords)
    return result


def golden_inputs(case: str = "mask01") -> list[np.ndarray | None]:
    """Labels, logits and mask, each ``[8, 1]``; logits reach from -60 to 60."""
    names = ["labels", "logits", MASKS[case]]
    return [None if name is None else GOLDEN[f"criteo1tb/in/{name}"] for name in names]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("case", MASKS)
def test_the_loss_is_the_official_one(case: str, smoothing: float, framework: str) -> None:
    result = loss(framework, *golden_inputs(case), label_smoothing=smoothing)
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    for name, value in result.items():
        expected = GOLDEN[f"criteo1tb/{framework}/{case}/ls{smoothing}/{name}"]
        assert tuple(value.shape) == expected.shape
        assert samples.to_numpy(value).dtype.kind == expected.dtype.kind
        np.testing.assert_allclose(samples.to_numpy(value), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_label_smoothing_is_not_used(framework: str) -> None:
    """As in the official loss; targets belong to it."""
    plain = loss(framework, *golden_inputs())
    smooth = loss(framework, *golden_inputs(), label_smoothing=0.5)
    for name, value in plain.items():
        np.testing.assert_array_equal(samples.to_numpy(smooth[name]), samples.to_numpy(value))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("flat", [0, 1, 2])
def test_arrays_may_have_one_or_two_dimensions(framework: str, flat: int) -> None:
    """The pipeline's labels are ``[batch]``, the model's logits ``[batch, 1]``."""
    arrays = golden_inputs()
    expected = loss(framework, *arrays)
    arrays[flat] = arrays[flat].reshape(-1)
    for name, value in loss(framework, *arrays).items():
        np.testing.assert_array_equal(samples.to_numpy(value), samples.to_numpy(expected[name]))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_mask_may_be_boolean(framework: str) -> None:
    labels, logits, mask = golden_inputs()
    expected = loss(framework, labels, logits, mask)
    for name, value in loss(framework, labels, logits, mask.astype(bool)).items():
        np.testing.assert_array_equal(samples.to_numpy(value), samples.to_numpy(expected[name]))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("changed", [0, 1, 2])
@pytest.mark.parametrize("shape", [(7, 1), (8, 2), (1, 8)])
def test_arrays_of_other_shapes_are_refused(
    framework: str, changed: int, shape: tuple[int, ...]
) -> None:
    arrays = golden_inputs()
    arrays[changed] = np.zeros(shape, np.float32)
    expected = r"must be \[examples\] or \[examples, 1\], with as many examples each, got .*8, 1"
    with pytest.raises(ValueError, match=expected):
        loss(framework, *arrays)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_gradient_is_sigmoid_minus_label_also_at_zero(framework: str) -> None:
    labels = np.array([0, 1, 0, 1, 1], np.float32)
    logits = np.array([[0], [0], [40], [-40], [3]], np.float32)
    mask = np.array([1, 1, 1, 1, 0], np.float32)
    expected = (mask * (1 / (1 + np.exp(-logits[:, 0])) - labels))[:, None]
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    if framework == "jax":
        import jax

        def summed(values: Any) -> Any:
            return losses.sigmoid_cross_entropy(labels, values, mask)["summed"]

        gradient = jax.grad(summed)(logits)
    else:
        import torch

        values = torch.tensor(logits, requires_grad=True)
        arrays = torch.tensor(labels), values, torch.tensor(mask)
        losses.sigmoid_cross_entropy(*arrays)["summed"].backward()
        gradient = values.grad
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
