"""Runs a tiny trial in a process of its own that is killed at a chosen or at any instant.

A child process is forked from a server that has imported everything, so that a start costs a
second and not ten. It can kill itself (SIGKILL) at the n-th line that it executes in the modules
that record a run, in the middle of a write too, or be killed from outside after some time.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from algoperf_ref.harness.results import Status, TrialResult

NADAMW = Path(__file__).parents[2] / "reference_submissions" / "external_tuning" / "nadamw"
SIZES = {"train": 64, "validation": 16, "test": 16}
STEPS = 9
POINT = {
    "learning_rate": 0.01,
    "one_minus_beta1": 0.1,
    "beta2": 0.99,
    "warmup_factor": 0.1,
    "weight_decay": 0.01,
    "dropout_rate": 0.1,
    "label_smoothing": 0.0,
}
_RECORDING = tuple(
    f"{os.sep}algoperf_ref{os.sep}{part}"
    for part in (
        f"records{os.sep}",
        f"harness{os.sep}files.py",
        f"harness{os.sep}trial.py",
        f"harness{os.sep}study.py",
    )
)
_TIMEOUT_SECONDS = 180


class Server:
    """Starts runs of one framework."""

    def __init__(self, framework: str, data_dir: Path) -> None:
        """Args:
        framework: ``jax`` or ``pytorch``.
        data_dir: tiny data of :data:`SIZES`.
        """
        self.framework = framework
        self.data_dir = data_dir
        self._context = multiprocessing.get_context("forkserver")
        # The server imports these once. Nothing may start a thread there: jax.devices() would.
        self._context.set_forkserver_preload(
            [__name__, f"conformance_tests.support.preload_{framework}"]
        )

    def run(
        self,
        output: Path,
        *,
        kill_at_line: int | None = None,
        kill_after_seconds: float | None = None,
    ) -> int:
        """Runs, or goes on with, the trial below ``output``.

        Args:
          output: experiment directory.
          kill_at_line: the process kills itself at this line of the recording modules.
          kill_after_seconds: it is killed from outside, so long after its training began.

        Returns:
          Lines executed if it came to its end, -1 if it was killed.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_child,
            args=(theirs, self.framework, str(self.data_dir), str(output), kill_at_line),
        )
        process.start()
        theirs.close()
        lines = -1
        try:
            if not ours.poll(_TIMEOUT_SECONDS):
                raise TimeoutError("the trial did not begin")
            message = _received(ours)
            if message == "training" and kill_after_seconds is not None:
                process.join(kill_after_seconds)
                if process.is_alive():
                    os.kill(process.pid or 0, signal.SIGKILL)
            if message == "training":
                if not ours.poll(_TIMEOUT_SECONDS):
                    raise TimeoutError("the trial did not end")
                message = _received(ours)
            lines = message if isinstance(message, int) else -1
        finally:
            if lines == -1 and process.is_alive() and kill_at_line is None:
                process.join(5)
                process.kill()
            process.join()
            ours.close()
        if lines == -1 and process.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"the child ended with exit code {process.exitcode}")
        return lines


def trial_directory(output: Path, framework: str) -> Path:
    """Where the trial keeps its files."""
    return output / f"ogbg_{framework}" / "trial_1"


def check_files(directory: Path) -> None:
    """Fails unless every CSV and JSON file of a killed run is complete as it is."""
    import json

    for path in directory.glob("*.csv"):
        content = path.read_text(encoding="utf-8")
        assert content == "" or content.endswith("\n"), f"{path} ends in half a line"
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.reader(file))
        assert len({len(row) for row in table}) <= 1, f"{path} has rows of several lengths"
    for path in directory.glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in directory.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)


def what_remains(directory: Path) -> dict[str, Any]:
    """Everything a finished trial must have in common with an unbroken one."""
    import json

    from algoperf_ref.records import checkpoints
    from algoperf_ref.records.event_log import read_events

    result = TrialResult.from_json(json.loads((directory / "result.json").read_text()))
    found = checkpoints.load_latest(directory)
    assert found is not None
    state = dict(found[0])
    state.pop("preemption_count")
    state.pop("event_count")
    state["eval_results"] = [[step, _known(m)] for step, m in state["eval_results"]]
    events = [
        {name: value for name, value in event.items() if name != "reading_ns"}
        for event in read_events(directory / "events.jsonl")
        if event["event"] in ("step ended", "prepared", "evaluated", "ended")
    ]
    return {
        "status": result.status,
        "times": (result.submission_seconds, result.evaluation_seconds, result.logging_seconds),
        "eval_results": [(step, _known(metrics)) for step, metrics in result.eval_results],
        "state": state,
        "events": events,
        **{name: _rows(directory / name) for name in ("measurements.csv", "eval_measurements.csv")},
    }


def _known(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name != "preemption_count"}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [_known(row) for row in csv.DictReader(file)]


def _received(connection: Any) -> Any:
    try:
        return connection.recv()
    except EOFError:  # it was killed
        return -1


def _child(
    connection: Any, framework: str, data_dir: str, output: str, kill_at: int | None
) -> None:
    import algoperf_ref
    from algoperf_ref import run as run_module
    from algoperf_ref.harness.trial import Trial

    load = run_module.workloads.load

    def load_tiny(*args: Any, **kwargs: Any) -> Any:
        workload = load(*args, **kwargs)
        row = replace(
            workload.spec,
            num_train_examples=SIZES["train"],
            num_eval_train_examples=SIZES["validation"],
            num_validation_examples=SIZES["validation"],
            num_test_examples=SIZES["test"],
            eval_batch_size=16,
            eval_period_time_sec=4,
            simulated_step_seconds=1.0,
            validation_target_value=2.0,  # out of reach
            step_hint=20,
        )
        return type(workload)(row, workload.tier, workload.backend)

    run_module.workloads.load = load_tiny
    train = Trial._train

    def told(trial: Trial, rng: Any) -> Status:
        connection.send("training")
        return train(trial, rng)

    Trial._train = told  # type: ignore[method-assign]
    counted = _count_lines(kill_at)
    algoperf_ref.run_trial(
        "ogbg",
        framework,
        NADAMW,
        tier="mini",
        data_dir=data_dir,
        hyperparameters=POINT,
        seed=3,
        clock="steps",
        max_global_steps=STEPS,
        output_dir=output,
        resume=Path(output).exists(),
        checkpoint_every_steps=3,
        step_timeout_seconds=0,
        tensorboard=False,
    )
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    connection.send(counted())
    connection.close()


def _count_lines(kill_at: int | None) -> Callable[[], int]:
    """Counts the lines executed in the recording modules, in all threads; kills at one of them."""
    count = 0

    def line(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: Any, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        return line if any(part in name for part in _RECORDING) else None

    threading.settrace(call)
    sys.settrace(call)
    return lambda: count
