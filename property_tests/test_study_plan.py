"""Studies: slices share the work, every trial has one outcome, and a result has the last word."""

from __future__ import annotations

import math
import signal
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.harness.results import Status, TrialResult
from algoperf_ref.studies.plan import Slice, Task, tasks
from algoperf_ref.studies.runner import Ending, Outcome, judged, run_tasks
from spec.costs import Cost, WorkloadCost

rows = st.builds(
    WorkloadCost,
    workload=st.sampled_from(["a", "b", "c", "d"]),
    num_studies=st.integers(1, 4),
    num_trials=st.integers(1, 6),
    budget_seconds=st.integers(1, 100_000).map(float),
)
plans = st.lists(rows, min_size=1, max_size=4, unique_by=lambda row: row.workload).map(
    lambda found: Cost(tuple(found))
)


@given(plans)
def test_the_tasks_are_the_runs_of_the_plan_study_by_study(plan: Cost) -> None:
    work = tasks(plan)
    assert len(set(work)) == len(work) == plan.num_runs
    assert math.isclose(sum(task.budget_seconds for task in work), plan.hours * 3600)
    assert [task.study for task in work] == sorted(task.study for task in work)
    for row in plan.workloads:
        own = Counter((t.study, t.trial) for t in work if t.workload == row.workload)
        expected = {(s, t) for s in range(row.num_studies) for t in range(1, row.num_trials + 1)}
        assert own == Counter(expected)


@given(plans, st.integers(1, 9))
def test_slices_are_disjoint_complete_ordered_and_balanced(plan: Cost, count: int) -> None:
    work = tasks(plan)
    parts = [Slice(index, count).of(work) for index in range(1, count + 1)]
    assert Counter(task for part in parts for task in part) == Counter(work)
    for part in parts:
        assert list(part) == [task for task in work if task in part]
    loads = [sum(task.budget_seconds for task in part) for part in parts]
    assert max(loads) - min(loads) <= max(task.budget_seconds for task in work)


@given(plans, st.integers(1, 9))
def test_trials_of_equal_length_are_dealt_evenly(plan: Cost, count: int) -> None:
    equal = Cost(tuple(replace(row, budget_seconds=60.0) for row in plan.workloads))
    work = tasks(equal)
    sizes = [len(Slice(index, count).of(work)) for index in range(1, count + 1)]
    assert max(sizes) - min(sizes) <= 1


endings = st.sampled_from([e for e in Ending if e is not Ending.NOT_RUN])


def run_all(
    work: tuple[Task, ...], fates: dict[Task, Ending], **options: Any
) -> tuple[list[Outcome], list[Task], list[Outcome]]:
    """Outcomes, the trials that were launched, and what was reported."""
    launched: list[Task] = []
    reported: list[Outcome] = []

    def launch(task: Task) -> Outcome:
        launched.append(task)
        return Outcome(task, fates[task])

    return run_tasks(work, launch, reported.append, **options), launched, reported


@given(plans, st.data(), st.integers(1, 4))
def test_every_trial_is_launched_once_unless_its_workload_was_refused(
    plan: Cost, data: st.DataObject, jobs: int
) -> None:
    work = tasks(plan)
    fates = {task: data.draw(endings) for task in work}
    outcomes, launched, reported = run_all(work, fates, jobs=jobs)
    assert [outcome.task for outcome in outcomes] == list(work)
    assert len(set(launched)) == len(launched) == len(reported)
    assert {o.task for o in outcomes if o.ending is not Ending.NOT_RUN} == set(launched)
    refused = {task.workload for task in launched if fates[task] is Ending.REFUSED}
    assert all(o.task.workload in refused for o in outcomes if o.ending is Ending.NOT_RUN)
    if jobs == 1:
        for position, task in enumerate(work):
            before = work[:position]
            is_refused = any(
                fates[t] is Ending.REFUSED and t.workload == task.workload for t in before
            )
            assert (task in launched) is not is_refused


@given(plans, st.data())
def test_stop_on_failure_launches_up_to_the_first_failure(plan: Cost, data: st.DataObject) -> None:
    work = tasks(plan)
    fates = {task: data.draw(endings) for task in work}
    _, launched, _ = run_all(work, fates, stop_on_failure=True)
    bad = [i for i, t in enumerate(work) if fates[t] not in (Ending.COMPLETE, Ending.IN_USE)]
    assert launched == list(work[: bad[0] + 1] if bad else work)


RESULT = TrialResult(
    workload="a",
    framework="jax",
    tier="mini",
    rules="v0.6",
    tuning="external",
    study=0,
    trial=1,
    run_seed=0,
    trial_seed=0,
    clock="steps",
    hyperparameters=None,
    status=Status.OUT_OF_TIME,
    message="",
    global_step=10,
    submission_seconds=1.0,
    evaluation_seconds=0.0,
    logging_seconds=0.0,
    validation_time_seconds=math.inf,
    test_time_seconds=math.inf,
    target_metric="loss",
    eval_results=(),
    directory=None,
)
results = st.none() | st.builds(
    replace, st.just(RESULT), status=st.sampled_from(Status), global_step=st.integers(0, 20)
)
exit_codes = st.none() | st.sampled_from(
    [0, 1, 2, 3, 130, 255, *(-int(number) for number in signal.Signals)]
)


@given(exit_codes, results, st.booleans(), st.none() | st.integers(1, 20), st.booleans())
def test_a_trial_is_complete_exactly_if_a_final_result_of_it_stands(
    exit_code: int | None,
    result: TrialResult | None,
    is_new: bool,
    limit: int | None,
    is_stopping: bool,
) -> None:
    is_new = is_new and result is not None
    outcome = judged(
        Task("a", 0, 1, 1.0),
        exit_code,
        result,
        is_new=is_new,
        max_global_steps=limit,
        is_stopping=is_stopping,
    )
    if exit_code is None:
        assert outcome.ending is Ending.NOT_RUN
        return
    final = result is not None and result.is_final(limit) and (is_new or exit_code == 0)
    assert (outcome.ending is Ending.COMPLETE) == final
    if final:
        return
    assert outcome.message
    if exit_code < 0 and not is_new and not is_stopping:
        assert outcome.ending is Ending.CRASHED
        assert outcome.signal == signal.Signals(-exit_code).name
    if is_new and result is not None and result.status is not Status.INTERRUPTED:
        assert outcome.ending is Ending.FAILED
