"""How far the trials of a study are, read off their directories."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algoperf_ref.harness.files import DamagedResult, read_result
from algoperf_ref.harness.results import Status, TrialResult
from algoperf_ref.records.lock import holder
from algoperf_ref.studies.options import check_same


class State(enum.StrEnum):
    """How far a trial is."""

    WAITING = "waiting"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    IN_USE = "in use"


@dataclass(frozen=True)
class Progress:
    """State of one trial.

    Attributes:
      state: see :class:`State`.
      note: a sentence for the user; empty if there is nothing to say.
      result: what ``result.json`` says, if it can be read.
    """

    state: State
    note: str = ""
    result: TrialResult | None = None


# The submission has no part in these: the trial goes on where it was.
_NOT_THE_SUBMISSIONS = (Status.INTERRUPTED, Status.CANNOT_WRITE)


def look(
    directory: Path, configuration: Mapping[str, Any], max_global_steps: int | None
) -> Progress:
    """Looks at a trial; changes nothing.

    Args:
      directory: of the trial; need not exist.
      configuration: of the study.
      max_global_steps: the step limit asked for; a trial that ended at a lower one is not done.

    Returns:
      Its state. A crashed or interrupted trial is STARTED, one that the harness judged is FAILED.

    Raises:
      UserError: the trial belongs to another study.
    """
    if not directory.exists():
        return Progress(State.WAITING)
    user = holder(directory)
    if user is not None:
        return Progress(State.IN_USE, f"{directory} is in use by {user}")
    try:
        result = read_result(directory)
    except DamagedResult as error:
        return Progress(State.STARTED, f"{error}; the trial is run again")
    if result is None:
        return Progress(State.STARTED)
    _check_belongs(result, configuration, directory)
    if result.is_final(max_global_steps):
        return Progress(State.DONE, result=result)
    if result.status.is_failure and result.status not in _NOT_THE_SUBMISSIONS:
        return Progress(State.FAILED, result.message or result.status.value, result)
    return Progress(State.STARTED, result=result)


def _check_belongs(result: TrialResult, configuration: Mapping[str, Any], directory: Path) -> None:
    """A result found there without a ``study.json`` may be of a run with other flags."""
    recorded = {
        "rng_seed": result.run_seed,
        "tier": result.tier,
        "rules": result.rules,
        "tuning_ruleset": result.tuning,
        "clock": result.clock,
    }
    check_same(recorded, {name: configuration[name] for name in recorded}, str(directory))
