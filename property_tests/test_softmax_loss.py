"""Invariances of the image classifiers' loss, and a float64 oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref import frameworks
from algoperf_ref.frameworks.twins import load_twin

COUNT, CLASSES = 5, 4  # One size, so that JAX compiles each operation once.
# float32 values, so that the oracle sees the same numbers.
logits_arrays = hnp.arrays(np.float32, (COUNT, CLASSES), elements=st.floats(-60, 60, width=32))
class_arrays = hnp.arrays(np.int32, COUNT, elements=st.integers(0, CLASSES - 1))
weight_arrays = hnp.arrays(np.float32, COUNT, elements=st.floats(0, 4, width=32))
soft_arrays = hnp.arrays(np.float32, (COUNT, CLASSES), elements=st.floats(0, 1, width=32))
smoothings = st.floats(0, 1, width=32)
per_framework = pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)


def loss(framework: str, *arrays: np.ndarray | None, smoothing: float = 0.0) -> dict[str, Any]:
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    if framework == "pytorch":
        import torch

        arrays = tuple(None if a is None else torch.from_numpy(a.copy()) for a in arrays)
    result: dict[str, Any] = losses.softmax_cross_entropy(*arrays, label_smoothing=smoothing)
    return {name: np.asarray(value) for name, value in result.items()}


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@per_framework
@given(
    labels=st.one_of(class_arrays, soft_arrays),
    logits=logits_arrays,
    weights=weight_arrays,
    smoothing=smoothings,
)
def test_label_smoothing_is_the_written_formula(
    framework: str, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray, smoothing: float
) -> None:
    probabilities = np.eye(CLASSES)[labels] if labels.ndim == 1 else labels.astype(np.float64)
    smooth = (1 - smoothing) * probabilities + smoothing / CLASSES
    expected = -(smooth * log_softmax(logits)).sum(-1) * weights
    result = loss(framework, labels, logits, weights, smoothing=smoothing)
    np.testing.assert_allclose(result["per_example"], expected, rtol=2e-5, atol=1e-4)
    np.testing.assert_allclose(result["summed"], expected.sum(), rtol=2e-5, atol=5e-4)
    np.testing.assert_allclose(result["n_valid_examples"], weights.sum(), rtol=1e-6)


@per_framework
@given(labels=class_arrays, logits=logits_arrays, smoothing=smoothings)
def test_classes_mean_the_same_as_certain_probabilities(
    framework: str, labels: np.ndarray, logits: np.ndarray, smoothing: float
) -> None:
    certain = np.eye(CLASSES, dtype=np.float32)[labels]
    first = loss(framework, labels, logits, smoothing=smoothing)
    second = loss(framework, certain, logits, smoothing=smoothing)
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-5, atol=1e-5)


@per_framework
@given(labels=class_arrays, logits=logits_arrays, out=st.integers(0, COUNT - 1))
def test_masking_an_example_equals_leaving_it_out(
    framework: str, labels: np.ndarray, logits: np.ndarray, out: int
) -> None:
    mask = (np.arange(COUNT) != out).astype(np.float32)
    masked = loss(framework, labels, logits, mask, smoothing=0.1)
    without = loss(framework, np.delete(labels, out), np.delete(logits, out, 0), smoothing=0.1)
    assert masked["per_example"][out] == 0
    left = np.delete(masked["per_example"], out)
    np.testing.assert_allclose(left, without["per_example"], rtol=1e-6)
    np.testing.assert_allclose(masked["summed"], without["summed"], rtol=1e-6)
    assert masked["n_valid_examples"] == without["n_valid_examples"] == COUNT - 1


@per_framework
@given(
    labels=class_arrays,
    logits=logits_arrays,
    weights=weight_arrays,
    order=st.permutations(range(COUNT)),
)
def test_permuting_a_batch_permutes_the_examples(
    framework: str,
    labels: np.ndarray,
    logits: np.ndarray,
    weights: np.ndarray,
    order: list[int],
) -> None:
    first = loss(framework, labels, logits, weights, smoothing=0.1)
    second = loss(framework, labels[order], logits[order], weights[order], smoothing=0.1)
    np.testing.assert_allclose(second["per_example"], first["per_example"][order], rtol=1e-6)
    np.testing.assert_allclose(second["summed"], first["summed"], rtol=1e-5, atol=1e-6)


@per_framework
@given(
    labels=class_arrays,
    logits=logits_arrays,
    order=st.permutations(range(CLASSES)),
    shift=st.integers(-50, 50),
)
def test_neither_the_order_of_the_classes_nor_a_common_shift_matters(
    framework: str, labels: np.ndarray, logits: np.ndarray, order: list[int], shift: int
) -> None:
    renamed = np.argsort(order).astype(np.int32)[labels]
    moved = (logits[:, order] + shift).astype(np.float32)
    first = loss(framework, labels, logits, smoothing=0.1)["per_example"]
    second = loss(framework, renamed, moved, smoothing=0.1)["per_example"]
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-4)
