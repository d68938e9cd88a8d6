"""The trials of a study, one after the other or several at a time, whatever becomes of each."""

from __future__ import annotations

import enum
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from algoperf_ref.harness.results import Status, TrialResult
from algoperf_ref.studies.plan import Task


class Ending(enum.StrEnum):
    """What became of a trial."""

    COMPLETE = "complete"
    FAILED = "failed"
    CRASHED = "crashed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    IN_USE = "in use"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
      task: the trial.
      ending: COMPLETE if it ended as the rules foresee, FAILED if the harness says otherwise,
        CRASHED if its process ended without a word, REFUSED if its input is wrong, IN_USE if
        another process works on it.
      message: why, in one sentence; empty for a complete trial.
      exit_code: of its process; None if there was none.
      signal: name of the signal that killed it, for example ``SIGKILL``.
      result: its result, if there is one.
    """

    task: Task
    ending: Ending
    message: str = ""
    exit_code: int | None = None
    signal: str | None = None
    result: TrialResult | None = None


_BAD_INPUT = 2
_INTERRUPTED = 128 + signal.SIGINT


def judged(
    task: Task,
    exit_code: int | None,
    result: TrialResult | None,
    *,
    is_new: bool,
    max_global_steps: int | None,
    is_stopping: bool,
    error: str = "",
) -> Outcome:
    """Tells what became of a trial whose process has ended.

    Args:
      task: the trial.
      exit_code: of the process, negative for a signal; None if it was not started.
      result: content of its ``result.json``.
      is_new: the process wrote this result.
      max_global_steps: the step limit.
      is_stopping: the study was told to stop meanwhile.
      error: the last error that the process printed.

    Returns:
      The outcome. A new result has the last word: what happens to a process after it has written
      one, say in the shutdown of a device, takes nothing from the trial.
    """
    if exit_code is None:
        return Outcome(task, Ending.NOT_RUN, "the study was stopped")
    name = signal.Signals(-exit_code).name if -exit_code in _SIGNALS else None

    def outcome(ending: Ending, message: str = "") -> Outcome:
        return Outcome(task, ending, message, exit_code, name, result)

    is_done = result is not None and result.is_final(max_global_steps)
    if is_done and (is_new or exit_code == 0):
        return outcome(Ending.COMPLETE)
    if result is not None and is_new and result.status is not Status.INTERRUPTED:
        return outcome(Ending.FAILED, result.message or result.status.value)
    if is_stopping or exit_code == _INTERRUPTED or (is_new and result is not None):
        return outcome(Ending.INTERRUPTED, "interrupted; the same command goes on with it")
    if exit_code == _BAD_INPUT:
        return outcome(Ending.REFUSED, error or "its process says that its input is wrong")
    if name == "SIGKILL":
        return outcome(
            Ending.CRASHED,
            "killed by SIGKILL: by somebody, or by the system when the host's memory was full",
        )
    if exit_code < 0:
        return outcome(Ending.CRASHED, f"killed by {name or f'signal {-exit_code}'}")
    message = f"the process ended with exit code {exit_code} and wrote no result"
    return outcome(Ending.CRASHED, f"{message} ({error})" if error else message)


_SIGNALS = {int(number) for number in signal.Signals}


def run_tasks(
    work: Sequence[Task],
    launch: Callable[[Task], Outcome],
    ended: Callable[[Outcome], None],
    *,
    jobs: int = 1,
    stop_on_failure: bool = False,
) -> list[Outcome]:
    """Runs trials in their order.

    If the input of a trial is wrong, say because its data are missing, the other trials of its
    workload are not tried.

    Args:
      work: the trials.
      launch: runs one, in a thread of its own; never raises for what happens to the trial.
      ended: told about each that was run, one at a time.
      jobs: how many run at a time.
      stop_on_failure: start none any more after one that is not complete.

    Returns:
      The outcomes in the order of the work, with NOT_RUN for trials that were left out.
    """
    lock = threading.Lock()
    refused: set[str] = set()
    failed: list[Task] = []
    broken: list[BaseException] = []

    def left_out(task: Task) -> str | None:
        with lock:
            if task.workload in refused:
                return f"left out, as another trial of {task.workload} was refused"
            if stop_on_failure and failed:
                return f"left out after {failed[0]} (--stop_on_failure)"
            if broken:
                return "left out, as the study itself cannot go on"
        return None

    def run(task: Task) -> Outcome:
        reason = left_out(task)
        if reason is not None:
            return Outcome(task, Ending.NOT_RUN, reason)
        try:
            outcome = launch(task)
            with lock:
                if outcome.ending is Ending.REFUSED:
                    refused.add(task.workload)
                if outcome.ending not in (Ending.COMPLETE, Ending.IN_USE):
                    failed.append(task)
                if outcome.ending is not Ending.NOT_RUN:
                    ended(outcome)
        except BaseException as error:
            # Such as a full disk: without this the threads would go on to the end.
            broken.append(error)
            raise
        return outcome

    with ThreadPoolExecutor(jobs, thread_name_prefix="trial") as pool:
        return list(pool.map(run, work))
