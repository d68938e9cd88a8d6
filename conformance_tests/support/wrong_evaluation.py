"""Wrong rules of evaluation; see :mod:`conformance_tests.support.wrong`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from conformance_tests.support.wrong import Registry, ours_but
from spec import evaluation, goals
from spec.cases import script
from spec.evaluation import EndReason, Progress
from spec.rulesets import Ruleset, Tuning
from spec.workloads import Direction

WRONG_EVALUATION = Registry()
caught_by = WRONG_EVALUATION.caught_by


@caught_by("evaluation/due-exactly-the-period")
def the_period_is_strict(patch: pytest.MonkeyPatch) -> None:
    def is_due(
        *,
        seconds_since_last_evaluation: float | None,
        eval_period_seconds: float,
        training_complete: bool,
    ) -> bool:
        since = seconds_since_last_evaluation
        return training_complete or since is None or since > eval_period_seconds

    patch.setattr(evaluation, "is_due", is_due)


@caught_by("evaluation/run-first-evaluation")
def the_first_evaluation_waits_for_a_period(patch: pytest.MonkeyPatch) -> None:
    right = evaluation.is_due

    def is_due(**arguments: Any) -> bool:
        if arguments["seconds_since_last_evaluation"] is None:
            return bool(arguments["training_complete"])
        return right(**arguments)

    patch.setattr(evaluation, "is_due", is_due)


@caught_by("evaluation/run-training-complete")
def no_last_evaluation_when_training_is_complete(patch: pytest.MonkeyPatch) -> None:
    right = evaluation.is_due
    patch.setattr(
        evaluation, "is_due", lambda **arguments: right(**arguments | {"training_complete": False})
    )


@caught_by("evaluation/run-training-complete-without-time")
def a_last_evaluation_without_time_left(patch: pytest.MonkeyPatch) -> None:
    right = Progress.after_time_check

    def after_time_check(self: Progress, *arguments: float) -> Progress:
        return self if self.training_complete else right(self, *arguments)

    patch.setattr(Progress, "after_time_check", after_time_check)


@caught_by("evaluation/run-period-from-the-end-of-the-evaluation")
def the_period_runs_from_the_start_of_the_evaluation(patch: pytest.MonkeyPatch) -> None:
    since, after = Progress.seconds_since_last_evaluation, Progress.after_evaluation
    end_of_step: list[float] = []

    def seconds_since_last_evaluation(self: Progress, now: float) -> float | None:
        end_of_step.append(now)
        return since(self, now)

    def after_evaluation(self: Progress, metrics: Any, goal: Any, now: float) -> Progress:
        return after(self, metrics, goal, end_of_step[-1])

    patch.setattr(Progress, "seconds_since_last_evaluation", seconds_since_last_evaluation)
    patch.setattr(Progress, "after_evaluation", after_evaluation)


@caught_by("evaluation/run-period-in-whole-nanoseconds")
def the_period_is_a_difference_of_floats(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "seconds_between", lambda earlier, later: later - earlier)


@caught_by("evaluation/run-resume-keeps-the-period")
def the_period_starts_anew_at_a_resume(patch: pytest.MonkeyPatch) -> None:
    right = Progress.resumed_at
    patch.setattr(Progress, "resumed_at", lambda self, now, passed=0.0: right(self, now, 0.0))


@caught_by("evaluation/run-hit-exactly-at-the-budget")
def the_budget_is_not_strict(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "time_remains", lambda seconds, budget: seconds <= budget)


@caught_by("evaluation/run-no-evaluation-after-the-budget")
def evaluations_after_the_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "time_remains", lambda seconds, budget: True)


@caught_by("evaluation/run-budget-is-not-looked-at-between")
def the_budget_is_looked_at_after_every_step(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "time_check_is_due", lambda **arguments: True)


@caught_by("evaluation/run-without-evaluations")
def a_run_without_evaluations_has_no_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        evaluation,
        "time_check_is_due",
        lambda *, evaluation_due, evaluations_skipped=False: evaluation_due,
    )


def patch_comparison(patch: pytest.MonkeyPatch, compare: Any) -> None:
    """Changes how values are compared with targets."""
    for module in (evaluation, goals):
        patch.setattr(module, "target_reached", compare)


@caught_by("evaluation/target-equal-minimise")
def the_target_is_strict(patch: pytest.MonkeyPatch) -> None:
    right = goals.target_reached
    patch_comparison(patch, lambda value, target, d: value != target and right(value, target, d))


@caught_by("evaluation/target-below-minimise")
def the_direction_is_flipped(patch: pytest.MonkeyPatch) -> None:
    right = goals.target_reached
    other = {
        Direction.MINIMIZE: Direction.MAXIMIZE,
        Direction.MAXIMIZE: Direction.MINIMIZE,
    }
    patch_comparison(patch, lambda value, target, d: right(value, target, other[d]))


@caught_by("evaluation/target-nan-maximise")
def nan_is_a_hit(patch: pytest.MonkeyPatch) -> None:
    right = goals.target_reached
    patch_comparison(patch, lambda value, target, d: math.isnan(value) or right(value, target, d))


@caught_by("evaluation/target-infinity")
def infinity_is_a_hit(patch: pytest.MonkeyPatch) -> None:
    patch_comparison(
        patch,
        lambda value, target, d: value <= target if d is Direction.MINIMIZE else value >= target,
    )


@caught_by("evaluation/run-latched-validation-first")
def goals_are_not_latched(patch: pytest.MonkeyPatch) -> None:
    right = Progress.after_evaluation

    def after_evaluation(self: Progress, *arguments: Any) -> Progress:
        fresh = replace(self, validation_goal_reached=False, test_goal_reached=False)
        return right(fresh, *arguments)

    patch.setattr(Progress, "after_evaluation", after_evaluation)


@caught_by("evaluation/run-validation-only")
def the_validation_target_alone_ends_a_run(patch: pytest.MonkeyPatch) -> None:
    right = evaluation.end_reason

    def end_reason(progress: Progress, limit: int | None = None) -> EndReason | None:
        both = replace(progress, test_goal_reached=progress.validation_goal_reached)
        return right(both, limit)

    patch.setattr(evaluation, "end_reason", end_reason)


@caught_by("evaluation/run-failed-evaluation")
def a_failed_evaluation_is_retried_at_the_next_step(patch: pytest.MonkeyPatch) -> None:
    def after_failed_evaluation(self: Progress, now: float) -> Progress:
        return replace(self, failed_evaluations_in_row=self.failed_evaluations_in_row + 1)

    patch.setattr(Progress, "after_failed_evaluation", after_failed_evaluation)


@caught_by("evaluation/run-three-failed-evaluations")
def failed_evaluations_do_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Progress,
        "after_failed_evaluation",
        lambda self, now: replace(self, last_evaluation_end_seconds=now),
    )


@caught_by("evaluation/run-three-failed-evaluations")
def four_failed_evaluations_are_allowed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "MAX_FAILED_EVALUATIONS_IN_ROW", 4)


@caught_by("evaluation/run-two-failed-evaluations")
def a_good_evaluation_forgives_nothing(patch: pytest.MonkeyPatch) -> None:
    right = Progress.after_evaluation

    def after_evaluation(self: Progress, *arguments: Any) -> Progress:
        after = right(self, *arguments)
        failed = max(after.failed_evaluations_in_row, self.failed_evaluations_in_row)
        return replace(after, failed_evaluations_in_row=failed)

    patch.setattr(Progress, "after_evaluation", after_evaluation)


@caught_by("evaluation/run-nan-metric")
def a_metric_that_is_nan_is_no_failure(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evaluation, "evaluation_problem", lambda metrics, goal: None)


@caught_by("evaluation/run-missing-metric")
def a_missing_metric_is_nan(patch: pytest.MonkeyPatch) -> None:
    right = script.script_metrics
    patch.setattr(
        script,
        "script_metrics",
        lambda outcome: right({"validation": math.nan, "test": math.nan, **outcome}),
    )


@caught_by("evaluation/run-training-complete")
def the_step_that_completes_training_does_not_count(patch: pytest.MonkeyPatch) -> None:
    right = Progress.after_step

    def after_step(self: Progress, limit: int | None = None, completed: bool = False) -> Progress:
        after = right(self, limit, completed)
        return replace(after, global_step=self.global_step) if completed else after

    patch.setattr(Progress, "after_step", after_step)


@caught_by("evaluation/run-preparation-over-the-budget")
def preparation_is_free(patch: pytest.MonkeyPatch) -> Any:
    def evaluation_run(**arguments: Any) -> Any:
        return script.evaluation_run(**{**arguments, "prepare": {}})

    return ours_but(evaluation_run=evaluation_run)


@caught_by("evaluation/run-resume-carries-the-accounts")
def a_resumed_run_has_its_whole_budget_again(patch: pytest.MonkeyPatch) -> Any:
    def evaluation_run(**arguments: Any) -> Any:
        if "resume" in arguments:
            stored = {n: v for n, v in arguments["resume"].items() if n != "submission_seconds"}
            arguments = {**arguments, "resume": stored}
        return script.evaluation_run(**arguments)

    return ours_but(evaluation_run=evaluation_run)


@caught_by("evaluation/budget-self-v0.6")
def self_tuning_has_three_times_the_runtime(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Ruleset, "budget_seconds", lambda self, s, t: 3 * s if Tuning(t) is Tuning.SELF else s
    )


@caught_by("evaluation/budget-self-paper2023")
def every_version_has_the_factor_of_v0_6(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Ruleset, "budget_seconds", lambda self, s, t: 1.5 * s if Tuning(t) is Tuning.SELF else s
    )
