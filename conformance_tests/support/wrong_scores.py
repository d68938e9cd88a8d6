"""Wrong rules of scoring; see :mod:`conformance_tests.support.wrong`."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest

from conformance_tests.support.wrong import Registry, ours_but
from spec import leaderboard, rulesets, scoring, speedup
from spec.cases import operations
from spec.rulesets import RULESETS, V0_6, Split
from spec.workloads import Direction

WRONG_SCORES = Registry()
caught_by = WRONG_SCORES.caught_by

INF = math.inf


# Hits.


@caught_by("scoring/hit-at-the-budget")
def a_hit_at_the_budget_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scoring, "time_remains", lambda seconds, budget: seconds <= budget)


@caught_by("scoring/hit-after-the-budget")
def hits_after_the_budget_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scoring, "time_remains", lambda seconds, budget: not math.isnan(seconds))


@caught_by("scoring/hit-equal")
def a_hit_has_to_be_better_than_the_target(patch: pytest.MonkeyPatch) -> None:
    right = scoring.target_reached
    patch.setattr(
        scoring, "target_reached", lambda v, target, d: v != target and right(v, target, d)
    )


@caught_by("scoring/hit-minimise")
def every_metric_is_maximised(patch: pytest.MonkeyPatch) -> None:
    right = scoring.target_reached
    patch.setattr(
        scoring, "target_reached", lambda v, target, d: right(v, target, Direction.MAXIMIZE)
    )


@caught_by("scoring/hit-nan-minimise")
def nan_is_below_every_target(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        scoring,
        "target_reached",
        lambda v, target, d: not v > target if d is Direction.MINIMIZE else v >= target,
    )


@caught_by("scoring/hit-rows-in-any-order")
def the_first_row_of_the_file_is_the_hit(patch: pytest.MonkeyPatch) -> None:
    right = scoring.first_hit

    def first_hit(rows: Any, *arguments: Any) -> float:
        return next((s for s in (right([row], *arguments) for row in rows) if s < INF), INF)

    patch.setattr(scoring, "first_hit", first_hit)


@caught_by("scoring/hit-rows-in-any-order")
def the_best_row_is_the_hit(patch: pytest.MonkeyPatch) -> None:
    right = scoring.first_hit

    def first_hit(rows: Any, target: float, direction: Direction, budget: float) -> float:
        sign = -1 if direction is Direction.MINIMIZE else 1
        hits = [row for row in rows if right([row], target, direction, budget) < INF]
        return max(hits, key=lambda row: sign * row[1])[0] if hits else INF

    patch.setattr(scoring, "first_hit", first_hit)


# Studies.


@caught_by("scoring/study-fastest")
def the_first_trial_that_hits_counts(patch: pytest.MonkeyPatch) -> None:
    def study_time(selection: Any, scored: Any = None) -> float:
        pairs = zip(selection, selection if scored is None else scored, strict=True)
        return next((seconds for chosen, seconds in pairs if chosen < INF), INF)

    patch.setattr(scoring, "study_time", study_time)


@caught_by("scoring/rows-fastest-in-time")
def the_trial_with_the_fewest_steps_counts(patch: pytest.MonkeyPatch) -> Any:
    def scoring_study_from_rows(**arguments: Any) -> Any:
        def steps(rows: Any) -> float:
            target = arguments["targets"]["validation"]
            return min((row["step"] for row in rows if row["validation"] >= target), default=INF)

        chosen = min(arguments["trials"], key=steps)
        return operations.scoring_study_from_rows(**{**arguments, "trials": [chosen]})

    return ours_but(scoring_study_from_rows=scoring_study_from_rows)


@caught_by("scoring/study-missing-trial")
def a_missing_trial_spoils_its_study(patch: pytest.MonkeyPatch) -> None:
    right = scoring.ruleset_study_time

    def ruleset_study_time(ruleset: Any, tuning: Any, trials: Any) -> float:
        return right(ruleset, tuning, trials) if all(trials) else INF

    patch.setattr(scoring, "ruleset_study_time", ruleset_study_time)


@caught_by("scoring/study-planned-trials")
def only_the_first_trials_are_looked_at(patch: pytest.MonkeyPatch) -> None:
    right = scoring.ruleset_study_time

    def ruleset_study_time(ruleset: Any, tuning: Any, trials: Any) -> float:
        return right(ruleset, tuning, trials[:3])

    patch.setattr(scoring, "ruleset_study_time", ruleset_study_time)


@caught_by("scoring/study-paper")
def the_paper_scores_the_fastest_test_time(patch: pytest.MonkeyPatch) -> None:
    def study_time(selection: Any, scored: Any = None) -> float:
        return min(selection if scored is None else scored, default=INF)

    patch.setattr(scoring, "study_time", study_time)


@caught_by("scoring/study-validation-first")
def v0_6_scores_the_test_time(patch: pytest.MonkeyPatch) -> None:
    wrong = replace(V0_6, external_time_splits=(Split.TEST,))
    patch.setattr(rulesets, "RULESETS", {**RULESETS, "v0.6": wrong})


@caught_by("scoring/study-test-first")
def both_targets_are_scored(patch: pytest.MonkeyPatch) -> None:
    wrong = replace(V0_6, trial_choice_split=Split.TEST, external_time_splits=(Split.TEST,))
    patch.setattr(rulesets, "RULESETS", {**RULESETS, "v0.6": wrong})


# Workloads.


def present(studies: Any) -> list[float]:
    return sorted(s for s in studies if s < INF)


@caught_by("scoring/workload-even")
def the_median_is_the_lower_middle(patch: pytest.MonkeyPatch) -> None:
    def workload_time(studies: Any, planned: int) -> float:
        return sorted([*studies, *[INF] * (planned - len(studies))])[(planned - 1) // 2]

    patch.setattr(scoring, "workload_time", workload_time)


@caught_by("scoring/workload-even-two-infinite")
def the_median_ignores_infinities(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        scoring,
        "workload_time",
        lambda studies, planned: statistics.median(present(studies) or [INF]),
    )


@caught_by("scoring/workload-two-infinite-of-three")
def the_mean_of_the_finite_studies(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        scoring,
        "workload_time",
        lambda studies, planned: statistics.mean(present(studies) or [INF]),
    )


@caught_by("scoring/workload-one-missing-of-three")
def missing_studies_are_dropped(patch: pytest.MonkeyPatch) -> None:
    right = scoring.workload_time
    patch.setattr(scoring, "workload_time", lambda s, planned: right(s, len(s) or planned))


@caught_by("scoring/workload-one-infinite-of-three")
def the_fastest_study_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scoring, "workload_time", lambda studies, planned: min(studies, default=INF))


@caught_by("scoring/table-v0.5")
def every_version_has_three_studies(patch: pytest.MonkeyPatch) -> None:
    wrong = {v: replace(r, num_studies=V0_6.num_studies) for v, r in RULESETS.items()}
    patch.setattr(rulesets, "RULESETS", wrong)


# Ratios, profiles, scores.


@caught_by("scoring/table-too-slow")
def the_limit_is_five(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rulesets, "RULESETS", {v: replace(r, r_max=5.0) for v, r in RULESETS.items()})


@caught_by("scoring/ratio-exactly-four")
def the_limit_is_exclusive(patch: pytest.MonkeyPatch) -> None:
    def within_r_max(seconds: Any, r_max: float) -> Any:
        limit = r_max * min(seconds.values())
        return {name: value if value < limit else INF for name, value in seconds.items()}

    patch.setattr(scoring, "within_r_max", within_r_max)


@caught_by("scoring/ratio-just-above-four")
def there_is_no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scoring, "within_r_max", lambda seconds, r_max: dict(seconds))


@caught_by("scoring/ratio-nobody")
def infinity_is_divided_by_infinity(patch: pytest.MonkeyPatch) -> None:
    def performance_ratios(seconds: Any) -> Any:
        best = min(seconds.values())
        return {name: value / best for name, value in seconds.items()}

    patch.setattr(scoring, "performance_ratios", performance_ratios)


@caught_by("scoring/profile-lost-workloads")
def profiles_are_shares_of_the_workloads_run(patch: pytest.MonkeyPatch) -> None:
    def profile(ratios: Any, taus: Any) -> Any:
        run = present(ratios)
        return [sum(ratio <= tau for ratio in run) / len(run) for tau in taus]

    patch.setattr(scoring, "profile", profile)


@caught_by("scoring/profile-at-the-ratio")
def profiles_are_strict(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        scoring,
        "profile",
        lambda ratios, taus: [sum(r < tau for r in ratios) / len(ratios) for tau in taus],
    )


@caught_by("scoring/score-exact")
def the_integral_is_a_sum_over_a_grid(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scoring, "score", scoring.grid_score)


@caught_by("scoring/score-fastest-everywhere")
def the_integral_is_not_divided_by_its_width(patch: pytest.MonkeyPatch) -> None:
    right = scoring.score
    patch.setattr(scoring, "score", lambda ratios, r_max: right(ratios, r_max) * (r_max - 1))


@caught_by("scoring/score-half-way")
def the_integral_is_divided_by_the_limit(patch: pytest.MonkeyPatch) -> None:
    right = scoring.score
    patch.setattr(
        scoring, "score", lambda ratios, r_max: right(ratios, r_max) * (r_max - 1) / r_max
    )


@caught_by("scoring/score-another-limit")
def the_width_is_always_three(patch: pytest.MonkeyPatch) -> None:
    right = scoring.score
    patch.setattr(scoring, "score", lambda ratios, r_max: right(ratios, r_max) * (r_max - 1) / 3)


@caught_by("scoring/score-mixed")
def the_score_leaves_out_lost_workloads(patch: pytest.MonkeyPatch) -> None:
    right = scoring.score
    patch.setattr(
        scoring, "score", lambda ratios, r_max: right([r for r in ratios if r != INF], r_max)
    )


@caught_by("scoring/set-workload-not-run")
def workloads_that_were_not_run_are_left_out(patch: pytest.MonkeyPatch) -> None:
    right = scoring.benchmark_scores

    def benchmark_scores(times: Any, workloads: Any, r_max: float) -> Any:
        return {
            name: right(times, [w for w in workloads if w in own], r_max)[name]
            for name, own in times.items()
        }

    patch.setattr(scoring, "benchmark_scores", benchmark_scores)


@caught_by("scoring/ranks-tie")
def equal_scores_have_different_ranks(patch: pytest.MonkeyPatch) -> None:
    def ranks(scores: Any) -> Any:
        ordered = sorted(scores, key=lambda name: -scores[name])
        return {name: ordered.index(name) + 1 for name in scores}

    patch.setattr(leaderboard, "ranks", ranks)


@caught_by("scoring/speedup-missed-target")
def a_missed_target_counts_as_the_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(speedup, "replaced_time", lambda seconds, budget: min(seconds, budget))
