"""Laws of evaluation: thresholds, latches, and whole runs of the loop against the rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.evaluation import (
    MAX_FAILED_EVALUATIONS_IN_ROW,
    EndReason,
    Goal,
    Progress,
    end_reason,
    is_due,
    target_reached,
    time_check_is_due,
    time_remains,
)
from spec.scoring import first_hit
from spec.timing import Clock, Event
from spec.workloads import Direction

any_floats = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.floats(min_value=0.0, max_value=1e6)
directions = st.sampled_from(list(Direction))
metric_pairs = st.lists(st.tuples(any_floats, any_floats), max_size=12)


def _opposite(direction: Direction) -> Direction:
    return Direction.MAXIMIZE if direction is Direction.MINIMIZE else Direction.MINIMIZE


@pytest.mark.clause("EVAL-5")
@given(any_floats, finite, directions)
def test_maximising_is_minimising_the_negative(
    value: float, target: float, direction: Direction
) -> None:
    assert target_reached(value, target, direction) == target_reached(
        -value, -target, _opposite(direction)
    )


@pytest.mark.clause("EVAL-5")
@given(finite, finite, finite, directions)
def test_a_better_value_reaches_whatever_a_worse_one_reaches(
    one: float, other: float, target: float, direction: Direction
) -> None:
    low, high = sorted((one, other))
    better, worse = (low, high) if direction is Direction.MINIMIZE else (high, low)
    if target_reached(worse, target, direction):
        assert target_reached(better, target, direction)
    assert target_reached(target, target, direction)


@pytest.mark.clause("EVAL-2")
@given(times, times, times, st.booleans())
def test_what_is_due_stays_due(one: float, other: float, period: float, complete: bool) -> None:
    early, late = sorted((one, other))

    def due(seconds: float | None) -> bool:
        return is_due(
            seconds_since_last_evaluation=seconds,
            eval_period_seconds=period,
            training_complete=complete,
        )

    assert due(None)
    assert due(late) or not due(early)
    assert due(period)


@pytest.mark.clause("EVAL-3")
@given(times, times, times)
def test_time_that_is_used_up_does_not_come_back(one: float, other: float, budget: float) -> None:
    early, late = sorted((one, other))
    assert time_remains(early, budget) or not time_remains(late, budget)
    assert not time_remains(budget, budget)


@pytest.mark.clause("EVAL-7", "EVAL-6", "EVAL-1")
@given(metric_pairs, finite, finite, directions)
def test_goals_and_failures_are_what_the_whole_history_says(
    history: list[tuple[float, float]],
    validation_target: float,
    test_target: float,
    direction: Direction,
) -> None:
    goal = Goal("m", direction, validation_target, test_target)
    progress = Progress()
    for now, (validation, test) in enumerate(history):
        following = progress.after_evaluation(
            {"validation/m": validation, "test/m": test}, goal, float(now)
        )
        assert following.validation_goal_reached >= progress.validation_goal_reached
        assert following.test_goal_reached >= progress.test_goal_reached
        progress = following
    assert progress.validation_goal_reached == any(
        target_reached(validation, validation_target, direction) for validation, _ in history
    )
    assert progress.test_goal_reached == any(
        target_reached(test, test_target, direction) for _, test in history
    )
    trailing = 0
    for validation, test in reversed(history):
        if math.isfinite(validation) and math.isfinite(test):
            break
        trailing += 1
    assert progress.failed_evaluations_in_row == trailing
    assert (end_reason(progress) is EndReason.EVALUATION_FAILED) == (
        trailing >= MAX_FAILED_EVALUATIONS_IN_ROW
        and not (progress.validation_goal_reached and progress.test_goal_reached)
    )


@pytest.mark.clause("EVAL-5", "SCORE-2")
@given(st.lists(any_floats, max_size=12), finite, directions)
def test_the_validation_goal_is_reached_exactly_if_the_log_scores(
    values: list[float], target: float, direction: Direction
) -> None:
    goal, progress = Goal("m", direction, target), Progress()
    for now, value in enumerate(values, start=1):
        progress = progress.after_evaluation({"validation/m": value}, goal, float(now))
    rows = [(float(now), value) for now, value in enumerate(values, start=1)]
    hit = first_hit(rows, target, direction, budget_seconds=1e6)
    assert progress.validation_goal_reached == (hit < math.inf)


# Whole runs: the loop of the module's docstring on a simulated clock in whole milliseconds.


@dataclass(frozen=True)
class Trace:
    """What a run did, in milliseconds."""

    reason: EndReason
    steps: int
    submission: int
    evaluations: list[tuple[int, int, int]]  # submission time, start and end on the clock
    longest_step: int


def _run_loop(
    costs: list[tuple[int, int, int, int]],
    *,
    period: int,
    budget: int,
    max_steps: int,
    skipped: bool,
    complete_at: int | None,
) -> Trace:
    goal = Goal("m", Direction.MAXIMIZE, 1.0)
    clock, progress, now = Clock.start(0.0), Progress(), 0
    evaluations: list[tuple[int, int, int]] = []
    steps: list[int] = []
    while (reason := end_reason(progress, max_steps)) is None:
        step, prepare, evaluate, log = costs[progress.global_step % len(costs)]
        steps.append(step)
        now += step
        clock = clock.advance(Event.STEP_ENDED, now / 1000)
        progress = progress.after_step(max_steps, progress.global_step + 1 == complete_at)
        due = not skipped and is_due(
            seconds_since_last_evaluation=progress.seconds_since_last_evaluation(now / 1000),
            eval_period_seconds=period / 1000,
            training_complete=progress.training_complete,
        )
        if due:
            now += prepare
            clock = clock.advance(Event.PREPARED, now / 1000)
        if time_check_is_due(evaluation_due=due, evaluations_skipped=skipped):
            progress = progress.after_time_check(clock.submission_seconds, budget / 1000)
        if due and progress.is_time_remaining:
            begun = now
            now += evaluate
            clock = clock.advance(Event.EVALUATED, now / 1000)
            progress = progress.after_evaluation({"validation/m": 0.0}, goal, now / 1000)
            evaluations.append((clock.submission_ns // 10**6, begun, now))
            now += log
            clock = clock.advance(Event.LOGGED, now / 1000)
    assert clock.total_ns == now * 10**6
    return Trace(
        reason, progress.global_step, clock.submission_ns // 10**6, evaluations, max(steps)
    )


costs_of_steps = st.lists(
    st.tuples(*[st.integers(1, 400)] + [st.integers(0, 400)] * 3), min_size=1, max_size=8
)
runs = {
    "costs": costs_of_steps,
    "period": st.integers(0, 2000),
    "budget": st.integers(1, 8000),
    "max_steps": st.integers(1, 60),
    "complete_at": st.none() | st.integers(1, 60),
}


@pytest.mark.clause("EVAL-2", "EVAL-3", "EVAL-4", "EVAL-8")
@given(**runs)
def test_a_run_with_evaluations_keeps_the_rules(
    costs: list[tuple[int, int, int, int]],
    period: int,
    budget: int,
    max_steps: int,
    complete_at: int | None,
) -> None:
    trace = _run_loop(
        costs,
        period=period,
        budget=budget,
        max_steps=max_steps,
        skipped=False,
        complete_at=complete_at,
    )
    last_step = max_steps if complete_at is None else min(max_steps, complete_at)
    assert trace.steps <= last_step
    assert all(submission < budget for submission, _, _ in trace.evaluations)
    apart = [begun - ended for (_, _, ended), (_, begun, _) in pairwise(trace.evaluations)]
    # All but the one after training is complete are a full period apart.
    assert all(gap >= period for gap in apart[:-1])
    if trace.reason is EndReason.OUT_OF_TIME:
        assert trace.submission >= budget
        # A check comes at the latest a step and a preparation after the period is over.
        since = trace.evaluations[-1][0] if trace.evaluations else 0
        assert trace.submission <= since + period + trace.longest_step + max(c[1] for c in costs)
    else:
        assert trace.steps == last_step
        assert trace.submission < budget
        assert trace.reason is (
            EndReason.STEP_LIMIT if last_step == max_steps else EndReason.TRAINING_COMPLETE
        )


@pytest.mark.clause("EVAL-4", "EVAL-8")
@given(**runs)
def test_a_run_without_evaluations_stops_by_time_within_one_step(
    costs: list[tuple[int, int, int, int]],
    period: int,
    budget: int,
    max_steps: int,
    complete_at: int | None,
) -> None:
    trace = _run_loop(
        costs,
        period=period,
        budget=budget,
        max_steps=max_steps,
        skipped=True,
        complete_at=complete_at,
    )
    assert trace.evaluations == []
    assert trace.submission < budget + trace.longest_step
    assert (trace.reason is EndReason.OUT_OF_TIME) == (trace.submission >= budget)
