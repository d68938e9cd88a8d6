"""Invariances of the recommendation model's loss, and a float64 oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref import frameworks
from algoperf_ref.frameworks.twins import load_twin

COUNT = 6  # One size, so that JAX compiles each operation once.
# Within float32's exact range of exp; float32 values, so that the oracle sees the same numbers.
logits_arrays = hnp.arrays(np.float32, (COUNT, 1), elements=st.floats(-80, 80, width=32))
binary_arrays = hnp.arrays(np.float32, COUNT, elements=st.sampled_from([0.0, 1.0]))
soft_arrays = hnp.arrays(np.float32, COUNT, elements=st.floats(0, 1, width=32))
weight_arrays = hnp.arrays(np.float32, COUNT, elements=st.floats(0, 4, width=32))
per_framework = pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)


def loss(framework: str, *arrays: np.ndarray) -> dict[str, np.ndarray]:
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    if framework == "pytorch":
        import torch

        arrays = tuple(torch.from_numpy(array.copy()) for array in arrays)
    result: dict[str, Any] = losses.sigmoid_cross_entropy(*arrays)
    return {name: np.asarray(value) for name, value in result.items()}


@per_framework
@given(labels=soft_arrays, logits=logits_arrays, weights=weight_arrays)
def test_the_loss_is_that_of_a_float64_oracle(
    framework: str, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> None:
    x, y, w = (array.astype(np.float64).reshape(-1) for array in (logits, labels, weights))
    expected = w * (y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x))
    result = loss(framework, labels, logits, weights)
    assert (result["per_example"] >= 0).all()
    np.testing.assert_allclose(result["per_example"], expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(result["summed"], expected.sum(), rtol=2e-5, atol=1e-4)
    np.testing.assert_allclose(result["n_valid_examples"], w.sum(), rtol=1e-6)


@per_framework
@given(labels=binary_arrays, logits=logits_arrays, out=st.integers(0, COUNT - 1))
def test_masking_an_example_equals_leaving_it_out(
    framework: str, labels: np.ndarray, logits: np.ndarray, out: int
) -> None:
    mask = (np.arange(COUNT) != out).astype(np.float32)
    masked = loss(framework, labels, logits, mask)
    without = loss(framework, np.delete(labels, out), np.delete(logits, out, axis=0))
    assert masked["per_example"][out] == 0
    np.testing.assert_allclose(
        np.delete(masked["per_example"], out), without["per_example"], rtol=1e-6
    )
    np.testing.assert_allclose(masked["summed"], without["summed"], rtol=1e-6)
    assert masked["n_valid_examples"] == without["n_valid_examples"] == COUNT - 1


@per_framework
@given(
    labels=binary_arrays,
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
    first = loss(framework, labels, logits, weights)
    second = loss(framework, labels[order], logits[order], weights[order])
    np.testing.assert_allclose(second["per_example"], first["per_example"][order], rtol=1e-6)
    np.testing.assert_allclose(second["summed"], first["summed"], rtol=1e-5)
