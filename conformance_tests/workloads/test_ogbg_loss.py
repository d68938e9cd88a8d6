"""The loss of the graph workload against the official numbers, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads import load
from conformance_tests.workloads import samples
from conformance_tests.workloads.samples import FRAMEWORKS

GOLDEN = samples.golden_arrays("losses_ogbg.npz")


def loss(framework: str, *arrays: np.ndarray | None, **keywords: Any) -> dict[str, Any]:
    """Calls a workload's loss with numpy arrays placed on the device."""
    backend = samples.backend(framework)
    workload = load("ogbg", framework, "mini", backend=backend)
    placed = [None if array is None else backend.replicate(array) for array in arrays]
    return workload.loss_fn(*placed, **keywords)


def golden_inputs(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, logits, mask = (
        GOLDEN[f"ogbg/in/{name}"].copy() for name in ("labels", "logits", "mask")
    )
    if case == "nan_maskbool":
        labels[0, 0], mask[0, 0] = np.nan, False
    return labels, logits, mask.astype(np.float32) if case == "maskfloat" else mask


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("case", ["maskbool", "maskfloat", "nan_maskbool"])
def test_the_loss_is_the_official_one(case: str, smoothing: float, framework: str) -> None:
    result = loss(framework, *golden_inputs(case), label_smoothing=smoothing)
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    for name, value in result.items():
        expected = GOLDEN[f"ogbg/{framework}/{case}/ls{smoothing}/{name}"]
        assert tuple(value.shape) == expected.shape
        assert samples.to_numpy(value).dtype == expected.dtype
        np.testing.assert_allclose(samples.to_numpy(value), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_a_mask_the_loss_is_refused(framework: str) -> None:
    labels, logits, _ = golden_inputs("maskbool")
    with pytest.raises(ValueError, match="loss_fn needs mask_batch: the batch's 'weights'"):
        loss(framework, labels, logits)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("changed", [0, 1, 2])
def test_arrays_of_different_shapes_are_refused(framework: str, changed: int) -> None:
    arrays = list(golden_inputs("maskbool"))
    arrays[changed] = arrays[changed][:-1]
    with pytest.raises(ValueError, match="must have one shape"):
        loss(framework, *arrays)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_arrays_of_another_rank_are_refused(framework: str) -> None:
    with pytest.raises(ValueError, match="must have one shape"):
        loss(framework, *(array[0] for array in golden_inputs("maskbool")))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_unknown_argument_is_refused(framework: str) -> None:
    with pytest.raises(TypeError, match="dropout_rate"):
        loss(framework, *golden_inputs("maskbool"), dropout_rate=0.1)


def test_jax_label_smoothing_may_be_traced() -> None:
    import jax

    workload = load("ogbg", "jax", "mini", backend=samples.backend("jax"))
    arrays = golden_inputs("maskbool")
    compiled = jax.jit(lambda alpha: workload.loss_fn(*arrays, label_smoothing=alpha)["summed"])
    expected = GOLDEN["ogbg/jax/maskbool/ls0.1/summed"]
    np.testing.assert_allclose(compiled(0.1), expected, rtol=2e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_gradient_is_sigmoid_minus_label_also_at_zero(framework: str) -> None:
    labels = np.array([[0, 1, 0, 1, 1]], np.float32)
    logits = np.array([[0, 0, 40, -40, 3]], np.float32)
    mask = np.array([[1, 1, 1, 1, 0]], bool)
    expected = np.where(mask, 1 / (1 + np.exp(-logits)) - labels, 0)
    if framework == "jax":
        import jax

        gradient = jax.grad(lambda x: loss("jax", labels, x, mask)["summed"])(logits)
    else:
        import torch

        values = torch.tensor(logits, requires_grad=True)
        workload = load("ogbg", "pytorch", "mini", backend=samples.backend("pytorch"))
        arrays = torch.tensor(labels), values, torch.tensor(mask)
        workload.loss_fn(*arrays)["summed"].backward()
        gradient = values.grad
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
