"""Scoring by example: hits, studies, medians, ratios, profiles, scores and their boundaries."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from spec import rulesets
from spec.rulesets import Ruleset, Split, Tuning
from spec.scoring import (
    NUM_GRID_POINTS,
    R_MAX,
    ScoringError,
    all_ratios,
    benchmark_scores,
    first_hit,
    grid_score,
    performance_ratios,
    profile,
    ruleset_study_time,
    score,
    study_time,
    within_r_max,
    workload_time,
)
from spec.workloads import Direction

INF = math.inf


# A trial.


@pytest.mark.clause("SCORE-2")
def test_a_trial_scores_the_time_of_its_first_evaluation_at_the_target() -> None:
    rows = [(10.0, 0.2), (20.0, 0.28), (30.0, 0.25), (40.0, 0.4)]
    assert first_hit(rows, 0.28, Direction.MAXIMIZE, 100.0) == 20.0
    assert first_hit(rows, 0.2, Direction.MINIMIZE, 100.0) == 10.0
    assert first_hit(rows, 0.5, Direction.MAXIMIZE, 100.0) == INF
    assert first_hit([], 0.5, Direction.MAXIMIZE, 100.0) == INF


@pytest.mark.clause("SCORE-2")
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(math.nextafter(100.0, 0.0), math.nextafter(100.0, 0.0)), (100.0, INF), (101.0, INF)],
)
def test_a_hit_counts_strictly_below_the_budget_only(seconds: float, expected: float) -> None:
    assert first_hit([(seconds, 1.0)], 0.5, Direction.MAXIMIZE, 100.0) == expected


@pytest.mark.clause("SCORE-2")
def test_an_infinite_budget_accepts_any_time() -> None:
    assert first_hit([(1e9, 1.0)], 0.5, Direction.MAXIMIZE, INF) == 1e9


@pytest.mark.clause("SCORE-2")
def test_nan_is_never_a_hit_neither_as_metric_nor_as_time() -> None:
    rows = [(10.0, math.nan), (math.nan, 0.1), (30.0, 0.1)]
    assert first_hit(rows, 0.2, Direction.MINIMIZE, 100.0) == 30.0
    assert first_hit(rows[:2], 0.2, Direction.MINIMIZE, 100.0) == INF


@pytest.mark.clause("SCORE-2")
@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_hit_at_a_time_that_is_not_positive_is_an_error(seconds: float) -> None:
    with pytest.raises(ScoringError, match="times are positive"):
        first_hit([(seconds, 1.0)], 0.5, Direction.MAXIMIZE, 100.0)
    assert first_hit([(seconds, 0.0)], 0.5, Direction.MAXIMIZE, 100.0) == INF


# A study.


@pytest.mark.clause("SCORE-3")
def test_a_study_scores_its_fastest_trial_and_missing_ones_are_infinite() -> None:
    assert study_time([INF, 841.2, 640.8]) == 640.8
    assert study_time([INF, INF]) == INF
    assert study_time([]) == INF


@pytest.mark.clause("SCORE-4")
def test_the_paper_scores_the_test_time_of_the_trial_selected_on_validation() -> None:
    assert study_time([30.0, 20.0, INF], [31.0, 90.0, 5.0]) == 90.0
    assert study_time([30.0, 20.0], [31.0, INF]) == INF
    assert study_time([INF, INF], [3.0, 4.0]) == INF


@pytest.mark.clause("SCORE-4")
def test_among_trials_tied_on_validation_the_faster_one_is_scored() -> None:
    assert study_time([20.0, 20.0], [50.0, 40.0]) == 40.0
    assert study_time([20.0, 20.0], [40.0, 50.0]) == 40.0


@pytest.mark.clause("SCORE-3")
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_a_study_refuses_times_that_cannot_be(bad: float) -> None:
    with pytest.raises(ScoringError, match="times are positive or infinite"):
        study_time([1.0, bad])
    with pytest.raises(ScoringError, match="times are positive or infinite"):
        study_time([1.0, 2.0], [1.0, bad])
    with pytest.raises(ScoringError, match="2 selection times and 1 scored"):
        study_time([1.0, 2.0], [1.0])
    with pytest.raises(ScoringError, match="1 selection times and 2 scored"):
        study_time([1.0], [1.0, 2.0])


@pytest.mark.clause("SCORE-1")
@pytest.mark.parametrize(
    ("ruleset", "tuning", "expected"),
    [
        (rulesets.PAPER_2023, Tuning.EXTERNAL, 90.0),
        (rulesets.V0_5, Tuning.EXTERNAL, 20.0),
        (rulesets.V0_6, Tuning.EXTERNAL, 20.0),
    ],
)
def test_the_version_decides_which_time_of_which_trial_counts(
    ruleset: Ruleset, tuning: Tuning, expected: float
) -> None:
    trials = [
        {Split.VALIDATION: 30.0, Split.TEST: 10.0},
        {Split.VALIDATION: 20.0, Split.TEST: 90.0},
        {Split.TEST: 1.0},
        {},
    ]
    assert ruleset_study_time(ruleset, tuning, trials) == expected


@pytest.mark.clause("SCORE-1")
@pytest.mark.parametrize(
    ("ruleset", "expected"),
    [(rulesets.PAPER_2023, 10.0), (rulesets.V0_5, 30.0), (rulesets.V0_6, 30.0)],
)
def test_in_self_tuning_the_paper_looks_at_the_test_target_only(
    ruleset: Ruleset, expected: float
) -> None:
    run = {Split.VALIDATION: 30.0, Split.TEST: 10.0}
    assert ruleset_study_time(ruleset, Tuning.SELF, [run]) == expected
    assert ruleset_study_time(ruleset, Tuning.SELF, []) == INF


@pytest.mark.clause("SCORE-1")
def test_each_way_of_tuning_has_its_own_scored_splits() -> None:
    ruleset = replace(
        rulesets.V0_6,
        external_time_splits=(Split.VALIDATION,),
        self_tuning_time_splits=(Split.TEST,),
    )
    run = {Split.VALIDATION: 30.0, Split.TEST: 10.0}
    assert ruleset_study_time(ruleset, Tuning.EXTERNAL, [run]) == 30.0
    assert ruleset_study_time(ruleset, Tuning.SELF, [run]) == 10.0


@pytest.mark.clause("SCORE-1")
def test_more_trials_than_the_ruleset_has_are_an_error() -> None:
    with pytest.raises(ScoringError, match=r"6 trials where v0\.6 has 5"):
        ruleset_study_time(rulesets.V0_6, Tuning.EXTERNAL, [{}] * 6)
    with pytest.raises(ScoringError, match=r"2 trials where v0\.6 has 1"):
        ruleset_study_time(rulesets.V0_6, Tuning.SELF, [{}] * 2)


# A workload.


@pytest.mark.clause("SCORE-5")
@pytest.mark.parametrize(
    ("studies", "planned", "expected"),
    [
        ([3.0, 1.0, 2.0], 3, 2.0),
        ([1.0, INF, 2.0], 3, 2.0),
        ([1.0, INF, INF], 3, INF),
        ([1.0, 2.0], 3, 2.0),  # a missing study is infinite
        ([1.0], 3, INF),
        ([], 3, INF),
        ([5.0], 1, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 4, 2.5),
        ([1.0, 2.0, 3.0, INF], 4, 2.5),
        ([1.0, 2.0, INF, INF], 4, INF),
        ([1.0, 2.0], 2, 1.5),
        ([1.0], 2, INF),
        ([1.0, 2.0, 3.0], 5, 3.0),
        ([1.0, 2.0], 5, INF),
        ([1e308, 1e308], 2, 1e308),
    ],
)
def test_the_median_counts_missing_studies_as_infinite(
    studies: list[float], planned: int, expected: float
) -> None:
    assert workload_time(studies, planned) == expected


@pytest.mark.clause("SCORE-5")
def test_studies_that_cannot_be_are_errors() -> None:
    with pytest.raises(ScoringError, match="4 studies where 3 are planned"):
        workload_time([1.0] * 4, 3)
    with pytest.raises(ScoringError, match="0 studies where 0 are planned"):
        workload_time([], 0)
    with pytest.raises(ScoringError, match="a time is nan"):
        workload_time([math.nan], 1)


# Ratios.


@pytest.mark.clause("SCORE-6")
def test_exactly_four_times_the_fastest_survives_and_more_does_not() -> None:
    just_over = math.nextafter(40.0, INF)
    assert within_r_max({"a": 10.0, "b": 40.0, "c": just_over, "d": INF}) == {
        "a": 10.0,
        "b": 40.0,
        "c": INF,
        "d": INF,
    }
    assert within_r_max({"a": INF}) == {"a": INF}


@pytest.mark.clause("SCORE-7")
def test_a_ratio_is_relative_to_the_fastest() -> None:
    assert performance_ratios({"a": 10.0, "b": 25.0, "c": INF}) == {"a": 1.0, "b": 2.5, "c": INF}


@pytest.mark.clause("SCORE-7")
def test_if_nobody_reached_the_target_everybody_is_infinite() -> None:
    assert performance_ratios({"a": INF, "b": INF}) == {"a": INF, "b": INF}
    assert performance_ratios({}) == {}


@pytest.mark.clause("SCORE-7")
def test_tied_submissions_share_the_ratio_one() -> None:
    assert performance_ratios({"a": 7.3, "b": 7.3}) == {"a": 1.0, "b": 1.0}


@pytest.mark.clause("SCORE-6", "SCORE-7")
@pytest.mark.parametrize("bad", [0.0, -3.0, math.nan])
def test_ratios_refuse_times_that_cannot_be(bad: float) -> None:
    with pytest.raises(ScoringError):
        performance_ratios({"a": 1.0, "b": bad})
    with pytest.raises(ScoringError):
        within_r_max({"a": 1.0, "b": bad})


# Profiles and scores.


@pytest.mark.clause("SCORE-8")
def test_a_profile_is_the_share_of_all_workloads_within_a_factor() -> None:
    ratios = [1.0, 1.5, 4.0, INF]
    assert profile(ratios, [1.0, 1.49, 1.5, 3.99, 4.0, 100.0]) == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75]


@pytest.mark.clause("SCORE-9")
@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0] * 8, 1.0),
        ([INF] * 8, 0.0),
        ([4.0], 0.0),
        ([2.5], 0.5),
        ([1.0, 2.5, 4.0, INF], 0.375),
        ([1.0] * 6 + [INF] * 2, 0.75),  # six of eight workloads solved, alone: 0.75
    ],
)
def test_the_score_is_the_exact_integral(ratios: list[float], expected: float) -> None:
    assert score(ratios) == expected


@pytest.mark.clause("SCORE-9")
def test_r_max_is_four() -> None:
    assert R_MAX == 4.0


@pytest.mark.clause("SCORE-10")
def test_the_grid_is_exact_at_one_and_pays_half_a_spacing_at_four() -> None:
    spacing = 3 / (NUM_GRID_POINTS - 1)
    assert NUM_GRID_POINTS == 100
    assert grid_score([1.0]) == pytest.approx(1.0, abs=1e-12)
    assert grid_score([4.0]) == pytest.approx(spacing / 6, abs=1e-12)
    assert round(grid_score([4.0]), 5) == 0.00505
    assert score([4.0]) == 0.0
    assert grid_score([math.nextafter(4.0, INF)]) == 0.0


@pytest.mark.clause("SCORE-8", "SCORE-9", "SCORE-10")
@pytest.mark.parametrize("ratios", [[], [0.999], [1.0, math.nan]])
def test_ratios_that_cannot_be_are_errors(ratios: list[float]) -> None:
    for function in (score, grid_score, lambda values: profile(values, [1.0])):
        with pytest.raises(ScoringError):
            function(ratios)


@pytest.mark.clause("SCORE-9", "SCORE-10")
@pytest.mark.parametrize("r_max", [1.0, 0.0, INF, math.nan])
def test_the_upper_limit_must_be_a_finite_number_above_one(r_max: float) -> None:
    for function in (score, grid_score):
        with pytest.raises(ScoringError, match="r_max"):
            function([1.0], r_max)
    with pytest.raises(ScoringError, match="at least 2"):
        grid_score([1.0], num_points=1)
    assert grid_score([4.0], num_points=2) == 0.5


@pytest.mark.clause("SCORE-11")
def test_scores_of_a_set_are_relative_to_it() -> None:
    times = {"fast": {"w1": 10.0, "w2": 50.0}, "slow": {"w1": 25.0, "w2": 20.0}}
    assert all_ratios(times, ["w1", "w2"]) == {
        "fast": {"w1": 1.0, "w2": 2.5},
        "slow": {"w1": 2.5, "w2": 1.0},
    }
    assert benchmark_scores(times, ["w1", "w2"]) == {"fast": 0.75, "slow": 0.75}
    alone = {"slow": times["slow"]}
    assert benchmark_scores(alone, ["w1", "w2"]) == {"slow": 1.0}


@pytest.mark.clause("SCORE-11", "SCORE-8")
def test_a_workload_that_was_never_run_counts_as_infinite() -> None:
    times = {"a": {"w1": 10.0}, "b": {}}
    assert benchmark_scores(times, ["w1", "w2"]) == {"a": 0.5, "b": 0.0}


@pytest.mark.clause("SCORE-11")
def test_times_of_workloads_that_are_not_scored_are_ignored() -> None:
    times = {"a": {"w1": 10.0, "extra": 1.0}, "b": {"w1": 10.0}}
    assert benchmark_scores(times, ["w1"]) == {"a": 1.0, "b": 1.0}
    with pytest.raises(ScoringError, match="no workloads"):
        benchmark_scores(times, [])


@pytest.mark.clause("SCORE-10", "SCORE-11")
def test_a_set_can_be_scored_as_the_leaderboards_were() -> None:
    times = {"a": {"w1": 10.0}, "b": {"w1": 40.0}}
    assert benchmark_scores(times, ["w1"]) == {"a": 1.0, "b": 0.0}
    published = benchmark_scores(times, ["w1"], exact=False)
    assert {name: round(value, 4) for name, value in published.items()} == {"a": 1.0, "b": 0.0051}
