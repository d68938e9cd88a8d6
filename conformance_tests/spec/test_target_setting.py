"""Target setting on examples small enough to check by eye."""

from __future__ import annotations

import math

import pytest

from spec import target_setting as ts
from spec.rulesets import V0_6
from spec.workloads import Direction

MIN, MAX = Direction.MINIMIZE, Direction.MAXIMIZE
NAN, INF = math.nan, math.inf


@pytest.mark.clause("TGT-1", "TGT-2")
def test_four_algorithms_have_forty_times_the_trials_of_a_submission():
    assert sorted(ts.ALGORITHMS) == ["adamw", "heavy_ball", "nadamw", "nesterov"]
    assert (ts.FULL_BUDGET.num_trials, ts.FULL_BUDGET.num_reruns) == (200, 20)
    assert ts.FULL_BUDGET.num_trials == 40 * V0_6.num_trials["external"]


@pytest.mark.clause("TGT-3")
@pytest.mark.parametrize(("step_hint", "steps"), [(10_666, 7_999), (52_000, 39_000), (1_200, 900)])
def test_a_target_setting_run_lasts_three_quarters_of_the_step_hint(step_hint, steps):
    assert ts.target_setting_steps(step_hint) == steps


@pytest.mark.parametrize(
    ("values", "direction", "best"),
    [
        ([0.3, 0.1, 0.2], MIN, 0.1),
        ([0.3, 0.1, 0.2], MAX, 0.3),
        ([NAN, 0.2, INF], MAX, 0.2),
        ([NAN, -INF], MIN, INF),
        ([], MAX, -INF),
    ],
)
def test_the_best_value_of_a_run_is_its_best_finite_one(values, direction, best):
    assert ts.best_value(values, direction) == best


@pytest.mark.clause("TGT-4")
def test_the_best_trial_is_the_first_with_the_best_validation_value():
    assert ts.best_trial([0.5, 0.7, 0.7, -INF], MAX) == 1
    assert ts.best_trial([INF, 0.5, 0.7], MIN) == 1


@pytest.mark.clause("TGT-4")
def test_without_a_finite_trial_there_is_no_best_one():
    with pytest.raises(ts.TargetSettingError, match="none of 2 trials"):
        ts.best_trial([INF, INF], MIN)


@pytest.mark.clause("TGT-5", "TGT-6")
def test_targets_are_the_median_and_the_worst_test_value_beyond_it():
    """Median of (0.10, 0.20, 0.30) is 0.20; the runs at or below have tests 0.15 and 0.18."""
    reruns = [ts.Rerun(0.30, 0.99), ts.Rerun(0.20, 0.18), ts.Rerun(0.10, 0.15)]
    assert ts.targets(reruns, MIN) == ts.Targets(0.20, 0.18, 2)


@pytest.mark.clause("TGT-5", "TGT-6")
def test_an_even_number_of_reruns_takes_the_middle_of_the_middle_two():
    """Median of (0.2, 0.4, 0.6, 0.8) is 0.5; the runs above have tests 0.7 and 0.55."""
    reruns = [ts.Rerun(0.2, 0.1), ts.Rerun(0.8, 0.55), ts.Rerun(0.4, 0.9), ts.Rerun(0.6, 0.7)]
    assert ts.targets(reruns, MAX) == ts.Targets(0.5, 0.55, 2)


@pytest.mark.clause("TGT-5")
def test_a_rerun_without_a_value_counts_as_the_worst():
    """Median of (-inf, 0.4, 0.6) is 0.4, not 0.5."""
    reruns = [ts.Rerun(-INF, -INF), ts.Rerun(0.4, 0.3), ts.Rerun(0.6, 0.5)]
    assert ts.targets(reruns, MAX) == ts.Targets(0.4, 0.3, 2)


@pytest.mark.clause("TGT-5", "TGT-6")
@pytest.mark.parametrize(
    ("reruns", "message"),
    [
        ([], "at least one rerun"),
        ([ts.Rerun(INF, INF), ts.Rerun(INF, INF), ts.Rerun(0.1, 0.1)], "half or more of 3"),
        ([ts.Rerun(0.1, INF)], "without a test value"),
    ],
)
def test_runs_that_determine_no_target_are_an_error_that_says_why(reruns, message):
    with pytest.raises(ts.TargetSettingError, match=message):
        ts.targets(reruns, MIN)
