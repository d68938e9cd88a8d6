"""Target setting on examples small enough to check by eye."""

from __future__ import annotations

import math

import pytest

from spec import target_setting as ts
from spec import workloads
from spec.clauses import VERSIONS
from spec.rulesets import RULESETS, V0_6
from spec.target_budget import IllegalStepTime, steps_within, target_budget
from spec.target_configurations import CONFIGURATIONS
from spec.workloads import Direction

MIN, MAX = Direction.MINIMIZE, Direction.MAXIMIZE
NAN, INF = math.nan, math.inf


@pytest.mark.clause("TGT-1", "TGT-2")
def test_four_algorithms_have_forty_times_the_trials_of_a_submission():
    assert sorted(ts.ALGORITHMS) == ["adamw", "heavy_ball", "nadamw", "nesterov"]
    assert (ts.FULL_BUDGET.num_trials, ts.FULL_BUDGET.num_reruns) == (200, 20)
    assert ts.FULL_BUDGET.num_trials == 40 * V0_6.num_trials["external"]


@pytest.mark.clause("TGT-2")
def test_target_setting_has_more_trials_than_any_submission():
    for ruleset in RULESETS.values():
        assert ts.FULL_BUDGET.num_trials > max(ruleset.num_trials.values())


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


@pytest.mark.clause("TGT-5", "TGT-6")
@pytest.mark.parametrize("direction", [MIN, MAX])
@pytest.mark.parametrize("diverged", [NAN, INF, -INF])
def test_a_diverged_rerun_is_the_worst_whatever_it_diverged_to(direction, diverged):
    reruns = [ts.Rerun(0.4, 0.3), ts.Rerun(diverged, diverged), ts.Rerun(0.4, 0.2)]
    worst = 0.3 if direction is MIN else 0.2
    assert ts.targets(reruns, direction) == ts.Targets(0.4, worst, 2)


@pytest.mark.clause("TGT-6")
@pytest.mark.parametrize("direction", [MIN, MAX])
@pytest.mark.parametrize("diverged", [NAN, INF, -INF])
def test_a_run_that_reaches_the_target_without_a_test_value_is_an_error(direction, diverged):
    reruns = [ts.Rerun(0.4, 0.3), ts.Rerun(0.4, diverged), ts.Rerun(0.4, 0.2)]
    with pytest.raises(ts.NoTestTarget, match="without a test value"):
        ts.targets(reruns, direction)


@pytest.mark.clause("TGT-6")
def test_the_worst_test_value_of_a_run_beyond_the_target_is_taken_not_that_of_the_best_run():
    """The run with the best validation value, 0.1, has the worst test value that counts."""
    reruns = [ts.Rerun(0.1, 0.9), ts.Rerun(0.2, 0.2), ts.Rerun(0.3, 1.0)]
    assert ts.targets(reruns, MIN).test == 0.9


# Choosing the configuration.


@pytest.mark.clause("TGT-4", "TGT-7")
def test_the_best_configuration_is_the_best_trial_of_all_algorithms():
    values = {"nadamw": [0.3, 0.2], "adamw": [0.25], "nesterov": [NAN, 0.1, 0.4]}
    assert ts.best_configuration(values, MIN) == ts.Choice("nesterov", 1, 0.1)
    assert ts.best_configuration(values, MAX) == ts.Choice("nesterov", 2, 0.4)


@pytest.mark.clause("TGT-7")
def test_equally_good_trials_go_by_the_order_of_the_table():
    values = {"nesterov": [0.1], "nadamw": [0.5, 0.1, 0.1], "heavy_ball": [0.1]}
    assert ts.best_configuration(values, MIN) == ts.Choice("nadamw", 1, 0.1)


@pytest.mark.clause("TGT-7")
def test_a_trial_that_diverged_to_the_good_side_is_not_the_best():
    values = {"adamw": [INF, 0.5], "nadamw": [NAN]}
    assert ts.best_configuration(values, MAX) == ts.Choice("adamw", 1, 0.5)


@pytest.mark.clause("TGT-1", "TGT-4")
def test_only_target_setting_algorithms_compete_and_one_has_to_train():
    with pytest.raises(ts.UnknownAlgorithm, match="shampoo is no target-setting algorithm"):
        ts.best_configuration({"adamw": [0.1], "shampoo": [0.01]}, MIN)
    with pytest.raises(ts.NoBestTrial, match="none of 0 trials"):
        ts.best_configuration({}, MIN)


@pytest.mark.clause("TGT-8")
@pytest.mark.parametrize(
    ("best", "other"),
    [
        ({"adamw": 0.2, "nadamw": 0.1, "nesterov": 0.3}, "adamw"),
        ({"adamw": 0.2, "nadamw": 0.3, "nesterov": 0.1}, "nesterov"),
        ({"adamw": NAN, "nadamw": 0.3, "heavy_ball": 0.9}, "heavy_ball"),
    ],
)
def test_a_variant_is_tuned_with_nadamw_and_the_best_other_algorithm(best, other):
    assert ts.variant_algorithms(best, MIN) == ("nadamw", other)


@pytest.mark.clause("TGT-8")
def test_a_variant_needs_a_second_algorithm():
    with pytest.raises(ts.NoBestTrial):
        ts.variant_algorithms({"nadamw": 0.1}, MIN)


# Budgets.


@pytest.mark.clause("TGT-9")
@pytest.mark.parametrize(
    ("runtime", "step", "steps"), [(10.0, 3.0, 3), (9.0, 3.0, 3), (2.9, 3.0, 0), (0.25, 0.125, 2)]
)
def test_a_step_budget_is_the_whole_steps_that_fit(runtime, step, steps):
    assert steps_within(runtime, step) == steps


@pytest.mark.clause("TGT-9")
@pytest.mark.parametrize("bad", [0.0, -1.0, NAN, INF])
def test_a_step_budget_needs_positive_times(bad):
    for arguments in ((bad, 1.0), (1.0, bad)):
        with pytest.raises(IllegalStepTime):
            steps_within(*arguments)


@pytest.mark.clause("TGT-10")
def test_targets_were_set_with_three_quarters_of_the_first_maximum_runtimes():
    """Round numbers of steps, from which the step hints of v0.5 follow by 4/3, rounded down."""
    steps = [target_budget(name).steps for name in workloads.names("base")]
    assert steps == [8_000, 27_142, 140_000, 140_000, 60_000, 36_000, 60_000, 100_000]
    hints = [workloads.get(name, "v0.5").step_hint for name in workloads.names("base")]
    assert hints == [4 * n // 3 for n in steps]


@pytest.mark.clause("TGT-10")
def test_the_maximum_runtime_is_four_thirds_until_v0_5_and_differs_in_v0_6():
    for version in ("paper2023", "v0.5"):
        for name in workloads.names():
            assert target_budget(name, version).runtime_ratio == pytest.approx(4 / 3)
    ratios = {name: target_budget(name).runtime_ratio for name in workloads.names("base")}
    assert ratios == pytest.approx(
        {
            "criteo1tb": 4 / 3,
            "fastmri": 2 / 3,
            "imagenet_resnet": 1.4,
            "imagenet_vit": 1.2,
            "librispeech_conformer": 1.2667,
            "librispeech_deepspeech": 1.0667,
            "ogbg": 0.8667,
            "wmt": 1.2,
        },
        abs=1e-4,
    )


@pytest.mark.clause("TGT-10")
def test_the_budget_of_the_published_targets_does_not_depend_on_the_version():
    for name in workloads.names():
        budgets = [target_budget(name, version) for version in VERSIONS]
        assert len({(budget.runtime_seconds, budget.steps) for budget in budgets}) == 1
        for budget in budgets:
            assert budget.steps_ratio == pytest.approx(budget.runtime_ratio, rel=2e-4)


# What the published targets were set with.


@pytest.mark.clause("TGT-14")
def test_nadamw_set_five_of_the_eight_targets():
    algorithms = {name: c.algorithm for name, c in CONFIGURATIONS.items()}
    assert tuple(algorithms) == workloads.names("base")
    others = {name: a for name, a in algorithms.items() if a != "nadamw"}
    assert others == {"fastmri": "nesterov", "imagenet_resnet": "heavy_ball", "ogbg": "nesterov"}


@pytest.mark.clause("TGT-14", "TGT-11")
def test_a_configuration_has_the_hyperparameters_of_its_algorithm():
    for configuration in CONFIGURATIONS.values():
        adam = configuration.algorithm in ("adamw", "nadamw")
        assert (configuration.beta2 is not None) == adam
        assert (configuration.end_factor is None) == adam
        assert (configuration.decay_steps_factor is None) == adam
