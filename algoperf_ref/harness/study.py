"""A study: the trials of one workload, from options to results."""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from algoperf_ref.errors import ProcessFailed, UserError
from algoperf_ref.frameworks.base import Backend, Key
from algoperf_ref.harness.batch_size import evaluation_batch_size, training_batch_size
from algoperf_ref.harness.console import Observer, Quiet
from algoperf_ref.harness.failures import SubmissionFailed
from algoperf_ref.harness.files import (
    TEXT_LOG,
    DamagedResult,
    TrialFiles,
    read_result,
    set_aside_result,
    text_log,
    write_result,
)
from algoperf_ref.harness.hyperparameters import read_search_space, to_namedtuple
from algoperf_ref.harness.loading import Submission, loaded_submission
from algoperf_ref.harness.options import MAX_SEED, RunOptions
from algoperf_ref.harness.profiler import NoProfiler, TimingProfiler
from algoperf_ref.harness.results import Status, StudyResult, TrialResult
from algoperf_ref.harness.time_source import SlowestTime, StepTime, TimeSource, WallTime
from algoperf_ref.harness.together import Follower, on_first
from algoperf_ref.harness.trace import FrameworkTrace
from algoperf_ref.harness.trial import Trial
from algoperf_ref.harness.trial_parts import TrialSettings
from algoperf_ref.harness.watchdog import Watchdog
from algoperf_ref.records import checkpoints, metadata
from algoperf_ref.records.boards import Board, TensorBoard, WeightsAndBiases
from algoperf_ref.records.experiment import open_experiment, open_trial
from algoperf_ref.records.files import CannotWrite
from algoperf_ref.records.lock import locked
from algoperf_ref.records.trial_log import TrialLog, next_preemption_count
from spec import rulesets
from spec.evaluation import Goal
from spec.records import flags_name
from spec.rulesets import Tuning
from spec.scoring import first_hit
from spec.tuning import trial_points, trial_seed
from spec.workloads import WorkloadSpec

_LOG = logging.getLogger(__name__)

Point = Mapping[str, Any]

EXIT_STUCK = 3
"""Exit code of a process that had to be ended because a trial did not return."""


def run_study(
    options: RunOptions, workload: Any, backend: Backend, observer: Observer
) -> StudyResult:
    """Runs the trials that the options ask for, one after the other.

    A trial that fails is recorded and the next one runs. With ``resume_last_run`` finished trials
    are left alone and an unfinished one goes on from its newest checkpoint.

    With several processes, all of them run this; process 0 alone writes files and shows progress.

    Args:
      options: checked options.
      workload: the workload object; the same for all trials.
      backend: its framework.
      observer: shows progress.

    Returns:
      The results of the trials that ran now or had finished before.

    Raises:
      UserError: bad input, missing data, or a directory that cannot be used.
      ProcessFailed: another process failed outside of a trial.
    """
    options.check()
    if backend.process_index > 0:
        observer = Quiet()
    with loaded_submission(
        options.submission_path, options.framework, compat=options.compat
    ) as submission:
        batch_size, eval_batch_size = _batch_sizes(submission, workload.spec, backend.num_devices)
        if options.tuning_search_space is not None:
            read_search_space(options.tuning_search_space)
        workload.check_data(options.data_dir)
        # Only now: what fails before leaves no directory that a second try would stumble over.
        directory = on_first(backend, lambda: _open(options, workload.spec.name))
        options = backend.broadcast(on_first(backend, lambda: _with_seed(options, directory)))
        points = _points(options)
        run = _Run(
            options,
            workload,
            backend,
            observer,
            submission,
            batch_size,
            eval_batch_size,
            directory,
        )
        start, end = options.trial_slice
        results = []
        for index in range(start, min(end, len(points))):
            results.append(run.trial(index + 1, points[index]))
            if run.is_broken:
                break
        return StudyResult(tuple(results))


def _batch_sizes(submission: Submission, row: WorkloadSpec, num_devices: int) -> tuple[int, int]:
    """Returns the global batch sizes of training and evaluation."""
    training = training_batch_size(
        submission.module,
        row.name,
        row.base_name,
        divisor=row.batch_size_divisor,
        num_devices=num_devices,
    )
    return training, evaluation_batch_size(row.eval_batch_size, num_devices=num_devices)


def _open(options: RunOptions, workload_name: str) -> Path | None:
    if options.experiment_dir is None:
        return None
    return open_experiment(
        options.experiment_dir,
        options.experiment_name,
        workload_name,
        options.framework,
        study=options.study,
        resume=options.resume_last_run,
        overwrite=options.overwrite,
        append_timestamp=options.append_timestamp,
    )


def _with_seed(options: RunOptions, directory: Path | None) -> RunOptions:
    """Fixes the seed of the run, and holds a resumed run to what it was started with.

    Raises:
      UserError: the flags differ from those of the run to resume in what must not change.
    """
    recorded = _recorded_flags(directory) if options.resume_last_run else None
    if recorded is None:
        if options.rng_seed is not None:
            return options
        return replace(options, rng_seed=secrets.randbelow(MAX_SEED + 1))
    for name in _FIXED_FLAGS:
        old, new = recorded.get(name), getattr(options, name)
        if name == "rng_seed" and new is None:
            continue
        if old != new:
            raise UserError(
                f"--{name} is {new}, but the run to resume in {directory} was started with {old}: "
                f"give the same, or use another --experiment_name"
            )
    return replace(options, rng_seed=int(recorded["rng_seed"]))


_FIXED_FLAGS = ("rng_seed", "tier", "rules", "tuning_ruleset", "study", "clock", "step_seconds")


def _recorded_flags(directory: Path | None) -> Mapping[str, Any] | None:
    """Returns the flags that the first trial of a directory was started with."""
    found = sorted(directory.glob(f"trial_*/{flags_name(0)}")) if directory is not None else []
    if not found:
        return None
    try:
        flags: Mapping[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{found[0]}: cannot be read ({error}); resuming needs it") from error
    return flags


def _points(options: RunOptions) -> Sequence[Point | None]:
    """Returns the point of every trial of the study; None under self-tuning."""
    if options.tuning_ruleset == Tuning.SELF.value:
        return [None]
    if options.hyperparameters is not None:
        return [options.hyperparameters] * options.num_tuning_trials
    assert options.tuning_search_space is not None, "checked by the options"
    assert options.rng_seed is not None, "run_study draws one"
    space = read_search_space(options.tuning_search_space)
    study = options.study or 0
    points = trial_points(
        space,
        num_trials=options.num_tuning_trials,
        seed=options.rng_seed,
        study=study,
        num_studies=study + 1,
    )
    start = options.trial_slice[0]
    if start >= len(points):
        raise UserError(
            f"--hparam_start_index is {start}, but --tuning_search_space "
            f"{options.tuning_search_space} has {len(points)} points"
        )
    return points


@dataclass
class _Run:
    """What the trials of a study share.

    Attributes:
      directory: of the trials; None if there are no files, or another process writes them.
      is_broken: a process of several has failed, so that they cannot go on together.
    """

    options: RunOptions
    workload: Any
    backend: Backend
    observer: Observer
    submission: Submission
    global_batch_size: int
    eval_batch_size: int
    directory: Path | None
    is_broken: bool = False

    def trial(self, index: int, point: Point | None) -> TrialResult:
        """Runs trial ``index`` (from 1), or reads it back if it has finished."""
        if self.directory is None:
            done: TrialResult | None = self.backend.broadcast(None)
            return done or self._train(index, point, None, 0)
        directory = open_trial(self.directory, index)
        with locked(directory):
            finished = self._finished(directory)
            if finished is not None and not finished.is_final(self.options.max_global_steps):
                finished = None
            self.backend.broadcast(finished)
            if finished is not None:
                self.observer.noticed(f"trial {index} is complete in {directory}; not run again")
                return finished
            with text_log(directory):
                return self._train(index, point, directory, next_preemption_count(directory))

    def _finished(self, directory: Path) -> TrialResult | None:
        """Returns the result found in a trial directory; a damaged one is moved aside."""
        try:
            return read_result(directory)
        except DamagedResult as error:
            aside = set_aside_result(directory).name
            self.observer.noticed(f"{error}; it is now {aside}, and the trial is run again")
            return None

    def _train(
        self, index: int, point: Point | None, directory: Path | None, preemption_count: int
    ) -> TrialResult:
        options = self.options
        seed = self._trial_seed(index)
        files: TrialFiles | None = None
        restored = None
        if directory is not None:
            files, restored, point = self._reopen(directory, point, preemption_count)
        preemption_count, restored, point = self.backend.broadcast(
            (preemption_count, restored, point)
        )
        profiler = TimingProfiler() if options.profile else NoProfiler()
        settings = self._settings(index, point, seed, preemption_count)
        trace = None
        if options.trace_steps and directory is not None:
            trace = FrameworkTrace(self.backend, directory, options.trace_steps)
            settings = replace(settings, trace=trace)
        trial = Trial(
            workload=self.workload,
            submission=self.submission,
            backend=self.backend,
            settings=settings,
            time_source=self._time_source(),
            recorder=files or self._follower(),
            observer=self.observer,
            torch_compile=options.torch_compile,
            profiler=profiler,
        )
        if files is not None:
            self._write_facts(files.log, seed, preemption_count)
        self.workload.attach_metrics_logger(None if files is None else files.log)
        self.backend.reset_peak_memory()

        def end(status: Status, message: str) -> TrialResult:
            return self._end(trial, index, point, seed, status, message, directory)

        def give_up() -> None:
            """Ends a process that an interrupt does not reach, with its result on disk."""
            end(Status.TIMED_OUT, _timed_out(trial, options))
            os._exit(EXIT_STUCK)

        watchdog = Watchdog(
            lambda: trial.clock,
            options.step_timeout_seconds,
            give_up,
            None if directory is None else directory / TEXT_LOG,
        )
        try:
            with watchdog:
                status = self._run(trial, restored)
            message = trial.failure if status.is_failure else ""
        except SubmissionFailed as error:
            _LOG.exception("the submission failed")
            status, message = error.status, str(error)
            if directory is not None:
                message += f" (traceback in {directory / TEXT_LOG})"
        except ProcessFailed as error:
            self.is_broken = True
            status, message = Status(error.status), str(error)
        except CannotWrite as error:
            # No other trial can be logged either.
            end_quietly(end, Status.CANNOT_WRITE, str(error))
            raise
        except KeyboardInterrupt:
            if not watchdog.fired:
                if files is not None:
                    files.close()
                end(Status.INTERRUPTED, "interrupted")
                raise
            status, message = Status.TIMED_OUT, _timed_out(trial, options)
        finally:
            if trace is not None:
                trace.close()
            self.workload.attach_metrics_logger(None)
            if files is not None:
                files.close()
        if isinstance(profiler, TimingProfiler):
            self._show_profile(profiler, directory)
        return end(status, message)

    def _run(self, trial: Trial, restored: Mapping[str, Any] | None) -> Status:
        """Runs a trial; the other processes learn of a failure of this one's submission."""
        try:
            return trial.run(restored)
        except SubmissionFailed as error:
            self.is_broken = self.backend.process_count > 1
            self.backend.announce_failure(error, error.status.value)
            raise

    def _follower(self) -> Follower:
        writes = self.backend.process_count > 1 and self.options.experiment_dir is not None
        return Follower(wants_checkpoints=writes and self.options.save_checkpoints)

    def _show_profile(self, profiler: TimingProfiler, directory: Path | None) -> None:
        for line in profiler.table():
            self.observer.noticed(line)
        if directory is not None:
            profiler.write(directory)

    def _reopen(
        self, directory: Path, point: Point | None, preemption_count: int
    ) -> tuple[TrialFiles, Mapping[str, Any] | None, Point | None]:
        """Returns the files, and what is left of an earlier run: checkpoint, hyperparameters."""
        found = checkpoints.load_latest(directory)
        restored = None if found is None else found[0]
        log = TrialLog(directory, preemption_count=preemption_count)
        files = TrialFiles(
            log,
            save_checkpoints=self.options.save_checkpoints,
            keep_all=self.options.save_intermediate_checkpoints,
            boards=self._boards(directory, preemption_count),
        )
        files.restore(restored)
        if point is None:
            return files, restored, None
        stored = log.read_hparams()
        if stored is None:
            log.write_hparams(point)
        return files, restored, point if stored is None else stored

    def _boards(self, directory: Path, preemption_count: int) -> tuple[Board, ...]:
        boards: list[Board] = []
        if self.options.tensorboard:
            boards.append(TensorBoard(directory, preemption_count))
        if self.options.use_wandb:
            name = "/".join(directory.parts[-2:])
            facts = {k: v for k, v in vars(self.options).items() if v is not None}
            boards.append(WeightsAndBiases(directory, name, facts))
        return tuple(boards)

    def _settings(
        self, index: int, point: Point | None, seed: int, preemption_count: int
    ) -> TrialSettings:
        options, row = self.options, self.workload.spec
        ruleset = rulesets.get(options.rules)
        return TrialSettings(
            hyperparameters=to_namedtuple(point),
            key=self._trial_key(seed),
            budget_seconds=ruleset.budget_seconds(
                row.max_allowed_runtime_sec, options.tuning_ruleset
            ),
            goal=Goal(
                row.target_metric_name,
                row.direction,
                row.validation_target_value,
                row.test_target_value,
            ),
            global_batch_size=self.global_batch_size,
            eval_batch_size=self.eval_batch_size,
            data_dir=options.data_dir,
            imagenet_v2_data_dir=options.imagenet_v2_data_dir,
            max_global_steps=options.max_global_steps,
            skip_evaluations=options.skip_evals,
            preemption_count=preemption_count,
            checkpoint_every_steps=options.checkpoint_every_steps,
            checkpoint_every_seconds=60.0 * options.checkpoint_every_minutes,
            facts={
                "workload": row.name,
                "framework": options.framework,
                "rules": options.rules,
            },
            title=(
                f"{row.name} ({options.tier}, {options.framework}), trial {index}, "
                f"batch size {self.global_batch_size}, seed {options.rng_seed}, "
                f"clock {options.clock}"
            ),
        )

    def _trial_seed(self, index: int) -> int:
        assert self.options.rng_seed is not None, "run_study draws one"
        return trial_seed(self.options.rng_seed, self.options.study or 0, index)

    def _trial_key(self, seed: int) -> Key:
        """Returns a trial's key. External tuning splits once more (contract, section 5)."""
        key = self.backend.seed_key(seed)
        if self.options.tuning_ruleset == Tuning.EXTERNAL.value:
            key = self.backend.split(key, 2)[0]
        return key

    def _time_source(self) -> TimeSource:
        source: TimeSource = WallTime()
        if self.options.clock != "wall":
            source = StepTime(self.options.step_seconds or self.workload.spec.step_seconds)
        alone = self.backend.process_count == 1
        return source if alone else SlowestTime(source, self.backend.agree)

    def _write_facts(self, log: TrialLog, seed: int, preemption_count: int) -> None:
        rng_seed = self.options.rng_seed
        assert rng_seed is not None, "run_study draws one"
        flags = {k: v for k, v in vars(self.options).items() if v is not None}
        log.write_flags(preemption_count, flags)
        log.write_meta_data(
            preemption_count,
            {
                **metadata.collect(
                    self.workload,
                    rng_seed=rng_seed,
                    rules=self.options.rules,
                    tier=self.options.tier,
                    clock=self.options.clock,
                    seeds={"run": rng_seed, "trial": seed},
                ),
                "global_batch_size": self.global_batch_size,
            },
        )

    def _end(
        self,
        trial: Trial,
        index: int,
        point: Point | None,
        seed: int,
        status: Status,
        message: str,
        directory: Path | None,
    ) -> TrialResult:
        options, goal, clock = self.options, trial.settings.goal, trial.clock
        assert options.rng_seed is not None, "run_study draws one"

        def time_to(split: str, target: float | None) -> float:
            if target is None:
                return math.inf
            rows = [
                (m["accumulated_submission_time"], m[f"{split}/{goal.metric_name}"])
                for _, m in trial.eval_results
            ]
            return first_hit(rows, target, goal.direction, trial.settings.budget_seconds)

        result = TrialResult(
            workload=self.workload.spec.name,
            framework=options.framework,
            tier=options.tier,
            rules=options.rules,
            tuning=options.tuning_ruleset,
            study=options.study or 0,
            trial=index,
            run_seed=options.rng_seed,
            trial_seed=seed,
            clock=options.clock,
            hyperparameters=None if point is None else dict(point),
            status=status,
            message=message,
            global_step=trial.progress.global_step,
            submission_seconds=clock.submission_seconds,
            evaluation_seconds=clock.evaluation_seconds,
            logging_seconds=clock.logging_seconds,
            validation_time_seconds=time_to("validation", goal.validation_target),
            test_time_seconds=time_to("test", goal.test_target),
            target_metric=goal.metric_name,
            eval_results=tuple((step, dict(metrics)) for step, metrics in trial.eval_results),
            directory=directory,
            preemption_count=trial.settings.preemption_count,
            peak_device_memory_bytes=self.backend.peak_memory_bytes(),
            peak_host_memory_bytes=_peak_host_memory_bytes(),
        )
        if directory is not None:
            write_result(directory, result)
        self.observer.ended(result)
        return result


def _timed_out(trial: Trial, options: RunOptions) -> str:
    return (
        f"nothing happened for {options.step_timeout_seconds:g} s after step "
        f"{trial.progress.global_step}: the submission or the device hangs "
        "(stacks in trial.log; --step_timeout_seconds sets the limit)"
    )


def end_quietly(
    end: Callable[[Status, str], TrialResult], status: Status, message: str
) -> TrialResult | None:
    """Records the end of a trial if that can be done at all: the disk may be full."""
    try:
        return end(status, message)
    except CannotWrite as error:
        _LOG.error("%s", error)
        return None


def _peak_host_memory_bytes() -> int | None:
    """Largest resident set of this process so far, where the system tells."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
