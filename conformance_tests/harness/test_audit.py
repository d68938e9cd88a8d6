"""The audit: silent on what the harness writes, and not to be deceived about a time or a rule."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.audit import Rules, TrialAudit, audit_logs, trials
from algoperf_ref.audit.__main__ import main
from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.results import Status, TrialResult
from algoperf_ref.harness.study import run_study
from conformance_tests.harness.test_study import SUBMISSION, options  # noqa: F401  (a fixture)
from conformance_tests.support.fakes import METRIC, ROW, FakeWorkload
from spec import workloads
from spec.records import EVAL_MEASUREMENTS, EVENTS, MEASUREMENTS
from spec.rulesets import Tuning
from spec.timing import Event

RESULT = "result.json"
Line = dict[str, Any]


class Bumpy:
    """A wall clock on which everything takes some time, no two things the same."""

    kind = "wall"
    SECONDS = {  # noqa: RUF012
        Event.STEP_ENDED: 0.9,
        Event.PREPARED: 0.25,
        Event.EVALUATED: 2.5,
        Event.LOGGED: 0.125,
    }

    def __init__(self) -> None:
        self.now = 5_000_000.1  # the machine is up for two months
        self.count = 0

    def start(self, global_step: int = 0) -> float:
        return self.now

    def read(self, event: Event) -> float:
        self.count += 1
        self.now += self.SECONDS[event] + 0.001 * (self.count % 7)
        return self.now


@pytest.fixture(autouse=True)
def fake_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workload of the fakes is not in the table."""
    monkeypatch.setattr(trials, "table_row", lambda *_: ROW)


@pytest.fixture
def wall(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> RunOptions:  # noqa: F811
    monkeypatch.setattr("algoperf_ref.harness.study.WallTime", Bumpy)
    return replace(options, clock="wall", step_seconds=None)


def run(options: RunOptions, workload: FakeWorkload | None = None) -> TrialResult:  # noqa: F811
    workload = workload or FakeWorkload()
    (trial,) = run_study(options, workload, workload.backend, Quiet()).trials
    return trial


def audited(directory: Path | str | None, rules: Rules | None = None) -> TrialAudit:
    assert directory is not None
    (found,) = audit_logs(directory, rules)
    return found


def sentences(directory: Path | str | None, rules: Rules | None = None) -> list[str]:
    return [str(problem) for problem in audited(directory, rules).problems]


# --- what the harness writes -------------------------------------------------------------------


@pytest.mark.clause("AUDIT-1", "REC-10", "AUDIT-4")
def test_a_trial_that_reached_its_targets_is_found_in_order(wall: RunOptions) -> None:
    trial = run(wall)
    assert trial.status is Status.TARGETS_REACHED
    found = audited(trial.directory)
    assert list(found.problems) == []
    assert found.unchecked == []
    assert found.num_steps == trial.global_step
    assert found.num_evaluations == len(trial.eval_results) > 3


@pytest.mark.parametrize("clock", ["wall", "steps"])
@pytest.mark.parametrize(
    ("changes", "evaluate", "status"),
    [
        ({}, lambda step: 0.0, Status.OUT_OF_TIME),
        ({"max_global_steps": 17}, lambda step: 0.0, Status.STEP_LIMIT),
        ({"max_global_steps": 11}, lambda step: 0.0, Status.STEP_LIMIT),
        ({"skip_evals": True}, lambda step: 0.0, Status.OUT_OF_TIME),
        ({"checkpoint_every_steps": 4}, lambda step: 0.0, Status.OUT_OF_TIME),
        ({}, lambda step: float("nan"), Status.NON_FINITE),
        ({}, lambda step: 1 / 0 if step < 0 else float("inf"), Status.NON_FINITE),
    ],
)
def test_every_end_is_found_in_order(
    wall: RunOptions,
    clock: str,
    changes: dict[str, Any],
    evaluate: Callable[[int], float],
    status: Status,
) -> None:
    trial = run(replace(wall, clock=clock, **changes), FakeWorkload(evaluate=evaluate))
    assert trial.status is status
    assert sentences(trial.directory) == []


def test_failed_evaluations_are_found_in_order(wall: RunOptions) -> None:
    def evaluate(step: int) -> float:
        if 5 < step < 30:
            raise RuntimeError("out of memory")
        return 0.1

    trial = run(wall, FakeWorkload(evaluate=evaluate))
    found = audited(trial.directory)
    assert list(found.problems) == []
    assert found.num_evaluations == len(trial.eval_results) + 2


@pytest.mark.clause("EVAL-8")
def test_a_training_that_was_declared_complete_has_its_last_evaluation(wall: RunOptions) -> None:
    path = Path(wall.submission_path)
    line = '    if os.environ.get("FAIL_AT")'
    complete = (
        "    from spec.submission import TrainingCompleteError\n"
        "    if global_step == 16: raise TrainingCompleteError\n"
    )
    assert line in SUBMISSION
    path.write_text(SUBMISSION.replace(line, complete + line))
    trial = run(wall)
    assert trial.status is Status.TRAINING_COMPLETE
    assert trial.eval_results[-1][0] == trial.global_step == 17
    assert sentences(trial.directory) == []
    lines = read_events(trial.directory)
    for event in lines:
        event.pop("completed", None)
    write_events(trial.directory, lines)
    texts = sentences(trial.directory)
    assert any("an evaluation that is not due" in text for text in texts)
    assert any("training_complete, but by the rules another step follows" in t for t in texts)


@pytest.mark.parametrize("interrupt", ["1", "12", "13", "25", "40"])
@pytest.mark.parametrize("every", [0, 1, 5])
@pytest.mark.parametrize("clock", ["wall", "steps"])
@pytest.mark.clause("REC-10", "TIM-1")
def test_a_resumed_trial_is_found_in_order(
    wall: RunOptions, clock: str, every: int, interrupt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = replace(wall, clock=clock, checkpoint_every_steps=every)
    monkeypatch.setenv("INTERRUPT_AT", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(wall)
    again = replace(wall, resume_last_run=True)
    monkeypatch.setenv("INTERRUPT_AT", "44")
    with pytest.raises(KeyboardInterrupt):
        run(again)
    monkeypatch.delenv("INTERRUPT_AT")
    trial = run(again)
    assert trial.preemption_count == 2
    assert sentences(trial.directory) == []


def test_an_interrupted_and_a_failed_trial_are_found_in_order(
    wall: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_AT", "25")
    trial = run(wall)
    assert trial.status is Status.SUBMISSION_FAILED
    found = audited(trial.directory)
    assert (list(found.problems), found.num_steps) == ([], 25)
    monkeypatch.setenv("INTERRUPT_AT", "30")
    monkeypatch.delenv("FAIL_AT")
    with pytest.raises(KeyboardInterrupt):
        run(replace(wall, resume_last_run=True))
    assert sentences(trial.directory) == []


def test_a_trial_that_went_on_under_a_larger_step_limit_is_found_in_order(wall: RunOptions) -> None:
    run(replace(wall, max_global_steps=20))
    trial = run(replace(wall, max_global_steps=31, resume_last_run=True))
    assert trial.global_step == 31
    ends = [line["step"] for line in read_events(trial.directory) if line["event"] == "ended"]
    assert ends in ([31], [20, 31])
    assert sentences(trial.directory) == []


def test_what_a_killed_trial_leaves_is_no_problem_but_said(wall: RunOptions) -> None:
    trial = run(wall)
    assert trial.directory is not None
    (trial.directory / RESULT).unlink()
    lines = read_events(trial.directory)
    evaluated = [n for n, line in enumerate(lines) if line["event"] == "evaluated"]
    write_events(trial.directory, lines[: evaluated[-1] - 1])  # not flushed before the kill
    with (trial.directory / EVENTS).open("a") as file:
        file.write('{"event": "step en')
    found = audited(trial.directory)
    assert list(found.problems) == []
    assert found.unchecked == [
        "the end: no result.json, the trial has not ended",
        "events.jsonl: the last line is torn, a resume cuts it off",
        "eval_measurements.csv: 1 rows after the last event, a resume cuts them off",
        "measurements.csv: 1 rows after the last event, a resume cuts them off",
    ]


def test_the_table_of_the_rules_is_looked_up(
    wall: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = run(wall)
    monkeypatch.undo()
    texts = "\n".join(sentences(trial.directory))
    mini = trials.table_row("ogbg", "mini", "v0.6")
    assert f"eval_period_seconds: 10.0, the rules say {mini.eval_period_time_sec}" in texts
    assert f"budget_seconds: 100.0, the rules say {float(mini.max_allowed_runtime_sec)}" in texts
    assert f"validation_target: 0.5, the rules say {mini.validation_target_value}" in texts


# --- tampering ---------------------------------------------------------------------------------


def read_events(directory: Path | None) -> list[Line]:
    assert directory is not None
    return [json.loads(line) for line in (directory / EVENTS).read_text().splitlines()]


def write_events(directory: Path | None, lines: list[Line]) -> None:
    assert directory is not None
    (directory / EVENTS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def nth(lines: list[Line], name: str, number: int) -> int:
    return [n for n, line in enumerate(lines) if line["event"] == name][number]


Edit = Callable[[Path], None]


def event(name: str, number: int, **changes: Any) -> Edit:
    """Changes fields of an event; a callable is applied to the old value."""

    def edit(directory: Path) -> None:
        lines = read_events(directory)
        line = lines[nth(lines, name, number)]
        for field, value in changes.items():
            line[field] = value(line[field]) if callable(value) else value
        write_events(directory, lines)

    return edit


def without(name: str, number: int, count: int = 1) -> Edit:
    def edit(directory: Path) -> None:
        lines = read_events(directory)
        index = nth(lines, name, number)
        write_events(directory, lines[:index] + lines[index + count :])

    return edit


def doubled(name: str, number: int) -> Edit:
    def edit(directory: Path) -> None:
        lines = read_events(directory)
        index = nth(lines, name, number)
        write_events(directory, lines[: index + 1] + lines[index:])

    return edit


def swapped(name: str, number: int) -> Edit:
    def edit(directory: Path) -> None:
        lines = read_events(directory)
        index = nth(lines, name, number)
        lines[index], lines[index + 1] = lines[index + 1], lines[index]
        write_events(directory, lines)

    return edit


def cell(file: str, row: int, column: str, change: Callable[[str], str]) -> Edit:
    def edit(directory: Path) -> None:
        with (directory / file).open(newline="") as opened:
            rows = list(csv.reader(opened))
        column_index = rows[0].index(column)
        rows[row][column_index] = change(rows[row][column_index])
        write_rows(directory / file, rows)

    return edit


def rows_of(file: str, change: Callable[[list[list[str]]], list[list[str]]]) -> Edit:
    def edit(directory: Path) -> None:
        with (directory / file).open(newline="") as opened:
            rows = list(csv.reader(opened))
        write_rows(directory / file, change(rows))

    return edit


def write_rows(path: Path, rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    path.write_text(out.getvalue())


def result(name: str, value: Any) -> Edit:
    def edit(directory: Path) -> None:
        path = directory / RESULT
        content = json.loads(path.read_text())
        content[name] = value(content[name]) if callable(value) else value
        path.write_text(json.dumps(content))

    return edit


def text_of(file: str, change: Callable[[str], str]) -> Edit:
    def edit(directory: Path) -> None:
        (directory / file).write_text(change((directory / file).read_text()))

    return edit


def removed(file: str) -> Edit:
    return lambda directory: (directory / file).unlink()


def faster(value: str) -> str:
    return repr(float(value) * 0.99)


def first_time(results: list[Any]) -> list[Any]:
    results[0][1]["accumulated_eval_time"] += 0.5
    return results


LATER, EARLIER = (lambda ns: ns + 50_000_000), (lambda ns: ns - 50_000_000)
LATE_NS = 20_000_000_000
TAMPERINGS: dict[str, tuple[Edit, str]] = {
    # the event log: readings
    "a preparation ends later": (
        event("prepared", 2, reading_ns=LATER),
        r"eval_measurements.csv, row 3, accumulated_submission_time: .* the events give",
    ),
    "an evaluation ends earlier": (
        event("evaluated", 1, reading_ns=EARLIER),
        r"eval_measurements.csv, row 2, accumulated_eval_time",
    ),
    "logging ends later": (
        event("logged", 0, reading_ns=LATER),
        r"eval_measurements.csv, row 2, accumulated_logging_time",
    ),
    "the last logging takes longer": (
        event("logged", -1, reading_ns=LATER),
        r"result.json, logging_seconds",
    ),
    "the start is earlier": (
        event("started", 0, reading_ns=EARLIER),
        r"eval_measurements.csv, row 1, accumulated_submission_time",
    ),
    "the clock goes back": (
        event("step ended", 20, reading_ns=lambda ns: ns - LATE_NS),
        r"events.jsonl, line \d+, reading_ns: the clock went back by \d+ ns .*\[TIM-4\]",
    ),
    "a step ends before the period has passed": (
        event("evaluated", 1, reading_ns=lambda ns: ns + 100_000_000),
        r"eval_measurements.csv, row 2, accumulated_eval_time",
    ),
    # the event log: lines
    "a step is missing": (
        without("step ended", 7),
        r"events.jsonl, line \d+, step: step 9 follows step 7 \[REC-10\]",
    ),
    "a step is there twice": (
        doubled("step ended", 7),
        r"events.jsonl, line \d+, step: step 8 follows step 8 \[REC-10\]",
    ),
    "a preparation is missing": (
        without("prepared", 1),
        r"events.jsonl, line \d+, event: 'evaluated' cannot come directly after 'step ended' "
        r"\[TIM-2\]",
    ),
    "an evaluation is missing": (
        without("evaluated", 1),
        r"events.jsonl, line \d+: the evaluation after step \d+ was prepared for and is skipped",
    ),
    "an evaluation with all its lines is missing": (
        without("prepared", 1, 3),
        r"events.jsonl, line \d+: the evaluation that was due after step \d+ is skipped \[EVAL-2\]",
    ),
    "logging is missing": (
        without("logged", 1),
        r"events.jsonl, line \d+: the evaluation before has no 'logged'.*\[TIM-1\]",
    ),
    "events change places": (
        swapped("prepared", 1),
        r"events.jsonl, line \d+, event: 'evaluated' cannot come directly after 'step ended'",
    ),
    "the first evaluation is missing": (
        without("prepared", 0, 3),
        r"the evaluation that was due after step 1 is skipped \[EVAL-2\]",
    ),
    "the end is missing": (without("ended", 0), r"result.json, status: .* no end \[EVAL-8\]"),
    "the start is missing": (without("started", 0), r"line 1: damaged: the log does not begin"),
    "a step after the end": (
        lambda directory: write_events(
            directory,
            [
                *read_events(directory),
                {"event": "step ended", "step": 52, "reading_ns": 5_000_900_000_000_000},
            ],
        ),
        r"after the end of the trial \[REC-10\]",
    ),
    "an event of another step": (
        event("evaluated", 1, step=3),
        r"events.jsonl, line \d+, step: 'evaluated' of step 3 after step \d+",
    ),
    # the event log: rules and decisions
    "another period": (
        event("started", 0, eval_period_seconds=11.5),
        r"eval_period_seconds: 11.5, the rules say 10|an evaluation that is not due",
    ),
    "a larger budget": (
        event("started", 0, budget_seconds=200.0),
        r"events.jsonl, budget_seconds: 200.0, the rules say 100.0 \[EVAL-3\]",
    ),
    "an easier target": (
        event("started", 0, validation_target=0.2),
        r"events.jsonl, validation_target: 0.2, the rules say 0.5 \[EVAL-5\]",
    ),
    "another reason of the end": (
        event("ended", 0, reason="out_of_time"),
        r"events.jsonl, line \d+, reason: out_of_time, but by the rules targets_reached",
    ),
    "a metric in the events": (
        event("evaluated", 2, validation=0.9),
        r"eval_measurements.csv, row 3, validation/\w+: .*the events give 0.9 \[EVAL-9\]",
    ),
    "a failed evaluation that has metrics": (
        event("evaluated", 2, problem="RuntimeError: out of memory"),
        r"events.jsonl, line \d+, problem: .* but the metrics are finite \[EVAL-6\]",
    ),
    "a failed evaluation passed off as a good one": (
        event("evaluated", 2, validation=None),
        r"events.jsonl, line \d+, problem: None, but validation/\w+ is nan \[EVAL-6\]",
    ),
    "seconds carried over from nowhere": (
        event("started", 0, submission_ns=1_000_000_000),
        r"line 1, submission_ns: 1000000000 is carried over, the events before give 0 \[REC-10\]",
    ),
    "another workload": (
        event("started", 0, workload="wmt"),
        r"events.jsonl, workload: wmt with pytorch in the directory of ogbg_pytorch \[REC-3\]",
    ),
    # the tables
    "a faster submission": (
        cell(EVAL_MEASUREMENTS, 3, "accumulated_submission_time", faster),
        r"eval_measurements.csv, row 3, accumulated_submission_time: .*\[AUDIT-1\]",
    ),
    "another score": (
        cell(EVAL_MEASUREMENTS, 5, "score", faster),
        r"eval_measurements.csv, row 5, score",
    ),
    "another total": (
        cell(EVAL_MEASUREMENTS, 1, "total_duration", lambda old: repr(float(old) + 1e-9)),
        r"eval_measurements.csv, row 1, total_duration",
    ),
    "a better metric": (
        cell(EVAL_MEASUREMENTS, 2, f"validation/{METRIC}", lambda old: "0.99"),
        r"eval_measurements.csv, row 2, validation/\w+: 0.99, the events give",
    ),
    "another number of resumes": (
        cell(EVAL_MEASUREMENTS, 2, "preemption_count", lambda old: "1"),
        r"eval_measurements.csv, row 2, preemption_count: 1, the events give 0 \[REC-6\]",
    ),
    "another step": (
        cell(EVAL_MEASUREMENTS, 2, "global_step", lambda old: str(int(old) - 1)),
        r"eval_measurements.csv, row 2, global_step: no evaluation after step \d+ in the events",
    ),
    "a row is missing": (
        rows_of(EVAL_MEASUREMENTS, lambda rows: rows[:3] + rows[4:]),
        r"eval_measurements.csv: no row of the evaluation after step \d+",
    ),
    "the last row is missing": (
        rows_of(EVAL_MEASUREMENTS, lambda rows: rows[:-1]),
        r"eval_measurements.csv: no row of the evaluation after step \d+",
    ),
    "a row is there twice": (
        rows_of(EVAL_MEASUREMENTS, lambda rows: [*rows[:3], *rows[2:]]),
        r"eval_measurements.csv, row 3, global_step: a second row of step \d+",
    ),
    "a row of all rows": (
        cell(MEASUREMENTS, 2, "accumulated_eval_time", lambda old: "0"),
        r"^measurements.csv, row 2, accumulated_eval_time: 0, the events give",
    ),
    "the last row of all rows": (
        cell(MEASUREMENTS, -1, "score", faster),
        r"^measurements.csv, score: no last row of step \d+",
    ),
    "a cell is no number": (
        cell(EVAL_MEASUREMENTS, 2, "score", lambda old: "fast"),
        r"eval_measurements.csv, row 2, score: nan",
    ),
    # the result
    "a faster result": (
        result("submission_seconds", lambda old: old - 1),
        r"result.json, submission_seconds: .* \[AUDIT-1\]",
    ),
    "more logging in the result": (
        result("logging_seconds", lambda old: old + 1),
        r"result.json, logging_seconds",
    ),
    "an earlier hit": (
        result("validation_time_seconds", lambda old: old / 2),
        r"result.json, validation_time_seconds: .* \[AUDIT-4\]",
    ),
    "no hit": (result("test_time_seconds", None), r"result.json, test_time_seconds: None"),
    "more steps": (result("global_step", 1000), r"result.json, global_step: 1000"),
    "another status": (
        result("status", "step_limit"),
        r"result.json, status: step_limit, the events say targets_reached",
    ),
    "another clock": (result("clock", "steps"), r"result.json, clock: 'steps'"),
    "another time in the result's evaluations": (
        result("eval_results", first_time),
        r"result.json, eval_results 1, accumulated_eval_time",
    ),
    "an evaluation less in the result": (
        result("eval_results", lambda old: old[:-1]),
        r"result.json, eval_results: \d+ evaluations, the events give \d+",
    ),
    "a later start in the result": (
        result("preemption_count", 3),
        r"result.json, preemption_count: 3, the events give 0",
    ),
    "another tuning ruleset": (
        result("tuning", "self"),
        r"budget_seconds: 100.0, the rules say 150.0 \[EVAL-3\]",
    ),
    # damage
    "an event that is no JSON": (
        text_of(EVENTS, lambda text: text.replace('"reading_ns"', '"reading_ns', 5)),
        r"events.jsonl, line \d: damaged: not JSON",
    ),
    "an event without a reading": (
        event("step ended", 3, reading_ns=None),
        r"events.jsonl, line \d+: damaged: reading_ns is None, not whole nanoseconds",
    ),
    "an event that is none": (
        event("step ended", 3, event="lunch"),
        r"events.jsonl, line \d+: damaged: event is 'lunch', which is none",
    ),
    "a reading beyond all numbers": (
        event("step ended", 3, reading_ns=10**400),
        r"events.jsonl, line \d+: damaged: reading_ns is 1000",
    ),
    "a log that is a list": (text_of(EVENTS, lambda _: "[]\n"), r"line 1: damaged: not a JSON obj"),
    "a torn event": (text_of(EVENTS, lambda text: text[:-5]), r"events.jsonl: the last line is to"),
    "an empty log": (text_of(EVENTS, lambda _: ""), r"events.jsonl: no event"),
    "a torn row": (
        text_of(EVAL_MEASUREMENTS, lambda text: text[: text.rindex(",")]),
        r"eval_measurements.csv: damaged: 1 rows with a wrong number of cells",
    ),
    "a table without its header": (
        rows_of(EVAL_MEASUREMENTS, lambda rows: rows[1:]),
        r"eval_measurements.csv: damaged: no column",
    ),
    "a result that is no JSON": (text_of(RESULT, lambda _: "{"), r"result.json: damaged: Expect"),
    "a result that is a number": (text_of(RESULT, lambda _: "1"), r"result.json: damaged: not a J"),
    "no events": (removed(EVENTS), r"events.jsonl: missing, but there is a result.json"),
    "no evaluation rows": (removed(EVAL_MEASUREMENTS), r"eval_measurements.csv: missing \[REC-1\]"),
    "no rows": (removed(MEASUREMENTS), r"^measurements.csv: missing \[REC-1\]"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of trial directories: a run costs more than the audit of it."""
    return {"": tmp_path_factory.mktemp("kept")}


@pytest.fixture
def good(wall: RunOptions, kept: dict[str, Path], tmp_path: Path) -> Path:
    """A trial directory to spoil."""
    if "good" not in kept:
        trial = run(wall)
        assert trial.directory is not None
        kept["good"] = kept[""] / "ogbg_pytorch" / "trial_1"
        shutil.copytree(trial.directory, kept["good"])
    directory = tmp_path / "ogbg_pytorch" / "trial_1"
    shutil.copytree(kept["good"], directory)
    return directory


@pytest.mark.parametrize("kind", TAMPERINGS)
@pytest.mark.clause("AUDIT-1", "REC-10", "AUDIT-4", "EVAL-2", "EVAL-8")
def test_tampering_is_found_and_named(
    kind: str, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(good)]) == 0
    capsys.readouterr()
    edit, expected = TAMPERINGS[kind]
    edit(good)
    texts = sentences(good)
    assert any(re.search(expected, text) for text in texts), texts
    assert main([str(good)]) == 1
    assert texts[0] in capsys.readouterr().out


def test_a_budget_that_is_passed_is_found(good: Path) -> None:
    """The log of a trial with more budget, passed off as one with the budget of the rules."""
    event("started", 0, budget_seconds=30.0)(good)
    texts = sentences(good)
    assert any("of submission time; the budget is 30 s [EVAL-3]" in text for text in texts)
    assert any(
        "validation_time_seconds" in text and "give None [AUDIT-4]" in text for text in texts
    )
    assert any("after the trial was over (out_of_time) [EVAL-8]" in text for text in texts)


def resumed(wall: RunOptions, monkeypatch: pytest.MonkeyPatch, every: int = 0) -> Path:
    wall = replace(wall, checkpoint_every_steps=every)
    monkeypatch.setenv("INTERRUPT_AT", "25")
    with pytest.raises(KeyboardInterrupt):
        run(wall)
    monkeypatch.delenv("INTERRUPT_AT")
    trial = run(replace(wall, resume_last_run=True))
    assert trial.directory is not None
    assert sentences(trial.directory) == []
    return trial.directory


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (event("started", 1, logging_ns=0), "logging_ns: 0 is carried over"),
        (event("started", 1, evaluation_ns=LATER), "evaluation_ns: "),
        (event("started", 1, step=20), "step: 20 is carried over"),
        (
            event("started", 1, seconds_since_last_evaluation=3.0),
            "seconds_since_last_evaluation: 3.0 is carried over",
        ),
        (event("started", 1, failed_evaluations_in_row=2), "failed_evaluations_in_row: 2 is"),
        (event("started", 1, test_goal_reached=True), "test_goal_reached: True is carried"),
        (event("started", 1, preemption_count=0), "preemption_count: 0 after 0"),
        (event("started", 1, budget_seconds=200.0), "budget_seconds: was 100.0 and is 200.0"),
        (without("started", 1), "step ended"),
        (doubled("started", 1), "a start after 'started', where no checkpoint is made"),
        (without("started", 1, 2), "follows step"),
    ],
)
@pytest.mark.clause("REC-10")
def test_a_resume_that_is_not_from_its_checkpoint_is_found(
    edit: Edit, expected: str, wall: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = resumed(wall, monkeypatch)
    edit(directory)
    texts = sentences(directory)
    if expected == "step ended":  # the second process's clock is another one
        assert texts
    else:
        assert any(expected in text for text in texts), texts


def test_events_that_were_done_again_are_found(
    wall: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the events after the checkpoint had not been cut off."""
    directory = resumed(wall, monkeypatch)
    discarded = (directory / f"{EVENTS}.discarded_1").read_text().splitlines()
    lines = read_events(directory)
    late = nth(lines, "started", 1)
    write_events(directory, [*lines[:late], *map(json.loads, discarded), *lines[late:]])
    texts = sentences(directory)
    assert any("is carried over, the events before give" in text for text in texts), texts
    assert any("line" in text and ", step: " in text for text in texts)


# --- logs of the official harness --------------------------------------------------------------

OGBG = workloads.get("ogbg", "v0.6")
EXTERNAL = Rules("v0.6", Tuning.EXTERNAL)
Table = list[dict[str, Any]]


@pytest.fixture
def full_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()


def official(num_rows: int = 6, *, steps_per_row: int = 500) -> Table:
    """Rows as the official harness writes them, on a machine that loses 0.1 ms per step."""
    rows: Table = []
    submission, evaluation = 0.0, 0.0
    for number in range(num_rows):
        submission += 2.0 if number == 0 else OGBG.eval_period_time_sec + 0.3
        evaluation += 50.0
        step = 1 + number * steps_per_row
        logging_seconds = 0.25 * number
        rows.append(
            {
                "accumulated_eval_time": evaluation,
                "accumulated_logging_time": logging_seconds,
                "accumulated_submission_time": submission,
                "global_step": step,
                "preemption_count": 0,
                "score": submission,
                "total_duration": submission + evaluation + logging_seconds + 1e-4 * step,
                f"validation/{METRIC}": 0.01 * number,
                f"test/{METRIC}": 0.01 * number,
            }
        )
    return rows


def official_log(tmp_path: Path, rows: Table, workload: str = "ogbg") -> Path:
    directory = tmp_path / "someone" / "study_0" / f"{workload}_jax" / "trial_1"
    directory.mkdir(parents=True)
    with (directory / EVAL_MEASUREMENTS).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["global_step"])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


@pytest.mark.clause("AUDIT-2", "AUDIT-3", "AUDIT-5")
@pytest.mark.usefixtures("full_table")
def test_a_good_official_log_is_found_in_order_and_it_is_said_what_was_not_checked(
    tmp_path: Path,
) -> None:
    found = audited(official_log(tmp_path, official()), EXTERNAL)
    assert list(found.problems) == []
    assert found.source == EVAL_MEASUREMENTS
    assert found.unchecked == ["skipped and failed evaluations and the reason of the end"]
    assert (found.num_evaluations, found.num_steps) == (6, 2501)


def change(row: int, **values: Any) -> Callable[[Table], Table]:
    def edit(rows: Table) -> Table:
        for name, value in values.items():
            name = name.replace("__", "/")
            rows[row][name] = value(rows[row][name]) if callable(value) else value
        return rows

    return edit


def both(value: float, row: int) -> Callable[[Table], Table]:
    return change(row, **{f"validation__{METRIC}": value, f"test__{METRIC}": value})


def near(rows: Table) -> Table:
    """The second evaluation comes half a period after the first."""
    for row in rows[1:]:
        for name in ("accumulated_submission_time", "score", "total_duration"):
            row[name] -= OGBG.eval_period_time_sec / 2
    return rows


def resumed_rows(rows: Table) -> Table:
    """The process was killed after row 4 and went on from row 3."""
    again = [
        dict(row, preemption_count=1, total_duration=row["total_duration"]) for row in rows[3:]
    ]
    return [*rows[:4], *again]


OFFICIAL: dict[str, tuple[Callable[[Table], Table], str]] = {
    "lost time": (
        change(2, total_duration=lambda old: old + 2),
        r"row 3, total_duration: 2.1 s more than the three accounts together, where step 1001 "
        r"allows 1.001 s \[AUDIT-2\]",
    ),
    "time counted twice": (
        change(1, total_duration=lambda old: old - 1),
        r"row 2, total_duration: 0.9499 s less than the three accounts",
    ),
    "submission time decreases": (
        change(3, accumulated_submission_time=1.0, score=1.0, total_duration=300.0),
        r"row 4, accumulated_submission_time: 1 after .* \[AUDIT-3\]",
    ),
    "evaluation time decreases": (
        change(3, accumulated_eval_time=1.0),
        r"row 4, accumulated_eval_time: 1 after 150 \[AUDIT-3\]",
    ),
    "a step twice": (change(3, global_step=1001), r"row 4, global_step: 1001 after 1001"),
    "no first evaluation": (
        lambda rows: rows[1:],
        r"row 1, global_step: the first evaluation comes after step 501, not after step 1",
    ),
    "another score": (change(4, score=3.0), r"row 5, score: 3.0, not "),
    "too early": (near, r"row 2, total_duration: an evaluation 120\.\d+ s after the last"),
    "past the budget": (
        lambda rows: official(60, steps_per_row=1000),
        r"accumulated_submission_time: evaluated at .* at or past the budget of 12011 s",
    ),
    "after both targets": (
        both(0.9, 3),
        r"row 5, global_step: evaluated after both targets were reached \(and 1 further rows\)",
    ),
    "no number": (change(3, total_duration="x"), r"row 4, total_duration: not a number \[REC-2\]"),
    "no rows": (lambda rows: [], r"no evaluation|no column"),
}


@pytest.mark.parametrize("kind", OFFICIAL)
@pytest.mark.clause("AUDIT-2", "AUDIT-3", "AUDIT-5", "EVAL-3")
@pytest.mark.usefixtures("full_table")
def test_a_bad_official_log_is_told(kind: str, tmp_path: Path) -> None:
    edit, expected = OFFICIAL[kind]
    texts = sentences(official_log(tmp_path, edit(official())), EXTERNAL)
    assert any(re.search(expected, text) for text in texts), texts


@pytest.mark.usefixtures("full_table")
def test_a_target_that_is_met_exactly_need_not_end_an_official_trial(tmp_path: Path) -> None:
    rows = official()
    for name, target in (
        ("validation", OGBG.validation_target_value),
        ("test", OGBG.test_target_value),
    ):
        rows[3][f"{name}/{METRIC}"] = target
    assert sentences(official_log(tmp_path, rows), EXTERNAL) == []


@pytest.mark.usefixtures("full_table")
def test_the_last_evaluation_may_come_early(tmp_path: Path) -> None:
    rows = official()
    for name in ("accumulated_submission_time", "score", "total_duration"):
        rows[-1][name] -= 200.0
    assert sentences(official_log(tmp_path, rows), EXTERNAL) == []


@pytest.mark.usefixtures("full_table")
def test_rows_that_a_resumed_official_run_made_again_are_left_out(tmp_path: Path) -> None:
    found = audited(official_log(tmp_path, resumed_rows(official())), EXTERNAL)
    assert list(found.problems) == []
    assert "1 rows that a resumed run made again" in found.unchecked
    assert found.num_evaluations == 7


@pytest.mark.usefixtures("full_table")
def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    rows = [
        {name: value for name, value in row.items() if name not in ("total_duration", "score")}
        for row in official()
    ]
    found = audited(official_log(tmp_path, rows), EXTERNAL)
    assert list(found.problems) == []
    assert found.unchecked[1:] == [
        "the sum of the accounts and the score and the distance of evaluations (no column score, "
        "total_duration)"
    ]


@pytest.mark.usefixtures("full_table")
def test_an_unknown_workload_is_checked_as_far_as_it_goes(tmp_path: Path) -> None:
    rows = change(3, accumulated_eval_time=1.0)(official())
    found = audited(official_log(tmp_path, rows, "translation"), EXTERNAL)
    assert any("AUDIT-3" in str(problem) for problem in found.problems)
    assert "evaluation period, budget and targets of an unknown workload" in found.unchecked


@pytest.mark.usefixtures("full_table")
def test_the_budget_is_that_of_the_tuning_ruleset(tmp_path: Path) -> None:
    rows = official(60, steps_per_row=1000)
    for row in rows:
        row[f"test/{METRIC}"] = 0.0
    logs = official_log(tmp_path, rows)
    assert len(sentences(logs, EXTERNAL)) == 1
    assert sentences(logs, Rules("v0.6", Tuning.SELF)) == []


# --- the command line --------------------------------------------------------------------------


@pytest.mark.usefixtures("full_table")
def test_an_archive_is_read_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official_log(tmp_path / "logs", change(2, score=1.0)(official()))
    with tarfile.open(tmp_path / "logs.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "logs" / "someone", "someone")
    assert main([str(tmp_path / "logs.tar.xz")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"{tmp_path}/logs.tar.xz:someone/study_0/ogbg_jax/trial_1: 1 problem"
    )
    assert lines[1].startswith("  eval_measurements.csv, row 3, score: 1.0, not ")
    assert lines[2] == "1 trial, 1 with problems: REC-2 in 1"


def test_several_trials_are_counted(wall: RunOptions, capsys: pytest.CaptureFixture[str]) -> None:
    workload = FakeWorkload()
    run_study(replace(wall, num_tuning_trials=3), workload, workload.backend, Quiet())
    assert main([str(wall.experiment_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].rpartition("/")[2] for line in lines[:3]] == [
        *("trial_1", "trial_2", "trial_3"),
    ]
    assert all(": ok (" in line for line in lines[:3])
    assert lines[3:] == ["3 trials, 0 with problems"]


def test_json_holds_the_same(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result("global_step", 1)(good)
    assert main([str(good), "--format", "json"]) == 1
    (trial,) = json.loads(capsys.readouterr().out)["trials"]
    assert trial["num_problems"] == 1
    assert trial["source"] == EVENTS
    (problem,) = trial["problems"]
    assert (problem["file"], problem["field"], problem["clause"]) == (
        *(RESULT, "global_step", "AUDIT-1"),
    )
    assert problem["sentence"] == sentences(good)[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "no trial found"),
        (lambda path: path.write_text("x"), "is not a directory"),
    ],
)
def test_bad_input_is_one_sentence(
    make: Callable[[Path], Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path / "logs")
    assert main([str(tmp_path / "logs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_file_that_cannot_be_read_is_one_sentence(
    good: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_as_ever = os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path).endswith(RESULT):
            raise PermissionError(13, "Permission denied", path)
        return open_as_ever(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert main([str(good)]) == 2
    assert capsys.readouterr().err == f"error: cannot read {good}/{RESULT}: Permission denied\n"


def test_a_reader_that_has_seen_enough_is_no_error(good: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "algoperf_ref.audit", str(good)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert error == b""


def test_many_problems_are_counted_and_the_first_listed(good: Path) -> None:
    lines = read_events(good)
    for line in lines:
        if line["event"] == "step ended":
            line["step"] += line["step"] % 2 * 1000
    write_events(good, lines * 3)
    found = audited(good)
    assert len(found.problems.listed) == 100
    assert len(found.problems) > 100


def test_a_long_log_is_not_kept_in_memory(good: Path) -> None:
    """200,000 steps between two evaluations, some 15 MB of log."""
    start = read_events(good)[0]
    start["eval_period_seconds"] = 1e6
    with (good / EVENTS).open("w") as file:
        file.write(json.dumps(start) + "\n")
        for step in range(1, 200_001):
            reading = start["reading_ns"] + step * 1000
            file.write(f'{{"event": "step ended", "step": {step}, "reading_ns": {reading}}}\n')
            if step == 1:
                for name in ("prepared", "evaluated", "logged"):
                    line = {"event": name, "step": 1, "reading_ns": reading, "problem": None}
                    file.write(json.dumps({**line, "validation": 0.0, "test": 0.0}) + "\n")
    size = (good / EVENTS).stat().st_size
    assert size > 12e6
    (good / RESULT).unlink()
    tracemalloc.start()
    found = audited(good)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.num_steps == 200_000
    assert peak < size
