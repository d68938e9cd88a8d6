"""Which trials there are: the layout of log collections.

Layout (``spec.records``):
``<logs>/<submission>/[study_<k>/]<workload>_<framework>/trial_<n>/eval_measurements.csv``.
Entries that do not fit are passed over: real log collections hold stray files and directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from algoperf_ref.errors import UserError
from algoperf_ref.score.findings import Finding, Kind
from algoperf_ref.score.options import Timestamped
from algoperf_ref.score.sources import LogSource
from spec.records import (
    EVAL_MEASUREMENTS,
    RecordNameError,
    parse_numbered,
    parse_workload_directory,
)
from spec.workloads import UnknownWorkload, get, names

LAYOUT = "<submission>/[study_<k>/]<workload>_<framework>/trial_<n>/" + EVAL_MEASUREMENTS

_MAX_WRAPPERS = 3
_TIMESTAMPED = re.compile(r"(?P<name>.+)-\d{4}(-\d{2}){5}")


@dataclass(frozen=True)
class TrialLocation:
    """Where the log of a trial is, and of what.

    Attributes:
      submission: name of the submission.
      study: number of the study; 0 if the logs have no study directories.
      workload: a workload name that the table knows.
      framework: ``jax`` or ``pytorch``.
      trial: number of the trial, from 1.
      path: the trial directory inside its source.
      shown: the trial directory as the user can find it.
    """

    submission: str
    study: int
    workload: str
    framework: str
    trial: int
    path: str
    shown: str

    def order(self) -> tuple[str, int, str, str, int, str]:
        """Key to sort trials by, whatever the order in which they were found."""
        place = (self.submission, self.study, self.workload, self.framework)
        return (*place, self.trial, self.path)

    @property
    def csv_path(self) -> str:
        """The file with the evaluation rows, inside its source."""
        return _join(self.path, EVAL_MEASUREMENTS)

    @property
    def csv_shown(self) -> str:
        """The file with the evaluation rows, as the user can find it."""
        return _join(self.shown, EVAL_MEASUREMENTS)

    @property
    def directory_shown(self) -> str:
        """The workload directory, as the user can find it."""
        return self.shown.replace("\\", "/").rpartition("/")[0] or "."


@dataclass(frozen=True)
class Inventory:
    """What a source holds.

    Attributes:
      submissions: all submission names, also those without a usable trial, sorted.
      trials: all trials, sorted by name and number, whatever the file system's order.
      findings: one per oddity, each naming the path.
    """

    submissions: tuple[str, ...]
    trials: tuple[TrialLocation, ...]
    findings: tuple[Finding, ...]


def find_trials(
    source: LogSource,
    *,
    timestamped: Timestamped = Timestamped.MERGE,
    framework: str | None = None,
    ruleset: str = "",
) -> Inventory:
    """Lists the trials of a source.

    Args:
      source: submissions, one submission, one study or one workload directory; submissions may
        lie some directories deeper.
      timestamped: what a directory ``<name>-<year>-...-<second>`` is.
      framework: of workload directories whose name does not say it.
      ruleset: ``external`` or ``self``: chooses between directories of submissions whose names
        begin so.

    Returns:
      The trials.

    Raises:
      UserError: there is nothing of this layout, or more than one collection of submissions.
    """
    return _Finder(source, timestamped, framework).inventory(ruleset)


class _Finder:
    def __init__(self, source: LogSource, timestamped: Timestamped, framework: str | None) -> None:
        self._source = source
        self._timestamped = timestamped
        self._framework = framework
        self._findings: list[Finding] = []

    def inventory(self, ruleset: str) -> Inventory:
        source, trials = self._source, list[TrialLocation]()
        around = (source.name, *source.above)
        study = _number(source.name, "study")
        if self._workload(source.name) is not None and self._numbered("", "trial"):
            in_study = _number(around[1], "study") if len(around) > 2 else None
            submission = around[1 if in_study is None else 2] if len(around) > 1 else source.name
            submissions = {submission: [""]}
            trials += self._workload_trials("", source.name, submission, in_study or 0)
        elif study is not None and self._has_workloads(""):
            submissions = {around[1] if len(around) > 1 else source.name: [""]}
            trials += self._study_trials("", next(iter(submissions)), study)
        elif self._is_submission(""):
            submissions = {source.name: [""]}
            trials += self._submission_trials("", source.name)
        else:
            submissions = self._submissions(self._collection(ruleset))
            for name, paths in submissions.items():
                for path in paths:
                    trials += self._submission_trials(path, name)
        if not trials:
            raise UserError(f"no logs found in {source.show('')}; expected {LAYOUT} below it")
        for name in sorted(set(submissions) - {trial.submission for trial in trials}):
            text = "submission without any trial, it scores 0"
            self._find(Kind.NO_LOGS, submissions[name][0], text)
        return Inventory(
            tuple(sorted(submissions)),
            tuple(sorted(trials, key=TrialLocation.order)),
            (*source.findings(), *self._findings),
        )

    def _collection(self, ruleset: str) -> str:
        """Returns the directory that holds the submissions: wrappers around it are looked into."""
        path = ""
        for _ in range(_MAX_WRAPPERS):
            children = self._children(path)
            if any(map(self._is_submission, children)):
                return path
            inner = [c for c in children if any(map(self._is_submission, self._children(c)))]
            if len(inner) > 1:
                inner = [
                    c for c in inner if ruleset and c.rpartition("/")[2].startswith(ruleset)
                ] or inner
            if len(inner) > 1:
                raise UserError(
                    f"{self._source.show(path)} holds several collections of submissions "
                    f"({', '.join(c.rpartition('/')[2] for c in inner)}); give one of them"
                )
            if inner:
                return inner[0]
            if len(children) != 1:
                break
            path = children[0]
        return ""

    def _submissions(self, path: str) -> dict[str, list[str]]:
        """Returns the directories of every submission."""
        children = self._children(path)
        # An empty directory is a submission that scores 0; one with other content is not.
        found = [child for child in children if self._is_submission(child) or self._empty(child)]
        for child in children:
            if child not in found:
                self._find(Kind.STRAY, child, "ignored, holds no workload or study directory")
        submissions: dict[str, list[str]] = {}
        for child in found:
            name = child.rpartition("/")[2]
            match = _TIMESTAMPED.fullmatch(name)
            if match is not None and self._timestamped is Timestamped.IGNORE:
                self._find(Kind.TIMESTAMPED, child, "ignored, its name ends in a time")
                continue
            if match is not None and self._timestamped is Timestamped.MERGE:
                name = match["name"]
                self._find(Kind.TIMESTAMPED, child, f"counts as part of {name}")
            submissions.setdefault(name, []).append(child)
        return submissions

    def _submission_trials(self, path: str, submission: str) -> list[TrialLocation]:
        trials = self._study_trials(path, submission, 0)
        for study, directory in self._numbered(path, "study"):
            trials += self._study_trials(directory, submission, study)
        return trials

    def _study_trials(self, path: str, submission: str, study: int) -> list[TrialLocation]:
        trials: list[TrialLocation] = []
        for child in self._source.directories(path):
            if self._workload(child) is not None:
                trials += self._workload_trials(_join(path, child), child, submission, study)
            elif self._is_unnamed(path, child):
                trials += self._without_framework(_join(path, child), child, submission, study)
        return trials

    def _without_framework(
        self, path: str, workload: str, submission: str, study: int
    ) -> list[TrialLocation]:
        if self._framework is None:
            raise UserError(
                f"{self._source.show(path)} does not say its framework: name it {workload}_jax or "
                f"{workload}_pytorch, or give --framework"
            )
        return self._workload_trials(path, f"{workload}_{self._framework}", submission, study)

    def _workload_trials(
        self, path: str, name: str, submission: str, study: int
    ) -> list[TrialLocation]:
        workload, framework = parse_workload_directory(name)
        try:
            get(workload)
        except UnknownWorkload as error:
            self._find(Kind.UNKNOWN_WORKLOAD, path, f"ignored, {error}")
            return []
        trials = [
            TrialLocation(
                submission, study, workload, framework, number, trial, self._source.show(trial)
            )
            for number, trial in self._numbered(path, "trial")
        ]
        if not trials:
            self._find(Kind.NO_TRIAL, path, "holds no trial, counts as not run")
        return trials

    def _children(self, path: str) -> list[str]:
        """Directories in a directory, without hidden ones."""
        listed = self._source.directories(path)
        return [_join(path, name) for name in listed if not name.startswith((".", "__"))]

    def _is_submission(self, path: str) -> bool:
        return bool(self._numbered(path, "study")) or self._has_workloads(path)

    def _has_workloads(self, path: str) -> bool:
        return any(
            self._workload(name) is not None or self._is_unnamed(path, name)
            for name in self._source.directories(path)
        )

    def _is_unnamed(self, path: str, name: str) -> bool:
        """Whether this is the directory of a workload, without the framework in its name."""
        return name in names() and bool(self._numbered(_join(path, name), "trial"))

    def _empty(self, path: str) -> bool:
        return not self._source.directories(path) and not self._source.files(path)

    def _workload(self, name: str) -> tuple[str, str] | None:
        try:
            return parse_workload_directory(name)
        except RecordNameError:
            return None

    def _numbered(self, path: str, kind: str) -> list[tuple[int, str]]:
        found = ((_number(name, kind), name) for name in self._source.directories(path))
        return sorted((number, _join(path, name)) for number, name in found if number is not None)

    def _find(self, kind: Kind, path: str, text: str) -> None:
        self._findings.append(Finding(kind, self._source.show(path), text))


def groups(
    trials: tuple[TrialLocation, ...] | list[TrialLocation],
) -> Iterator[list[TrialLocation]]:
    """Yields the trials of one study of one workload of one submission at a time."""
    found: dict[tuple[str, int, str, str, str], list[TrialLocation]] = {}
    for trial in trials:
        directory = trial.path.rpartition("/")[0]
        key = (trial.submission, trial.study, trial.workload, trial.framework, directory)
        found.setdefault(key, []).append(trial)
    yield from found.values()


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _number(name: str, kind: str) -> int | None:
    try:
        return parse_numbered(name, kind)
    except RecordNameError:
        return None
