"""The event log: complete, cheap, cut at checkpoints, and enough to derive every time again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.study import run_study
from algoperf_ref.records.event_log import EventLog, read_events
from algoperf_ref.records.files import CannotWrite
from conformance_tests.harness.test_study import options, rows  # noqa: F401  (a fixture)
from conformance_tests.support.fakes import FakeWorkload
from spec.timing import Clock, Event

NAMES = {
    "step ended": Event.STEP_ENDED,
    "prepared": Event.PREPARED,
    "evaluated": Event.EVALUATED,
    "logged": Event.LOGGED,
}


def run(options: RunOptions) -> Any:  # noqa: F811
    workload = FakeWorkload()
    return run_study(options, workload, workload.backend, Quiet())


@pytest.mark.clause("TIM-1")
def test_the_events_give_every_time_of_the_log(options: RunOptions) -> None:  # noqa: F811
    (trial,) = run(replace(options, clock="wall", step_seconds=None, max_global_steps=300)).trials
    events = read_events(trial.directory / "events.jsonl")
    assert events[0]["event"] == "started"
    assert events[-1] == {
        "event": "ended",
        "step": trial.global_step,
        "reading_ns": None,
        "reason": trial.status.value,
    }
    clock = Clock.start(events[0]["reading_ns"] / 1e9)
    times = {}
    for event in events[1:-1]:
        clock = clock.advance(NAMES[event["event"]], event["reading_ns"] / 1e9)
        assert clock.last_reading_ns == event["reading_ns"]
        if event["event"] == "evaluated":
            times[event["step"]] = (clock.submission_seconds, clock.evaluation_seconds)
    table = rows(trial.directory, "eval_measurements.csv")
    assert {
        int(row["global_step"]): (
            float(row["accumulated_submission_time"]),
            float(row["accumulated_eval_time"]),
        )
        for row in table
    } == times
    steps = [event["step"] for event in events if event["event"] == "step ended"]
    assert steps == list(range(1, trial.global_step + 1))


def test_the_start_states_the_rules_in_force(options: RunOptions) -> None:  # noqa: F811
    (trial,) = run(options).trials
    start = read_events(trial.directory / "events.jsonl")[0]
    assert start["clock"] == "steps"
    assert start["eval_period_seconds"] == 10.0
    assert start["budget_seconds"] == 100.0
    assert start["preemption_count"] == 0
    assert start["submission_ns"] == start["evaluation_ns"] == start["logging_ns"] == 0
    assert start["seconds_since_last_evaluation"] is None
    assert start["validation_target"] == 0.5
    assert start["workload"] == "ogbg"


def test_events_after_the_checkpoint_are_moved_aside_on_resume(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INTERRUPT_AT", "25")
    with pytest.raises(KeyboardInterrupt):
        run(options)
    monkeypatch.delenv("INTERRUPT_AT")
    (trial,) = run(replace(options, resume_last_run=True)).trials
    events = read_events(trial.directory / "events.jsonl")
    steps = [event["step"] for event in events if event["event"] == "step ended"]
    assert steps == list(range(1, trial.global_step + 1))
    starts = [event for event in events if event["event"] == "started"]
    assert [start["preemption_count"] for start in starts] == [0, 1]
    assert starts[1]["step"] == 21
    assert starts[1]["submission_ns"] == 21_000_000_000
    discarded = read_events(trial.directory / "events.jsonl.discarded_1")
    assert [e["step"] for e in discarded if e["event"] == "step ended"] == [22, 23, 24, 25]


def test_a_torn_line_is_dropped_with_a_warning(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append({"event": "a"})
    log.flush()
    with log.path.open("a") as file:
        file.write('{"event": "b"')
    with pytest.warns(UserWarning, match="torn end of 13 bytes"):
        again = EventLog(tmp_path)
    assert again.num_lines == 1
    assert [event["event"] for event in read_events(log.path)] == ["a"]


def test_events_wait_in_memory_until_they_are_flushed(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for _ in range(8191):
        log.append({"event": "x"})
    assert not log.is_full
    log.append({"event": "x"})
    assert log.is_full
    assert not log.path.exists()
    log.flush()
    assert not log.is_full
    assert len(log.path.read_text().splitlines()) == log.num_lines == 8192


def test_a_log_that_cannot_be_written_is_told_and_keeps_its_events(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "gone")
    log.append({"event": "x"})
    with pytest.raises(CannotWrite, match=r"events.jsonl: No such file"):
        log.flush()
    (tmp_path / "gone").mkdir()
    log.flush()
    assert json.loads(log.path.read_text()) == {"event": "x"}


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "a"}\n{"event": \n')
    with pytest.raises(ValueError, match=r"events.jsonl, line 2"):
        read_events(path)
    path.write_text("[]\n")
    with pytest.raises(ValueError, match="line 1: not an event"):
        read_events(path)
