"""Evaluation by example: when one is due, what counts as a hit, when and why a run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from spec.evaluation import (
    MAX_FAILED_EVALUATIONS_IN_ROW,
    EndReason,
    Goal,
    MissingMetric,
    Progress,
    end_reason,
    evaluation_problem,
    is_due,
    target_reached,
    time_check_is_due,
    time_remains,
)
from spec.workloads import Direction

GOAL = Goal("wer", Direction.MINIMIZE, validation_target=0.1, test_target=0.05)


def _metrics(validation: float, test: float) -> Mapping[str, float]:
    return {"validation/wer": validation, "test/wer": test, "train/wer": 0.0}


# When an evaluation is due.


@pytest.mark.clause("EVAL-2")
def test_the_first_evaluation_is_due_after_the_first_step_however_long_the_period() -> None:
    progress = Progress().after_step(None)
    assert progress.global_step == 1
    assert is_due(
        seconds_since_last_evaluation=progress.seconds_since_last_evaluation(0.001),
        eval_period_seconds=1e9,
        training_complete=False,
    )


@pytest.mark.clause("EVAL-2")
@pytest.mark.parametrize(
    ("seconds", "due"),
    [(0.0, False), (math.nextafter(240.0, 0.0), False), (240.0, True), (240.1, True)],
)
def test_an_evaluation_is_due_from_exactly_the_period_on(seconds: float, due: bool) -> None:
    assert (
        is_due(
            seconds_since_last_evaluation=seconds,
            eval_period_seconds=240.0,
            training_complete=False,
        )
        is due
    )


@pytest.mark.clause("EVAL-2")
def test_the_period_counts_from_the_end_of_the_last_evaluation() -> None:
    progress = Progress().after_step().after_evaluation(_metrics(1.0, 1.0), GOAL, now=50.0)
    assert progress.seconds_since_last_evaluation(80.0) == 30.0


@pytest.mark.clause("EVAL-2")
def test_a_simulated_clock_hits_the_period_exactly_although_its_floats_do_not() -> None:
    progress = Progress().after_step().after_evaluation(_metrics(1.0, 1.0), GOAL, now=0.4)
    since = progress.seconds_since_last_evaluation(0.7)
    assert is_due(
        seconds_since_last_evaluation=since, eval_period_seconds=0.3, training_complete=False
    )


@pytest.mark.clause("EVAL-2")
def test_one_more_evaluation_is_due_when_training_is_complete() -> None:
    assert is_due(
        seconds_since_last_evaluation=0.0, eval_period_seconds=240.0, training_complete=True
    )


@pytest.mark.clause("EVAL-2", "EVAL-6")
def test_a_failed_evaluation_is_not_retried_at_the_next_step_but_a_period_later() -> None:
    progress = Progress().after_step().after_failed_evaluation(now=10.0).after_step()
    for seconds, due in ((10.1, False), (249.9, False), (250.0, True)):
        assert (
            is_due(
                seconds_since_last_evaluation=progress.seconds_since_last_evaluation(seconds),
                eval_period_seconds=240.0,
                training_complete=False,
            )
            is due
        )


@pytest.mark.clause("EVAL-2")
def test_after_a_resume_the_period_starts_anew_under_the_new_clock() -> None:
    stored = Progress().after_step().after_evaluation(_metrics(1.0, 1.0), GOAL, now=7000.0)
    assert stored.resumed_at(3.0).seconds_since_last_evaluation(5.0) == 2.0
    assert stored.resumed_at(3.0, 0.5).seconds_since_last_evaluation(5.0) == 2.5
    assert Progress().resumed_at(3.0).seconds_since_last_evaluation(5.0) is None


# The budget.


@pytest.mark.clause("EVAL-3")
@pytest.mark.parametrize(
    ("seconds", "remains"),
    [(0.0, True), (math.nextafter(100.0, 0.0), True), (100.0, False), (100.5, False)],
)
def test_time_remains_strictly_below_the_budget_only(seconds: float, remains: bool) -> None:
    assert time_remains(seconds, 100.0) is remains
    assert Progress().after_time_check(seconds, 100.0).is_time_remaining is remains


@pytest.mark.clause("EVAL-4")
@pytest.mark.parametrize(
    ("due", "skipped", "check"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_the_budget_is_looked_at_at_evaluations_or_else_at_every_step(
    due: bool, skipped: bool, check: bool
) -> None:
    assert time_check_is_due(evaluation_due=due, evaluations_skipped=skipped) is check


@pytest.mark.clause("EVAL-4")
@pytest.mark.parametrize("due", [False, True])
def test_a_run_is_taken_to_evaluate_unless_it_is_said_that_it_does_not(due: bool) -> None:
    assert time_check_is_due(evaluation_due=due) is due


# Targets.


@pytest.mark.clause("EVAL-5")
@pytest.mark.parametrize(
    ("value", "direction", "reached"),
    [
        (0.5, Direction.MINIMIZE, True),
        (0.5, Direction.MAXIMIZE, True),
        (math.nextafter(0.5, 1.0), Direction.MINIMIZE, False),
        (math.nextafter(0.5, 1.0), Direction.MAXIMIZE, True),
        (math.nextafter(0.5, 0.0), Direction.MINIMIZE, True),
        (math.nextafter(0.5, 0.0), Direction.MAXIMIZE, False),
        (math.nan, Direction.MINIMIZE, False),
        (math.nan, Direction.MAXIMIZE, False),
        (-math.inf, Direction.MINIMIZE, False),
        (math.inf, Direction.MAXIMIZE, False),
    ],
)
def test_a_target_is_reached_inclusively_and_only_by_finite_values(
    value: float, direction: Direction, reached: bool
) -> None:
    assert target_reached(value, 0.5, direction) is reached


@pytest.mark.clause("EVAL-7")
def test_a_goal_that_was_reached_stays_reached() -> None:
    progress = Progress().after_evaluation(_metrics(0.1, 0.9), GOAL, now=1.0)
    assert (progress.validation_goal_reached, progress.test_goal_reached) == (True, False)
    progress = progress.after_evaluation(_metrics(0.9, 0.05), GOAL, now=2.0)
    assert (progress.validation_goal_reached, progress.test_goal_reached) == (True, True)
    progress = progress.after_evaluation(_metrics(0.9, 0.9), GOAL, now=3.0)
    assert (progress.validation_goal_reached, progress.test_goal_reached) == (True, True)


@pytest.mark.clause("EVAL-7")
def test_a_workload_without_a_test_split_needs_its_validation_target_only() -> None:
    goal = Goal("wer", Direction.MINIMIZE, validation_target=0.1)
    progress = Progress().after_evaluation({"validation/wer": 0.2}, goal, now=1.0)
    assert end_reason(progress) is None
    progress = progress.after_evaluation({"validation/wer": 0.1}, goal, now=2.0)
    assert end_reason(progress) is EndReason.TARGETS_REACHED


# Failed evaluations.


@pytest.mark.clause("EVAL-6")
@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        (_metrics(0.5, 0.5), None),
        (_metrics(math.nan, 0.5), "validation/wer is nan"),
        (_metrics(0.5, math.inf), "test/wer is inf"),
        ({**_metrics(0.5, 0.5), "train/wer": math.nan}, None),
    ],
)
def test_only_a_target_metric_that_is_not_finite_is_a_problem(
    metrics: Mapping[str, float], problem: str | None
) -> None:
    assert evaluation_problem(metrics, GOAL) == problem
    after = Progress(failed_evaluations_in_row=1).after_evaluation(metrics, GOAL, now=4.0)
    assert after.failed_evaluations_in_row == (0 if problem is None else 2)
    assert after.last_evaluation_end_seconds == 4.0


@pytest.mark.clause("EVAL-6")
def test_a_validation_hit_counts_even_if_the_test_metric_is_not_finite() -> None:
    progress = Progress().after_evaluation(_metrics(0.05, math.nan), GOAL, now=1.0)
    assert progress.validation_goal_reached
    assert not progress.test_goal_reached
    assert progress.failed_evaluations_in_row == 1


@pytest.mark.clause("EVAL-6")
@pytest.mark.parametrize("missing", ["validation/wer", "test/wer"])
def test_a_missing_target_metric_is_an_error_that_names_it(missing: str) -> None:
    metrics = {name: value for name, value in _metrics(0.5, 0.5).items() if name != missing}
    with pytest.raises(MissingMetric, match=missing):
        Progress().after_evaluation(metrics, GOAL, now=1.0)


@pytest.mark.clause("EVAL-1", "EVAL-8")
def test_a_run_ends_after_three_failed_evaluations_in_a_row() -> None:
    progress = Progress()
    for count in range(1, MAX_FAILED_EVALUATIONS_IN_ROW + 1):
        assert end_reason(progress) is None
        progress = progress.after_step().after_failed_evaluation(now=float(count))
    assert MAX_FAILED_EVALUATIONS_IN_ROW == 3
    assert end_reason(progress) is EndReason.EVALUATION_FAILED


@pytest.mark.clause("EVAL-1")
def test_a_good_evaluation_starts_the_count_of_failures_anew() -> None:
    progress = Progress().after_failed_evaluation(1.0).after_failed_evaluation(2.0)
    progress = progress.after_evaluation(_metrics(0.5, 0.5), GOAL, 3.0)
    progress = progress.after_failed_evaluation(4.0).after_failed_evaluation(5.0)
    assert end_reason(progress) is None


# The end of a run.


@pytest.mark.clause("EVAL-8")
@pytest.mark.parametrize(
    ("validation", "test", "reason"),
    [
        (False, False, None),
        (True, False, None),
        (False, True, None),
        (True, True, EndReason.TARGETS_REACHED),
    ],
)
def test_a_run_ends_when_both_goals_have_been_reached(
    validation: bool, test: bool, reason: EndReason | None
) -> None:
    progress = Progress(validation_goal_reached=validation, test_goal_reached=test)
    assert end_reason(progress) is reason


@pytest.mark.clause("EVAL-8", "EVAL-3")
def test_a_run_whose_preparation_uses_up_the_budget_ends_without_an_evaluation() -> None:
    progress = Progress().after_step().after_time_check(99.9, 100.0)
    assert end_reason(progress) is None
    progress = progress.after_step().after_time_check(100.0, 100.0)
    assert end_reason(progress) is EndReason.OUT_OF_TIME


@pytest.mark.clause("EVAL-8")
def test_the_step_limit_completes_training_and_names_itself() -> None:
    progress = Progress().after_step(2)
    assert end_reason(progress, 2) is None
    progress = progress.after_step(2)
    assert progress.training_complete
    assert end_reason(progress, 2) is EndReason.STEP_LIMIT


@pytest.mark.clause("EVAL-8")
def test_a_step_limit_of_one_makes_one_step_and_evaluates_it() -> None:
    progress = Progress().after_step(1)
    assert is_due(
        seconds_since_last_evaluation=None, eval_period_seconds=1.0, training_complete=True
    )
    assert end_reason(progress, 1) is EndReason.STEP_LIMIT


@pytest.mark.clause("EVAL-8")
def test_a_run_resumed_past_its_step_limit_does_not_go_on_for_ever() -> None:
    assert end_reason(Progress(global_step=7), 5) is EndReason.STEP_LIMIT
    assert Progress(global_step=7).after_step(5).training_complete


@pytest.mark.clause("EVAL-8")
def test_a_step_that_declares_training_complete_counts_and_ends_the_run() -> None:
    progress = Progress(global_step=4).after_step(None, completed=True)
    assert progress.global_step == 5
    assert is_due(
        seconds_since_last_evaluation=0.0,
        eval_period_seconds=1e9,
        training_complete=progress.training_complete,
    )
    assert end_reason(progress, 100) is EndReason.TRAINING_COMPLETE


@pytest.mark.clause("EVAL-8")
def test_the_last_evaluation_after_training_complete_can_still_reach_the_targets() -> None:
    progress = Progress().after_step(None, completed=True).after_time_check(1.0, 2.0)
    progress = progress.after_evaluation(_metrics(0.1, 0.05), GOAL, now=3.0)
    assert end_reason(progress) is EndReason.TARGETS_REACHED


@pytest.mark.clause("EVAL-8")
def test_a_last_evaluation_that_fails_is_not_repeated() -> None:
    progress = Progress().after_step(None, completed=True).after_failed_evaluation(3.0)
    assert end_reason(progress) is EndReason.TRAINING_COMPLETE


@pytest.mark.clause("EVAL-8")
def test_of_several_reasons_the_documented_first_one_is_named() -> None:
    everything = Progress(
        global_step=5,
        is_time_remaining=False,
        validation_goal_reached=True,
        test_goal_reached=True,
        training_complete=True,
        failed_evaluations_in_row=3,
    )
    found = []
    for change in (
        {"test_goal_reached": False},
        {"is_time_remaining": True},
        {"failed_evaluations_in_row": 2},
        {"global_step": 4},
        {"training_complete": False},
    ):
        found.append(end_reason(everything, 5))
        values = {name: getattr(everything, name) for name in Progress.__dataclass_fields__}
        everything = Progress(**{**values, **change})
    assert found == [
        EndReason.TARGETS_REACHED,
        EndReason.OUT_OF_TIME,
        EndReason.EVALUATION_FAILED,
        EndReason.STEP_LIMIT,
        EndReason.TRAINING_COMPLETE,
    ]
    assert end_reason(everything, 5) is None


@pytest.mark.clause("EVAL-8")
def test_more_failed_evaluations_than_are_allowed_end_a_run_too() -> None:
    progress = Progress(failed_evaluations_in_row=MAX_FAILED_EVALUATIONS_IN_ROW + 1)
    assert end_reason(progress) is EndReason.EVALUATION_FAILED
