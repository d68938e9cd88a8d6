"""Finding trials and auditing one: its files, held against each other by :mod:`spec.audit`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from algoperf_ref.audit.reading import Flag, Opened, events, one_line, whole
from algoperf_ref.score.options import DEFAULT_RULES, DEFAULT_TUNING
from algoperf_ref.score.rows import Rows, UnusableFile, read_rows
from algoperf_ref.score.sources import LogSource, Opener
from spec import audit, rulesets, tiers
from spec.audit import RESULT, Limits, Problem, Problems, Replay
from spec.records import (
    COUNTER_COLUMNS,
    EVAL_MEASUREMENTS,
    EVENTS,
    MEASUREMENTS,
    TIME_COLUMNS,
    RecordNameError,
    parse_numbered,
    parse_workload_directory,
)
from spec.rulesets import Tuning
from spec.tiers import Tier
from spec.workloads import UnknownWorkload, WorkloadSpec

_FILES = (EVENTS, EVAL_MEASUREMENTS, MEASUREMENTS, RESULT)
_COLUMNS = (*TIME_COLUMNS, *COUNTER_COLUMNS)
_MAX_DEPTH = 12  # directories between DIR and a trial; a link may lead in a circle


@dataclass(frozen=True)
class Rules:
    """What logs without events are held to.

    Attributes:
      version: ruleset version.
      tuning: tuning ruleset.
      tier: size of the workloads.
    """

    version: str = DEFAULT_RULES
    tuning: Tuning = DEFAULT_TUNING
    tier: Tier = Tier.FULL


@dataclass
class TrialAudit:
    """What the audit of one trial found.

    Attributes:
      trial: its directory, as the user can find it.
      source: the file that the times were derived from.
      problems: disagreements.
      unchecked: what could not be checked, and other remarks.
      num_evaluations: evaluations that were looked at.
      num_steps: steps done, None where the log does not say.
    """

    trial: str
    source: str = EVENTS
    problems: Problems = field(default_factory=Problems)
    unchecked: list[str] = field(default_factory=list)
    num_evaluations: int = 0
    num_steps: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            "trial": self.trial,
            "source": self.source,
            "num_steps": self.num_steps,
            "num_evaluations": self.num_evaluations,
            "num_problems": len(self.problems),
            "problems": [
                {**{name: getattr(p, name) for name in Problem.__slots__}, "sentence": str(p)}
                for p in self.problems
            ],
            "unchecked": self.unchecked,
        }


def table_row(workload: str, tier: Tier | str, version: str) -> WorkloadSpec:
    """The row of the workload table that a trial is held to."""
    return tiers.get(workload, tier, version)


class Auditor:
    """One trial."""

    def __init__(self, source: LogSource, path: str, files: list[str], rules: Rules) -> None:
        self._path, self._files, self._rules = path, files, rules
        self._source = source
        self._openers: dict[str, Opener] = {}
        for path_, opener in source.each([self._whole(name) for name in files]):
            self._openers[path_.rpartition("/")[2]] = opener
        self._found = TrialAudit(source.show(path))

    def audited(self) -> TrialAudit:
        if EVENTS in self._files:
            self._with_events()
        else:
            self._without_events()
        return self._found

    def _with_events(self) -> None:
        found = self._found
        torn = Flag()
        with self._open(EVENTS) as file:
            replay = audit.replay(events(file, torn))
        found.problems = replay.problems
        found.num_evaluations, found.num_steps = (
            len(replay.evaluations),
            replay.progress.global_step,
        )
        if not replay.is_complete:
            found.unchecked.append(f"the tables and {RESULT}: {EVENTS} is damaged")
            return
        if replay.start is None:
            self._problem(EVENTS, "no event", "REC-10")
        result = self._result()
        is_open = self._is_open(result, replay)
        if torn.is_set:
            if is_open:
                found.unchecked.append(f"{EVENTS}: the last line is torn, a resume cuts it off")
            else:
                self._problem(EVENTS, "the last line is torn", "")
        self._check_tables(replay, is_open)
        if result is None:
            return
        if not is_open:
            found.unchecked += audit.check_result(result, replay)
        self._check_rules(result, replay)

    def _is_open(self, result: Mapping[str, Any] | None, replay: Replay) -> bool:
        """Whether the trial may be running, or was killed: no result of its last start."""
        if result is None:
            self._found.unchecked.append(f"the end: no {RESULT}, the trial has not ended")
            return True
        stated, start = result.get("preemption_count"), replay.start
        if type(stated) is not int:
            self._problem(RESULT, f"{stated!r:.40}, not a number", "REC-6", "preemption_count")
            return False
        if start is None or stated == start.preemption_count:
            return False
        if stated > start.preemption_count:
            # A resume that failed before its first step leaves a result and no event.
            if result.get("status") in ("submission_failed", "interrupted", "cannot_write"):
                self._found.unchecked.append(f"{RESULT}: of a resume that failed at its start")
                return True
            text = f"{stated}, the events give {start.preemption_count}"
            self._problem(RESULT, text, "REC-6", "preemption_count")
            return False
        self._found.unchecked.append(f"the end: {RESULT} is of an earlier start")
        return True

    def _check_tables(self, replay: Replay, is_open: bool) -> None:
        found, start = self._found, replay.start
        metric = "" if start is None else start.goal.metric_name
        wanted = any(evaluation.has_row for evaluation in replay.evaluations)
        rows = self._rows(EVAL_MEASUREMENTS, metric, is_open, is_required=wanted)
        if rows is not None:
            found.unchecked += audit.check_evaluations(rows.columns, replay, is_open=is_open)
        wanted = wanted or bool(replay.ends)
        rows = self._rows(MEASUREMENTS, metric, is_open, is_required=wanted)
        if rows is not None:
            # Without an evaluation there is no column of times.
            columns = {
                **{name: rows.columns[COUNTER_COLUMNS[0]] * float("nan") for name in _COLUMNS},
                **rows.columns,
            }
            found.unchecked += audit.check_evaluations(
                columns, replay, is_open=is_open, file=MEASUREMENTS
            )
            if not is_open:
                audit.check_final_rows(columns, replay)

    def _check_rules(self, result: Mapping[str, Any], replay: Replay) -> None:
        start = replay.start
        if start is None or start.workload is None or start.rules is None:
            return
        try:
            row = table_row(start.workload, result.get("tier", ""), start.rules)
            budget = rulesets.get(start.rules).budget_seconds(
                row.max_allowed_runtime_sec, result.get("tuning", "")
            )
        except ValueError as error:
            self._problem(RESULT, f"the rules in force are not known ({error})", "")
            return
        audit.check_rules(start, row, budget, replay.problems)
        directory = self._workload()
        stated = (start.workload, start.framework)
        if directory is not None and directory != stated:
            text = f"{stated[0]} with {stated[1]} in the directory of {directory[0]}_{directory[1]}"
            self._problem(EVENTS, text, "REC-3", "workload")

    def _without_events(self) -> None:
        found = self._found
        found.source = EVAL_MEASUREMENTS
        if RESULT in self._files:
            self._problem(EVENTS, f"missing, but there is a {RESULT} of this harness", "REC-10")
        limits, metric = None, ""
        workload = self._workload()
        if workload is not None:
            try:
                row = table_row(workload[0], self._rules.tier, self._rules.version)
            except UnknownWorkload:
                pass  # the columns are checked as far as they go, and the audit says so
            else:
                ruleset = rulesets.get(self._rules.version)
                budget = ruleset.budget_seconds(row.max_allowed_runtime_sec, self._rules.tuning)
                limits, metric = Limits(row, budget), row.target_metric_name
        rows = self._rows(EVAL_MEASUREMENTS, metric, False, is_required=True, all_columns=False)
        if rows is None:
            return
        problems, unchecked = audit.check_columns(rows.columns, limits)
        for problem in problems:
            found.problems.add(*(getattr(problem, name) for name in Problem.__slots__))
        found.unchecked += unchecked
        found.num_evaluations = len(rows)
        steps = rows.columns.get(COUNTER_COLUMNS[0])
        if steps is not None and len(steps) and steps[-1] == steps[-1] // 1:
            found.num_steps = int(steps[-1])

    def _workload(self) -> tuple[str, str] | None:
        """Workload and framework by the directory around the trial."""
        parts = self._path.split("/") if self._path else []
        names = [*reversed(parts), self._source.name, *self._source.above][1:]
        try:
            return parse_workload_directory(names[0])
        except (RecordNameError, IndexError):
            return None

    def _rows(
        self,
        name: str,
        metric: str,
        is_open: bool,
        *,
        is_required: bool,
        all_columns: bool = True,
    ) -> Rows | None:
        """Reads a table; what is wrong with it is a problem, None then."""
        if name not in self._files:
            if is_required and is_open:
                self._found.unchecked.append(f"{name}: missing")
            elif is_required:
                self._problem(name, "missing", "REC-1")
            return None
        required = _COLUMNS if all_columns else ()
        if name == MEASUREMENTS:
            required = COUNTER_COLUMNS
        goals = tuple(f"{split}/{metric}" for split in ("validation", "test"))
        try:
            with self._open(name) as file:
                rows = read_rows(file, required, (*_COLUMNS, *goals))
        except UnusableFile as error:
            if str(error) == "empty" and not is_required:
                return None
            self._problem(name, f"damaged: {error}", "")
            return None
        if rows.num_malformed and is_open:
            self._found.unchecked.append(f"{name}: {rows.num_malformed} torn rows")
        elif rows.num_malformed:
            text = f"damaged: {rows.num_malformed} rows with a wrong number of cells"
            self._problem(name, text, "")
        return rows

    def _result(self) -> Mapping[str, Any] | None:
        if RESULT not in self._files:
            return None
        with self._open(RESULT) as file:
            content = whole(file)
        try:
            result = json.loads(content)
        except (ValueError, RecursionError) as error:
            self._problem(RESULT, f"damaged: {one_line(error)}", "")
            return None
        if not isinstance(result, dict):
            self._problem(RESULT, "damaged: not a JSON object", "")
            return None
        return result

    def _open(self, name: str) -> Opened:
        return Opened(self._openers[name], self._source.show(self._whole(name)))

    def _whole(self, name: str) -> str:
        return f"{self._path}/{name}" if self._path else name

    def _problem(self, file: str, text: str, clause: str, field: str = "") -> None:
        self._found.problems.add(file, "", field, text, clause)


def trials_of(source: LogSource) -> dict[str, list[str]]:
    """Finds the trials of a source: directory -> names of its files, in the order of the paths."""
    return dict(_trials(source, "", 0))


def _trials(source: LogSource, path: str, depth: int) -> Iterator[tuple[str, list[str]]]:
    name = path.rpartition("/")[2] or source.name
    files = [file for file in source.files(path) if file in _FILES]
    if files and (_is_trial(name) or not path):
        yield path, files
    if depth < _MAX_DEPTH:
        children = source.directories(path)
        for child in sorted(
            children, key=lambda child: (len(child) if _is_trial(child) else 0, child)
        ):
            yield from _trials(source, f"{path}/{child}" if path else child, depth + 1)


def _is_trial(name: str) -> bool:
    try:
        parse_numbered(name, "trial")
    except RecordNameError:
        return False
    return True
