"""Wrong rules of held-out workloads and targets; see :mod:`conformance_tests.support.wrong`."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest

from conformance_tests.support.wrong import Registry, ours_but
from spec import credit, scoring, target_budget, target_setting
from spec.cases import operations
from spec.workloads import Direction

INF = math.inf

WRONG_TARGETS = Registry()
caught_by = WRONG_TARGETS.caught_by

# Held-out workloads.


def patch_conditions(patch: pytest.MonkeyPatch, wrong: Any) -> None:
    """Changes the times that the conditions are judged by."""
    right = credit.unmet_conditions

    def unmet_conditions(times: Any, base: str, held_out: Any, ruleset: Any) -> Any:
        return right(wrong(times, base, held_out), base, held_out, ruleset)

    patch.setattr(credit, "unmet_conditions", unmet_conditions)


@caught_by("held_out/credit-specialist")
def everybody_sets_the_pace_on_a_held_out_workload(patch: pytest.MonkeyPatch) -> None:
    def reached(times: Any, base: str, held_out: Any) -> Any:
        return {name: {**own, base: min(own.get(base, INF), 1e9)} for name, own in times.items()}

    patch_conditions(patch, reached)


@caught_by("held_out/credit-pace-of-the-brittle")
def only_those_with_credit_set_the_pace_on_the_base_workload(patch: pytest.MonkeyPatch) -> None:
    def surviving(times: Any, base: str, held_out: Any) -> Any:
        lost = [n for n, own in times.items() if any(own.get(h, 1.0) == INF for h in held_out)]
        return {n: {**own, base: INF} if n in lost else own for n, own in times.items()}

    patch_conditions(patch, surviving)


@caught_by("held_out/credit-held-out-missed")
def held_out_workloads_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch_conditions(
        patch,
        lambda times, base, held_out: {
            n: {**o, **dict.fromkeys(held_out, 1.0)} for n, o in times.items()
        },
    )


@caught_by("held_out/condition-paper")
def the_papers_conditions_look_at_the_scored_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(credit, "condition_rules", lambda ruleset: ruleset)


@caught_by("scoring/board-order")
def ratios_are_to_the_fastest_of_all(patch: pytest.MonkeyPatch) -> Any:
    def scoring_leaderboard(**arguments: Any) -> Any:
        board = operations.scoring_leaderboard(**arguments)
        medians = {
            name: {w: statistics.median(studies) for w, studies in own.items()}
            for name, own in arguments["study_seconds"].items()
        }
        return {**board, "ratios": scoring.all_ratios(medians, arguments["workloads"])}

    return ours_but(scoring_leaderboard=scoring_leaderboard)


# Target setting.


def patch_reruns(patch: pytest.MonkeyPatch, wrong: Any) -> None:
    """Changes ``targets``; ``wrong`` gets the reruns, the direction and the right function."""
    right = target_setting.targets
    patch.setattr(
        target_setting, "targets", lambda reruns, direction: wrong(list(reruns), direction, right)
    )


def worst(values: Any, direction: Direction) -> float:
    return float((max if direction is Direction.MINIMIZE else min)(values))


@caught_by("target_setting/from-trials-and-reruns")
def the_median_is_over_all_trials(patch: pytest.MonkeyPatch) -> Any:
    def target_setting_from_runs(**arguments: Any) -> Any:
        result = operations.target_setting_from_runs(**arguments)
        runs = [max(values) for own in arguments["trials"].values() for values in own]
        return {**result, "validation_target": statistics.median(runs)}

    return ours_but(target_setting_from_runs=target_setting_from_runs)


@caught_by("target_setting/targets-median")
def the_best_test_value_is_the_target(patch: pytest.MonkeyPatch) -> None:
    def wrong(reruns: Any, direction: Direction, right: Any) -> Any:
        found = right(reruns, direction)
        sign = -1 if direction is Direction.MINIMIZE else 1
        return replace(found, test=max((r.test for r in reruns), key=lambda v: sign * v))

    patch_reruns(patch, wrong)


@caught_by("target_setting/targets-median")
def all_reruns_enter_the_test_target(patch: pytest.MonkeyPatch) -> None:
    def wrong(reruns: Any, direction: Direction, right: Any) -> Any:
        found = right(reruns, direction)
        return replace(found, test=worst([r.test for r in reruns], direction))

    patch_reruns(patch, wrong)


@caught_by("target_setting/targets-lost-rerun")
def lost_reruns_are_dropped(patch: pytest.MonkeyPatch) -> None:
    def wrong(reruns: Any, direction: Direction, right: Any) -> Any:
        return right([r for r in reruns if math.isfinite(r.validation)], direction)

    patch_reruns(patch, wrong)


def patch_middle(patch: pytest.MonkeyPatch, middle: Any) -> None:
    """Puts another function in the place of the median."""

    class Statistics:
        median = staticmethod(middle)

    patch.setattr(target_setting, "statistics", Statistics)


@caught_by("target_setting/targets-even")
def the_target_is_the_mean(patch: pytest.MonkeyPatch) -> None:
    patch_middle(patch, lambda values: statistics.mean(values))


@caught_by("target_setting/targets-even")
def the_target_is_the_lower_median(patch: pytest.MonkeyPatch) -> None:
    patch_middle(patch, lambda values: statistics.median_low(values))


@caught_by("target_setting/targets-median")
def a_rerun_has_to_be_better_than_the_target(patch: pytest.MonkeyPatch) -> None:
    right = target_setting.target_reached
    patch.setattr(
        target_setting, "target_reached", lambda v, target, d: v != target and right(v, target, d)
    )


@caught_by("target_setting/targets-best-evaluation")
def a_rerun_counts_with_its_last_evaluation(patch: pytest.MonkeyPatch) -> None:
    right = target_setting.best_value
    patch.setattr(
        target_setting, "best_value", lambda values, direction: right(values[-1:], direction)
    )


@caught_by("target_setting/choice-tie-of-trials")
def the_last_of_equally_good_trials_is_chosen(patch: pytest.MonkeyPatch) -> None:
    right = target_setting.best_trial

    def best_trial(values: Any, direction: Direction) -> int:
        first = right(values, direction)
        return max(i for i, value in enumerate(values) if value == values[first])

    patch.setattr(target_setting, "best_trial", best_trial)


@caught_by("target_setting/steps-rounded-down")
def steps_are_rounded_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(target_setting, "target_setting_steps", lambda hint: math.ceil(hint * 0.75))


@caught_by("target_setting/within-part")
def a_step_that_has_begun_is_finished(patch: pytest.MonkeyPatch) -> None:
    right = target_budget.steps_within
    patch.setattr(
        target_budget,
        "steps_within",
        lambda budget, step: right(budget, step) and math.ceil(budget / step),
    )
