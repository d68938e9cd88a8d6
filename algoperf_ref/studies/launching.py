"""One trial of a study in a process of its own: started, waited for, judged."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from algoperf_ref.errors import UserError
from algoperf_ref.harness.files import RESULT, DamagedResult, read_result
from algoperf_ref.harness.results import TrialResult
from algoperf_ref.records.lock import holder
from algoperf_ref.studies.files import History
from algoperf_ref.studies.options import StudyOptions, check_same
from algoperf_ref.studies.plan import Task
from algoperf_ref.studies.processes import Children, followed
from algoperf_ref.studies.runner import Ending, Outcome, judged

CONSOLES = "consoles"
"""Directory of what the processes printed, one file for each trial."""

RUN: tuple[str, ...] = ("-m", "algoperf_ref.run")


@dataclass(frozen=True)
class Launcher:
    """Runs trials; call it with a task.

    Attributes:
      options: of the study, with its seed.
      configuration: what the study began with; a file that changes meanwhile ends the study.
      children: the processes.
      history: where starts are noted.
      stream: where to show what the processes print; None shows nothing.
      program: what Python runs, before the arguments of the trial.
    """

    options: StudyOptions
    configuration: Mapping[str, Any]
    children: Children
    history: History
    stream: TextIO | None = None
    program: Sequence[str] = RUN

    def __call__(self, task: Task) -> Outcome:
        """Runs a trial to its end, whatever that is.

        Raises:
          UserError: the study's own files cannot be written, the submission was changed since the
            start, or no process can be started.
        """
        now = {**self.options.configuration(), "rng_seed": self.configuration["rng_seed"]}
        check_same(self.configuration, now, str(self.options.directory))
        trial = self.options.trial_directory(task)
        # Asked again, since hours may have passed since the study looked at it.
        user = holder(trial)
        if user is not None:
            return Outcome(task, Ending.IN_USE, f"{trial} is in use by {user}")
        before = _identity(trial)
        command = [
            *self.options.launcher(sys.executable),
            *self.program,
            *self.options.run_arguments(task),
        ]
        console = self.console(task)
        try:
            console.parent.mkdir(exist_ok=True)
            start = console.stat().st_size if console.exists() else 0
            if self.children.signal is None:
                self.history.add("trial started", **_names(task), command=command)
            with followed(console, self.stream):
                exit_code = self.children.run(command, console)
        except OSError as error:
            raise UserError(f"cannot start {task}: {error}") from error
        outcome = judged(
            task,
            exit_code,
            _result(trial),
            is_new=_identity(trial) != before,
            max_global_steps=self.options.max_global_steps,
            is_stopping=self.children.signal is not None,
            error=_last_error(console, start),
        )
        if outcome.ending is Ending.REFUSED and (user := holder(trial)) is not None:
            return Outcome(task, Ending.IN_USE, f"{trial} is in use by {user}")
        return outcome

    def console(self, task: Task) -> Path:
        """File of what a trial prints."""
        name = f"{task.workload}.study_{task.study}.trial_{task.trial}.log"
        return self.options.directory / CONSOLES / name


def record(history: History, outcome: Outcome) -> None:
    """Notes what became of a trial.

    Raises:
      UserError: the history cannot be written.
    """
    result = outcome.result
    history.add(
        "trial ended",
        **_names(outcome.task),
        ending=outcome.ending.value,
        message=outcome.message,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        status=None if result is None else result.status.value,
    )


def _names(task: Task) -> dict[str, str | int]:
    return {"workload": task.workload, "study": task.study, "trial": task.trial}


def _identity(trial: Path) -> tuple[int, int] | None:
    """Tells one ``result.json`` from the next, which takes its place by a rename."""
    with contextlib.suppress(OSError):
        status = (trial / RESULT).stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _result(trial: Path) -> TrialResult | None:
    try:
        return read_result(trial)
    except DamagedResult:  # The next start of the trial says so, and runs it again.
        return None


def _last_error(console: Path, start: int) -> str:
    """Returns what the process printed last after ``error:``."""
    with console.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [line for line in lines if "error: " in line]
    return errors[-1].partition("error: ")[2] if errors else ""
