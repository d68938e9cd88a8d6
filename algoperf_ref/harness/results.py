"""What a trial and a study return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from spec.evaluation import EndReason


class Status(StrEnum):
    """How a trial ended: the rules' reasons, and two that are none."""

    TARGETS_REACHED = EndReason.TARGETS_REACHED.value
    OUT_OF_TIME = EndReason.OUT_OF_TIME.value
    STEP_LIMIT = EndReason.STEP_LIMIT.value
    TRAINING_COMPLETE = EndReason.TRAINING_COMPLETE.value
    EVALUATION_FAILED = EndReason.EVALUATION_FAILED.value
    SUBMISSION_FAILED = "submission_failed"
    INTERRUPTED = "interrupted"

    @property
    def is_failure(self) -> bool:
        """True if the trial did not end as the rules foresee."""
        return self in (Status.EVALUATION_FAILED, Status.SUBMISSION_FAILED, Status.INTERRUPTED)


@dataclass(frozen=True)
class TrialResult:
    """One trial, complete.

    Attributes:
      workload: name, for example ``ogbg_gelu``.
      framework: ``"jax"`` or ``"pytorch"``.
      tier: ``"full"`` or ``"mini"``.
      rules: ruleset version.
      tuning: ``"external"`` or ``"self"``.
      study: index of the study, from 0.
      trial: index of the trial, from 1.
      run_seed: the one recorded seed of the run.
      trial_seed: the seed derived from it for this trial.
      clock: ``"wall"``, or ``"steps"`` for simulated time.
      hyperparameters: the point, None under self-tuning.
      status: why it ended.
      message: one sentence if it failed, else empty.
      global_step: steps done.
      submission_seconds: training and preparing for evaluations; what is scored.
      evaluation_seconds: in evaluations.
      logging_seconds: in logging and checkpointing.
      validation_time_seconds: submission time of the first evaluation that reached the
        validation target in budget; infinite if none did.
      test_time_seconds: the same for the test target.
      target_metric: for example ``mean_average_precision``.
      eval_results: ``(global_step, metrics)`` of every evaluation, in order.
      directory: where its logs are; None if it kept none.
    """

    workload: str
    framework: str
    tier: str
    rules: str
    tuning: str
    study: int
    trial: int
    run_seed: int
    trial_seed: int
    clock: str
    hyperparameters: Mapping[str, Any] | None
    status: Status
    message: str
    global_step: int
    submission_seconds: float
    evaluation_seconds: float
    logging_seconds: float
    validation_time_seconds: float
    test_time_seconds: float
    target_metric: str
    eval_results: tuple[tuple[int, Mapping[str, float]], ...]
    directory: Path | None

    @property
    def reached_validation_target(self) -> bool:
        """True if the trial scores."""
        return math.isfinite(self.validation_time_seconds)

    def as_json(self) -> dict[str, Any]:
        """Returns the result as JSON values, for ``result.json``; infinity and NaN are null."""
        fields = {name: _json_value(value) for name, value in vars(self).items()}
        fields["eval_results"] = [
            [step, {name: _json_value(value) for name, value in metrics.items()}]
            for step, metrics in self.eval_results
        ]
        return fields

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrialResult:
        """Reads :meth:`as_json` back; null times are infinite, null metrics NaN."""
        values = dict(content)
        for name in ("validation_time_seconds", "test_time_seconds"):
            values[name] = math.inf if values[name] is None else values[name]
        values["status"] = Status(values["status"])
        values["directory"] = None if values["directory"] is None else Path(values["directory"])
        values["eval_results"] = tuple(
            (step, {k: math.nan if v is None else v for k, v in metrics.items()})
            for step, metrics in values["eval_results"]
        )
        return cls(**values)


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Status):
        return value.value
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True)
class StudyResult:
    """The trials of one study.

    Attributes:
      trials: in the order of their indices.
    """

    trials: tuple[TrialResult, ...]

    @property
    def time_seconds(self) -> float:
        """Time of the fastest trial to the validation target; infinite if none reached it."""
        return min((t.validation_time_seconds for t in self.trials), default=math.inf)

    @property
    def failed(self) -> tuple[TrialResult, ...]:
        """Trials that ended in a failure."""
        return tuple(t for t in self.trials if t.status.is_failure)
