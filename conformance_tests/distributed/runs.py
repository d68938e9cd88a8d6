"""Starts runs on the tiny molecules in processes of their own, and compares what they leave.

``python -m conformance_tests.distributed.runs DIR`` prints the table of differences.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from algoperf_ref.records import checkpoints
from conformance_tests.support.tiny_run import write_tiny

ROOT = Path(__file__).parents[2]
NADAMW = ROOT / "reference_submissions" / "external_tuning" / "nadamw"
SELF_TUNING = ROOT / "reference_submissions" / "self_tuning" / "nadamw"
CUSTOM = {
    "pytorch": ROOT / "conformance_tests" / "support" / "ddp_submission.py",
    "jax": ROOT / "conformance_tests" / "support" / "jax_submission.py",
}
POINT = {
    "learning_rate": 0.01,
    "one_minus_beta1": 0.1,
    "beta2": 0.99,
    "warmup_factor": 0.1,
    "weight_decay": 0.01,
    "label_smoothing": 0.0,
}
TIMEOUT = 240.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Finished:
    """What a run left.

    Attributes:
      code: exit code of the first process.
      output: standard output and error of every process; one entry for all ranks of a torchrun.
      directory: of the trial.
    """

    code: int
    output: list[str]
    directory: Path

    @property
    def result(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / "result.json").read_text())
        return content

    @property
    def errors(self) -> list[str]:
        lines = "\n".join(self.output).splitlines()
        return [line for line in lines if line.startswith("error: ")]

    def params(self) -> dict[str, Any]:
        found = checkpoints.load_latest(self.directory)
        assert found is not None
        leaves: dict[str, Any] = found[0]["training"]["params"]
        return leaves

    def evaluations(self) -> list[tuple[int, dict[str, float]]]:
        return [(step, dict(metrics)) for step, metrics in self.result["eval_results"]]


class Runs:
    """Starts runs below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = write_tiny(directory / "data")

    def __call__(
        self,
        name: str,
        framework: str,
        *,
        processes: int = 1,
        devices: int = 1,
        submission: Path = NADAMW,
        dropout: float = 0.0,
        steps: int = 6,
        misbehave: str = "",
        flags: tuple[str, ...] = (),
        timeout: float = TIMEOUT,
    ) -> Finished:
        """Runs to the end; ``processes`` of them with ``devices`` forced host devices each."""
        search_space = self.directory / f"point_{dropout}.json"
        search_space.write_text(json.dumps([{**POINT, "dropout_rate": dropout}]))
        tuning = (f"--tuning_search_space={search_space}",)
        if submission.parent.name == "self_tuning":
            tuning = ("--tuning_ruleset=self",)
        arguments = [
            "-m",
            "conformance_tests.support.tiny_run",
            f"--framework={framework}",
            f"--submission_path={submission}",
            "--workload=ogbg",
            "--tier=mini",
            f"--data_dir={self.data}",
            f"--experiment_dir={self.directory / 'runs'}",
            f"--experiment_name={name}",
            f"--max_global_steps={steps}",
            "--tensorboard=false",
            *tuning,
            *(flags or ("--clock=steps", "--rng_seed=3")),
        ]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MISBEHAVE": misbehave or "no,0,0",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        port = free_port()
        if processes == 1:
            commands = [[sys.executable, *arguments]]
        elif framework == "pytorch":
            torchrun = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
            commands = [[sys.executable, *torchrun, f"--master_port={port}", *arguments]]
        else:
            joined = [f"--coordinator_address=127.0.0.1:{port}", f"--num_processes={processes}"]
            commands = [
                [sys.executable, *arguments, *joined, f"--process_id={number}"]
                for number in range(processes)
            ]
        code, output = _run_all(commands, environment, timeout)
        trial = self.directory / "runs" / name / f"ogbg_{framework}" / "trial_1"
        return Finished(code, output, trial)


def _run_all(
    commands: list[list[str]], environment: dict[str, str], timeout: float
) -> tuple[int, list[str]]:
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it started can be ended with it
        )
        for command in commands
    ]
    try:
        output = [process.communicate(timeout=timeout)[0] for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()  # torchrun then ends its ranks, which are out of our reach
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=40)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return started[0].returncode, output


def differences(one: Finished, other: Finished) -> dict[str, float]:
    """Returns the largest absolute differences of parameters, losses and other metrics."""
    ours, theirs = one.params(), other.params()
    assert ours.keys() == theirs.keys()
    found = {
        "parameters": max(float(np.max(np.abs(ours[name] - theirs[name]))) for name in ours),
        "loss": 0.0,
        "metrics": 0.0,
    }
    first, second = one.evaluations(), other.evaluations()
    assert [step for step, _ in first] == [step for step, _ in second]
    for (_, left), (_, right) in zip(first, second, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            kind = "loss" if name.endswith("/loss") else "metrics"
            found[kind] = max(found[kind], abs(left[name] - right[name]))
    return found


CASES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("pytorch NadamW, 2 processes", {"framework": "pytorch"}, {"processes": 2}),
    (
        "pytorch NadamW self-tuning, 2 processes",
        {"framework": "pytorch", "submission": SELF_TUNING},
        {"processes": 2},
    ),
    (
        "pytorch custom, 2 processes",
        {"framework": "pytorch", "submission": CUSTOM["pytorch"]},
        {"processes": 2},
    ),
    ("pytorch NadamW, 4 processes", {"framework": "pytorch"}, {"processes": 4}),
    ("jax NadamW, 2 devices", {"framework": "jax", "dropout": 0.1}, {"devices": 2}),
    ("jax NadamW, 4 devices", {"framework": "jax", "dropout": 0.1}, {"devices": 4}),
    ("jax NadamW, 8 devices", {"framework": "jax", "dropout": 0.1}, {"devices": 8}),
    (
        "jax custom, 8 devices",
        {"framework": "jax", "dropout": 0.1, "submission": CUSTOM["jax"]},
        {"devices": 8},
    ),
    ("jax NadamW, 2 processes", {"framework": "jax", "dropout": 0.1}, {"processes": 2}),
    (
        "jax custom, 2 processes of 2 devices",
        {"framework": "jax", "dropout": 0.1, "submission": CUSTOM["jax"]},
        {"processes": 2, "devices": 2},
    ),
)
"""Description, what one process on one device runs, and how the other run differs."""


def main(directory: Path) -> None:
    """Prints the table of all cases."""
    runs, alone = Runs(directory), {}
    print("| run | parameters | loss | other metrics |\n|---|---|---|---|")
    for number, (title, options, change) in enumerate(CASES):
        key = json.dumps(options, default=str)
        if key not in alone:
            alone[key] = runs(f"one_{number}", **options)
        other = runs(f"other_{number}", **options, **change)
        found = differences(alone[key], other)
        cells = " | ".join(f"{value:.1e}" for value in found.values())
        print(f"| {title} | {cells} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
