"""Reading evaluation logs: which trials there are, and the rows of one trial.

Layout (``spec.records``):
``<logs>/<submission>/[study_<k>/]<workload>_<framework>/trial_<n>/eval_measurements.csv``.
Entries that do not fit are passed over: real log collections hold stray files and directories.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError
from spec.records import (
    EVAL_MEASUREMENTS,
    RecordNameError,
    meta_data_name,
    parse_numbered,
    parse_workload_directory,
)
from spec.workloads import UnknownWorkload, get

SECONDS = "accumulated_submission_time"
STEP = "global_step"
PREEMPTION_COUNT = "preemption_count"

LAYOUT = "<submission>/[study_<k>/]<workload>_<framework>/trial_<n>/" + EVAL_MEASUREMENTS


@dataclass(frozen=True)
class TrialLocation:
    """Where the log of a trial is, and of what.

    Attributes:
      submission: name of the submission.
      study: number of the study; 0 if the logs have no study directories.
      workload: a workload name that the table knows.
      framework: ``jax`` or ``pytorch``.
      trial: number of the trial, from 1.
      path: the trial directory.
    """

    submission: str
    study: int
    workload: str
    framework: str
    trial: int
    path: Path

    @property
    def csv_path(self) -> Path:
        """The file with the evaluation rows."""
        return self.path / EVAL_MEASUREMENTS


@dataclass(frozen=True)
class Inventory:
    """What a log directory holds.

    Attributes:
      submissions: all submission names, also those without a usable trial, sorted.
      trials: all trials, sorted by name and number, whatever the file system's order.
      warnings: one sentence per finding, each naming the path.
    """

    submissions: tuple[str, ...]
    trials: tuple[TrialLocation, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a trial: submission seconds, global step, and metrics by column name."""

    seconds: float
    step: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrialRows:
    """The evaluations of a trial in file order, superseded ones left out, and warnings."""

    evaluations: tuple[Evaluation, ...] = ()
    warnings: tuple[str, ...] = ()


def find_trials(path: Path) -> Inventory:
    """Lists the trials below a directory.

    Args:
      path: a directory of submissions, one submission, or one workload directory.

    Returns:
      The trials.

    Raises:
      UserError: ``path`` is not a directory, or holds nothing of this layout.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a directory; it must hold logs as {LAYOUT}")
    warnings: list[str] = []
    path = path.resolve()
    trials: list[TrialLocation] = []
    if _workload(path) is not None and any(_numbered(path, "trial")):
        submission, study = path.parent, 0
        if _number(path.parent, "study") is not None:
            submission, study = path.parent.parent, _number(path.parent, "study") or 0
        submissions = [submission.name]
        trials.extend(_workload_trials(path, submission.name, study, warnings))
    elif _is_submission(path):
        submissions = [path.name]
        trials.extend(_submission_trials(path, warnings))
    else:
        children = [child for child in _directories(path) if not child.name.startswith(".")]
        # An empty directory is a submission that scores 0; one with other content is not.
        found = [child for child in children if _is_submission(child) or _is_empty(child)]
        submissions = [child.name for child in found]
        warnings += [
            f"{child}: ignored, holds no workload or study directory"
            for child in children
            if child not in found
        ]
        for child in found:
            trials.extend(_submission_trials(child, warnings))
    if not trials:
        raise UserError(f"no logs found in {path}; expected {LAYOUT} below it")
    for name in sorted(set(submissions) - {trial.submission for trial in trials}):
        warnings.append(f"{path / name}: submission without any trial, it scores 0")
    return Inventory(tuple(sorted(submissions)), tuple(trials), tuple(warnings))


def read_trial(location: TrialLocation, columns: tuple[str, ...]) -> TrialRows:
    """Reads the evaluations of a trial; whatever is wrong becomes a warning, not an error.

    Args:
      location: the trial.
      columns: metric columns that are needed, for example ``("validation/loss",)``.

    Returns:
      The evaluations, none if the file is unusable. Missing or malformed cells are NaN, and
      infinite metrics stay infinite. Rows that a resumed run made again are left out: only the
      last attempt counts.
    """
    path = location.csv_path
    if not path.is_file():
        return TrialRows(warnings=(f"{path}: missing, the trial counts as not finished",))
    # Undecodable bytes become replacement characters, and so malformed cells.
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            lines = csv.reader(line.replace("\0", "") for line in file)
            header = next(lines, None)
            if not header:
                return TrialRows(warnings=(f"{path}: empty, the trial counts as not finished",))
            missing = [name for name in (SECONDS, *columns) if name not in header]
            if missing:
                reason = f"{path}: no column {', '.join(missing)}, the trial counts as not finished"
                return TrialRows(warnings=(reason,))
            return _evaluations(path, header, lines, columns)
    except (OSError, csv.Error) as error:
        reason = f"{path}: not readable as CSV ({error}), the trial counts as not finished"
        return TrialRows(warnings=(reason,))


def read_meta_data(location: TrialLocation) -> dict[str, Any]:
    """Returns ``meta_data_0.json`` of a trial; empty if it is missing or malformed."""
    path = location.path / meta_data_name(0)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # Only a hint is taken from it; scoring never depends on it.
        return {}
    return content if isinstance(content, dict) else {}


def _evaluations(
    path: Path, header: list[str], lines: Iterator[list[str]], columns: tuple[str, ...]
) -> TrialRows:
    index = {name: header.index(name) for name in (SECONDS, *columns)}
    step_index = header.index(STEP) if STEP in header else None
    count_index = header.index(PREEMPTION_COUNT) if PREEMPTION_COUNT in header else None
    rows: list[tuple[float, Evaluation]] = []
    num_malformed = 0
    for cells in lines:
        if len(cells) != len(header):
            num_malformed += 1
            continue
        values = {name: _number_of(cells[i]) for name, i in index.items()}
        step = math.nan if step_index is None else _number_of(cells[step_index])
        attempt = 0.0 if count_index is None else _number_of(cells[count_index])
        seconds = values.pop(SECONDS)
        rows.append((attempt if attempt == attempt else 0.0, Evaluation(seconds, step, values)))
    warnings = []
    if num_malformed:
        warnings.append(f"{path}: ignored {num_malformed} malformed rows")
    if not rows:
        warnings.append(f"{path}: no evaluation, the trial counts as not finished")
    evaluations = _last_attempts(rows)
    if len(evaluations) < len(rows):
        superseded = len(rows) - len(evaluations)
        warnings.append(f"{path}: ignored {superseded} rows that a resumed run made again")
    times = [e.seconds for e in evaluations if e.seconds == e.seconds]
    if any(later < earlier for earlier, later in pairwise(times)):
        warnings.append(f"{path}: submission time decreases from row to row")
    return TrialRows(tuple(evaluations), tuple(warnings))


def _last_attempts(rows: list[tuple[float, Evaluation]]) -> list[Evaluation]:
    """Drops rows at steps that a later attempt of the run has reached again.

    An attempt goes on from a checkpoint; what earlier attempts did beyond it was lost with them.
    """
    first_step: dict[float, float] = defaultdict(lambda: math.inf)
    for attempt, evaluation in rows:
        if evaluation.step == evaluation.step:
            first_step[attempt] = min(first_step[attempt], evaluation.step)
    cut: dict[float, float] = {}
    limit = math.inf
    for attempt in sorted({attempt for attempt, _ in rows}, reverse=True):
        cut[attempt] = limit
        limit = min(limit, first_step[attempt])
    return [evaluation for attempt, evaluation in rows if not evaluation.step >= cut[attempt]]


def _number_of(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _submission_trials(path: Path, warnings: list[str]) -> list[TrialLocation]:
    trials = []
    for study, directory in [(0, path), *_numbered(path, "study")]:
        for child in _directories(directory):
            if _workload(child) is not None:
                trials.extend(_workload_trials(child, path.name, study, warnings))
    return trials


def _workload_trials(
    path: Path, submission: str, study: int, warnings: list[str]
) -> list[TrialLocation]:
    workload, framework = parse_workload_directory(path.name)
    try:
        get(workload)
    except UnknownWorkload as error:
        warnings.append(f"{path}: ignored, {error}")
        return []
    trials = [
        TrialLocation(submission, study, workload, framework, number, trial)
        for number, trial in _numbered(path, "trial")
    ]
    if not trials:
        warnings.append(f"{path}: holds no trial, counts as not run")
    return trials


def _is_submission(path: Path) -> bool:
    return any(_numbered(path, "study")) or any(map(_workload, _directories(path)))


def _is_empty(path: Path) -> bool:
    return next(path.iterdir(), None) is None


def _directories(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir())


def _workload(path: Path) -> tuple[str, str] | None:
    try:
        return parse_workload_directory(path.name)
    except RecordNameError:
        return None


def _numbered(path: Path, kind: str) -> list[tuple[int, Path]]:
    numbers = ((_number(child, kind), child) for child in _directories(path))
    return sorted((number, child) for number, child in numbers if number is not None)


def _number(path: Path, kind: str) -> int | None:
    try:
        return parse_numbered(path.name, kind)
    except RecordNameError:
        return None
