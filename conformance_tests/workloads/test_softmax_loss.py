"""The loss of the image classifiers against the official numbers, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads.samples import FRAMEWORKS, backend, golden_arrays, to_numpy

GOLDEN = golden_arrays("losses_imagenet.npz")
CASES = {
    "nomask": ("labels", None),
    "mask01": ("labels", "mask01"),
    "maskfrac": ("labels", "mask_frac"),
    "softlabels_mask01": ("soft_labels", "mask01"),
}
WORKLOADS = [("imagenet_resnet", case) for case in CASES] + [
    ("mnist", case) for case in CASES if "soft" not in case
]
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def losses(framework: str) -> Any:
    """The framework's losses."""
    return load_twin("algoperf_ref.frameworks.{}_losses", framework)


def loss(framework: str, *arrays: np.ndarray | None, **keywords: Any) -> dict[str, Any]:
    """Calls the loss with numpy arrays placed on the device."""
    placed = [None if array is None else backend(framework).replicate(array) for array in arrays]
    result: dict[str, Any] = losses(framework).softmax_cross_entropy(*placed, **keywords)
    return result


def golden_inputs(workload: str, case: str) -> list[np.ndarray | None]:
    """Labels, logits and mask of a golden case."""
    labels, mask = CASES[case]
    names = (labels, "logits", mask)
    return [None if name is None else GOLDEN[f"{workload}/in/{name}"] for name in names]


@per_framework
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("workload", "case"), WORKLOADS)
def test_the_loss_is_the_official_one(
    workload: str, case: str, smoothing: float, framework: str
) -> None:
    result = loss(framework, *golden_inputs(workload, case), label_smoothing=smoothing)
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    for name, value in result.items():
        expected = GOLDEN[f"{workload}/{framework}/{case}/ls{smoothing}/{name}"]
        assert tuple(value.shape) == expected.shape
        np.testing.assert_allclose(to_numpy(value), expected, rtol=2e-5, atol=1e-5)
        # Without a mask the number of examples is an integer; JAX has 32 bits of it.
        assert to_numpy(value).dtype.kind == expected.dtype.kind


@per_framework
@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_a_batch_of_as_many_examples_as_classes_has_classes_for_labels(
    framework: str, kind: type
) -> None:
    """The official JAX loss takes 1000 integers for the probabilities of 1000 classes."""
    random = np.random.RandomState(0)
    logits = random.randn(5, 5).astype(np.float32)
    labels = np.array([4, 0, 1, 1, 3])
    logarithms = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -logarithms[np.arange(5), labels]
    result = loss(framework, labels.astype(kind), logits)["per_example"]
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-5)
    probabilities = np.eye(5, dtype=np.float32)[labels]
    result = loss(framework, probabilities, logits)["per_example"]
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-5)


@per_framework
def test_a_boolean_mask_means_the_same_as_zeros_and_ones(framework: str) -> None:
    labels, logits, mask = golden_inputs("imagenet_resnet", "mask01")
    expected = loss(framework, labels, logits, mask)
    assert mask is not None
    for name, value in loss(framework, labels, logits, mask.astype(bool)).items():
        np.testing.assert_array_equal(to_numpy(value), to_numpy(expected[name]))


@per_framework
@pytest.mark.parametrize("soft", [False, True])
def test_padding_may_hold_anything_and_has_no_gradient(framework: str, soft: bool) -> None:
    logits = np.array([[1.0, -2.0, 0.5], [np.nan, np.inf, -np.inf]], np.float32)
    mask = np.array([1.0, 0.0], np.float32)
    labels = np.array([[0, 0, 1], [np.nan] * 3], np.float32) if soft else np.array([2, -7])
    softmax = np.exp(logits[0]) / np.exp(logits[0]).sum()
    expected = np.stack([softmax - [0.05, 0.05, 0.9], np.zeros(3)])
    smoothing = {"label_smoothing": 0.15}
    if framework == "jax":
        import jax

        def summed(logits: Any) -> Any:
            return loss("jax", labels, logits, mask, **smoothing)["summed"]

        value, gradient = jax.value_and_grad(summed)(logits)
    else:
        import torch

        variable = torch.tensor(logits, requires_grad=True)
        arrays = torch.tensor(labels), variable, torch.tensor(mask)
        value = losses("pytorch").softmax_cross_entropy(*arrays, **smoothing)["summed"]
        value.backward()
        gradient = variable.grad
    assert np.isfinite(to_numpy(value))
    np.testing.assert_allclose(to_numpy(gradient), expected, atol=1e-6)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_an_error_or_not_a_number(label: int) -> None:
    labels, logits = np.array([0, label]), np.zeros((2, 3), np.float32)
    per_example = to_numpy(loss("jax", labels, logits)["per_example"])
    np.testing.assert_array_equal(np.isnan(per_example), [False, True])
    with pytest.raises(RuntimeError, match="out of bounds"):
        loss("pytorch", labels, logits)


@per_framework
@pytest.mark.parametrize(
    ("labels", "logits", "mask", "message"),
    [
        ((4,), (4,), None, r"logits must be \[examples, classes\] .*, got \(4,\) and \(4,\)"),
        ((3,), (4, 5), None, r"got \(4, 5\) and \(3,\)"),
        ((4, 1), (4, 5), None, r"got \(4, 5\) and \(4, 1\)"),
        ((4, 5, 1), (4, 5, 1), None, r"got \(4, 5, 1\) and \(4, 5, 1\)"),
        ((4, 5), (4, 5), (4, 1), r"mask must have shape \[examples\], \(4,\), got \(4, 1\)"),
        ((4,), (4, 5), None, r"labels of shape \[examples\] must be integers, got .*float32"),
    ],
)
def test_other_shapes_and_types_are_refused(
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

    labels, logits, mask = golden_inputs("imagenet_resnet", "maskfrac")
    compiled = jax.jit(lambda a: loss("jax", labels, logits, mask, label_smoothing=a)["summed"])
    expected = GOLDEN["imagenet_resnet/jax/maskfrac/ls0.1/summed"]
    np.testing.assert_allclose(compiled(0.1), expected, rtol=2e-5)


def test_pytorch_label_smoothing_may_be_a_tensor() -> None:
    import torch

    inputs = golden_inputs("imagenet_resnet", "maskfrac")
    result = loss("pytorch", *inputs, label_smoothing=torch.tensor(0.1))
    expected = GOLDEN["imagenet_resnet/pytorch/maskfrac/ls0.1/summed"]
    np.testing.assert_allclose(to_numpy(result["summed"]), expected, rtol=2e-5)


@per_framework
def test_accuracy_is_one_where_the_largest_logit_is_that_of_the_class(framework: str) -> None:
    logits = np.array([[0, 2, 1], [5, -1, 4], [1, 3, 3], [0, 1, 9]], np.float32)
    labels = np.array([1, 2, 1, 2])
    placed = (backend(framework).replicate(array) for array in (labels, logits))
    result = to_numpy(losses(framework).accuracy(*placed))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, [1, 0, 1, 1])
