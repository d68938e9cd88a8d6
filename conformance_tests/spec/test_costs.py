"""Costs, against sums done by hand from the budgets of the rules."""

from __future__ import annotations

import pytest

from spec import costs
from spec.clauses import UnknownVersion
from spec.costs import NoSuchSet, WorkloadSet, cost

# Budgets in seconds as the documents print them, in the order of the workload table.
V0_6_BUDGETS = 7_703 + 4_430 + 66_159 + 69_768 + 58_015 + 44_405 + 12_011 + 43_336
V0_5_BUDGETS = 7_703 + 8_859 + 63_008 + 77_520 + 61_068 + 55_506 + 18_477 + 48_151
V0_5_HELD_OUT = 7_703 + 8_859 + 63_008 + 61_068 + 18_477 + 48_151  # one per data set
QUALIFICATION = 7_703 + 12_011 + 43_336
assert (V0_6_BUDGETS, V0_5_BUDGETS, V0_5_HELD_OUT) == (305_827, 340_292, 207_266)


@pytest.mark.clause("COST-1")
@pytest.mark.parametrize(
    ("version", "tuning", "workload_set", "runs"),
    [
        ("v0.6", "external", "scored", 5 * 3 * 8),
        ("v0.6", "self", "scored", 3 * 8),
        ("v0.6", "external", "base", 120),
        ("v0.6", "external", "qualification", 5 * 1 * 3),
        ("v0.6", "self", "qualification", 3 * 3),
        ("v0.5", "external", "scored", 5 * 5 * (8 + 6)),
        ("v0.5", "external", "base", 5 * 5 * 8),
        ("v0.5", "external", "held_out", 5 * 5 * 6),
        ("v0.5", "self", "scored", 5 * (8 + 6)),
        ("paper2023", "external", "scored", 20 * 5 * (8 + 8)),
        ("paper2023", "self", "scored", 5 * (8 + 8)),
    ],
)
def test_the_number_of_runs(version: str, tuning: str, workload_set: str, runs: int) -> None:
    assert cost(version, tuning, workload_set).num_runs == runs


@pytest.mark.clause("COST-2")
@pytest.mark.parametrize(
    ("version", "tuning", "workload_set", "seconds"),
    [
        ("v0.6", "external", "scored", 15 * V0_6_BUDGETS),
        ("v0.6", "self", "scored", 3 * 1.5 * V0_6_BUDGETS),
        ("v0.6", "external", "qualification", 5 * QUALIFICATION),
        ("v0.6", "self", "qualification", 3 * 1.5 * QUALIFICATION),
        ("v0.5", "external", "scored", 25 * (V0_5_BUDGETS + V0_5_HELD_OUT)),
        ("v0.5", "self", "scored", 5 * 3 * (V0_5_BUDGETS + V0_5_HELD_OUT)),
        ("paper2023", "external", "scored", 100 * 2 * V0_5_BUDGETS),
        ("paper2023", "self", "base", 5 * 3 * V0_5_BUDGETS),
    ],
)
def test_the_bound_on_machine_hours(
    version: str, tuning: str, workload_set: str, seconds: float
) -> None:
    assert cost(version, tuning, workload_set).hours == pytest.approx(seconds / 3600, rel=1e-12)


@pytest.mark.clause("COST-2")
@pytest.mark.parametrize(("tuning", "published"), [("external", 3469), ("self", 1847)])
def test_the_published_average_of_the_first_competition_is_within_the_bound(
    tuning: str, published: float
) -> None:
    """Kasimbeg et al. 2025 give the mean hours that scoring a submission took."""
    bound = cost("v0.5", tuning).hours
    assert 0.75 * bound < published < bound


@pytest.mark.clause("COST-3")
def test_the_qualification_set_is_three_workloads_and_one_external_study() -> None:
    subset = cost("v0.6", "external", "qualification")
    assert [row.workload for row in subset.workloads] == ["criteo1tb", "ogbg", "wmt"]
    assert {row.num_studies for row in subset.workloads} == {1}
    self_tuning = cost("v0.6", "self", "qualification")
    assert {row.num_studies for row in self_tuning.workloads} == {3}
    # The three workloads have about a fifth of the budgets of the eight.
    assert pytest.approx(0.206, abs=0.001) == QUALIFICATION / V0_6_BUDGETS
    assert subset.hours / cost("v0.6").hours == pytest.approx(QUALIFICATION / V0_6_BUDGETS / 3)


@pytest.mark.clause("COST-3")
@pytest.mark.parametrize(
    ("version", "workload_set", "message"),
    [
        ("v0.6", "held_out", "v0.6 has no held-out workloads"),
        ("paper2023", "qualification", "paper2023 has no qualification workloads"),
    ],
)
def test_a_set_that_a_version_does_not_have_is_an_error(
    version: str, workload_set: str, message: str
) -> None:
    with pytest.raises(NoSuchSet, match=message):
        cost(version, "external", workload_set)


@pytest.mark.clause("COST-4")
def test_only_the_fastest_trial_of_each_study_has_to_be_on_the_benchmarking_hardware() -> None:
    external = cost("v0.6", "external")
    assert external.num_scored_runs == 3 * 8
    assert external.scored_hours == pytest.approx(3 * V0_6_BUDGETS / 3600, rel=1e-12)
    self_tuning = cost("v0.6", "self")
    assert self_tuning.num_scored_runs == self_tuning.num_runs
    assert self_tuning.scored_hours == self_tuning.hours


def test_workloads_are_listed_with_undrawn_held_outs_named_as_such() -> None:
    names = [row.workload for row in cost("paper2023", "self").workloads]
    assert names[:8] == [row.workload for row in cost("paper2023", "self", "base").workloads]
    assert names[8:] == [f"{name} variant" for name in names[:8]]
    assert [row.workload for row in cost("v0.5").workloads][8:] == [
        "criteo1tb_embed_init",
        "fastmri_tanh",
        "imagenet_resnet_large_bn_init",
        "librispeech_conformer_layernorm",
        "ogbg_model_size",
        "wmt_glu_tanh",
    ]


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(UnknownVersion):
        cost("v9")
    with pytest.raises(ValueError, match="neither"):
        cost("v0.6", "neither")
    with pytest.raises(ValueError, match="most"):
        cost("v0.6", "external", "most")
    assert list(WorkloadSet) == ["scored", "base", "held_out", "qualification"]
    assert costs.SECONDS_PER_HOUR == 60 * 60
