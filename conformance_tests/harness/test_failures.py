"""Every way in which a trial can fail has a status, an exit code and one sentence."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.harness import files as trial_files
from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.failures import SubmissionFailed, WrongOutput, is_out_of_memory
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.results import Status
from algoperf_ref.harness.study import run_study
from algoperf_ref.harness.watchdog import Watchdog
from algoperf_ref.records import checkpoints
from algoperf_ref.records.files import CannotWrite
from conformance_tests.harness.test_study import options, rows  # noqa: F401  (a fixture)
from conformance_tests.support.fakes import (
    METRIC,
    FakeWorkload,
    fake_functions,
    fake_submission,
    fake_trial,
)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "NoneType where"),
        (({}, {"w": 1.0}), "2 values where"),
        ({"w": 1.0}, "dict where"),
    ],
)
@pytest.mark.parametrize("function", ["update_params", "prepare_for_eval"])
def test_something_else_than_three_values_is_a_wrong_output(
    function: str, returned: Any, message: str
) -> None:
    submission = fake_submission(**{function: lambda **arguments: returned})
    with pytest.raises(WrongOutput, match=f"{function} returned {message}") as caught:
        fake_trial(submission=submission).run()
    assert caught.value.status is Status.WRONG_OUTPUT


def test_parameters_of_another_structure_are_told_by_name_at_the_next_evaluation() -> None:
    normal = fake_functions().update_params

    def update_params(**arguments: Any) -> Any:
        optimizer_state, params, model_state = normal(**arguments)
        if arguments["global_step"] == 4:
            params["v"] = 1.0
        return optimizer_state, {"w": params["w"], **params}, model_state

    def adding(**arguments: Any) -> Any:
        optimizer_state, params, model_state = update_params(**arguments)
        return optimizer_state, {**arguments["current_param_container"], **params}, model_state

    trial = fake_trial(submission=fake_submission(update_params=adding))
    with pytest.raises(WrongOutput, match=r"v was absent and is \(\), after 11 steps"):
        trial.run()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_in_a_step_has_its_own_status(error: Exception) -> None:
    def update_params(**arguments: Any) -> Any:
        raise error

    with pytest.raises(SubmissionFailed, match="out of memory in the submission's") as caught:
        fake_trial(submission=fake_submission(update_params=update_params)).run()
    assert caught.value.status is Status.OUT_OF_MEMORY


def test_other_errors_that_speak_of_memory_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_jax_and_pytorch_raise_what_is_taken_for_out_of_memory() -> None:
    import torch

    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(1 << 60, dtype=torch.float32)
    assert is_out_of_memory(of_torch.value)
    import jax.numpy as jnp

    with pytest.raises((RuntimeError, MemoryError), match=r"(?i)memory") as of_jax:
        jnp.zeros((1 << 50,), jnp.float32).block_until_ready()
    assert is_out_of_memory(of_jax.value), of_jax.value


@pytest.mark.clause("EVAL-1", "EVAL-6")
def test_parameters_that_are_not_finite_are_named_and_end_the_run_after_three_evaluations() -> None:
    normal = fake_functions().update_params

    def update_params(**arguments: Any) -> Any:
        optimizer_state, params, model_state = normal(**arguments)
        if arguments["global_step"] == 2:
            params["w"] = math.nan
        return optimizer_state, params, model_state

    class Workload(FakeWorkload):
        def eval_model(self, batch: int, params: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
            value = params["w"] / 1000
            return {f"{split}/{METRIC}": value for split in ("train", "validation", "test")}

    trial = fake_trial(Workload(), fake_submission(update_params=update_params))
    assert trial.run() is Status.NON_FINITE
    assert "the parameter w is not finite" in trial.failure
    assert "(3 in a row)" in trial.failure
    assert trial.progress.global_step == 31  # the evaluations of steps 11, 21 and 31


@pytest.mark.clause("EVAL-1")
def test_evaluations_that_run_out_of_memory_end_the_run_with_that_reason() -> None:
    class Workload(FakeWorkload):
        def eval_model(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            raise RuntimeError("RESOURCE_EXHAUSTED: no memory left")

    trial = fake_trial(Workload())
    assert trial.run() is Status.EVALUATION_FAILED
    assert "RESOURCE_EXHAUSTED" in trial.failure
    assert [event for event in trial.workload.events if event == "free_memory"][1:]


def run(options: RunOptions, workload: FakeWorkload | None = None) -> Any:  # noqa: F811
    workload = workload or FakeWorkload()
    return run_study(options, workload, workload.backend, Quiet())


def write_submission(options: RunOptions, addition: str) -> None:  # noqa: F811
    path = Path(options.submission_path)
    path.write_text(path.read_text() + addition)


def test_a_trial_that_does_not_return_is_ended_recorded_and_the_next_one_runs(
    options: RunOptions,  # noqa: F811
) -> None:
    write_submission(
        options,
        """
import time
_update_params = update_params
_calls = 0

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng, train_state):
    global _calls
    _calls += 1
    while _calls == 8:
        time.sleep(0.02)
    arguments = dict(locals())
    return _update_params(**arguments)
""",
    )
    options = replace(options, num_tuning_trials=2, step_timeout_seconds=0.4)
    first, second = run(options).trials
    assert first.status is Status.TIMED_OUT
    assert first.global_step == 7
    assert "nothing happened for 0.4 s after step 7" in first.message
    assert (
        "time.sleep" in (first.directory / "trial.log").read_text()
        or "update_params" in (first.directory / "trial.log").read_text()
    )
    stored = json.loads((first.directory / "result.json").read_text())
    assert stored["status"] == "timed_out"
    assert second.status is Status.TARGETS_REACHED


def test_a_process_that_an_interrupt_does_not_reach_is_ended(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, signal, time
from algoperf_ref.harness.watchdog import Watchdog

def stuck():
    pathlib.Path({str(tmp_path / "result")!r}).write_text("recorded")
    os._exit(3)

beat = object()
with Watchdog(lambda: beat, 0.2, stuck, grace_seconds=0.2):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            time.sleep(20)
        except KeyboardInterrupt:
            pass
"""
    code = subprocess.run([sys.executable, "-c", program], timeout=30).returncode
    assert code == 3
    assert (tmp_path / "result").read_text() == "recorded"


def test_a_watchdog_leaves_a_trial_that_moves_on_alone() -> None:
    with Watchdog(lambda: object(), 0.02, lambda: os._exit(1)) as watchdog:
        time.sleep(0.2)
    assert not watchdog.fired


@pytest.mark.clause("REC-1")
def test_a_disk_that_fills_up_stops_the_study_and_keeps_the_last_checkpoint(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = checkpoints._write
    saved = []

    def full(file: Any, step: int, encoded: Any) -> None:
        if len(saved) == 3:
            file.write(b"half a checkpoint")
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(step)
        write(file, step, encoded)

    monkeypatch.setattr(checkpoints, "_write", full)
    options = replace(options, num_tuning_trials=2)
    with pytest.raises(CannotWrite, match="No space left on device"):
        run(options)
    trial = Path(options.experiment_dir or "") / "fake" / "ogbg_pytorch" / "trial_1"
    stored = json.loads((trial / "result.json").read_text())
    assert stored["status"] == "cannot_write"
    assert checkpoints.load_latest(trial)[1] == saved[-1]  # type: ignore[index]
    assert not list(trial.glob(".*tmp"))
    monkeypatch.undo()
    resumed = run(replace(options, resume_last_run=True))
    assert [t.status for t in resumed.trials] == [Status.TARGETS_REACHED] * 2
    assert [row["global_step"] for row in rows(trial, "eval_measurements.csv")] == [
        str(step) for step in (1, 11, 21, 31, 41, 51)
    ]


def test_too_little_room_is_told_before_training(
    options: RunOptions,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(trial_files.shutil, "disk_usage", lambda path: usage)
    workload = FakeWorkload()
    with pytest.raises(UserError, match=r"1 MB are free, but .* need 17 MB"):
        run(options, workload)
    assert "synchronize" not in workload.events
    finished = run(replace(options, overwrite=True, save_checkpoints=False))
    assert finished.trials[0].status is Status.TARGETS_REACHED


def test_wrong_types_from_get_batch_size_are_one_sentence(
    options: RunOptions,  # noqa: F811
) -> None:
    write_submission(options, "\ndef get_batch_size(workload_name):\n    return '32'\n")
    with pytest.raises(UserError, match="get_batch_size"):
        run(options)


def mounted(directory: Path, megabytes: float) -> bool:
    """Mounts a small file system of its own; False where this is not allowed."""
    directory.mkdir()
    size = f"size={int(megabytes * 1e6)}"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(directory)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_small_file_system_that_fills_up_keeps_the_last_checkpoint(
    options: RunOptions,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The same with a disk that is really full, where the system lets us mount one."""
    place = tmp_path / "small"
    if not mounted(place, 24):
        pytest.skip("a file system cannot be mounted here")
    try:
        write_submission(
            options,
            """
_init, _update = init_optimizer_state, update_params

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {**_init(workload, model_params, model_state, hyperparameters, rng), "history": []}

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng, train_state):
    arguments = dict(locals())
    optimizer_state["history"].append(np.full(20_000, global_step))
    return _update(**arguments)
""",
        )
        options = replace(options, experiment_dir=str(place))
        with pytest.raises(CannotWrite, match="No space left on device"):
            run(options, FakeWorkload(evaluate=lambda step: 0.0))
        trial = place / "fake" / "ogbg_pytorch" / "trial_1"
        found = checkpoints.load_latest(trial)
        assert found is not None
        assert len(found[0]["training"]["optimizer_state"]["history"]) == found[1] > 10
        json.loads((trial / "meta_data_0.json").read_text())
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_a_terminated_run_records_that_it_was_interrupted(tmp_path: Path, signal_name: str) -> None:
    """As a cluster ends a job: the status is written, and the exit code says why."""
    program = """
import os, signal, sys, time
from pathlib import Path
from algoperf_ref import run
from conformance_tests.support.fakes import FakeWorkload

class Slow(FakeWorkload):
    def eval_model(self, *args, **kwargs):
        if kwargs.get("global_step", args[-1]) > 1:
            print("evaluating", flush=True)
            time.sleep(30)
        return super().eval_model(*args, **kwargs)

run.workloads.load = lambda *args, **kwargs: Slow()
sys.exit(run.main(sys.argv[1:]))
"""
    from conformance_tests.harness.test_study import SPACE, SUBMISSION

    (tmp_path / "submission.py").write_text(SUBMISSION)
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", program, "--workload=ogbg", "--framework=pytorch"),
            f"--submission_path={tmp_path / 'submission.py'}",
            f"--tuning_search_space={tmp_path / 'space.json'}",
            *(f"--experiment_dir={tmp_path}", "--clock=steps", "--tier=mini", "--quiet"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "evaluating\n"
    process.send_signal(getattr(signal, signal_name))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == {"SIGINT": 130, "SIGTERM": 143}[signal_name], errors
    assert "go on with --resume_last_run" in errors
    assert "Traceback" not in errors
    (result,) = tmp_path.glob("**/result.json")
    assert json.loads(result.read_text())["status"] == "interrupted"
