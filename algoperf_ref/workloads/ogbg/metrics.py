"""Metrics of the graph workload, in numpy: one code for both frameworks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def evaluation_metrics(labels: Floats, logits: Floats, weights: Floats) -> dict[str, float]:
    """Computes every metric of one split.

    Args:
      labels: ``[graphs, tasks]``, 0 or 1; 0 where unknown and in padding graphs.
      logits: ``[graphs, tasks]``.
      weights: ``[graphs, tasks]``, non-zero where the task is labelled and the graph is real.

    Returns:
      ``accuracy`` and ``loss``, means over the valid pairs of graph and task, and
      ``mean_average_precision``. Source: Workload facts (ogbg), 6.
    """
    is_valid = weights.astype(bool)
    known = labels[is_valid].astype(np.float64)
    scores = logits[is_valid].astype(np.float64)
    losses = np.maximum(scores, 0) - scores * known + np.log1p(np.exp(-np.abs(scores)))
    num_valid = max(len(known), 1)
    return {
        "accuracy": float(((scores > 0) == (known == 1)).sum() / num_valid),
        "loss": float(losses.sum() / num_valid),
        "mean_average_precision": mean_average_precision(labels, logits, weights),
    }


def mean_average_precision(labels: Floats, logits: Floats, weights: Floats) -> float:
    """Mean over the tasks of the average precision of their labelled graphs.

    A task counts if some graph is positive and some is not. Unknown labels and padding are 0 and
    so count as not positive, as in the benchmark: a task whose labelled graphs are all positive
    takes part with average precision 1. The targets were set so (Decisions, 19).

    Args:
      labels, logits, weights: as for :func:`evaluation_metrics`.

    Returns:
      The mean, or NaN if no task counts or some valid logit is NaN.
    """
    is_valid = weights.astype(bool)
    if np.isnan(logits[is_valid]).any():
        return float("nan")
    positive = is_valid & (labels == 1)
    # Ranked by float32 probabilities, as in the benchmark: very large logits tie at 1.
    probabilities = _sigmoid(logits.astype(np.float32))
    tasks = np.flatnonzero(positive.any(axis=0) & (labels != 1).any(axis=0))
    if len(tasks) == 0:
        return float("nan")
    precisions = [
        average_precision(positive[valid, task], probabilities[valid, task])
        for task in tasks
        for valid in [is_valid[:, task]]
    ]
    return float(np.mean(precisions))


def average_precision(is_positive: NDArray[np.bool_], scores: Floats) -> float:
    """Sum over score thresholds of precision times the gain in recall, without interpolation.

    Args:
      is_positive: ``[n]``, with at least one True.
      scores: ``[n]``; equal scores are one threshold.

    Returns:
      Average precision in (0, 1].
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    is_last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    found = np.cumsum(is_positive[order])[is_last_of_tie]
    precision = found / (np.flatnonzero(is_last_of_tie) + 1)
    return float((precision * np.diff(found, prepend=0)).sum() / found[-1])


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logistic function that overflows nowhere."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
