"""The four conditions of held-out scoring, each with its nearest accepted and rejected case."""

from __future__ import annotations

import math

import pytest

from spec import credit, heldout
from spec.profiles import ScoringError
from spec.rulesets import PAPER_2023, V0_5, V0_6, Condition, Split, Tuning
from spec.scoring import all_ratios, benchmark_scores, ruleset_study_time

INF = math.inf
BASE, VARIANT = "ogbg", "ogbg_model_size"
AFTER_400 = math.nextafter(400.0, INF)


def _times(**rows: tuple[float, float]) -> dict[str, dict[str, float]]:
    return {name: {BASE: base, VARIANT: variant} for name, (base, variant) in rows.items()}


def _unmet(times: credit.Times, held_out: tuple[str, ...] = (VARIANT,)) -> dict[str, list[str]]:
    unmet = credit.unmet_conditions(times, BASE, held_out, V0_5)
    return {name: [str(condition) for condition in missed] for name, missed in unmet.items()}


@pytest.mark.clause("HELD-6")
def test_which_version_applies_which_conditions_is_data() -> None:
    assert PAPER_2023.credit_conditions == V0_5.credit_conditions == tuple(Condition)
    assert V0_6.credit_conditions == (Condition.BASE_REACHED, Condition.BASE_NEAR_FASTEST)


@pytest.mark.clause("HELD-7")
def test_the_paper_asks_for_both_targets_and_scores_the_test_target() -> None:
    assert PAPER_2023.credit_splits == (Split.VALIDATION, Split.TEST)
    assert V0_5.credit_splits == V0_6.credit_splits == (Split.VALIDATION,)
    trials = [{Split.VALIDATION: 50.0, Split.TEST: 30.0}, {Split.VALIDATION: 60.0, Split.TEST: 9.0}]
    for tuning in Tuning:
        own = trials[: PAPER_2023.num_trials[tuning]]
        assert ruleset_study_time(PAPER_2023, tuning, own) == 30.0
        assert ruleset_study_time(credit.condition_rules(PAPER_2023), tuning, own) == 50.0
    assert credit.condition_rules(V0_5) == V0_5


@pytest.mark.clause("HELD-7")
def test_the_paper_gives_a_self_tuning_run_no_credit_for_the_test_target_alone() -> None:
    trial = {Split.TEST: 30.0}
    scored = ruleset_study_time(PAPER_2023, Tuning.SELF, [trial])
    judged = ruleset_study_time(credit.condition_rules(PAPER_2023), Tuning.SELF, [trial])
    assert (scored, judged) == (30.0, INF)
    credited = credit.credited_times(
        {"s": {BASE: scored}}, [BASE], [], PAPER_2023, condition_times={"s": {BASE: judged}}
    )
    assert credited == {"s": {BASE: INF}}


@pytest.mark.clause("HELD-6", "HELD-10")
@pytest.mark.parametrize(
    ("base", "variant", "unmet"),
    [
        (400.0, 400.0, []),
        (AFTER_400, 400.0, ["base_near_fastest"]),
        (400.0, AFTER_400, ["held_out_near_fastest"]),
        (400.0, INF, ["held_out_reached", "held_out_near_fastest"]),
        (INF, 100.0, ["base_reached", "base_near_fastest"]),
        (INF, INF, list(Condition)),
    ],
)
def test_each_condition_can_be_the_one_that_is_missed(
    base: float, variant: float, unmet: list[str]
) -> None:
    times = _times(fast=(100.0, 100.0), slow=(base, variant))
    assert _unmet(times) == {"fast": [], "slow": unmet}
    credited = credit.credited_times(times, [BASE], [VARIANT], V0_5)
    assert credited == {"fast": {BASE: 100.0}, "slow": {BASE: INF if unmet else base}}


@pytest.mark.clause("HELD-8")
def test_who_cannot_train_the_base_workload_sets_no_pace_on_its_held_out_workload() -> None:
    times = _times(specialist=(INF, 1.0), general=(100.0, 100.0), slower=(110.0, 300.0))
    assert _unmet(times)["general"] == _unmet(times)["slower"] == []


@pytest.mark.clause("HELD-9")
def test_the_pace_on_the_base_workload_is_set_before_held_out_workloads_take_credit() -> None:
    """Brittle is fastest on the base and fails the held-out one; 500 s is beyond 4 x 100 s."""
    times = _times(brittle=(100.0, INF), steady=(300.0, 50.0), slow=(500.0, 50.0))
    credited = credit.credited_times(times, [BASE], [VARIANT], V0_5)
    assert {name: own[BASE] for name, own in credited.items()} == {
        "brittle": INF,
        "steady": 300.0,
        "slow": INF,
    }
    # The ratio is to the fastest of those that still have credit.
    assert all_ratios(credited, [BASE])["steady"][BASE] == 1.0


@pytest.mark.clause("HELD-8")
def test_a_submission_too_slow_on_the_base_still_sets_the_pace_on_the_held_out_workload() -> None:
    """It reached the base target; only that is asked of the pace."""
    times = _times(fast=(100.0, 90.0), late=(500.0, 10.0))
    assert _unmet(times)["fast"] == ["held_out_near_fastest"]


@pytest.mark.clause("HELD-10")
def test_a_workload_that_was_never_run_is_missed() -> None:
    times = {"a": {BASE: 100.0, VARIANT: 100.0}, "b": {BASE: 100.0}, "c": {}}
    credited = credit.credited_times(times, [BASE, "wmt"], [VARIANT], V0_5)
    assert [credited[name][BASE] for name in "abc"] == [100.0, INF, INF]
    assert {credited[name]["wmt"] for name in "abc"} == {INF}


@pytest.mark.clause("HELD-10")
def test_a_base_workload_without_a_partner_is_scored_as_it_is() -> None:
    times = {"a": {"imagenet_vit": 100.0}, "b": {"imagenet_vit": 200.0}}
    held_out = heldout.held_out_workloads("v0.5")
    assert credit.credited_times(times, ["imagenet_vit"], held_out, V0_5) == times


@pytest.mark.clause("HELD-10")
def test_a_variant_that_was_not_drawn_does_not_matter() -> None:
    """One stray variant run once took the base workload from every other submission."""
    times = {
        "a": {BASE: 100.0},
        "b": {BASE: 120.0, "ogbg_gelu": 50.0},
    }
    assert credit.credited_times(times, [BASE], [], V0_6) == {
        "a": {BASE: 100.0},
        "b": {BASE: 120.0},
    }
    drawn = {name: {**own, VARIANT: 10.0} for name, own in times.items()}
    assert credit.credited_times(drawn, [BASE], [VARIANT], V0_5)["a"] == {BASE: 100.0}


@pytest.mark.clause("HELD-10")
def test_credit_lost_on_one_workload_leaves_the_others() -> None:
    times = {
        "a": {BASE: 100.0, "wmt": 100.0, VARIANT: INF},
        "b": {BASE: 200.0, "wmt": 200.0, VARIANT: 10.0},
    }
    credited = credit.credited_times(times, [BASE, "wmt"], [VARIANT], V0_5)
    assert credited["a"] == {BASE: INF, "wmt": 100.0}
    # a: (0 + 1) / 2; b: fastest left on ogbg, ratio 2 on wmt, so (1 + 2/3) / 2.
    assert benchmark_scores(credited, [BASE, "wmt"]) == pytest.approx({"a": 1 / 2, "b": 5 / 6})


@pytest.mark.clause("HELD-4")
def test_v0_6_refuses_held_out_workloads_instead_of_ignoring_them() -> None:
    with pytest.raises(heldout.WrongDraw, match=r"v0\.6"):
        credit.credited_times(_times(a=(1.0, 1.0)), [BASE], [VARIANT], V0_6)


@pytest.mark.clause("HELD-1")
def test_a_held_out_workload_that_is_no_variant_is_an_error() -> None:
    with pytest.raises(heldout.NotAVariant, match="mnist"):
        credit.credited_times(_times(a=(1.0, 1.0)), [BASE], ["mnist"], V0_5)


@pytest.mark.clause("SCORE-7")
@pytest.mark.parametrize("seconds", [math.nan, 0.0, -1.0])
@pytest.mark.parametrize("workload", [BASE, VARIANT])
def test_a_time_is_a_positive_number(workload: str, seconds: float) -> None:
    times = {"a": {BASE: 1.0, VARIANT: 1.0, workload: seconds}}
    with pytest.raises(ScoringError, match="times are positive"):
        credit.credited_times(times, [BASE], [VARIANT], V0_5)
