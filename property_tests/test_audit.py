"""The audit under any schedule: silent on what the loop does, not deceived about any time."""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from algoperf_ref.harness.files import NoFiles
from conformance_tests.support.fakes import (
    METRIC,
    ROW,
    FakeTime,
    FakeWorkload,
    fake_functions,
    fake_submission,
    fake_trial,
)
from spec import audit
from spec.audit import Limits, Replay
from spec.records import COUNTER_COLUMNS, TIME_COLUMNS
from spec.submission import TrainingCompleteError

BUDGET, PERIOD = 40.0, 4
SECONDS = st.floats(0.0, 6.0)
COLUMNS = (*TIME_COLUMNS, *COUNTER_COLUMNS)
Line = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def no_tracebacks_of_scripted_failures() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Memory(NoFiles):
    """Keeps events and rows, and checkpoints with the number of both, as the files do."""

    wants_checkpoints = True

    def __init__(self, script: Scripted, events: list[Line], rows: list[Line], resumes: int):
        self.script, self.events, self.rows, self.resumes = script, events, rows, resumes
        self.checkpoints: list[tuple[Any, int, int]] = []

    def happened(
        self, event: str, global_step: int, reading_ns: int | None, facts: Any = None
    ) -> None:
        line = {"event": event, "step": global_step, "reading_ns": reading_ns, **(facts or {})}
        self.events.append(line)

    def evaluation(self, metrics: Any, global_step: int) -> None:
        metrics.update(global_step=global_step, preemption_count=self.resumes)
        self.rows.append(dict(metrics))

    def checkpoint(self, state: Any, global_step: int) -> None:
        self.script.time.pass_seconds(self.script.next()[3])
        self.checkpoints.append((copy.deepcopy(state), len(self.events), len(self.rows)))


class Killed(BaseException):
    """The process is gone."""


class Scripted:
    """A trial whose actions take any time and fail at any time, killed and resumed at will."""

    def __init__(
        self,
        seed: int,
        extras: list[tuple[float, float, float, float]],
        kills: list[int],
        max_steps: int | None,
        completes_at: int | None,
        every: int,
        skips: bool,
    ) -> None:
        self.draw, self.extras, self.count = random.Random(seed), extras, 0
        self.events: list[Line] = []
        self.rows: list[Line] = []
        state: Any = None
        for resumes, kill in enumerate([*kills, None]):
            self.time = FakeTime(self.draw.uniform(-1e7, 1e7))  # another origin in each process
            memory = Memory(self, self.events, self.rows, resumes)
            trial = self._trial(memory, kill, max_steps, completes_at, every, skips)
            try:
                trial.run(state)
            except Killed:
                if memory.checkpoints:
                    state, num_events, num_rows = self.draw.choice(memory.checkpoints[-2:])
                    self.kept = (num_events, num_rows)
                elif state is None:
                    self.kept = (0, 0)
                del self.events[self.kept[0] :], self.rows[self.kept[1] :]
            else:
                break
        self.trial = trial

    def next(self) -> tuple[float, float, float, float]:
        self.count += 1
        return self.extras[self.count % len(self.extras)]

    def _trial(
        self,
        memory: Memory,
        kill: int | None,
        max_steps: int | None,
        completes_at: int | None,
        every: int,
        skips: bool,
    ) -> Any:
        normal = fake_functions()

        def update_params(**arguments: Any) -> Any:
            self.time.pass_seconds(max(self.next()[0], 0.1))
            if arguments["global_step"] == kill:
                raise Killed
            if arguments["global_step"] == completes_at:
                raise TrainingCompleteError
            return normal.update_params(**arguments)

        def prepare_for_eval(**arguments: Any) -> Any:
            self.time.pass_seconds(self.next()[1])
            return arguments["optimizer_state"], arguments["current_param_container"], None

        def evaluate(step: int) -> float:
            self.time.pass_seconds(self.next()[2])
            kind = random.Random(step).random()
            if kind < 0.15:
                raise RuntimeError("out of memory")
            return math.nan if kind < 0.25 else step / 40

        row = replace(ROW, eval_period_time_sec=PERIOD)
        return fake_trial(
            FakeWorkload(row, evaluate=evaluate),
            fake_submission(update_params=update_params, prepare_for_eval=prepare_for_eval),
            time_source=self.time,
            recorder=memory,
            budget_seconds=BUDGET,
            max_global_steps=max_steps,
            checkpoint_every_steps=every,
            skip_evaluations=skips,
            preemption_count=memory.resumes,
        )


scripts = st.builds(
    Scripted,
    st.integers(0, 2**32),
    st.lists(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS), min_size=1, max_size=6),
    st.lists(st.integers(0, 25), max_size=3),
    st.none() | st.integers(1, 30),
    st.none() | st.integers(0, 30),
    st.sampled_from([0, 0, 1, 3]),
    st.sampled_from([False, False, False, True]),
)


def columns(rows: list[Line]) -> dict[str, Any]:
    names = (*COLUMNS, f"validation/{METRIC}", f"test/{METRIC}")
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def result_of(run: Scripted, replay: Replay) -> Line:
    """The part of ``result.json`` that comes from the clock, by the trial's own state."""
    clock, start = run.trial.clock, replay.start
    assert start is not None
    results = [
        [step, {k: None if math.isnan(v) else v for k, v in metrics.items()}]
        for step, metrics in run.trial.eval_results
    ]
    first = next(
        (m["score"] for _, m in results if (m[f"validation/{METRIC}"] or 0) >= 0.5),
        None,
    )
    return {
        "status": run.events[-1]["reason"],
        "clock": run.time.kind,
        "target_metric": METRIC,
        "global_step": run.trial.progress.global_step,
        "submission_seconds": clock.submission_seconds,
        "evaluation_seconds": clock.evaluation_seconds,
        "logging_seconds": clock.logging_seconds,
        "validation_time_seconds": first,
        "test_time_seconds": first,
        "eval_results": results,
    }


def audited(events: list[Line], rows: list[Line], result: Line | None) -> Replay:
    replay = audit.replay(enumerate(events, start=1))
    if replay.is_complete:
        audit.check_evaluations(columns(rows), replay, is_open=False)
        if result is not None:
            audit.check_result(result, replay)
    return replay


@pytest.mark.clause("AUDIT-1", "REC-10", "AUDIT-4")
@given(scripts)
def test_whatever_the_loop_does_is_found_in_order(run: Scripted) -> None:
    replay = audited(run.events, run.rows, None)
    assert [str(problem) for problem in replay.problems] == []
    audit.check_result(result_of(run, replay), replay)
    assert [str(problem) for problem in replay.problems] == []
    assert replay.clock.total_ns == run.trial.clock.total_ns
    assert replay.progress.global_step == run.trial.progress.global_step


@pytest.mark.clause("AUDIT-1", "REC-10")
@given(scripts, st.integers(0, 10**6), st.integers(1, 10**10), st.booleans())
def test_a_changed_reading_that_changes_a_time_is_found(
    run: Scripted, which: int, nanoseconds: int, later: bool
) -> None:
    clean = audited(run.events, run.rows, None)
    result = result_of(run, clean)
    events = [dict(event) for event in run.events]
    event = [event for event in events if event["reading_ns"] is not None][
        which % sum(event["reading_ns"] is not None for event in events)
    ]
    event["reading_ns"] += nanoseconds if later else -nanoseconds
    again = audit.replay(enumerate(events, start=1))
    same_times = again.clock == replace(
        clean.clock, last_reading_ns=again.clock.last_reading_ns
    ) and [replace(e.clock, last_reading_ns=0) for e in again.evaluations] == [
        replace(e.clock, last_reading_ns=0) for e in clean.evaluations
    ]
    assume(not same_times)
    assert len(audited(events, run.rows, result).problems) > 0


@pytest.mark.clause("AUDIT-1")
@given(scripts, st.integers(0, 10**6), st.sampled_from(COLUMNS), st.integers(1, 10**12))
def test_a_changed_cell_is_found(run: Scripted, which: int, column: str, nanoseconds: int) -> None:
    assume(run.rows)
    rows = [dict(row) for row in run.rows]
    row = rows[which % len(rows)]
    row[column] += nanoseconds if column in COUNTER_COLUMNS else nanoseconds / 1e9
    replay = audited(run.events, rows, None)
    assert len(replay.problems) > 0
    assert all(problem.file == "eval_measurements.csv" for problem in replay.problems)


@pytest.mark.clause("REC-10", "EVAL-2")
@given(scripts, st.integers(0, 10**6))
def test_a_missing_or_repeated_line_is_found(run: Scripted, which: int) -> None:
    """But for a reading that may have no consequence: a further one while the loop logs."""
    result = result_of(run, audited(run.events, run.rows, None))
    index = which % len(run.events)
    assume(run.events[index]["event"] != "logged")
    without = run.events[:index] + run.events[index + 1 :]
    assert len(audited(without, run.rows, result).problems) > 0
    twice = run.events[: index + 1] + run.events[index:]
    assert len(audited(twice, run.rows, result).problems) > 0


@pytest.mark.clause("AUDIT-2", "AUDIT-3", "AUDIT-5")
@given(scripts)
def test_the_columns_alone_are_found_in_order_too(run: Scripted) -> None:
    """But for a first evaluation that failed: the log then begins with the second one."""
    assume(run.rows)
    limits = Limits(replace(ROW, eval_period_time_sec=PERIOD), BUDGET)
    problems, _ = audit.check_columns(columns(run.rows), limits)
    told = [str(p) for p in problems if "the first evaluation" not in p.text]
    assert told == []
    first = run.rows[0]["global_step"]
    assert (first == 1) == (len(problems) == 0)


@pytest.mark.clause("AUDIT-2")
@given(scripts, st.integers(0, 10**6), st.floats(0.002, 1e4), st.booleans())
def test_time_in_no_account_is_found_beyond_a_millisecond_per_step(
    run: Scripted, which: int, seconds: float, more: bool
) -> None:
    assume(run.rows)
    rows = [dict(row) for row in run.rows]
    row = rows[which % len(rows)]
    row["total_duration"] += seconds if more else -seconds
    problems, _ = audit.check_columns(columns(rows), None)
    told = [p for p in problems if p.clause == "AUDIT-2"]
    allowed = 0.001 * row["global_step"]
    if abs(seconds - allowed) > 1e-5:
        assert bool(told) == (seconds > allowed)
