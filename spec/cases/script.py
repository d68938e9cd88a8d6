"""A scripted run: the training loop of the rules on a clock that a case moves on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spec import evaluation
from spec.evaluation import Goal, Progress
from spec.timing import NANOSECONDS_PER_SECOND, Clock, Event
from spec.workloads import Direction

METRIC = "metric"
"""Name of the target metric of a scripted run."""


def accounts(clock: Clock) -> dict[str, float]:
    """Returns the seconds of every account of a clock, and their sum."""
    return {
        "submission_seconds": clock.submission_seconds,
        "evaluation_seconds": clock.evaluation_seconds,
        "logging_seconds": clock.logging_seconds,
        "total_seconds": clock.total_seconds,
    }


def expand(steps: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yields every step of a script; an entry stands for ``times`` equal steps."""
    for step in steps:
        for _ in range(step.get("times", 1)):
            yield step


def script_goal(goal: Mapping[str, Any]) -> Goal:
    """Returns the goal of a script."""
    return Goal(
        METRIC, Direction(goal["direction"]), goal["validation_target"], goal["test_target"]
    )


def script_metrics(outcome: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of a scripted evaluation by ``<split>/<metric>``."""
    splits = [split for split in ("validation", "test") if split in outcome]
    return {f"{split}/{METRIC}": outcome[split] for split in splits}


class _Stopwatch:
    """Adds up whole nanoseconds, so that a script's readings carry no rounding errors."""

    def __init__(self, start: float) -> None:
        self._nanoseconds = round(start * NANOSECONDS_PER_SECOND)

    def after(self, *seconds: float) -> float:
        """Lets time pass and returns the reading."""
        self._nanoseconds += sum(round(part * NANOSECONDS_PER_SECOND) for part in seconds)
        return self._nanoseconds / NANOSECONDS_PER_SECOND


def evaluation_run(
    *,
    goal: Mapping[str, Any],
    budget_seconds: float,
    eval_period_seconds: float,
    steps: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    max_global_steps: int | None = None,
    evaluations_skipped: bool = False,
    start_reading: float = 0.0,
    resume: Mapping[str, Any] | None = None,
    prepare: Mapping[str, float] | None = None,
    logging_seconds: float = 0.0,
) -> dict[str, Any]:
    """Runs a script to the end of the run or of the script.

    Args:
      goal: direction, validation target and test target (None: no test split).
      budget_seconds: limit of the submission time.
      eval_period_seconds: evaluation period.
      steps: the steps: seconds, seconds that the device goes on after the call has returned, and
        whether the submission declares its training complete.
      evaluations: outcomes of the evaluations in their order; the last one stands for all further
        ones.
      max_global_steps: step limit.
      evaluations_skipped: the run does without evaluations.
      start_reading: reading of the clock at the start.
      resume: what an earlier start of the run left behind.
      prepare: duration of a preparation, as of a step.
      logging_seconds: duration of logging and checkpointing after an evaluation.

    Returns:
      The result as ``README.md`` describes it.

    Raises:
      spec.clauses.BrokenRule: the run breaks a rule.
    """
    targets = script_goal(goal)
    watch = _Stopwatch(start_reading)
    now = watch.after()
    stored = dict(resume or {})
    carried = {name: s for name, s in stored.items() if name.endswith("_seconds")}
    passed = stored.get("seconds_since_last_evaluation")
    clock = Clock.start(now, **carried)
    progress = Progress(
        global_step=stored.get("steps", 0),
        validation_goal_reached=stored.get("validation_goal_reached", False),
        test_goal_reached=stored.get("test_goal_reached", False),
        last_evaluation_end_seconds=None if passed is None else -passed,
        failed_evaluations_in_row=stored.get("failed_evaluations_in_row", 0),
    ).resumed_at(now, passed or 0.0)
    evaluated_after: list[int] = []
    script = expand(steps)
    while (end := evaluation.end_reason(progress, max_global_steps)) is None:
        step = next(script, None)
        if step is None:
            break
        now = watch.after(*_durations(step))
        clock = clock.advance(Event.STEP_ENDED, now)
        progress = progress.after_step(max_global_steps, step.get("completes", False))
        due = not evaluations_skipped and evaluation.is_due(
            seconds_since_last_evaluation=progress.seconds_since_last_evaluation(now),
            eval_period_seconds=eval_period_seconds,
            training_complete=progress.training_complete,
        )
        if due:
            clock = clock.advance(Event.PREPARED, watch.after(*_durations(prepare or {})))
        if evaluation.time_check_is_due(
            evaluation_due=due, evaluations_skipped=evaluations_skipped
        ):
            progress = progress.after_time_check(clock.submission_seconds, budget_seconds)
        if not due or not progress.is_time_remaining:
            continue
        outcome = evaluations[min(len(evaluated_after), len(evaluations) - 1)]
        evaluated_after.append(progress.global_step)
        now = watch.after(outcome.get("seconds", 0.0))
        clock = clock.advance(Event.EVALUATED, now)
        if outcome.get("fails", False):
            progress = progress.after_failed_evaluation(now)
        else:
            progress = progress.after_evaluation(script_metrics(outcome), targets, now)
        clock = clock.advance(Event.LOGGED, watch.after(logging_seconds))
    return {
        "steps": progress.global_step,
        "evaluated_after": evaluated_after,
        "validation_goal_reached": progress.validation_goal_reached,
        "test_goal_reached": progress.test_goal_reached,
        "end": None if end is None else end.value,
        "accounts": accounts(clock),
    }


def _durations(part: Mapping[str, Any]) -> tuple[float, float]:
    return part.get("seconds", 0.0), part.get("device_seconds", 0.0)
