"""Metrics of the graph workload against the official numbers."""

from __future__ import annotations

import numpy as np
import pytest

from algoperf_ref.workloads.ogbg.metrics import (
    average_precision,
    evaluation_metrics,
    mean_average_precision,
)
from conformance_tests.workloads import samples

GOLDEN = samples.golden_json("metrics_ogbg.json")
ARRAYS = samples.golden_arrays("metrics_ogbg.npz")
LABELS, LOGITS, WEIGHTS = (
    ARRAYS[f"map/{name}"] for name in ("replaced_labels", "logits", "weights")
)


def test_all_metrics_are_the_official_ones() -> None:
    measured = evaluation_metrics(LABELS, LOGITS, WEIGHTS)
    expected = GOLDEN["ogbg_eval_metrics"]
    assert set(measured) == set(expected)
    for name, value in measured.items():
        assert value == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("task", range(6))
def test_every_task_counts_as_officially(task: int) -> None:
    """Task 4 has positive labels only, but unlabelled graphs, and counts with 1 (decision 19)."""
    columns = (array[:, task : task + 1] for array in (LABELS, LOGITS, WEIGHTS))
    expected = GOLDEN["map"]["results"][f"task{task}"]
    measured = mean_average_precision(*columns)
    if expected is None:
        assert np.isnan(measured)
    else:
        assert measured == pytest.approx(expected, abs=1e-6)


def test_invalid_entries_are_not_read() -> None:
    logits = np.where(WEIGHTS.astype(bool), LOGITS, np.nan)
    assert evaluation_metrics(LABELS, logits, WEIGHTS) == evaluation_metrics(
        LABELS, LOGITS, WEIGHTS
    )


def test_a_valid_nan_makes_the_result_nan() -> None:
    logits = LOGITS.copy()
    row, column = np.argwhere(WEIGHTS.astype(bool))[0]
    logits[row, column] = np.nan
    measured = evaluation_metrics(LABELS, logits, WEIGHTS)
    assert np.isnan(measured["mean_average_precision"])
    assert np.isnan(measured["loss"])


def test_large_logits_tie_at_probability_one() -> None:
    """In float32 the sigmoid of 30 and of 40 is 1: one threshold, as in the benchmark."""
    labels = np.array([[1.0], [0.0], [0.0]], np.float32)
    ones = np.ones((3, 1))
    measured = mean_average_precision(labels, np.array([[40.0], [30.0], [0.0]]), ones)
    assert measured == pytest.approx(0.5)
    assert mean_average_precision(labels, np.array([[4.0], [3.0], [0.0]]), ones) == 1.0


def test_average_precision_of_a_known_ranking() -> None:
    positive = np.array([True, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    assert average_precision(positive, scores) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(positive, np.zeros(4)) == pytest.approx(0.5)
