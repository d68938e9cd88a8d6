"""The loss of the translation workload against the official numbers, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads.samples import FRAMEWORKS, backend, golden_arrays, to_numpy

GOLDEN = golden_arrays("losses_wmt.npz")
WEIGHTS = {
    "nomask": None,
    "weights_int": GOLDEN["in/weights"].astype(np.int32),
    "weights_float": GOLDEN["in/weights"].astype(np.float32),
    "weights_frac": 0.5 * GOLDEN["in/weights"].astype(np.float32),
}
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def loss(framework: str, *arrays: np.ndarray | None, **keywords: Any) -> dict[str, Any]:
    """Calls the loss with numpy arrays placed on the device."""
    placed = [None if array is None else backend(framework).replicate(array) for array in arrays]
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    result: dict[str, Any] = losses.token_cross_entropy(*placed, **keywords)
    return result


@per_framework
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("case", WEIGHTS)
def test_the_loss_is_the_official_one(case: str, smoothing: float, framework: str) -> None:
    """Weights tell only whether a token counts, but their sum is the number of examples."""
    labels = GOLDEN["in/labels"].astype(np.int32)
    result = loss(framework, labels, GOLDEN["in/logits"], WEIGHTS[case], label_smoothing=smoothing)
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    for name, value in result.items():
        expected = GOLDEN[f"{framework}/{case}/ls{smoothing}/{name}"]
        assert tuple(value.shape) == expected.shape
        np.testing.assert_allclose(to_numpy(value), expected, rtol=2e-5, atol=1e-5)


@per_framework
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_written_formula(smoothing: float, framework: str) -> None:
    random = np.random.RandomState(0)
    logits = random.randn(2, 4, 7).astype(np.float32)
    labels = random.randint(0, 7, (2, 4)).astype(np.int32)
    target = (1 - smoothing) * np.eye(7)[labels] + smoothing / 7
    logarithms = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    result = loss(framework, labels, logits, label_smoothing=smoothing)
    expected = -(target * logarithms).sum(-1)
    np.testing.assert_allclose(to_numpy(result["per_example"]), expected, rtol=1e-5)


@per_framework
def test_what_has_no_weight_may_be_anything(framework: str) -> None:
    logits = np.zeros((1, 3, 5), np.float32)
    logits[0, 2] = np.nan
    labels = np.array([[1, 2, 77]], np.int32)
    weights = np.array([[1, 1, 0]], np.float32)
    result = loss(framework, labels, logits, weights, label_smoothing=0.1)
    expected = [[np.log(5), np.log(5), 0]]
    np.testing.assert_allclose(to_numpy(result["per_example"]), expected, rtol=1e-6)
    assert float(result["n_valid_examples"]) == 2


@per_framework
def test_shapes_that_do_not_fit_are_refused(framework: str) -> None:
    logits, labels = np.zeros((2, 3, 5), np.float32), np.zeros((2, 3), np.int32)
    with pytest.raises(ValueError, match=r"logits must be \[rows, length, classes\]"):
        loss(framework, labels, logits[0])
    with pytest.raises(ValueError, match=r"labels \[rows, length\]"):
        loss(framework, labels[:1], logits)
    with pytest.raises(ValueError, match="mask must have shape"):
        loss(framework, labels, logits, np.ones(2, np.float32))
