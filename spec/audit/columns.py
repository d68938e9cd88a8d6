"""A log without events: what its columns alone can be held to.

The official harness writes such logs. Its accounts do not cover all of the time, which is what the
first check measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spec.audit.problems import Problems
from spec.audit.rows import (
    EVALUATION_TIME,
    LOGGING_TIME,
    PREEMPTION_COUNT,
    SCORE,
    STEP,
    SUBMISSION_TIME,
    TOTAL,
)
from spec.clauses import Source, clause
from spec.hits import Column, Mask, hits, last_attempts
from spec.records import EVAL_MEASUREMENTS
from spec.workloads import WorkloadSpec

TOLERANCE_SECONDS_PER_STEP = 0.001
_ROUNDING = 1e-6  # seconds; sums of floats below a year are good to this

NOT_WITHOUT_EVENTS = "skipped and failed evaluations and the reason of the end"
"""What no log can show without its events."""

_ACCOUNTS = (SUBMISSION_TIME, EVALUATION_TIME, LOGGING_TIME)


@dataclass(frozen=True)
class Limits:
    """The rules that a log is held to.

    Attributes:
      row: of the workload.
      budget_seconds: limit of the submission time.
    """

    row: WorkloadSpec
    budget_seconds: float


@clause(
    "AUDIT-2",
    """In a log without clock events the three accounts of every evaluation row add up to its total
    duration within a millisecond per step.""",
    source=Source("Decisions", "3"),
)
@clause(
    "AUDIT-3",
    """No accumulated time and no step count of a log gets smaller from one row to the next; rows
    that a resumed run made again are left out before.""",
    source=(Source("Decisions", "3"), Source("Scoring semantics", "5")),
)
@clause(
    "AUDIT-5",
    """In a log without clock events, the total duration between two evaluations, less the second
    evaluation itself, is at least the evaluation period, but for the last evaluation, which
    may come because training is complete.""",
    source=(Source("Harness contract", "5.1"), Source("Decisions", "4")),
)
def check_columns(
    columns: Mapping[str, Column], limits: Limits | None
) -> tuple[Problems, list[str]]:
    """Checks the evaluation rows of a log that has no events.

    Args:
      columns: of ``eval_measurements.csv``; all rows. A column that is absent is a remark.
      limits: None if the workload is unknown; then budget, period and targets are remarks.

    Returns:
      The problems, and what could not be checked.
    """
    checker = _Checker(columns, limits)
    checker.check()
    return checker.problems, checker.unchecked


class _Checker:
    def __init__(self, columns: Mapping[str, Column], limits: Limits | None) -> None:
        self.problems = Problems()
        self.unchecked = [NOT_WITHOUT_EVENTS]
        self._without_column: list[str] = []
        self._missing: set[str] = set()
        self._limits = limits
        num_rows = len(next(iter(columns.values())))
        nothing = np.full(num_rows, np.nan)
        attempts = columns.get(PREEMPTION_COUNT, nothing)
        keep = last_attempts(columns.get(STEP, nothing), attempts)
        self._rows = np.flatnonzero(keep) + 1
        self._columns = {name: column[keep] for name, column in columns.items()}
        attempts = attempts[keep]
        # Two rows of one process: only between them are differences of times known to be right.
        self._together: Mask = (attempts[1:] == attempts[:-1]) | np.isnan(attempts[1:])
        if not keep.all():
            self.unchecked.append(f"{int((~keep).sum())} rows that a resumed run made again")
        if not self._together.all():
            self.unchecked.append("the time between the last row before a resume and the next")

    def check(self) -> None:
        """Runs all checks whose columns are there."""
        if not len(self._rows):
            self.problems.add(EVAL_MEASUREMENTS, "", "", "no evaluation", "EVAL-2")
            return
        self._check_times()
        self._check_rules()
        if self._missing:
            what = " and ".join(self._without_column)
            self.unchecked.append(f"{what} (no column {', '.join(sorted(self._missing))})")

    def _check_times(self) -> None:
        self._check_numbers()
        if self._has("the sum of the accounts", TOTAL, STEP, *_ACCOUNTS):
            self._check_sum()
        self._check_order()
        if self._has("the first evaluation", STEP):
            self._check_first()
        if self._has("the score", SCORE, SUBMISSION_TIME):
            self._check_score()

    def _check_rules(self) -> None:
        if self._limits is None:
            self.unchecked.append("evaluation period, budget and targets of an unknown workload")
            return
        if self._has("the distance of evaluations", TOTAL, EVALUATION_TIME):
            self._check_distance(self._limits.row.eval_period_time_sec)
        if self._has("the budget", SUBMISSION_TIME):
            self._check_budget(self._limits.budget_seconds)
        row = self._limits.row
        goals = [f"{split}/{row.target_metric_name}" for split in ("validation", "test")]
        if self._has("whether both targets ended the trial", *goals):
            self._check_targets(row, goals)

    def _has(self, what: str, *names: str) -> bool:
        missing = [name for name in names if name not in self._columns]
        if missing:
            self._without_column.append(what)
            self._missing.update(missing)
        return not missing

    def _check_numbers(self) -> None:
        for name in (*_ACCOUNTS, SCORE, TOTAL, STEP):
            if name in self._columns:
                bad = ~np.isfinite(self._columns[name])
                self._tell(bad, name, lambda _: "not a number", "REC-2")

    def _check_sum(self) -> None:
        total, steps = self._columns[TOTAL], self._columns[STEP]
        excess = total - sum(self._columns[name] for name in _ACCOUNTS)
        allowed = TOLERANCE_SECONDS_PER_STEP * steps + _ROUNDING
        bad = np.abs(excess) > allowed

        def text(row: int) -> str:
            what = "more" if excess[row] > 0 else "less"
            return (
                f"{abs(excess[row]):.4g} s {what} than the three accounts together, where step "
                f"{steps[row]:.0f} allows {allowed[row]:.4g} s"
            )

        self._tell(bad, TOTAL, text, "AUDIT-2")

    def _check_order(self) -> None:
        for name in (*_ACCOUNTS, TOTAL, STEP, PREEMPTION_COUNT):
            if name not in self._columns:
                continue
            column = self._columns[name]
            down = column[1:] <= column[:-1] if name == STEP else column[1:] < column[:-1]
            if name == TOTAL:  # the official harness starts it anew with each process
                down = down & self._together
            self._tell(
                np.concatenate(([False], down)),
                name,
                lambda row, column=column: f"{column[row]:.10g} after {column[row - 1]:.10g}",
                "AUDIT-3",
            )

    def _check_first(self) -> None:
        first = self._columns[STEP][0]
        if first != 1:
            text = f"the first evaluation comes after step {first:.0f}, not after step 1"
            self.problems.add(EVAL_MEASUREMENTS, f"row {self._rows[0]}", STEP, text, "EVAL-2")

    def _check_score(self) -> None:
        score, seconds = self._columns[SCORE], self._columns[SUBMISSION_TIME]
        bad = (score != seconds) & np.isfinite(score) & np.isfinite(seconds)
        self._tell(bad, SCORE, lambda row: f"{score[row]}, not {seconds[row]}", "REC-2")

    def _check_distance(self, period: float) -> None:
        total, evaluation = self._columns[TOTAL], self._columns[EVALUATION_TIME]
        passed = np.diff(total) - np.diff(evaluation)
        bad = (passed < period - _ROUNDING) & self._together
        if len(bad):
            bad[-1] = False

        def text(row: int) -> str:
            return f"an evaluation {passed[row - 1]:.6g} s after the last; the period is {period} s"

        self._tell(np.concatenate(([False], bad)), TOTAL, text, "AUDIT-5")

    def _check_budget(self, budget: float) -> None:
        seconds = self._columns[SUBMISSION_TIME]

        def text(row: int) -> str:
            return f"evaluated at {seconds[row]:.6g} s, at or past the budget of {budget:g} s"

        self._tell(seconds >= budget, SUBMISSION_TIME, text, "EVAL-3")

    def _check_targets(self, row: WorkloadSpec, goals: list[str]) -> None:
        nowhere = np.zeros(len(self._rows))
        reached = np.ones(len(self._rows), dtype=np.bool_)
        for name, target in zip(
            goals, (row.validation_target_value, row.test_target_value), strict=True
        ):
            values = self._columns[name]
            # The official runner stops at better than the target, the rules at as good as it.
            better = hits(nowhere, values, target, row.direction, np.inf) & (values != target)
            reached &= np.logical_or.accumulate(better)
        after = np.concatenate(([False], reached[:-1]))
        self._tell(after, STEP, lambda _: "evaluated after both targets were reached", "EVAL-8")

    def _tell(self, bad: Mask, name: str, text: object, clause_id: str) -> None:
        """One problem for the first bad row, with the number of further ones."""
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        assert callable(text)
        more = f" (and {len(rows) - 1} further rows)" if len(rows) > 1 else ""
        place = f"row {self._rows[rows[0]]}"
        self.problems.add(EVAL_MEASUREMENTS, place, name, f"{text(int(rows[0]))}{more}", clause_id)
