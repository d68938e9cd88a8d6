"""The files of a study: ``study.json``, what it is, and ``study.jsonl``, what happened when."""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from algoperf_ref.errors import UserError
from algoperf_ref.harness.options import MAX_SEED
from algoperf_ref.records.files import write_text
from algoperf_ref.records.metadata import software_facts
from algoperf_ref.studies.options import check_same
from algoperf_ref.studies.plan import Slice
from spec.costs import Cost

STUDY = "study.json"
_LOCK = "study.lock"


def read_study(directory: Path) -> dict[str, Any] | None:
    """Returns the content of ``study.json``; None if there is none.

    Raises:
      UserError: it is damaged.
    """
    path = directory / STUDY
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content["configuration"], dict) or not isinstance(content["plan"], dict):
            raise TypeError("configuration and plan must be objects")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error!r}): restore it, or move it away and give the "
            "--rng_seed that the trials were run with (rng_seed in their meta_data_0.json)"
        ) from error
    assert isinstance(content, dict)
    return content


def recorded_seed(
    directory: Path, configuration: Mapping[str, Any], study: Mapping[str, Any] | None
) -> int | None:
    """Holds a study to what it was begun with.

    Args:
      directory: of the study.
      configuration: what is asked for; its ``rng_seed`` may be None for "as before".
      study: content of ``study.json``, None if the study has not begun.

    Returns:
      The seed of the study, None if it is still to be drawn.

    Raises:
      UserError: a field differs.
    """
    if study is None:
        seed: int | None = configuration["rng_seed"]
        return seed
    recorded = study["configuration"]
    if configuration["rng_seed"] is None:
        configuration = {**configuration, "rng_seed": recorded.get("rng_seed")}
    check_same(recorded, configuration, str(directory))
    return int(recorded["rng_seed"])


def begin(
    directory: Path,
    configuration: Mapping[str, Any],
    cost: Cost,
    part: Slice,
    command_line: Sequence[str],
) -> int:
    """Writes or updates ``study.json``: begins a study or goes on with it.

    Args:
      directory: of the study; made if it is not there.
      configuration: see :func:`recorded_seed`.
      cost: what is to be run now; further workloads and studies are added to the plan.
      part: this machine's slice.
      command_line: what the user typed.

    Returns:
      The seed of the study, drawn now if there was none.

    Raises:
      UserError: a field differs, the seed of a study on several machines is open, or the
        directory cannot be written to.
    """
    is_open = configuration["rng_seed"] is None and read_study(directory) is None
    if is_open and part.count > 1:
        raise UserError(
            "--slice needs --rng_seed: all machines must have the same, "
            f"for example --rng_seed={secrets.randbelow(MAX_SEED + 1)}"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Two machines that begin at once must not draw two seeds.
        with FileLock(directory / _LOCK):
            study = read_study(directory)
            seed = recorded_seed(directory, configuration, study)
            if seed is None:
                seed = secrets.randbelow(MAX_SEED + 1)
            if study is None:
                study = {
                    "configuration": {**configuration, "rng_seed": seed},
                    "plan": {},
                    "begun": _now(),
                    "host": platform.node(),
                    "command_line": list(command_line),
                    **software_facts(),
                }
            merged = {**study, "plan": _merged(study["plan"], cost)}
            if merged != read_study(directory):
                write_text(directory / STUDY, json.dumps(merged, indent=2) + "\n")
            return seed
    except OSError as error:
        raise UserError(
            f"cannot write to {directory} ({error.strerror or error}): "
            "give another --experiment_dir or mend its permissions"
        ) from error


def _merged(plan: Mapping[str, Any], cost: Cost) -> dict[str, Any]:
    merged = {name: dict(row) for name, row in plan.items()}
    for row in cost.workloads:
        before = merged.get(row.workload, {})
        merged[row.workload] = {
            "num_studies": max(row.num_studies, before.get("num_studies", 0)),
            "num_trials": row.num_trials,
            "budget_seconds": row.budget_seconds,
        }
    return merged


class History:
    """Appends what happens to ``study.jsonl``; every machine of a sliced study has a file."""

    def __init__(self, directory: Path, part: Slice) -> None:
        """Args:
        directory: of the study.
        part: this machine's slice.
        """
        suffix = "" if part.count == 1 else f"_{part.index}_of_{part.count}"
        self.path = directory / f"study{suffix}.jsonl"

    def add(self, event: str, **facts: Any) -> None:
        """Adds one line; it is on disk when this returns.

        Raises:
          UserError: the file cannot be written.
        """
        line = json.dumps({"time": _now(), "event": event, **facts}) + "\n"
        try:
            with self.path.open("ab") as file:
                # After a kill in the middle of a line.
                if file.tell() and not _ends_with_newline(self.path):
                    line = "\n" + line
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
