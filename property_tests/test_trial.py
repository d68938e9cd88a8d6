"""The training loop under any schedule of step, preparation, evaluation and logging times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.harness.files import NoFiles
from algoperf_ref.harness.results import Status
from conformance_tests.support.fakes import (
    METRIC,
    ROW,
    FakeTime,
    FakeWorkload,
    fake_functions,
    fake_submission,
    fake_trial,
)
from spec.timing import Event

# Multiples of 1/8 s are exact in binary, so the oracle may compare for equality.
SECONDS = st.integers(0, 80).map(lambda eighths: eighths / 8)
BUDGET = 60.0
PERIOD = 4


class Scripted:
    """A trial whose every action takes the time that the example says."""

    def __init__(self, steps: list[float], extras: list[tuple[float, float, float]]) -> None:
        self.time = time = FakeTime()
        self.steps, self.extras = steps, extras
        self.evaluated_at: list[tuple[int, float, float]] = []  # step, start, end
        self.prepared_at: list[float] = []
        normal = fake_functions()
        row = replace(ROW, eval_period_time_sec=PERIOD, validation_target_value=2.0)
        workload = FakeWorkload(row, evaluate=lambda step: 0.0)
        num_prepared = 0

        def update_params(**arguments: Any) -> Any:
            time.pass_seconds(max(steps[arguments["global_step"] % len(steps)], 0.125))
            return normal.update_params(**arguments)

        def prepare_for_eval(**arguments: Any) -> Any:
            nonlocal num_prepared
            time.pass_seconds(self.extra(num_prepared)[0])
            self.prepared_at.append(time.now)
            num_prepared += 1
            return arguments["optimizer_state"], arguments["current_param_container"], None

        def evaluate() -> None:
            start = time.now
            time.pass_seconds(self.extra(len(self.evaluated_at))[1])
            step = int(workload.events[-1].split()[1])
            self.evaluated_at.append((step, start, time.now))

        workload.on_evaluate = evaluate
        scripted = self

        class Recorder(NoFiles):
            wants_checkpoints = False

            def evaluation(self, metrics: Any, global_step: int) -> None:
                time.pass_seconds(scripted.extra(len(scripted.evaluated_at) - 1)[2])

            def checkpoint(self, state: Any, global_step: int) -> None:
                raise AssertionError("not wanted")

            def final(self, score: float, global_step: int) -> None:
                pass

        self.trial = fake_trial(
            workload,
            fake_submission(update_params=update_params, prepare_for_eval=prepare_for_eval),
            time_source=time,
            recorder=Recorder(),
            budget_seconds=BUDGET,
        )
        self.status = self.trial.run()

    def extra(self, index: int) -> tuple[float, float, float]:
        return self.extras[index % len(self.extras)]


scripted_trials = st.builds(
    Scripted,
    st.lists(SECONDS, min_size=1, max_size=12),
    st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=1, max_size=6),
)


@pytest.mark.clause("TIM-1")
@given(scripted_trials)
def test_the_accounts_add_up_to_the_time_that_passed(run: Scripted) -> None:
    clock = run.trial.clock
    assert clock.total_seconds == run.time.now - 1000.0
    assert clock.evaluation_seconds == sum(end - start for _, start, end in run.evaluated_at)


@pytest.mark.clause("EVAL-2")
@given(scripted_trials)
def test_evaluations_come_after_step_1_and_then_a_period_after_the_last(run: Scripted) -> None:
    steps = [step for step, _, _ in run.evaluated_at]
    assert steps[:1] in ([], [1])
    for (_, _, end), (_, start, _) in zip(run.evaluated_at, run.evaluated_at[1:], strict=False):
        assert start - end >= PERIOD
    # Nor later than needed: the step before was too early.
    ended = [now for event, now in run.time.readings if event is Event.STEP_ENDED]
    for (_, _, end), (step, _, _) in zip(run.evaluated_at, run.evaluated_at[1:], strict=False):
        assert ended[step - 1] - end >= PERIOD
        if ended[step - 2] > end:
            assert ended[step - 2] - end < PERIOD


@pytest.mark.clause("EVAL-3", "EVAL-4", "EVAL-8")
@given(scripted_trials)
def test_nothing_is_evaluated_at_or_after_the_budget_and_the_run_then_ends(run: Scripted) -> None:
    assert run.status is Status.OUT_OF_TIME
    times = [m["accumulated_submission_time"] for _, m in run.trial.eval_results]
    assert times == sorted(times)
    assert all(seconds < BUDGET for seconds in times)
    assert run.trial.clock.submission_seconds >= BUDGET
    # Prepared once more than evaluated: the last preparation was the one that found no time left.
    assert len(run.prepared_at) == len(run.evaluated_at) + 1
    assert all(m[f"validation/{METRIC}"] == 0.0 for _, m in run.trial.eval_results)
