"""Experiment directories: where a run writes, and what happens if something is there already.

The layout is that of :mod:`spec.records`:
``<experiment_dir>/<experiment_name>/[study_<k>/]<workload>_<framework>/trial_<i>/``.
"""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path

from algoperf_ref.errors import UserError
from algoperf_ref.records.lock import holder
from spec.records import RecordNameError, parse_numbered, trial_directory

# Logs and pictures that stand beside the trials.
_KNOWN_SUFFIXES = frozenset({".log", ".json", ".jsonl", ".csv", ".png", ".svg"})
_TIMESTAMP_FORMAT = "%Y-%m-%d-%H-%M-%S"


def open_experiment(
    experiment_dir: str | os.PathLike[str],
    experiment_name: str | None,
    workload: str,
    framework: str,
    *,
    study: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    append_timestamp: bool = False,
    now: datetime.datetime | None = None,
) -> Path:
    """Makes the directory of one workload ready for trials, before any training.

    Args:
      experiment_dir: root of all experiments; ``~`` is expanded.
      experiment_name: directory below it; None or empty leaves the part out.
      workload: workload name.
      framework: ``jax`` or ``pytorch``.
      study: study number, from 0; None leaves the ``study_<k>`` part out.
      resume: existing trials are kept and go on.
      overwrite: an existing directory of this workload and framework is deleted first; nothing
        beside it is touched, and links are not followed.
      append_timestamp: adds ``-YYYY-MM-DD-HH-MM-SS`` to the experiment name.
      now: local time for ``append_timestamp``; None reads the clock.

    Returns:
      The existing, writable directory ``.../<workload>_<framework>``.

    Raises:
      UserError: trials exist and neither flag is given, both are, the directory to overwrite does
        not look like one of ours, or the place cannot be written to.
    """
    if resume and overwrite:
        raise UserError("--resume_last_run keeps the last run and --overwrite deletes it: give one")
    if resume and append_timestamp:
        raise UserError(
            "--append_timestamp makes a new directory, in which --resume_last_run finds nothing: "
            "give one of the two"
        )
    root = Path(experiment_dir).expanduser()
    name = experiment_name or ""
    if append_timestamp:
        now = datetime.datetime.now() if now is None else now
        name = f"{name}-{now.strftime(_TIMESTAMP_FORMAT)}".removeprefix("-")
    try:
        directory = Path(trial_directory(root, name, workload, framework, 1, study)).parent
    except RecordNameError as error:
        raise UserError(str(error)) from error
    try:
        if overwrite:
            _delete(directory, root)
        elif not resume and _trials(directory):
            raise UserError(
                f"{directory} already has trials: give --resume_last_run to go on with them, "
                "--overwrite to delete them, or another --experiment_name"
            )
        directory.mkdir(parents=True, exist_ok=True)
        _probe(directory)
    except OSError as error:
        raise UserError(
            f"cannot write to {directory} ({error.strerror or error}): "
            "give another --experiment_dir or mend its permissions"
        ) from error
    return directory


def open_trial(directory: Path, trial: int) -> Path:
    """Creates (or finds) the directory of one trial.

    Args:
      directory: result of :func:`open_experiment`.
      trial: trial number, from 1.

    Returns:
      The existing directory ``trial_<i>``.

    Raises:
      UserError: it cannot be created.
      ValueError: ``trial`` is below 1.
    """
    if trial < 1:
        raise ValueError(f"trials are counted from 1, not {trial}")
    path = Path(directory) / f"trial_{trial}"
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {path}: {error.strerror or error}") from error
    return path


def _is_trial(entry: Path) -> bool:
    try:
        return parse_numbered(entry.name, "trial") >= 1
    except RecordNameError:
        return False


def _trials(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(entry for entry in directory.iterdir() if _is_trial(entry))


def _delete(directory: Path, root: Path) -> None:
    if directory.is_symlink():
        raise UserError(f"--overwrite does not delete through the link {directory}: remove it")
    if not directory.exists():
        return
    if not directory.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"--overwrite does not delete {directory.resolve()}: it lies outside --experiment_dir"
        )
    for entry in directory.iterdir():
        is_trial = _is_trial(entry) and entry.is_dir() and not entry.is_symlink()
        is_log = entry.suffix in _KNOWN_SUFFIXES and (entry.is_file() or entry.is_symlink())
        if not is_trial and not is_log:
            raise UserError(
                f"--overwrite does not delete {directory}: it holds {entry.name}, which no run "
                "writes; move it away, or give another --experiment_name"
            )
        if is_trial and (user := holder(entry)) is not None:
            raise UserError(f"--overwrite does not delete {entry}: it is in use by {user}")
    # rmtree removes links it meets and never what they point to.
    shutil.rmtree(directory)


def _probe(directory: Path) -> None:
    """Raises OSError unless a file can be created, written and removed here."""
    probe = directory / f".write_probe_{os.getpid()}"
    try:
        probe.write_bytes(b"probe")
    finally:
        probe.unlink(missing_ok=True)
