"""The scripted runs of :mod:`spec.cases`, made by the harness itself on the fakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from algoperf_ref.harness import snapshot
from algoperf_ref.harness.failures import SubmissionFailed
from algoperf_ref.harness.results import Status
from algoperf_ref.harness.trial import Trial
from conformance_tests.support.fakes import (
    FakeBackend,
    FakeWorkload,
    fake_functions,
    fake_submission,
    fake_trial,
)
from spec.cases.script import accounts, expand, script_goal, script_metrics
from spec.evaluation import EndReason, Progress
from spec.submission import TrainingCompleteError
from spec.timing import NANOSECONDS_PER_SECOND, Clock, Event


class ScriptEnded(Exception):
    """The script has no further step."""


class ScriptTime:
    """A clock that the script moves on, in whole nanoseconds."""

    kind = "script"

    def __init__(self, start: float, logging_seconds: float) -> None:
        self._nanoseconds = 0
        self._logging_seconds = logging_seconds
        self.let_pass(start)

    def let_pass(self, seconds: float) -> None:
        self._nanoseconds += round(seconds * NANOSECONDS_PER_SECOND)

    def start(self, global_step: int = 0) -> float:
        return self._nanoseconds / NANOSECONDS_PER_SECOND

    def read(self, event: Event) -> float:
        if event is Event.LOGGED:
            self.let_pass(self._logging_seconds)
        return self._nanoseconds / NANOSECONDS_PER_SECOND


class ScriptedWorkload(FakeWorkload):
    """Evaluates to what the script says."""

    def __init__(self, time: ScriptTime, evaluations: Any, period: float) -> None:
        super().__init__()
        self.eval_period_time_sec = period  # type: ignore[assignment]
        self.evaluated_after: list[int] = []
        self._time = time
        self._evaluations = evaluations

    def eval_model(self, *arguments: Any, **options: Any) -> dict[str, float]:
        last = len(self._evaluations) - 1
        outcome = self._evaluations[min(len(self.evaluated_after), last)]
        self.evaluated_after.append(arguments[6])
        self._time.let_pass(outcome.get("seconds", 0.0))
        if outcome.get("fails", False):
            raise RuntimeError("out of memory")
        return script_metrics(outcome)


def harness_run(
    trial_class: type[Trial] = Trial, backend_class: type[FakeBackend] = FakeBackend
) -> Callable[..., dict[str, Any]]:
    """Returns the operation ``evaluation.run`` as the harness does it.

    Args:
      trial_class: the training loop, or one that does something wrong.
      backend_class: likewise.
    """

    def evaluation_run(
        *,
        goal: Mapping[str, Any],
        budget_seconds: float,
        eval_period_seconds: float,
        steps: Any,
        evaluations: Any,
        max_global_steps: int | None = None,
        evaluations_skipped: bool = False,
        start_reading: float = 0.0,
        resume: Mapping[str, Any] | None = None,
        prepare: Mapping[str, float] | None = None,
        logging_seconds: float = 0.0,
    ) -> dict[str, Any]:
        time = ScriptTime(start_reading, logging_seconds)
        workload = ScriptedWorkload(time, evaluations, eval_period_seconds)
        workload.backend = backend_class()
        submission = _submission(time, workload.backend, steps, prepare or {})
        template = fake_trial(
            workload,
            submission,
            time_source=time,
            goal=script_goal(goal),
            budget_seconds=budget_seconds,
            max_global_steps=max_global_steps,
            skip_evaluations=evaluations_skipped,
        )
        trial = trial_class(**{f.name: getattr(template, f.name) for f in fields(Trial) if f.init})
        try:
            status = trial.run(_stored(resume) if resume else None)
        except SubmissionFailed as failure:
            if not isinstance(failure.__cause__, ScriptEnded):
                raise
            end = None
        else:
            # The harness tells one more reason, parameters that are not finite, apart.
            failed = status is Status.NON_FINITE
            end = EndReason.EVALUATION_FAILED.value if failed else status.value
        return {
            "steps": trial.progress.global_step,
            "evaluated_after": workload.evaluated_after,
            "validation_goal_reached": trial.progress.validation_goal_reached,
            "test_goal_reached": trial.progress.test_goal_reached,
            "end": end,
            "accounts": accounts(trial.clock),
        }

    return evaluation_run


def _submission(time: ScriptTime, backend: FakeBackend, steps: Any, prepare: Any) -> Any:
    script = expand(steps)
    normal = fake_functions()
    on_device: list[float] = []

    def work(part: Mapping[str, Any]) -> None:
        time.let_pass(part.get("seconds", 0.0))
        on_device.append(part.get("device_seconds", 0.0))

    def wait() -> None:
        while on_device:
            time.let_pass(on_device.pop())

    def update_params(**arguments: Any) -> Any:
        step = next(script, None)
        if step is None:
            raise ScriptEnded
        work(step)
        if step.get("completes", False):
            raise TrainingCompleteError
        return normal.update_params(**arguments)

    def prepare_for_eval(**arguments: Any) -> Any:
        work(prepare)
        return (
            arguments["optimizer_state"],
            arguments["current_param_container"],
            arguments["model_state"],
        )

    backend.on_synchronize = wait
    return fake_submission(update_params=update_params, prepare_for_eval=prepare_for_eval)


def _stored(resume: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint as the harness would have written it."""
    passed = resume["seconds_since_last_evaluation"]
    progress = Progress(
        global_step=resume["steps"],
        validation_goal_reached=resume.get("validation_goal_reached", False),
        test_goal_reached=resume.get("test_goal_reached", False),
        last_evaluation_end_seconds=None if passed is None else -passed,
        failed_evaluations_in_row=resume.get("failed_evaluations_in_row", 0),
    )
    clock = Clock.start(
        0.0, **{name: seconds for name, seconds in resume.items() if name.endswith("_seconds")}
    )
    stored = snapshot.pack(
        progress,
        clock,
        [],
        completed_by_submission=False,
        batches_drawn=resume["steps"],
        preemption_count=0,
    )
    training = {
        "params": {"w": float(resume["steps"])},
        "optimizer_state": {"positions": 0.0, "random": 0.0},
        "model_state": None,
    }
    return {**stored, "training": training}
