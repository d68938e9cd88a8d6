"""One trial: the training loop.

The loop decides nothing itself. It feeds what happens to the clock of :mod:`spec.timing`, asks
:mod:`spec.evaluation` what is due, and does it. It runs unchanged on a real or a simulated clock.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algoperf_ref.errors import ProcessFailed, UserError
from algoperf_ref.frameworks.base import Backend, Key
from algoperf_ref.harness import snapshot
from algoperf_ref.harness.console import Observer
from algoperf_ref.harness.failures import SubmissionFailed, WrongOutput, three_values
from algoperf_ref.harness.loading import Submission
from algoperf_ref.harness.profiler import NoProfiler, Profiler
from algoperf_ref.harness.results import Status
from algoperf_ref.harness.time_source import SlowestTime, TimeSource
from algoperf_ref.harness.trial_parts import (
    CountingQueue,
    Metrics,
    Recorder,
    TrainState,
    TrialSettings,
)
from spec.evaluation import (
    EndReason,
    Progress,
    end_reason,
    evaluation_problem,
    is_due,
    time_check_is_due,
)
from spec.submission import TrainingCompleteError
from spec.timing import NANOSECONDS_PER_SECOND, Clock, Event

_LOG = logging.getLogger(__name__)

_COMPLETED = {"completed": True}


@dataclass
class Trial:
    """A trial in progress. :meth:`run` trains it to its end.

    Attributes:
      clock: accounts so far.
      progress: what the rules know of the run.
      eval_results: ``(global_step, metrics)``; the live list that the submission sees.
      failure: why the last evaluation gave nothing, empty if it did.
    """

    workload: Any
    submission: Submission
    backend: Backend
    settings: TrialSettings
    time_source: TimeSource
    recorder: Recorder
    observer: Observer
    torch_compile: bool = True
    profiler: Profiler = field(default_factory=NoProfiler)
    clock: Clock = field(init=False)
    progress: Progress = field(init=False, default_factory=Progress)
    eval_results: list[tuple[int, Metrics]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.clock = Clock.start(0.0)
        self.failure = ""
        self._failure_is_non_finite = False
        self._completed_by_submission = False
        self._last_checkpoint_ns = 0
        self._params: Any = None
        self._optimizer_state: Any = None
        self._model_state: Any = None
        # Several processes share their readings and some decisions.
        source = self.time_source
        self._together = source if isinstance(source, SlowestTime) else None

    def run(self, restored: Mapping[str, Any] | None = None) -> Status:
        """Initialises, trains to the end, and logs the last row and checkpoint.

        Args:
          restored: contents of a checkpoint to go on from.

        Returns:
          Why it ended.

        Raises:
          SubmissionFailed: the submission raised something else than ``TrainingCompleteError``,
            or returned something of the wrong structure.
          UserError: missing data, a checkpoint that does not fit, or a disk that is full.
          ProcessFailed: another process of the run has failed.
        """
        drawn = int(restored["batches_drawn"]) if restored else 0
        rng = self._initialise(drawn)
        self._structure = self.backend.structure(self._params)
        carried: Mapping[str, float] = {}
        if restored:
            carried = self._restore(restored)
        settings = self.settings
        self.observer.started(
            settings.title, settings.goal, settings.budget_seconds, self.progress.global_step
        )
        if self.recorder.wants_checkpoints:
            self.recorder.check_space(self._training_state())
        now = self.time_source.start(self.progress.global_step)
        self.clock = Clock.start(now, **carried)
        # A restored progress stands on a clock that reads 0 at the start.
        passed = self.progress.seconds_since_last_evaluation(0.0)
        self.progress = self.progress.resumed_at(now, passed or 0.0)
        self._last_checkpoint_ns = self.clock.last_reading_ns
        self._record_start(passed)
        with self.profiler.profile("Train"):
            reason = self._train(rng)
        self.recorder.happened("ended", self.progress.global_step, None, {"reason": reason.value})
        self.recorder.final(self.clock.submission_seconds, self.progress.global_step)
        if not self.eval_results or self.eval_results[-1][0] != self.progress.global_step:
            self._save_checkpoint()
        self.recorder.finish()
        return reason

    def _record_start(self, passed: float | None) -> None:
        """Writes into the event log what an audit needs to know of the rules in force."""
        settings, clock, progress, goal = (
            self.settings,
            self.clock,
            self.progress,
            self.settings.goal,
        )
        facts = {
            **settings.facts,
            "preemption_count": settings.preemption_count,
            "submission_ns": clock.submission_ns,
            "evaluation_ns": clock.evaluation_ns,
            "logging_ns": clock.logging_ns,
            "clock": self.time_source.kind,
            "eval_period_seconds": float(self.workload.eval_period_time_sec),
            "budget_seconds": settings.budget_seconds,
            "max_global_steps": settings.max_global_steps,
            "skip_evaluations": settings.skip_evaluations,
            "seconds_since_last_evaluation": passed,
            "failed_evaluations_in_row": progress.failed_evaluations_in_row,
            "validation_goal_reached": progress.validation_goal_reached,
            "test_goal_reached": progress.test_goal_reached,
            "metric": goal.metric_name,
            "validation_target": goal.validation_target,
            "test_target": goal.test_target,
            "direction": goal.direction.value,
        }
        self.recorder.happened("started", progress.global_step, clock.last_reading_ns, facts)

    # The order in which keys are used is part of the contract (section 5, steps 1 and 2).
    def _initialise(self, drawn: int) -> Key:
        settings, workload, backend = self.settings, self.workload, self.backend
        backend.free_memory()
        profile = self.profiler.profile
        data_key, opt_key, model_key, rng = backend.split(settings.key, 4)
        with profile("Initializing dataset"):
            self._queue = CountingQueue(
                workload.build_input_queue(
                    data_key,
                    "train",
                    settings.data_dir,
                    settings.global_batch_size,
                    start_step=drawn,
                ),
                drawn,
            )
        with profile("Initializing model"):
            self._params, self._model_state = workload.init_model_fn(model_key)
            if self.torch_compile:
                self._params = backend.compile_workload(workload, self._params)
        backend.seed_global_generators(opt_key, is_shared=True)
        try:
            with profile("Initializing optimizer"):
                self._optimizer_state = self.submission.module.init_optimizer_state(
                    workload, self._params, self._model_state, settings.hyperparameters, opt_key
                )
        except (UserError, ProcessFailed):
            raise
        except Exception as error:
            raise SubmissionFailed("init_optimizer_state", 0, error) from error
        return rng

    def _train(self, rng: Key) -> Status:
        settings, backend, workload = self.settings, self.backend, self.workload
        module = self.submission.module
        select, update = module.data_selection, module.update_params
        types, loss_type = workload.model_params_types, workload.loss_type
        hyperparameters, max_steps = settings.hyperparameters, settings.max_global_steps
        eval_period = float(workload.eval_period_time_sec)
        read, step_keys, observer = self.time_source.read, backend.step_keys, self.observer
        recorder, profile, trace = self.recorder, self.profiler.profile, settings.trace
        together = self._together
        extra = {"train_state": TrainState(self)} if self.submission.takes_train_state else {}
        self._call_arguments = {
            "workload": workload,
            "current_params_types": types,
            "hyperparameters": hyperparameters,
            "loss_type": loss_type,
            "eval_results": self.eval_results,
        }

        keys = step_keys(rng, self.progress.global_step)
        while (reason := end_reason(self.progress, max_steps)) is None:
            step = self.progress.global_step
            select_key, update_key = keys
            if trace is not None:
                trace.before_step(step)
            # PyTorch's hidden generator: a step draws the same numbers whatever ran before it.
            backend.seed_global_generators(update_key)
            completed = False
            function = "data_selection"
            try:
                with profile("Data selection"):
                    batch = select(
                        workload,
                        self._queue,
                        self._optimizer_state,
                        self._params,
                        self._model_state,
                        hyperparameters,
                        step,
                        select_key,
                    )
                function = "update_params"
                with profile("Update parameters"):
                    try:
                        updated = update(
                            current_param_container=self._params,
                            model_state=self._model_state,
                            batch=batch,
                            optimizer_state=self._optimizer_state,
                            global_step=step,
                            rng=update_key,
                            **self._call_arguments,
                            **extra,
                        )
                    except TrainingCompleteError:
                        completed = True
                    else:
                        self._optimizer_state, self._params, self._model_state = three_values(
                            updated, function, step
                        )
                        # Not kept: the next step may donate these buffers.
                        del updated
                    # The next step's keys, while the device still works on this one.
                    keys = step_keys(rng, step + 1)
                    backend.synchronize(self._optimizer_state, self._params, self._model_state)
            except (UserError, SubmissionFailed, ProcessFailed):
                raise
            except Exception as error:
                raise SubmissionFailed(function, step, error) from error
            if together is not None:
                together.flags = (completed, self._has_something_to_log(step + 1))
            now = read(Event.STEP_ENDED)
            if together is not None:
                completed = together.flags[0]
            self.clock = self.clock.advance(Event.STEP_ENDED, now)
            self.progress = self.progress.after_step(max_steps, completed)
            self._completed_by_submission |= completed
            recorder.happened(
                "step ended",
                self.progress.global_step,
                self.clock.last_reading_ns,
                _COMPLETED if completed else None,
            )
            due = not settings.skip_evaluations and is_due(
                seconds_since_last_evaluation=self.progress.seconds_since_last_evaluation(now),
                eval_period_seconds=eval_period,
                training_complete=self.progress.training_complete,
            )
            if due:
                del batch  # its memory is wanted for the evaluation
                prepare_key, eval_key = backend.evaluation_keys(rng, step)
                self._prepare(prepare_key)
            if time_check_is_due(evaluation_due=due, evaluations_skipped=settings.skip_evaluations):
                self.progress = self.progress.after_time_check(
                    self.clock.submission_seconds, settings.budget_seconds
                )
            if due and self.progress.is_time_remaining:
                self._evaluate(eval_key)
            elif self._logging_is_due(step + 1):
                if observer.wants_step(step + 1):
                    observer.stepped(step + 1, self.clock.submission_seconds)
                if self._checkpoint_is_due(step + 1):
                    self._save_checkpoint()
                recorder.flush()
                self._logged()
        if reason is EndReason.EVALUATION_FAILED and self._failure_is_non_finite:
            return Status.NON_FINITE
        return Status(reason.value)

    def _logging_is_due(self, step: int) -> bool:
        # With several processes, all of them read the clock then, or none.
        if self._together is None:
            wanted = self._has_something_to_log(step)
        else:
            wanted = self._together.flags[1]
        return wanted or self._checkpoint_is_due(step)

    def _has_something_to_log(self, step: int) -> bool:
        return self.recorder.wants_flush or self.observer.wants_step(step)

    def _checkpoint_is_due(self, step: int) -> bool:
        """A checkpoint between evaluations, where the user asked for some."""
        settings = self.settings
        if settings.checkpoint_every_steps and step % settings.checkpoint_every_steps == 0:
            return True
        if not settings.checkpoint_every_seconds:
            return False
        passed = self.clock.last_reading_ns - self._last_checkpoint_ns
        return passed >= settings.checkpoint_every_seconds * NANOSECONDS_PER_SECOND

    def _logged(self) -> None:
        """Charges the time since the last reading to logging."""
        self.clock = self.clock.advance(Event.LOGGED, self.time_source.read(Event.LOGGED))
        self.recorder.happened("logged", self.progress.global_step, self.clock.last_reading_ns)

    def _prepare(self, key: Key) -> None:
        """Lets the submission prepare for an evaluation, on its time."""
        if self.submission.has_prepare_for_eval:
            step = self.progress.global_step
            try:
                with self.profiler.profile("Prepare for eval"):
                    prepared = self.submission.module.prepare_for_eval(
                        current_param_container=self._params,
                        model_state=self._model_state,
                        optimizer_state=self._optimizer_state,
                        global_step=step,
                        rng=key,
                        **self._call_arguments,
                    )
                    self._optimizer_state, self._params, self._model_state = three_values(
                        prepared, "prepare_for_eval", step
                    )
                    del prepared
                    self.backend.synchronize(self._optimizer_state, self._params, self._model_state)
            except (UserError, SubmissionFailed, ProcessFailed):
                raise
            except Exception as error:
                raise SubmissionFailed("prepare_for_eval", step, error) from error
        self.clock = self.clock.advance(Event.PREPARED, self.time_source.read(Event.PREPARED))
        self.recorder.happened("prepared", self.progress.global_step, self.clock.last_reading_ns)

    def _evaluate(self, key: Key) -> None:
        """Evaluates, logs and checkpoints, off the submission's time."""
        settings, step = self.settings, self.progress.global_step
        read = self.time_source.read
        metrics: Metrics | None = None
        self._check_structure()
        try:
            with self.profiler.profile("Evaluation"):
                metrics = dict(
                    self.workload.eval_model(
                        settings.eval_batch_size,
                        self._params,
                        self._model_state,
                        key,
                        settings.data_dir,
                        settings.imagenet_v2_data_dir,
                        step,
                    )
                )
        except NotImplementedError:
            raise  # a RuntimeError to Python, but a defect of the workload
        except (RuntimeError, MemoryError) as error:
            problem: str | None = f"{type(error).__name__}: {error}"
            _LOG.warning("evaluation at step %d failed", step, exc_info=True)
            self.backend.free_memory()
        else:
            problem = evaluation_problem(metrics, settings.goal)
        if problem is not None:
            problem = self._diagnosed(problem, metrics)
        now = read(Event.EVALUATED)
        self.clock = self.clock.advance(Event.EVALUATED, now)
        self.recorder.happened(
            "evaluated",
            step,
            self.clock.last_reading_ns,
            {"problem": problem, **self._target_values(metrics)},
        )
        if metrics is None:
            self.progress = self.progress.after_failed_evaluation(now)
        else:
            self.progress = self.progress.after_evaluation(metrics, settings.goal, now)
            metrics.update(self._times())
            self.eval_results.append((step, metrics))
            self.recorder.evaluation(metrics, step)
            self.observer.evaluated(step, metrics)
        if problem is not None:
            failed = self.progress.failed_evaluations_in_row
            message = f"the evaluation at step {step} failed ({failed} in a row): {problem}"
            self.failure = message
            _LOG.warning("%s", message)
            self.observer.noticed(message)
        else:
            self.failure = ""
        if metrics is not None:
            self._save_checkpoint()
        self.recorder.flush()
        self._logged()

    def _check_structure(self) -> None:
        """Off the submission's time: an evaluation of other parameters would fail or mislead."""
        structure = self.backend.structure(self._params)
        if structure != self._structure:
            expected, got = dict(self._structure), dict(structure)
            name = min(n for n in expected | got if expected.get(n) != got.get(n))
            raise WrongOutput(
                "update_params",
                self.progress.global_step,
                f"parameters of another structure: {name or 'the root'} was "
                f"{expected.get(name, 'absent')} and is {got.get(name, 'absent')}",
            )

    def _diagnosed(self, problem: str, metrics: Metrics | None) -> str:
        """Adds to the reason of a failed evaluation whether the parameters are to blame."""
        try:
            bad = self.backend.first_non_finite(self._params)
        except RuntimeError:  # the parameters cannot be read either: the reason is given already
            bad = None
        self._failure_is_non_finite = bad is not None or metrics is not None
        return problem if bad is None else f"{problem}; the parameter {bad} is not finite"

    def _target_values(self, metrics: Metrics | None) -> dict[str, float | None]:
        """Returns the two metrics that targets are set for, None where there is no number."""
        values: dict[str, float | None] = {}
        for split in ("validation", "test"):
            value = (metrics or {}).get(f"{split}/{self.settings.goal.metric_name}", math.nan)
            values[split] = float(value) if math.isfinite(value) else None
        return values

    def _times(self) -> Metrics:
        clock = self.clock
        return {
            "score": clock.submission_seconds,
            "total_duration": clock.total_seconds,
            "accumulated_submission_time": clock.submission_seconds,
            "accumulated_eval_time": clock.evaluation_seconds,
            "accumulated_logging_time": clock.logging_seconds,
        }

    def _save_checkpoint(self) -> None:
        if not self.recorder.wants_checkpoints:
            return
        state = snapshot.pack(
            self.progress,
            self.clock,
            self.eval_results,
            completed_by_submission=self._completed_by_submission,
            batches_drawn=self._queue.drawn,
            preemption_count=self.settings.preemption_count,
        )
        state["training"] = self._training_state()
        self.recorder.checkpoint(state, self.progress.global_step)
        self._last_checkpoint_ns = self.clock.last_reading_ns

    def _training_state(self) -> Mapping[str, Any]:
        return self.backend.export_state(self._params, self._optimizer_state, self._model_state)

    def _restore(self, stored: Mapping[str, Any]) -> Mapping[str, float]:
        """Puts a checkpoint's state in place; returns the seconds carried over."""
        self._params, self._optimizer_state, self._model_state = self.backend.import_state(
            stored["training"], self._params, self._optimizer_state, self._model_state
        )
        self.progress = snapshot.unpack_progress(stored)
        self._completed_by_submission = self.progress.training_complete
        self.eval_results.extend(snapshot.unpack_eval_results(stored))
        accounts: Mapping[str, float] = stored["accounts"]
        return accounts
