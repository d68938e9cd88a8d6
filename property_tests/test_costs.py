"""Laws of costs: sums, monotonicity, and agreement with training every run one by one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import rulesets, workloads
from spec.clauses import VERSIONS
from spec.costs import Cost, NoSuchSet, WorkloadCost, WorkloadSet, cost
from spec.rulesets import Tuning

versions = st.sampled_from(VERSIONS)
tunings = st.sampled_from(Tuning)
costs_of_workloads = st.builds(
    WorkloadCost,
    st.text(max_size=3),
    st.integers(1, 9),
    st.integers(1, 30),
    st.integers(1, 10**6),
)
tables = st.lists(costs_of_workloads, max_size=6).map(tuple)


def cost_or_nothing(version: str, tuning: Tuning, kind: WorkloadSet) -> Cost:
    try:
        return cost(version, tuning, kind)
    except NoSuchSet:
        return Cost(())


@pytest.mark.clause("COST-1", "COST-2", "COST-4")
@given(tables)
def test_totals_are_those_of_running_every_trial_one_by_one(
    table: tuple[WorkloadCost, ...],
) -> None:
    runs = [
        (row.budget_seconds, trial)
        for row in table
        for _, trial in product(range(row.num_studies), range(row.num_trials))
    ]
    total = Cost(table)
    assert total.num_runs == len(runs)
    assert total.hours * 3600 == pytest.approx(sum(seconds for seconds, _ in runs))
    scored = [seconds for seconds, trial in runs if trial == 0]  # one trial of each study
    assert total.num_scored_runs == len(scored)
    assert total.scored_hours * 3600 == pytest.approx(sum(scored))


@pytest.mark.clause("COST-1", "COST-2")
@given(tables, tables)
def test_costs_of_disjoint_sets_add_up(
    first: tuple[WorkloadCost, ...], second: tuple[WorkloadCost, ...]
) -> None:
    both = Cost(first + second)
    assert both.num_runs == Cost(first).num_runs + Cost(second).num_runs
    assert both.hours == pytest.approx(Cost(first).hours + Cost(second).hours)


@pytest.mark.clause("COST-1", "COST-2")
@given(versions, tunings)
def test_the_scored_workloads_are_the_base_and_the_held_out_ones(
    version: str, tuning: Tuning
) -> None:
    base, held_out, scored = (
        cost_or_nothing(version, tuning, kind)
        for kind in (WorkloadSet.BASE, WorkloadSet.HELD_OUT, WorkloadSet.SCORED)
    )
    assert scored.workloads == base.workloads + held_out.workloads
    assert [row.workload for row in base.workloads] == list(workloads.names("base"))


@pytest.mark.clause("COST-2")
@given(versions)
def test_self_tuning_has_fewer_but_longer_runs(version: str) -> None:
    """The bounds of the rulesets are as the trials of a study to the budget factor."""
    external, self_tuning = cost(version, Tuning.EXTERNAL), cost(version, Tuning.SELF)
    ruleset = rulesets.get(version)
    trials = ruleset.num_trials[Tuning.EXTERNAL]
    assert external.num_runs == trials * self_tuning.num_runs
    ratio = trials / ruleset.self_tuning_budget_factor
    assert external.hours == pytest.approx(ratio * self_tuning.hours)


@pytest.mark.clause("COST-3")
@given(st.sampled_from(["v0.5", "v0.6"]), tunings)
def test_the_qualification_set_never_costs_more_than_its_workloads_in_full(
    version: str, tuning: Tuning
) -> None:
    subset = cost(version, tuning, WorkloadSet.QUALIFICATION)
    full = {row.workload: row for row in cost(version, tuning, WorkloadSet.BASE).workloads}
    studies = rulesets.get(version).num_studies[tuning]
    for row in subset.workloads:
        assert row.budget_seconds == full[row.workload].budget_seconds
        factor = studies if tuning is Tuning.EXTERNAL else 1
        assert factor * row.seconds == full[row.workload].seconds


@pytest.mark.clause("COST-4")
@given(versions, tunings)
def test_scored_runs_cost_the_trials_of_a_study_less(version: str, tuning: Tuning) -> None:
    total = cost(version, tuning)
    trials = rulesets.get(version).num_trials[tuning]
    assert trials * total.num_scored_runs == total.num_runs
    assert trials * total.scored_hours == pytest.approx(total.hours)
