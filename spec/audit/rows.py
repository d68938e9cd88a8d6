"""The rows of a trial's tables, held against the times that its events give."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from spec.audit.derived import Evaluation, Replay
from spec.audit.problems import Problems
from spec.clauses import Source, clause
from spec.hits import Column, Mask
from spec.records import COUNTER_COLUMNS, EVAL_MEASUREMENTS, MEASUREMENTS, TIME_COLUMNS

EVALUATION_TIME, LOGGING_TIME, SUBMISSION_TIME, SCORE, TOTAL = TIME_COLUMNS
STEP, PREEMPTION_COUNT = COUNTER_COLUMNS


def times_of(evaluation: Evaluation) -> Mapping[str, float]:
    """Returns what the time columns of an evaluation's row have to hold."""
    clock = evaluation.clock
    return {
        EVALUATION_TIME: clock.evaluation_seconds,
        LOGGING_TIME: clock.logging_seconds,
        SUBMISSION_TIME: clock.submission_seconds,
        SCORE: clock.submission_seconds,
        TOTAL: clock.total_seconds,
    }


@clause(
    "AUDIT-1",
    """The accumulated times of every row of a trial, and those of its result, are the ones that
    the events of its clock give, to the nanosecond.""",
    source=(Source("Decisions", "3"), Source("Harness contract", "6")),
)
def check_evaluations(
    columns: Mapping[str, Column], replay: Replay, *, is_open: bool, file: str = EVAL_MEASUREMENTS
) -> list[str]:
    """Compares evaluation rows with the events.

    Args:
      columns: the table's columns by name. In ``measurements.csv`` the rows without a total
        duration are others and are passed over.
      replay: of the events; receives the problems.
      is_open: the trial has not ended: a process that was killed may have left rows of events
        that it had not written yet, or, killed while it resumed, events whose rows are cut off.
      file: name of the table.

    Returns:
      Remarks that are no problems.
    """
    problems = replay.problems
    expected = [evaluation for evaluation in replay.evaluations if evaluation.has_row]
    names = (f"validation/{_metric(replay)}", f"test/{_metric(replay)}")
    by_step = {evaluation.step: index for index, evaluation in enumerate(expected)}
    rows = range(len(columns[STEP]))
    if file == MEASUREMENTS:
        rows = [int(row) for row in np.flatnonzero(_evaluation_rows(columns))]  # type: ignore[assignment]
    following, surplus = 0, list[int]()
    for row in rows:
        place = f"row {row + 1}"
        index = by_step.get(columns[STEP][row])
        if index is None or index < following:
            last = expected[-1].step if expected else -1
            if is_open and columns[STEP][row] > last:
                surplus.append(row)
                continue
            text = f"no evaluation after step {_number(columns[STEP][row])} in the events"
            if index is not None:
                text = f"a second row of step {_number(columns[STEP][row])}, or in wrong order"
            problems.add(file, place, STEP, text, "AUDIT-1")
            continue
        for missing in expected[following:index]:
            _tell_missing(file, missing, problems)
        following = index + 1
        evaluation = expected[index]
        wanted: dict[str, float] = {
            PREEMPTION_COUNT: evaluation.preemption_count,
            **times_of(evaluation),
        }
        for name, value in wanted.items():
            if columns[name][row] != value:
                text = f"{_number(columns[name][row])}, the events give {_number(value)}"
                clause_id = "REC-6" if name == PREEMPTION_COUNT else "AUDIT-1"
                problems.add(file, place, name, text, clause_id)
        for name, value in zip(names, (evaluation.validation, evaluation.test), strict=True):
            if name in columns and not _same(columns[name][row], value):
                text = f"{_number(columns[name][row])}, the events give {_number(value)}"
                problems.add(file, place, name, text, "EVAL-9")
    remarks = []
    rest = expected[following:]
    if is_open and rest:
        remarks.append(f"{file}: {len(rest)} evaluations have no row, a resume was interrupted")
    elif rest:
        for missing in rest:
            _tell_missing(file, missing, problems)
    if surplus:
        remarks.append(f"{file}: {len(surplus)} rows after the last event, a resume cuts them off")
    return remarks


def check_final_rows(columns: Mapping[str, Column], replay: Replay) -> None:
    """Checks that ``measurements.csv`` has a last row for every end of the trial.

    Args:
      columns: of ``measurements.csv``.
      replay: of the events; receives the problems.
    """
    finals = np.flatnonzero(~np.isnan(columns[SCORE]) & ~_evaluation_rows(columns))
    found = {(columns[STEP][row], columns[SCORE][row]) for row in finals}
    for end in replay.ends:
        if (end.step, end.submission_seconds) not in found:
            text = (
                f"no last row of step {end.step} with the {_number(end.submission_seconds)} s of "
                "submission time that the events give"
            )
            replay.problems.add(MEASUREMENTS, "", SCORE, text, "AUDIT-1")


def _evaluation_rows(columns: Mapping[str, Column]) -> Mask:
    mask: Mask = ~np.isnan(columns[TOTAL])
    return mask


def _tell_missing(file: str, evaluation: Evaluation, problems: Problems) -> None:
    text = f"no row of the evaluation after step {evaluation.step} (line {evaluation.line})"
    problems.add(file, "", "", text, "AUDIT-1")


def _metric(replay: Replay) -> str:
    return "" if replay.start is None else replay.start.goal.metric_name


def _same(has: float, wanted: float) -> bool:
    return has == wanted or not (math.isfinite(has) or math.isfinite(wanted))


def _number(value: float) -> str:
    """Writes a number in full, whole ones without a point."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
