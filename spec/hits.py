"""Which evaluations of a trial count, and which of them reach a target: whole columns at a time.

The columns of a log are numpy arrays with one element per row. :func:`spec.scoring.first_hit` is
the same rule for a handful of rows; the tests hold both to each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spec.clauses import Source, clause
from spec.profiles import IllegalTime
from spec.workloads import Direction

Column = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@clause(
    "SCORE-13",
    """When a run was interrupted and went on from a checkpoint, only its last attempt at every step
    counts: rows that an earlier attempt wrote at or beyond the first step of a later one do
    not.""",
    source=Source("Scoring semantics", "5"),
)
def last_attempts(steps: Column, attempts: Column) -> Mask:
    """Selects the rows of a log that were not made again after an interruption.

    Args:
      steps: global step of every row; a row without one (NaN) is kept.
      attempts: number of interruptions before the row; NaN counts as 0.

    Returns:
      True for every row that counts.
    """
    number = np.where(np.isnan(attempts), 0.0, attempts)
    keep = np.ones(len(steps), dtype=np.bool_)
    limit = math.inf
    for attempt in np.unique(number)[::-1]:
        own = number == attempt
        keep &= ~(own & (steps >= limit))
        own_steps = steps[own & ~np.isnan(steps)]
        limit = min(limit, float(own_steps.min(initial=math.inf)))
    return keep


def hits(
    seconds: Column, values: Column, target: float, direction: Direction, budget_seconds: float
) -> Mask:
    """Selects the evaluations that reach a target within the budget (SCORE-2).

    Args:
      seconds: submission time of every row; NaN is no hit.
      values: the metric; what is not finite is no hit.
      target: the workload's target.
      direction: whether smaller or larger is better.
      budget_seconds: only rows strictly below count; infinity leaves it unenforced.

    Returns:
      True for every hit.
    """
    better = values <= target if direction is Direction.MINIMIZE else values >= target
    mask: Mask = better & np.isfinite(values) & (seconds < budget_seconds)
    return mask


def earliest(mask: Mask, axis: Column) -> int | None:
    """Returns the selected row with the smallest time, the first of them if several share it.

    Args:
      mask: the rows to look at, for example :func:`hits`.
      axis: what is smallest: submission seconds, or the global step.

    Returns:
      Number of the row, None if no row is selected.

    Raises:
      IllegalTime: the smallest time is not positive.
    """
    rows = np.flatnonzero(mask & ~np.isnan(axis))
    if not len(rows):
        return None
    row = int(rows[np.argmin(axis[rows])])
    if not axis[row] > 0:
        raise IllegalTime(f"a target is reached after {axis[row]:g} s; times are positive")
    return row


@clause(
    "SCORE-14",
    """Published scores take the first row of a trial that reaches the target, in the order of the
    file and at any time, in or past the budget.""",
    source=Source("Scoring semantics", "5 and 6 (B4)"),
    versions=("v0.5", "v0.6"),
)
def published_hit(values: Column, target: float, direction: Direction) -> int | None:
    """Returns the row that a trial was scored by when the leaderboards were published.

    Args:
      values: the metric by row.
      target: the workload's target.
      direction: whether smaller or larger is better.

    Returns:
      Number of the row, None if the trial missed the target.
    """
    timeless = np.zeros(len(values))
    rows = np.flatnonzero(hits(timeless, values, target, direction, math.inf))
    return int(rows[0]) if len(rows) else None


@clause(
    "SCORE-15",
    """Published scores take, of the trials of a study, the one that reached the target at the
    smallest number of evaluations, not the fastest one; equal numbers are decided by the order in
    which trials are listed, which here is that of their numbers.""",
    source=Source("Scoring semantics", "5 and 6 (B1)"),
    versions=("v0.5", "v0.6"),
)
def published_choice(hit_rows: Sequence[int | None]) -> int | None:
    """Returns the trial that a study was scored by when the leaderboards were published.

    Args:
      hit_rows: :func:`published_hit` of every trial, by trial number.

    Returns:
      Position of the chosen trial, None if no trial reached the target.
    """
    found = [(row, position) for position, row in enumerate(hit_rows) if row is not None]
    return min(found)[1] if found else None
