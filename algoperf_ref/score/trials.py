"""What one trial achieved: its log read, its first hits found by the rules of :mod:`spec.hits`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from algoperf_ref.score.findings import Finding, Kind
from algoperf_ref.score.logs import TrialLocation
from algoperf_ref.score.options import Settings, TimeAxis
from algoperf_ref.score.rows import Rows, UnusableFile, read_rows
from algoperf_ref.score.sources import READ_ERRORS, Opener
from spec import hits
from spec.hits import Column
from spec.profiles import ScoringError, check_time
from spec.rulesets import Split, Tuning
from spec.workloads import Direction, WorkloadSpec

SECONDS = "accumulated_submission_time"
PUBLISHED_SECONDS = "score"
STEP = "global_step"
PREEMPTION_COUNT = "preemption_count"

MAX_CURVE_POINTS = 2000


@dataclass(frozen=True, slots=True)
class Hit:
    """The evaluation that reached a target: submission seconds, global step, row in the log."""

    seconds: float
    step: float
    row: int


@dataclass(frozen=True)
class Curve:
    """The learning curve of a trial, for drawing: at most :data:`MAX_CURVE_POINTS` points.

    Attributes:
      seconds: submission time.
      steps: global step, NaN where the log does not say.
      values: validation metric of the target.
    """

    seconds: Column
    steps: Column
    values: Column


@dataclass(frozen=True)
class TrialResult:
    """What one trial achieved.

    Attributes:
      location: where its log is, and of what.
      selection_time: time (or step) by which the trial of a study is chosen; inf: missed.
      scored_time: time (or step) that counts for the score; inf: missed.
      condition_time: time (or step) that the conditions of ``--both_targets`` look at.
      hits: the evaluation that reached the target, by split; a split that was missed is absent.
      best_value: best finite validation metric, None if there is none.
      median_step_seconds: median over the intervals between evaluations, None without any.
      num_evaluations: evaluations that count.
      num_past_budget: of these, how many are at or past the budget.
      last_seconds: submission time of the last evaluation, None if there is none.
      last_step: its global step.
      curve: learning curve, None if there is no evaluation.
      findings: what was wrong with the log.
    """

    location: TrialLocation
    selection_time: float = math.inf
    scored_time: float = math.inf
    condition_time: float = math.inf
    hits: dict[Split, Hit] = field(default_factory=dict)
    best_value: float | None = None
    median_step_seconds: float | None = None
    num_evaluations: int = 0
    num_past_budget: int = 0
    last_seconds: float | None = None
    last_step: float | None = None
    curve: Curve | None = field(default=None, compare=False, repr=False)
    findings: tuple[Finding, ...] = ()

    @property
    def hit_step(self) -> int | None:
        """Global step of the hit of the validation target."""
        hit = self.hits.get(Split.VALIDATION)
        return int(hit.step) if hit is not None and math.isfinite(hit.step) else None


def time_splits(settings: Settings) -> tuple[Split, ...]:
    """The splits whose targets have to be met for the time that is scored."""
    if settings.tuning is Tuning.SELF:
        return settings.ruleset.self_tuning_time_splits
    return settings.ruleset.external_time_splits


def selection_splits(settings: Settings) -> tuple[Split, ...]:
    """The splits whose targets decide which trial of a study is scored."""
    # In self-tuning a study has one run: there is nothing to choose.
    if settings.tuning is Tuning.SELF:
        return time_splits(settings)
    return (settings.ruleset.trial_choice_split,)


def read_trial(
    opener: Opener, location: TrialLocation, spec: WorkloadSpec, settings: Settings
) -> TrialResult:
    """Reads a trial; whatever is wrong with its log becomes a finding, not an error.

    Args:
      opener: opens the log.
      location: the trial.
      spec: row of its workload.
      settings: what is scored.

    Returns:
      The result; if the log is unusable, that of a trial that never reached a target.
    """
    time_column = PUBLISHED_SECONDS if settings.plan.as_published else SECONDS
    needed = {Split.VALIDATION, *selection_splits(settings), *time_splits(settings)}
    if settings.options.both_targets:
        needed |= set(settings.ruleset.credit_splits)
    columns = {split: f"{split.value}/{spec.target_metric_name}" for split in Split}
    required = (time_column, *(columns[split] for split in Split if split in needed))
    if settings.time_axis is TimeAxis.STEPS:
        required = (*required, STEP)
    try:
        with opener() as file:
            rows = read_rows(file, required, (STEP, PREEMPTION_COUNT, *columns.values()))
    except FileNotFoundError:
        return _unusable(location, Kind.MISSING_FILE, "missing")
    except UnusableFile as error:
        return _unusable(location, Kind.UNUSABLE_FILE, str(error))
    except READ_ERRORS as error:
        text = " ".join(str(getattr(error, "strerror", None) or error).split())
        return _unusable(location, Kind.UNUSABLE_FILE, f"not readable ({text})")
    reading = _Reading(rows, time_column, columns, location, spec, settings)
    return reading.result()


def missing_trial(location: TrialLocation) -> TrialResult:
    """The result of a trial without a log."""
    return _unusable(location, Kind.MISSING_FILE, "missing")


def _unusable(location: TrialLocation, kind: Kind, reason: str) -> TrialResult:
    text = f"{reason}, the trial counts as not finished"
    return TrialResult(location, findings=(Finding(kind, location.csv_shown, text),))


class _Reading:
    """The columns of one log, on the way to a result."""

    def __init__(
        self,
        rows: Rows,
        time_column: str,
        columns: dict[Split, str],
        location: TrialLocation,
        spec: WorkloadSpec,
        settings: Settings,
    ) -> None:
        self._location, self._spec, self._settings = location, spec, settings
        self._findings: list[Finding] = []
        self._published = settings.plan.as_published
        found = dict(rows.columns)
        nothing = np.full(len(rows), np.nan)
        if rows.num_malformed:
            self._find(Kind.MALFORMED_ROWS, f"ignored {rows.num_malformed} malformed rows")
        steps, attempts = found.get(STEP, nothing), found.get(PREEMPTION_COUNT, nothing)
        if not self._published and len(rows) and np.any(attempts != attempts[0]):
            keep = hits.last_attempts(steps, attempts)
            if not keep.all():
                text = f"ignored {int((~keep).sum())} rows that a resumed run made again"
                self._find(Kind.REPEATED_ROWS, text)
                found = {name: column[keep] for name, column in found.items()}
                steps = steps[keep]
        self._seconds, self._steps = found[time_column], steps
        self._values = {split: found[name] for split, name in columns.items() if name in found}
        # Infinity where the published leaderboards took any time.
        budget = settings.ruleset.budget_seconds(spec.max_allowed_runtime_sec, settings.tuning)
        self._budget = math.inf if self._published else budget

    def result(self) -> TrialResult:
        """Finds the hits and sums the log up."""
        settings = self._settings
        num_rows = len(self._seconds)
        if not num_rows:
            self._find(Kind.UNUSABLE_FILE, "no evaluation, the trial counts as not finished")
            return TrialResult(self._location, findings=tuple(self._findings))
        known = self._seconds[~np.isnan(self._seconds)]
        if np.any(known[1:] < known[:-1]):
            self._find(Kind.TIME_DECREASES, "submission time decreases from row to row")
        try:
            found = self._hits()
        except ScoringError as error:
            self._find(Kind.BAD_TIME, f"{error}; the trial counts as not finished")
            found = {}
        else:
            self._check_late(found)
        past = int(np.count_nonzero(self._seconds >= self._budget))
        by_steps = settings.time_axis is TimeAxis.STEPS
        times = {split: hit.step if by_steps else hit.seconds for split, hit in found.items()}

        def needs(splits: tuple[Split, ...]) -> float:
            return max(times.get(split, math.inf) for split in splits)

        return TrialResult(
            location=self._location,
            selection_time=needs(selection_splits(settings)),
            scored_time=needs(time_splits(settings)),
            condition_time=needs(settings.ruleset.credit_splits),
            hits=found,
            best_value=self._best(),
            median_step_seconds=self._median_step_seconds(),
            num_evaluations=num_rows,
            num_past_budget=past,
            last_seconds=float(self._seconds[-1]),
            last_step=float(self._steps[-1]),
            curve=self._curve(found),
            findings=tuple(self._findings),
        )

    def _hits(self) -> dict[Split, Hit]:
        found = {}
        axis = self._steps if self._settings.time_axis is TimeAxis.STEPS else self._seconds
        for split, values in self._values.items():
            target, direction = self._target(split), self._spec.direction
            if self._published:
                row = hits.published_hit(values, target, direction)
            else:
                mask = hits.hits(self._seconds, values, target, direction, self._budget)
                row = hits.earliest(mask, axis)
            if row is not None:
                found[split] = Hit(float(self._seconds[row]), float(self._steps[row]), row)
                check_time(found[split].seconds)
        return found

    def _check_late(self, found: dict[Split, Hit]) -> None:
        """Says so if a target was reached, but not within the budget."""
        values = self._values.get(Split.VALIDATION)
        if Split.VALIDATION in found or values is None or self._budget == math.inf:
            return
        target, direction = self._target(Split.VALIDATION), self._spec.direction
        late = hits.hits(self._seconds, values, target, direction, math.inf)
        if late.any():
            text = f"target reached only after the budget of {self._budget:g} s"
            self._find(Kind.LATE_HIT, text)

    def _target(self, split: Split) -> float:
        spec = self._spec
        return spec.test_target_value if split is Split.TEST else spec.validation_target_value

    def _best(self) -> float | None:
        values = self._values[Split.VALIDATION]
        finite = values[np.isfinite(values)]
        if not len(finite):
            return None
        return float(finite.max() if self._spec.direction is Direction.MAXIMIZE else finite.min())

    def _median_step_seconds(self) -> float | None:
        seconds = self._seconds[1:] - self._seconds[:-1]
        steps = self._steps[1:] - self._steps[:-1]
        forward = steps > 0
        if not forward.any():
            return None
        per_step = np.sort(seconds[forward] / steps[forward])
        middle = float(per_step[(len(per_step) - 1) // 2] + per_step[len(per_step) // 2]) / 2
        return middle if math.isfinite(middle) else None

    def _curve(self, found: dict[Split, Hit]) -> Curve:
        values = self._values[Split.VALIDATION]
        stride = -(-len(values) // MAX_CURVE_POINTS)
        if stride == 1:
            return Curve(self._seconds, self._steps, values)
        rows = {*range(0, len(values), stride), len(values) - 1, *(h.row for h in found.values())}
        chosen = np.array(sorted(rows))
        return Curve(self._seconds[chosen], self._steps[chosen], values[chosen])

    def _find(self, kind: Kind, text: str) -> None:
        self._findings.append(Finding(kind, self._location.csv_shown, text))
