"""What a study has to do by the rules of each version."""

from __future__ import annotations

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.studies.plan import Slice, chosen_workloads, hours, plan, tasks
from spec import costs, tiers, workloads
from spec.clauses import VERSIONS
from spec.rulesets import RULESETS


def test_the_whole_benchmark_is_120_trials_in_external_tuning() -> None:
    whole = plan("base", rules="v0.6", tuning="external", tier="full")
    assert whole.num_runs == len(tasks(whole)) == 8 * 3 * 5
    assert [row.workload for row in whole.workloads] == list(workloads.names("base"))


def test_self_tuning_has_one_longer_trial_in_each_study() -> None:
    own = plan("ogbg", rules="v0.6", tuning="self", tier="full")
    runtime = workloads.get("ogbg", "v0.6").max_allowed_runtime_sec
    factor = RULESETS["v0.6"].self_tuning_budget_factor
    assert [(task.study, task.trial) for task in tasks(own)] == [(0, 1), (1, 1), (2, 1)]
    assert {task.budget_seconds for task in tasks(own)} == {factor * runtime}


def test_one_study_of_the_qualification_set_suffices() -> None:
    asked = {"rules": "v0.6", "tuning": "external", "tier": "full"}
    assert plan("qualification", **asked) == costs.cost("v0.6", "external", "qualification")
    assert plan("qualification", **asked, num_studies=3).num_runs == 3 * 3 * 5
    # Named one by one, the same workloads are no estimate but part of the benchmark.
    assert plan("criteo1tb,ogbg,wmt", **asked).num_runs == 3 * 3 * 5


@pytest.mark.parametrize("rules", VERSIONS)
@pytest.mark.parametrize("tuning", ["external", "self"])
def test_hours_are_those_of_the_rule_book(rules: str, tuning: str) -> None:
    base = plan("base", rules=rules, tuning=tuning, tier="full")
    assert base == costs.cost(rules, tuning, "base")
    assert hours(tasks(base)) == pytest.approx(costs.cost(rules, tuning, "base").hours)


def test_held_out_workloads_are_those_of_the_version() -> None:
    drawn = RULESETS["v0.5"].held_out_workloads
    base = workloads.names("base")
    assert chosen_workloads("held_out", "v0.5", "full") == drawn
    assert chosen_workloads("all", "v0.5", "full") == (*base, *drawn)
    assert chosen_workloads("all", "v0.6", "full") == base
    with pytest.raises(UserError, match=r"v0\.6 has no such workloads"):
        chosen_workloads("held_out", "v0.6", "full")
    with pytest.raises(UserError, match="name the drawn ones"):
        chosen_workloads("all", "paper2023", "full")


def test_words_and_names_can_be_mixed_and_count_once() -> None:
    assert chosen_workloads(" wmt, qualification,wmt", "v0.6", "full") == (
        "wmt",
        "criteo1tb",
        "ogbg",
    )


def test_a_word_means_the_workloads_of_the_tier_and_a_name_must_be_in_it() -> None:
    assert set(chosen_workloads("base", "v0.6", "mini")) <= set(tiers.names("mini"))
    # A development workload, of the full tier only.
    with pytest.raises(UserError, match="unknown mini workload 'cifar'"):
        chosen_workloads("cifar", "v0.6", "mini")


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1.5/2"])
def test_a_slice_is_written_i_of_n(text: str) -> None:
    with pytest.raises(UserError, match="write I/N"):
        Slice.parse(text)
    assert Slice.parse(" 2/3 ") == Slice(2, 3)


def test_slices_take_the_long_trials_first() -> None:
    work = tasks(plan("imagenet_vit,fastmri", rules="v0.6", tuning="external", tier="full"))
    loads = [hours(Slice(i, 4).of(work)) for i in range(1, 5)]
    longest = max(hours([task]) for task in work)
    assert max(loads) - min(loads) <= longest
    assert sum(loads) == pytest.approx(hours(work))
