"""What a run leaves behind: directories, file names and columns (harness contract, section 6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from spec.clauses import BrokenRule, Source, clause, rule

_FILES = Source("Harness contract", "6")

FRAMEWORKS: tuple[str, ...] = ("jax", "pytorch")
"""Framework names, as they stand in directory names."""

rule(
    "REC-1",
    "A trial logs every row to measurements.csv and its evaluation rows to eval_measurements.csv, "
    "and in external tuning keeps its hyperparameters in hparams.json.",
    source=_FILES,
    implementation="spec.records.MEASUREMENTS",
)
MEASUREMENTS = "measurements.csv"
EVAL_MEASUREMENTS = "eval_measurements.csv"
HPARAMS = "hparams.json"
EVENTS = "events.jsonl"

EVALUATION_SPLITS: tuple[str, ...] = ("train", "validation", "test")
"""Prefixes of the metrics, in the order in which the splits are evaluated."""

rule(
    "REC-2",
    "Besides its metrics an evaluation row has the three accumulated times, the total duration, "
    "the score (equal to the submission time), the step and the number of preemptions.",
    source=(_FILES, Source("Scoring semantics", "3")),
    implementation="spec.records.TIME_COLUMNS",
)
TIME_COLUMNS: tuple[str, ...] = (
    "accumulated_eval_time",
    "accumulated_logging_time",
    "accumulated_submission_time",
    "score",
    "total_duration",
)
COUNTER_COLUMNS: tuple[str, ...] = ("global_step", "preemption_count")
NUM_EXAMPLES_COLUMNS: tuple[str, ...] = ("validation/num_examples", "test/num_examples")

_DIRECTORY = re.compile(rf"(?P<workload>.+)_(?P<framework>{'|'.join(FRAMEWORKS)})")
_NUMBERED = re.compile(r"(?P<kind>trial|study|checkpoint)_(?P<number>0|[1-9][0-9]*)")


class RecordNameError(BrokenRule):
    """A name does not fit the layout of experiment directories; the base of the errors below."""


class IllegalWorkloadDirectory(RecordNameError, clause="REC-3"):
    """A workload, a framework or a directory that is not <workload>_<framework>."""


class IllegalTrialNumber(RecordNameError, clause="REC-4"):
    """A trial number below 1."""


class IllegalStudyNumber(RecordNameError, clause="REC-5"):
    """A study number below 0."""


class NegativeCount(RecordNameError, clause="REC-6"):
    """A number of preemptions or of steps below 0."""


class OutsideExperiments(RecordNameError, clause="REC-8"):
    """An experiment name that leads out of the directory of experiments."""


class NotNumbered(RecordNameError, clause="REC-9"):
    """A name that is not that of a trial, a study or a checkpoint."""


def workload_directory(workload: str, framework: str) -> str:
    """Name of the directory of a workload's trials, ``<workload>_<framework>``.

    Raises:
      RecordNameError: the framework is unknown or the workload name is not a directory name.
    """
    if framework not in FRAMEWORKS:
        raise IllegalWorkloadDirectory(
            f"framework is {framework!r}, must be one of {', '.join(FRAMEWORKS)}"
        )
    if not workload or set(workload) & set("/\\\0"):
        raise IllegalWorkloadDirectory(
            f"workload name {workload!r} cannot be part of a directory name"
        )
    return f"{workload}_{framework}"


@clause(
    "REC-3",
    "The directory of a workload is named <workload>_<framework>, which can be read back.",
    source=_FILES,
)
def parse_workload_directory(name: str) -> tuple[str, str]:
    """Splits the name of a workload directory.

    Args:
      name: for example ``ogbg_gelu_jax``.

    Returns:
      (workload, framework), for example ``("ogbg_gelu", "jax")``.

    Raises:
      RecordNameError: the name does not end in a known framework.
    """
    match = _DIRECTORY.fullmatch(name)
    if match is None:
        raise IllegalWorkloadDirectory(
            f"directory {name!r} is not <workload>_<framework> with a framework of "
            f"{', '.join(FRAMEWORKS)}"
        )
    return match["workload"], match["framework"]


@clause(
    "REC-4",
    "A trial is recorded in <experiment_dir>/<experiment_name>/<workload>_<framework>/trial_<i>, "
    "counted from 1; without an experiment name that part is left out.",
    source=_FILES,
)
@clause(
    "REC-5",
    "The studies of one experiment are kept apart by a directory study_<k> above the workloads, "
    "counted from 0.",
    source=(_FILES, Source("Scoring semantics", "2")),
)
@clause(
    "REC-8",
    "The name of an experiment may have several parts but never leads out of the directory of "
    "experiments.",
    source=_FILES,
)
def trial_directory(
    experiment_dir: str | PurePath,
    experiment_name: str | None,
    workload: str,
    framework: str,
    trial: int,
    study: int | None = None,
) -> PurePath:
    """Where a trial is recorded.

    Args:
      experiment_dir: directory of all experiments; ``~`` is left as it is.
      experiment_name: name of the experiment, may have several parts; None for none.
      workload: workload name.
      framework: one of :data:`FRAMEWORKS`.
      trial: number of the trial, from 1.
      study: number of the study, from 0; None for a run without studies.

    Returns:
      The path; nothing is created.

    Raises:
      RecordNameError: a number is out of range, or a name would leave the experiment directory.
    """
    if trial < 1:
        raise IllegalTrialNumber(f"trial number is {trial}, trials are counted from 1")
    if study is not None and study < 0:
        raise IllegalStudyNumber(f"study number is {study}, studies are counted from 0")
    path = PurePath(experiment_dir)
    if experiment_name:
        relative = PurePath(experiment_name)
        if relative.is_absolute() or ".." in relative.parts:
            raise OutsideExperiments(
                f"experiment_name is {experiment_name!r}, must stay inside the experiment directory"
            )
        path /= relative
    if study is not None:
        path /= f"study_{study}"
    return path / workload_directory(workload, framework) / f"trial_{trial}"


@clause(
    "REC-9",
    "Numbers in the names of trials, studies and checkpoints are decimal without leading zeros; "
    "any other name is not part of the layout.",
    source=(_FILES, Source("Scoring semantics", "4")),
)
def parse_numbered(name: str, kind: str) -> int:
    """Reads the number of a ``trial_<i>``, ``study_<k>`` or ``checkpoint_<step>``.

    Args:
      name: file or directory name.
      kind: ``trial``, ``study`` or ``checkpoint``.

    Returns:
      The number.

    Raises:
      RecordNameError: the name is not of this kind.
    """
    match = _NUMBERED.fullmatch(name)
    if match is None or match["kind"] != kind:
        raise NotNumbered(f"name {name!r} is not of the form {kind}_<number>")
    return int(match["number"])


@clause(
    "REC-6",
    "Metadata and flags are written once per start of a trial, numbered by preemptions from 0; "
    "checkpoints carry their step.",
    source=_FILES,
)
def meta_data_name(preemption_count: int) -> str:
    """File name of the metadata of a start: ``meta_data_<p>.json``."""
    return f"meta_data_{_count(preemption_count, 'preemption count')}.json"


def flags_name(preemption_count: int) -> str:
    """File name of the flags of a start: ``flags_<p>.json``."""
    return f"flags_{_count(preemption_count, 'preemption count')}.json"


def checkpoint_name(global_step: int) -> str:
    """Name of the checkpoint of a step: ``checkpoint_<step>``."""
    return f"checkpoint_{_count(global_step, 'global step')}"


def _count(number: int, what: str) -> int:
    if number < 0:
        raise NegativeCount(f"{what} is {number}, must not be negative")
    return number


@clause(
    "REC-7",
    "The columns of an evaluation row are sorted by name; every metric appears once for each "
    "evaluated split.",
    source=_FILES,
)
def eval_columns(metric_names: Iterable[str], *, has_test: bool = True) -> tuple[str, ...]:
    """Columns of ``eval_measurements.csv``.

    Args:
      metric_names: metrics of the workload without split prefix, for example ``("loss", "wer")``.
      has_test: whether the workload has a test split.

    Returns:
      The column names, sorted, without repetition.
    """
    splits = EVALUATION_SPLITS if has_test else EVALUATION_SPLITS[:-1]
    metrics = {f"{split}/{metric}" for metric in metric_names for split in splits}
    sizes = {name for name in NUM_EXAMPLES_COLUMNS if name.split("/")[0] in splits}
    return tuple(sorted({*TIME_COLUMNS, *COUNTER_COLUMNS, *metrics, *sizes}))
