"""The versions of the rules."""

from __future__ import annotations

import dataclasses

import pytest

from spec import rulesets, workloads
from spec.clauses import VERSIONS, UnknownVersion
from spec.rulesets import PAPER_2023, V0_5, V0_6, HeldOut, Split, Tuning


def test_every_version_has_a_ruleset_and_v0_6_is_the_default() -> None:
    assert tuple(rulesets.RULESETS) == VERSIONS
    assert [rulesets.get(version).version for version in VERSIONS] == list(VERSIONS)
    assert rulesets.get() is V0_6


def test_an_unknown_version_is_an_error_that_lists_the_versions() -> None:
    with pytest.raises(UnknownVersion, match=r"known: paper2023, v0\.5, v0\.6"):
        rulesets.get("0.6")


@pytest.mark.clause("RULE-2")
@pytest.mark.parametrize(
    ("ruleset", "trials", "studies"), [(PAPER_2023, 20, 5), (V0_5, 5, 5), (V0_6, 5, 3)]
)
def test_trials_and_studies_are_those_of_the_rules(
    ruleset: rulesets.Ruleset, trials: int, studies: int
) -> None:
    assert dict(ruleset.num_trials) == {Tuning.EXTERNAL: trials, Tuning.SELF: 1}
    assert dict(ruleset.num_studies) == {Tuning.EXTERNAL: studies, Tuning.SELF: studies}


@pytest.mark.clause("RULE-1")
@pytest.mark.parametrize(("version", "factor"), [("paper2023", 3.0), ("v0.5", 3.0), ("v0.6", 1.5)])
def test_self_tuning_runs_may_use_a_multiple_of_the_budget(version: str, factor: float) -> None:
    ruleset = rulesets.get(version)
    budget = workloads.get("ogbg", version).max_allowed_runtime_sec
    assert ruleset.budget_seconds(budget, Tuning.EXTERNAL) == budget
    assert ruleset.budget_seconds(budget, "self") == factor * budget


@pytest.mark.clause("RULE-1")
def test_a_budget_for_an_unknown_tuning_ruleset_is_an_error() -> None:
    with pytest.raises(ValueError, match="'internal'"):
        V0_6.budget_seconds(100.0, "internal")


@pytest.mark.clause("RULE-3")
def test_credit_ends_at_four_times_the_fastest_in_every_version() -> None:
    assert {ruleset.r_max for ruleset in rulesets.RULESETS.values()} == {4.0}


@pytest.mark.clause("RULE-4", "RULE-5")
def test_the_paper_times_the_test_target_and_later_versions_the_validation_target() -> None:
    assert PAPER_2023.external_time_splits == PAPER_2023.self_tuning_time_splits == (Split.TEST,)
    for ruleset in (V0_5, V0_6):
        assert ruleset.external_time_splits == (Split.VALIDATION,)
        assert ruleset.self_tuning_time_splits == (Split.VALIDATION,)
    for ruleset in rulesets.RULESETS.values():
        assert ruleset.trial_choice_split is Split.VALIDATION


@pytest.mark.clause("RULE-6")
def test_runs_stop_on_both_targets_in_every_version() -> None:
    for ruleset in rulesets.RULESETS.values():
        assert set(ruleset.stop_splits) == {Split.VALIDATION, Split.TEST}


@pytest.mark.clause("RULE-7")
def test_v0_5_scored_one_held_out_variant_per_data_set() -> None:
    datasets = [workloads.get(name).dataset for name in V0_5.held_out_workloads]
    assert len(datasets) == len(set(datasets)) == 6
    assert all(workloads.get(name).is_variant for name in V0_5.held_out_workloads)
    assert V0_5.held_out is HeldOut.ONE_PER_DATASET


@pytest.mark.clause("RULE-7")
def test_v0_6_has_no_held_out_workloads_and_the_paper_one_per_workload() -> None:
    assert (V0_6.held_out, V0_6.held_out_workloads) == (HeldOut.NONE, ())
    assert PAPER_2023.held_out is HeldOut.ONE_PER_WORKLOAD


@pytest.mark.clause("RULE-8")
def test_the_qualification_set_is_three_base_workloads() -> None:
    assert V0_6.qualification_workloads == ("criteo1tb", "ogbg", "wmt")
    assert set(V0_6.qualification_workloads) <= set(workloads.names("base"))
    assert PAPER_2023.qualification_workloads == ()


@pytest.mark.clause("RULE-9")
def test_official_times_refer_to_the_same_hardware_in_every_version() -> None:
    assert {r.hardware for r in rulesets.RULESETS.values()} == {"8x NVIDIA V100 16 GB"}


def test_rulesets_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        V0_6.r_max = 5.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        V0_6.num_trials[Tuning.SELF] = 2  # type: ignore[index]
    assert len({*rulesets.RULESETS.values()}) == 3


@pytest.mark.clause("DROP-5", "DROP-6")
def test_the_dropout_rate_is_an_argument_of_each_call_since_v0_6() -> None:
    assert V0_6.dropout_per_call
    assert not V0_5.dropout_per_call
    assert not PAPER_2023.dropout_per_call
