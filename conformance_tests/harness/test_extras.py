"""Checkpoints on request, boards, profiles and traces."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from algoperf_ref import frameworks
from algoperf_ref.errors import UserError
from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.files import TrialFiles
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.profiler import TimingProfiler
from algoperf_ref.harness.results import Status
from algoperf_ref.harness.study import run_study
from algoperf_ref.harness.trace import FrameworkTrace
from algoperf_ref.records import checkpoints
from algoperf_ref.records.event_log import read_events
from algoperf_ref.records.trial_log import TrialLog
from conformance_tests.harness.test_study import options  # noqa: F401  (a fixture)
from conformance_tests.support.fakes import FakeTime, FakeWorkload, fake_trial

PARTS = {
    "Initializing dataset",
    "Initializing model",
    "Initializing optimizer",
    "Train",
    "Data selection",
    "Update parameters",
    "Evaluation",
}


def run(options: RunOptions) -> Any:  # noqa: F811
    workload = FakeWorkload()
    return run_study(options, workload, workload.backend, Quiet())


def saved_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    steps: list[int] = []
    save = checkpoints.save_encoded

    def noted(directory: Path, step: int, *args: Any, **kwargs: Any) -> Path:
        steps.append(step)
        return save(directory, step, *args, **kwargs)

    monkeypatch.setattr(checkpoints, "save_encoded", noted)
    return steps


def test_checkpoints_every_n_steps_come_besides_those_of_evaluations(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = saved_steps(monkeypatch)
    run(replace(options, checkpoint_every_steps=4, max_global_steps=15))
    assert steps == [1, 4, 8, 11, 12, 15]


def test_checkpoints_every_n_minutes_count_from_the_last_one(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = saved_steps(monkeypatch)
    run(replace(options, checkpoint_every_minutes=0.1, step_seconds=2.0, max_global_steps=15))
    # A step takes 2 s: an evaluation every 5 steps, a checkpoint 6 s after the last one.
    assert steps == [1, 4, 6, 9, 11, 14, 15]


@pytest.mark.clause("EVAL-2")
@pytest.mark.parametrize("interrupt_at", [5, 13, 17])
def test_a_run_resumed_between_evaluations_evaluates_where_an_unbroken_one_does(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    interrupt_at: int,
    tmp_path: Path,
) -> None:
    options = replace(options, checkpoint_every_steps=4, step_seconds=0.7)
    (unbroken,) = run(options).trials
    broken = replace(options, experiment_name="broken")
    monkeypatch.setenv("INTERRUPT_AT", str(interrupt_at))
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    monkeypatch.delenv("INTERRUPT_AT")
    (resumed,) = run(replace(broken, resume_last_run=True)).trials

    def without_count(result: Any) -> Any:
        return [
            (step, {k: v for k, v in metrics.items() if k != "preemption_count"})
            for step, metrics in result.eval_results
        ]

    assert without_count(resumed) == without_count(unbroken)
    assert resumed.submission_seconds == unbroken.submission_seconds
    assert resumed.preemption_count == 1


def test_a_checkpoint_is_a_copy_of_the_moment(tmp_path: Path) -> None:
    files = TrialFiles(TrialLog(tmp_path), save_checkpoints=True, keep_all=True)
    weights = np.zeros(1000)
    for step in range(1, 20):
        weights += 1
        files.checkpoint({"weights": weights}, step)
        weights += 0.5  # as the next step does while the file is still being written
        weights -= 0.5
    files.close()
    for step in range(1, 20):
        state = checkpoints.load(tmp_path / f"checkpoint_{step}")
        np.testing.assert_array_equal(state["weights"], np.full(1000, step))


@pytest.mark.clause("TIM-1")
def test_a_checkpoint_between_evaluations_is_on_no_submissions_time() -> None:
    time = FakeTime()
    from algoperf_ref.harness.files import NoFiles

    class Recorder(NoFiles):
        wants_checkpoints = True

        def checkpoint(self, state: Any, global_step: int) -> None:
            time.pass_seconds(5.0)

    trial = fake_trial(
        time_source=time, recorder=Recorder(), checkpoint_every_steps=3, max_global_steps=8
    )
    trial.run()
    # Checkpoints: after the evaluations of steps 1, 4, 7 and 8, and after steps 3 and 6. They take
    # 5 s each, which count towards the period of 10 s, so that two of them make one due.
    assert [step for step, _ in trial.eval_results] == [1, 4, 7, 8]
    assert trial.clock.submission_seconds == 0.0
    assert trial.clock.logging_seconds == 5.0 * 6


def test_tensorboard_files_hold_the_evaluations(options: RunOptions) -> None:  # noqa: F811
    (trial,) = run(options).trials
    (path,) = trial.directory.glob("events.out.tfevents.*")
    content = path.read_bytes()
    assert content.count(b"validation/mean_average_precision") == len(trial.eval_results)


def test_no_tensorboard_files_if_not_wanted(options: RunOptions) -> None:  # noqa: F811
    (trial,) = run(replace(options, tensorboard=False)).trials
    assert not list(trial.directory.glob("events.out*"))


def test_weights_and_biases_is_told_of_evaluations_only(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[tuple[int, Any]] = []
    ended: list[bool] = []
    module: Any = ModuleType("wandb")
    module.init = lambda **arguments: SimpleNamespace(
        log=lambda numbers, step: logged.append((step, numbers)),
        finish=lambda: ended.append(True),
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    (trial,) = run(replace(options, use_wandb=True)).trials
    assert [step for step, _ in logged] == [step for step, _ in trial.eval_results]
    assert all("validation/mean_average_precision" in numbers for _, numbers in logged)
    assert ended == [True]


def test_missing_weights_and_biases_is_one_sentence(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="--use_wandb needs the package wandb: pip install wandb"):
        run(replace(options, use_wandb=True))


def test_a_profile_names_the_parts_of_the_contract(options: RunOptions) -> None:  # noqa: F811
    (trial,) = run(replace(options, profile=True)).trials
    profile = json.loads((trial.directory / "profile.json").read_text())
    assert {row["part"] for row in profile} == PARTS
    by_part = {row["part"]: row for row in profile}
    assert by_part["Update parameters"]["calls"] == trial.global_step
    assert by_part["Evaluation"]["calls"] == len(trial.eval_results)
    assert sum(row["percent"] for row in profile) == pytest.approx(100.0)


def test_a_profile_counts_a_call_that_raises_and_adds_up() -> None:
    profiler = TimingProfiler()
    with pytest.raises(KeyError), profiler.profile("a"):
        raise KeyError
    with profiler.profile("a"):
        pass
    (row,) = profiler.summary()
    assert row["calls"] == 2
    assert row["total_seconds"] == pytest.approx(2 * row["mean_seconds"])
    assert "a" in profiler.table()[1]


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_a_trace_records_its_steps_and_writes_a_file(framework: str, tmp_path: Path) -> None:
    backend: Any = frameworks.create(framework)
    values = backend.place_batch({"x": np.ones(10, np.float32)})
    trace = FrameworkTrace(backend, tmp_path, num_steps=2)
    seen = []
    for step in range(5, 10):
        trace.before_step(step)
        seen.append(trace._context is not None)
        backend.synchronize((values["x"] * 2).sum())
    trace.close()
    assert seen == [False, True, True, False, False]
    assert [path for path in (tmp_path / "traces").rglob("*") if path.is_file()]


def test_a_traced_trial_ends_as_any_other(options: RunOptions) -> None:  # noqa: F811
    (trial,) = run(replace(options, trace_steps=3)).trials
    assert trial.status is Status.TARGETS_REACHED


def test_the_result_states_the_memory_of_the_process(options: RunOptions) -> None:  # noqa: F811
    (trial,) = run(options).trials
    assert trial.peak_host_memory_bytes > 10_000_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("checkpoint_every_steps", -1),
        ("checkpoint_every_minutes", -0.5),
        ("checkpoint_every_minutes", float("nan")),
        ("step_timeout_seconds", -1.0),
        ("trace_steps", -2),
    ],
)
def test_a_negative_number_is_one_sentence(
    options: RunOptions,  # noqa: F811
    field: str,
    value: float,
) -> None:
    with pytest.raises(UserError, match=f"--{field} is {value}; it must be at least 0"):
        replace(options, **{field: value}).check()


def test_an_event_log_that_grows_is_flushed_between_evaluations(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("algoperf_ref.records.event_log.MAX_BUFFERED", 4)
    (trial,) = run(replace(options, max_global_steps=9)).trials
    events = [event["event"] for event in read_events(trial.directory / "events.jsonl")]
    assert events.count("logged") > len(trial.eval_results)
