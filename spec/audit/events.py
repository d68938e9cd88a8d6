"""The lines of an event log as values: what each has to hold, and of which type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spec.goals import Goal
from spec.timing import Event
from spec.workloads import Direction

STARTED, ENDED = "started", "ended"
CLOCK_EVENTS: Mapping[str, Event] = {
    "step ended": Event.STEP_ENDED,
    "prepared": Event.PREPARED,
    "evaluated": Event.EVALUATED,
    "logged": Event.LOGGED,
}
"""Names of the readings of the clock in an event log."""

_LIMIT = 2**62  # nanoseconds: a hundred years


class DamagedEvent(ValueError):
    """A line is no event; the message says which field is wrong.

    Attributes:
      line: its number, where whoever raises this knows it.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Start:
    """A line ``started``: the rules in force, and what was carried over.

    Attributes:
      preemption_count: number of the resume, 0 for the first start.
      step: steps done before.
      reading_ns: reading of the clock.
      accounts_ns: nanoseconds carried over: submission, evaluation, logging.
      seconds_since_last_evaluation: None if there was none.
      failed_evaluations_in_row: at the checkpoint.
      validation_goal_reached: at the checkpoint.
      test_goal_reached: at the checkpoint.
      clock: ``wall`` or ``steps``.
      eval_period_seconds: the evaluation period.
      budget_seconds: the limit of the submission time.
      max_global_steps: the step limit, None for none.
      skip_evaluations: the run was asked to do without evaluations.
      goal: metric and targets.
      workload: name; None if the log does not say.
      framework: likewise.
      rules: ruleset version, likewise.
    """

    preemption_count: int
    step: int
    reading_ns: int
    accounts_ns: tuple[int, int, int]
    seconds_since_last_evaluation: float | None
    failed_evaluations_in_row: int
    validation_goal_reached: bool
    test_goal_reached: bool
    clock: str
    eval_period_seconds: float
    budget_seconds: float
    max_global_steps: int | None
    skip_evaluations: bool
    goal: Goal
    workload: str | None = None
    framework: str | None = None
    rules: str | None = None


def start_of(event: Mapping[str, Any]) -> Start:
    """Reads a line ``started``.

    Raises:
      DamagedEvent: a field is absent or of the wrong type.
    """
    direction = text(event, "direction")
    if direction not in [known.value for known in Direction]:
        raise DamagedEvent(f"direction is {direction!r}")
    passed = _optional_number(event, "seconds_since_last_evaluation")
    validation_target = _number(event, "validation_target")
    test_target = _optional_number(event, "test_target")
    limit = None if event.get("max_global_steps") is None else count(event, "max_global_steps")
    return Start(
        preemption_count=count(event, "preemption_count"),
        step=count(event, "step"),
        reading_ns=reading(event),
        accounts_ns=(
            count(event, "submission_ns"),
            count(event, "evaluation_ns"),
            count(event, "logging_ns"),
        ),
        seconds_since_last_evaluation=passed,
        failed_evaluations_in_row=count(event, "failed_evaluations_in_row"),
        validation_goal_reached=_flag(event, "validation_goal_reached"),
        test_goal_reached=_flag(event, "test_goal_reached"),
        clock=text(event, "clock"),
        eval_period_seconds=_number(event, "eval_period_seconds"),
        budget_seconds=_number(event, "budget_seconds"),
        max_global_steps=limit,
        skip_evaluations=_flag(event, "skip_evaluations"),
        goal=Goal(text(event, "metric"), Direction(direction), validation_target, test_target),
        workload=None if event.get("workload") is None else text(event, "workload"),
        framework=None if event.get("framework") is None else text(event, "framework"),
        rules=None if event.get("rules") is None else text(event, "rules"),
    )


def count(event: Mapping[str, Any], name: str) -> int:
    """Returns a field that is a whole number from 0.

    Raises:
      DamagedEvent: it is not.
    """
    value = event.get(name)
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise DamagedEvent(f"{name} is {_shown(event, name)}, not a whole number from 0")
    return value


def reading(event: Mapping[str, Any]) -> int:
    """Returns the reading of the clock in nanoseconds.

    Raises:
      DamagedEvent: it is no whole number.
    """
    value = event.get("reading_ns")
    if type(value) is not int or not -_LIMIT < value < _LIMIT:
        raise DamagedEvent(f"reading_ns is {_shown(event, 'reading_ns')}, not whole nanoseconds")
    return value


def text(event: Mapping[str, Any], name: str) -> str:
    """Returns a field that is text.

    Raises:
      DamagedEvent: it is not.
    """
    value = event.get(name)
    if not isinstance(value, str):
        raise DamagedEvent(f"{name} is {_shown(event, name)}, not text")
    return value


def metric(event: Mapping[str, Any], split: str) -> float:
    """Returns the target metric of a split in a line ``evaluated``; NaN where it is null.

    Raises:
      DamagedEvent: it is neither a number nor null.
    """
    value = _optional_number(event, split)
    return math.nan if value is None else value


def _number(event: Mapping[str, Any], name: str) -> float:
    value = event.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LIMIT:
        raise DamagedEvent(f"{name} is {_shown(event, name)}, not a number")
    return float(value)


def _optional_number(event: Mapping[str, Any], name: str) -> float | None:
    return None if event.get(name) is None else _number(event, name)


def _flag(event: Mapping[str, Any], name: str) -> bool:
    value = event.get(name)
    if not isinstance(value, bool):
        raise DamagedEvent(f"{name} is {_shown(event, name)}, not true or false")
    return value


def _shown(event: Mapping[str, Any], name: str) -> str:
    return repr(event[name])[:40] if name in event else "absent"
