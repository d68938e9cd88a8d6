"""What a trial and a study return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from algoperf_ref.errors import ProcessFailed
from spec.evaluation import EndReason


class Status(StrEnum):
    """How a trial ended: the rules' reasons, and the failures that are none.

    Failures: ``evaluation_failed`` and ``non_finite`` (three evaluations in a row gave no metrics,
    or metrics that are not finite), ``submission_failed`` (it raised), ``wrong_output`` (it
    returned something of the wrong structure), ``out_of_memory`` (in a step), ``timed_out`` (it
    did not return), ``cannot_write`` (disk full), ``process_lost`` (a process of a distributed run
    died) and ``interrupted``.
    """

    TARGETS_REACHED = EndReason.TARGETS_REACHED.value
    OUT_OF_TIME = EndReason.OUT_OF_TIME.value
    STEP_LIMIT = EndReason.STEP_LIMIT.value
    TRAINING_COMPLETE = EndReason.TRAINING_COMPLETE.value
    EVALUATION_FAILED = EndReason.EVALUATION_FAILED.value
    NON_FINITE = "non_finite"
    SUBMISSION_FAILED = "submission_failed"
    WRONG_OUTPUT = "wrong_output"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CANNOT_WRITE = "cannot_write"
    PROCESS_LOST = ProcessFailed.LOST
    INTERRUPTED = "interrupted"

    @property
    def is_failure(self) -> bool:
        """True if the trial did not end as the rules foresee."""
        return self not in _REGULAR_ENDS


_REGULAR_ENDS = frozenset(
    {
        Status.TARGETS_REACHED,
        Status.OUT_OF_TIME,
        Status.STEP_LIMIT,
        Status.TRAINING_COMPLETE,
    }
)


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
      preemption_count: how often it was resumed.
      peak_device_memory_bytes: of the fullest device; None where the device does not tell.
      peak_host_memory_bytes: of this process, so of all its trials so far.
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
    preemption_count: int = 0
    peak_device_memory_bytes: int | None = None
    peak_host_memory_bytes: int | None = None

    @property
    def reached_validation_target(self) -> bool:
        """True if the trial scores."""
        return math.isfinite(self.validation_time_seconds)

    def is_final(self, max_global_steps: int | None) -> bool:
        """Tells whether nothing is left to do: a failed trial, or a raised step limit, goes on.

        Args:
          max_global_steps: the step limit that holds now, None for none.
        """
        more_steps = max_global_steps is None or max_global_steps > self.global_step
        return not (self.status.is_failure or (self.status is Status.STEP_LIMIT and more_steps))

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
