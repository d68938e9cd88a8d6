"""One trial: the training loop.

The loop decides nothing itself. It feeds what happens to the clock of :mod:`spec.timing`, asks
:mod:`spec.evaluation` what is due, and does it. It runs unchanged on a real or a simulated clock.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks.base import Backend, Key
from algoperf_ref.harness import snapshot
from algoperf_ref.harness.console import Observer
from algoperf_ref.harness.loading import Submission
from algoperf_ref.harness.results import Status
from algoperf_ref.harness.time_source import TimeSource
from algoperf_ref.harness.trial_parts import (
    CountingQueue,
    Metrics,
    Recorder,
    SubmissionFailed,
    TrainState,
    TrialSettings,
)
from spec.evaluation import (
    Progress,
    end_reason,
    evaluation_problem,
    is_due,
    time_check_is_due,
)
from spec.submission import TrainingCompleteError
from spec.timing import Clock, Event

_LOG = logging.getLogger(__name__)


@dataclass
class Trial:
    """A trial in progress. :meth:`run` trains it to its end.

    Attributes:
      clock: accounts so far.
      progress: what the rules know of the run.
      eval_results: ``(global_step, metrics)``; the live list that the submission sees.
    """

    workload: Any
    submission: Submission
    backend: Backend
    settings: TrialSettings
    time_source: TimeSource
    recorder: Recorder
    observer: Observer
    torch_compile: bool = True
    clock: Clock = field(init=False)
    progress: Progress = field(init=False, default_factory=Progress)
    eval_results: list[tuple[int, Metrics]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.clock = Clock.start(0.0)
        self._completed_by_submission = False
        self._params: Any = None
        self._optimizer_state: Any = None
        self._model_state: Any = None

    def run(self, restored: Mapping[str, Any] | None = None) -> Status:
        """Initialises, trains to the end, and logs the last row and checkpoint.

        Args:
          restored: contents of a checkpoint to go on from.

        Returns:
          Why it ended.

        Raises:
          SubmissionFailed: the submission raised something else than ``TrainingCompleteError``.
          UserError: missing data, or a checkpoint that does not fit.
        """
        drawn = int(restored["batches_drawn"]) if restored else 0
        rng = self._initialise(drawn)
        carried: Mapping[str, float] = {}
        if restored:
            carried = self._restore(restored)
        settings = self.settings
        self.observer.started(
            settings.title, settings.goal, settings.budget_seconds, self.progress.global_step
        )
        now = self.time_source.start()
        self.clock = Clock.start(now, **carried)
        self.progress = self.progress.resumed_at(now)
        reason = self._train(rng)
        self.recorder.final(self.clock.submission_seconds, self.progress.global_step)
        if not self.eval_results or self.eval_results[-1][0] != self.progress.global_step:
            self._save_checkpoint()
        return reason

    # The order in which keys are used is part of the contract (section 5, steps 1 and 2).
    def _initialise(self, drawn: int) -> Key:
        settings, workload, backend = self.settings, self.workload, self.backend
        backend.free_memory()
        data_key, opt_key, model_key, rng = backend.split(settings.key, 4)
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
        self._params, self._model_state = workload.init_model_fn(model_key)
        if self.torch_compile:
            self._params = backend.compile_workload(workload, self._params)
        backend.seed_global_generators(opt_key)
        try:
            self._optimizer_state = self.submission.module.init_optimizer_state(
                workload, self._params, self._model_state, settings.hyperparameters, opt_key
            )
        except UserError:
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
            # PyTorch's hidden generator: a step draws the same numbers whatever ran before it.
            backend.seed_global_generators(update_key)
            completed = False
            function = "data_selection"
            try:
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
                try:
                    self._optimizer_state, self._params, self._model_state = update(
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
                # The next step's keys, while the device still works on this one.
                keys = step_keys(rng, step + 1)
                backend.synchronize(self._optimizer_state, self._params, self._model_state)
            except UserError:
                raise
            except Exception as error:
                raise SubmissionFailed(function, step, error) from error
            now = read(Event.STEP_ENDED)
            self.clock = self.clock.advance(Event.STEP_ENDED, now)
            self.progress = self.progress.after_step(max_steps, completed)
            self._completed_by_submission |= completed
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
            elif observer.wants_step(self.progress.global_step):
                observer.stepped(self.progress.global_step, self.clock.submission_seconds)
                self.clock = self.clock.advance(Event.LOGGED, read(Event.LOGGED))
        return Status(reason.value)

    def _prepare(self, key: Key) -> None:
        """Lets the submission prepare for an evaluation, on its time."""
        if self.submission.has_prepare_for_eval:
            step = self.progress.global_step
            try:
                self._optimizer_state, self._params, self._model_state = (
                    self.submission.module.prepare_for_eval(
                        current_param_container=self._params,
                        model_state=self._model_state,
                        optimizer_state=self._optimizer_state,
                        global_step=step,
                        rng=key,
                        **self._call_arguments,
                    )
                )
                self.backend.synchronize(self._optimizer_state, self._params, self._model_state)
            except UserError:
                raise
            except Exception as error:
                raise SubmissionFailed("prepare_for_eval", step, error) from error
        self.clock = self.clock.advance(Event.PREPARED, self.time_source.read(Event.PREPARED))

    def _evaluate(self, key: Key) -> None:
        """Evaluates, logs and checkpoints, off the submission's time."""
        settings, step = self.settings, self.progress.global_step
        read = self.time_source.read
        metrics: Metrics | None = None
        try:
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
        now = read(Event.EVALUATED)
        self.clock = self.clock.advance(Event.EVALUATED, now)
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
            _LOG.warning("%s", message)
            self.observer.noticed(message)
        if metrics is not None:
            self._save_checkpoint()
        self.clock = self.clock.advance(Event.LOGGED, read(Event.LOGGED))

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
        state["training"] = self.backend.export_state(
            self._params, self._optimizer_state, self._model_state
        )
        self.recorder.checkpoint(state, self.progress.global_step)

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
