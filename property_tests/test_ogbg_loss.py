"""The loss of the graph workload agrees with a float64 oracle for every input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref import frameworks
from algoperf_ref.frameworks.twins import load_twin

SHAPE = (4, 3)
# Within float32's exact range of exp; float32 values, so that the oracle sees the same numbers.
logits_arrays = hnp.arrays(np.float32, SHAPE, elements=st.floats(-80, 80, width=32))
binary_arrays = hnp.arrays(np.float32, SHAPE, elements=st.sampled_from([0.0, 1.0]))
mask_arrays = hnp.arrays(np.bool_, SHAPE)
smoothings = st.floats(0, 1, width=32)
per_framework = pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)


def loss(framework: str, *arrays: np.ndarray, **keywords: Any) -> dict[str, np.ndarray]:
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    if framework == "pytorch":
        import torch

        arrays = tuple(torch.from_numpy(array.copy()) for array in arrays)
    result = losses.masked_sigmoid_cross_entropy(*arrays, **keywords)
    return {name: np.asarray(value) for name, value in result.items()}


def oracle(labels: np.ndarray, logits: np.ndarray, mask: np.ndarray, alpha: float) -> np.ndarray:
    """The formula of the workload's sheet, entry by entry, in float64."""
    result = np.zeros(SHAPE)
    for place in zip(*np.nonzero(mask), strict=True):
        x = float(logits[place])
        y = (1 - alpha) * float(labels[place]) + alpha / SHAPE[1]
        result[place] = max(x, 0.0) - x * y + np.log1p(np.exp(-abs(x)))
    return result


@per_framework
@given(labels=binary_arrays, logits=logits_arrays, mask=mask_arrays, alpha=smoothings)
def test_the_loss_is_that_of_a_float64_oracle(
    framework: str, labels: np.ndarray, logits: np.ndarray, mask: np.ndarray, alpha: float
) -> None:
    result = loss(framework, labels, logits, mask, label_smoothing=alpha)
    expected = oracle(labels, logits, mask, alpha)
    np.testing.assert_allclose(result["per_example"], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(result["summed"], expected.sum(), rtol=2e-5, atol=1e-4)
    assert result["n_valid_examples"] == mask.sum()


@per_framework
@given(labels=binary_arrays, logits=logits_arrays, mask=mask_arrays)
def test_labels_without_weight_do_not_matter(
    framework: str, labels: np.ndarray, logits: np.ndarray, mask: np.ndarray
) -> None:
    unknown = np.where(mask, labels, np.nan).astype(np.float32)
    first = loss(framework, labels, logits, mask)
    second = loss(framework, unknown, logits, mask)
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)


@per_framework
@given(labels=binary_arrays, logits=logits_arrays, mask=mask_arrays)
def test_a_float_mask_means_the_same_as_a_boolean_one(
    framework: str, labels: np.ndarray, logits: np.ndarray, mask: np.ndarray
) -> None:
    first = loss(framework, labels, logits, mask)
    second = loss(framework, labels, logits, mask.astype(np.float32))
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)
