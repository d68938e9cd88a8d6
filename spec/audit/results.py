"""The result of a trial, held against its events, and the rules in force against the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from spec.audit.derived import NON_FINITE, Replay
from spec.audit.events import Start
from spec.audit.problems import Problems
from spec.audit.rows import PREEMPTION_COUNT, STEP, times_of
from spec.clauses import Source, clause
from spec.evaluation import EndReason
from spec.profiles import ScoringError
from spec.records import EVENTS
from spec.scoring import first_hit
from spec.workloads import WorkloadSpec

RESULT = "result.json"

# Statuses that other failures than the rules' ends have; what they name happened somewhere
# between two events, or so that the last events could not be written.
_UNFINISHED = frozenset({"timed_out", "cannot_write"})


def check_result(result: Mapping[str, Any], replay: Replay) -> list[str]:
    """Compares ``result.json`` with the events.

    Args:
      result: its content.
      replay: of the events; receives the problems.

    Returns:
      Remarks: what could not be checked.
    """
    start, problems = replay.start, replay.problems
    if start is None:
        problems.add(RESULT, "", "", "there is a result, but no event", "REC-10")
        return []
    status = result.get("status")
    _check_status(status, replay)
    for name in ("workload", "framework", "rules", "clock"):
        stated = getattr(start, name)
        if stated is not None:
            _agree(result, name, stated, problems, "REC-10")
    _agree(result, "target_metric", start.goal.metric_name, problems, "EVAL-9")
    clock = replay.clock
    totals = {
        "global_step": replay.progress.global_step,
        "submission_seconds": clock.submission_seconds,
        "evaluation_seconds": clock.evaluation_seconds,
        "logging_seconds": clock.logging_seconds,
    }
    if status in _UNFINISHED:
        return [f"{RESULT}: times, since the last events of a trial that is {status} may be lost"]
    for name, value in totals.items():
        _agree(result, name, value, problems, "AUDIT-1")
    check_hits(result, replay, start)
    _check_evaluations(result.get("eval_results"), replay)
    return []


def _check_status(status: object, replay: Replay) -> None:
    by_rules = (*(reason.value for reason in EndReason), NON_FINITE)
    wanted = replay.ends[-1].reason if replay.has_ended else None
    if wanted is not None and status in by_rules and status != wanted:
        text = f"{status}, the events say {wanted}"
    elif wanted is None and status in by_rules:
        text = f"{status}, but the events have no end"
    elif not isinstance(status, str):
        text = f"{status!r:.40}, which is no status"
    else:
        return
    replay.problems.add(RESULT, "", "status", text, "EVAL-8")


@clause(
    "AUDIT-4",
    """Nothing counts after the budget: the times to the targets that a trial states are those of
    its first evaluations that reach them with less submission time than the budget, and are
    absent if there is none.""",
    source=(Source("Decisions", "4"), Source("Scoring semantics", "2")),
)
def check_hits(result: Mapping[str, Any], replay: Replay, start: Start) -> None:
    """Compares the times to the targets with the events.

    Args:
      result: content of ``result.json``.
      replay: of the events; receives the problems.
      start: its last start, which states targets and budget.
    """
    goal = start.goal
    for split, target in (("validation", goal.validation_target), ("test", goal.test_target)):
        seconds: float | None = None
        if target is not None:
            rows = [
                (e.clock.submission_seconds, getattr(e, split))
                for e in replay.evaluations
                if e.has_row
            ]
            try:
                first = first_hit(rows, target, goal.direction, start.budget_seconds)
            except ScoringError as error:
                replay.problems.add(EVENTS, "", split, error.args[0], "AUDIT-4")
                continue
            seconds = first if math.isfinite(first) else None
        _agree(result, f"{split}_time_seconds", seconds, replay.problems, "AUDIT-4")


def _check_evaluations(stated: object, replay: Replay) -> None:
    problems = replay.problems
    expected = [evaluation for evaluation in replay.evaluations if evaluation.has_row]
    if not isinstance(stated, list):
        problems.add(RESULT, "", "eval_results", "absent, or no list", "AUDIT-1")
        return
    if len(stated) != len(expected):
        text = f"{len(stated)} evaluations, the events give {len(expected)}"
        problems.add(RESULT, "", "eval_results", text, "AUDIT-1")
        return
    for number, (item, evaluation) in enumerate(zip(stated, expected, strict=True), start=1):
        place = f"eval_results {number}"
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[1], dict)):
            problems.add(RESULT, place, "", "no step with its metrics", "AUDIT-1")
            continue
        step, metrics = item
        if step != evaluation.step:
            text = f"{step!r:.40}, the events give {evaluation.step}"
            problems.add(RESULT, place, STEP, text, "AUDIT-1")
            continue
        wanted: dict[str, float] = {
            **times_of(evaluation),
            PREEMPTION_COUNT: evaluation.preemption_count,
        }
        for name, value in wanted.items():
            _agree(metrics, name, value, problems, "AUDIT-1", place)
        assert replay.start is not None
        for split, metric in (("validation", evaluation.validation), ("test", evaluation.test)):
            name = f"{split}/{replay.start.goal.metric_name}"
            if name in metrics:
                finite = metric if math.isfinite(metric) else None
                _agree(metrics, name, finite, problems, "EVAL-9", place)


def check_rules(start: Start, row: WorkloadSpec, budget_seconds: float, problems: Problems) -> None:
    """Compares the rules that were in force with the tables.

    Args:
      start: from the events.
      row: the workload's row of the tier and version.
      budget_seconds: by the ruleset.
      problems: receives what differs.
    """
    goal = start.goal
    for name, has, wanted, clause_id in (
        ("eval_period_seconds", start.eval_period_seconds, row.eval_period_time_sec, "EVAL-2"),
        ("budget_seconds", start.budget_seconds, budget_seconds, "EVAL-3"),
        ("metric", goal.metric_name, row.target_metric_name, "EVAL-9"),
        ("direction", goal.direction.value, row.direction.value, "WORK-8"),
        ("validation_target", goal.validation_target, row.validation_target_value, "EVAL-5"),
        ("test_target", goal.test_target, row.test_target_value, "EVAL-5"),
    ):
        if has != wanted:
            problems.add(EVENTS, "", name, f"{has}, the rules say {wanted}", clause_id)


def _agree(
    content: Mapping[str, Any],
    name: str,
    wanted: object,
    problems: Problems,
    clause_id: str,
    place: str = "",
) -> None:
    has = content.get(name, "absent")
    if isinstance(has, bool) or has != wanted:
        text = f"{has!r:.40}, the events give {wanted!r}"
        problems.add(RESULT, place, name, text, clause_id)
