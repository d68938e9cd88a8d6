"""A study: the trials of one workload, from options to results."""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks.base import Backend, Key
from algoperf_ref.harness.batch_size import evaluation_batch_size, training_batch_size
from algoperf_ref.harness.console import Observer
from algoperf_ref.harness.files import NoFiles, TrialFiles, read_result, text_log, write_result
from algoperf_ref.harness.hyperparameters import read_search_space, to_namedtuple
from algoperf_ref.harness.loading import Submission, loaded_submission
from algoperf_ref.harness.options import MAX_SEED, RunOptions
from algoperf_ref.harness.results import Status, StudyResult, TrialResult
from algoperf_ref.harness.time_source import StepTime, TimeSource, WallTime
from algoperf_ref.harness.trial import Trial
from algoperf_ref.harness.trial_parts import SubmissionFailed, TrialSettings
from algoperf_ref.records import checkpoints, metadata
from algoperf_ref.records.experiment import open_experiment, open_trial
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


def run_study(
    options: RunOptions, workload: Any, backend: Backend, observer: Observer
) -> StudyResult:
    """Runs the trials that the options ask for, one after the other.

    A trial that fails is recorded and the next one runs. With ``resume_last_run`` finished trials
    are left alone and an unfinished one goes on from its newest checkpoint.

    Args:
      options: checked options.
      workload: the workload object; the same for all trials.
      backend: its framework.
      observer: shows progress.

    Returns:
      The results of the trials that ran now or had finished before.

    Raises:
      UserError: bad input, missing data, or a directory that cannot be used.
    """
    options.check()
    with loaded_submission(options.submission_path, options.framework) as submission:
        batch_size, eval_batch_size = _batch_sizes(submission, workload.spec, backend.num_devices)
        if options.tuning_search_space is not None:
            read_search_space(options.tuning_search_space)
        workload.check_data(options.data_dir)
        # Only now: what fails before leaves no directory that a second try would stumble over.
        directory = _open(options, workload.spec.name)
        options = _with_seed(options, directory)
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
    """What the trials of a study share."""

    options: RunOptions
    workload: Any
    backend: Backend
    observer: Observer
    submission: Submission
    global_batch_size: int
    eval_batch_size: int
    directory: Path | None

    def trial(self, index: int, point: Point | None) -> TrialResult:
        """Runs trial ``index`` (from 1), or reads it back if it has finished."""
        if self.directory is None:
            return self._train(index, point, None, 0)
        directory = open_trial(self.directory, index)
        finished = read_result(directory)
        if finished is not None and self._is_final(TrialResult.from_json(finished)):
            self.observer.noticed(f"trial {index} is complete in {directory}; not run again")
            return TrialResult.from_json(finished)
        with text_log(directory):
            return self._train(index, point, directory, next_preemption_count(directory))

    def _is_final(self, result: TrialResult) -> bool:
        """Tells whether nothing is left to do: a failed trial, or a raised step limit, goes on."""
        limit = self.options.max_global_steps
        more_steps = limit is None or limit > result.global_step
        return not (result.status.is_failure or (result.status is Status.STEP_LIMIT and more_steps))

    def _train(
        self, index: int, point: Point | None, directory: Path | None, preemption_count: int
    ) -> TrialResult:
        log = None
        restored = None
        if directory is not None:
            log = TrialLog(directory, preemption_count=preemption_count)
            restored, point = self._reopen(log, point)
        seed = self._trial_seed(index)
        trial = Trial(
            workload=self.workload,
            submission=self.submission,
            backend=self.backend,
            settings=self._settings(index, point, seed, preemption_count),
            time_source=self._time_source(),
            recorder=NoFiles() if log is None else self._files(log),
            observer=self.observer,
            torch_compile=self.options.torch_compile,
        )
        if log is not None:
            self._write_facts(log, seed, preemption_count)
        self.workload.attach_metrics_logger(log)
        message = ""
        try:
            status = trial.run(restored)
        except SubmissionFailed as error:
            _LOG.exception("the submission failed")
            status, message = Status.SUBMISSION_FAILED, str(error)
            if directory is not None:
                message += f" (traceback in {directory / 'trial.log'})"
        except KeyboardInterrupt:
            self._end(trial, index, point, seed, Status.INTERRUPTED, "interrupted", directory)
            raise
        finally:
            self.workload.attach_metrics_logger(None)
            if log is not None:
                log.close()
        return self._end(trial, index, point, seed, status, message, directory)

    def _reopen(
        self, log: TrialLog, point: Point | None
    ) -> tuple[Mapping[str, Any] | None, Point | None]:
        """Returns what is left of an earlier run: its checkpoint, and its hyperparameters."""
        found = checkpoints.load_latest(log.directory)
        restored = None if found is None else found[0]
        step = -1 if restored is None else int(restored["global_step"])
        row_counts = None if restored is None else restored.get("row_counts")
        log.truncate_after(step, row_counts)
        if point is None:
            return restored, None
        stored = log.read_hparams()
        if stored is None:
            log.write_hparams(point)
        return restored, point if stored is None else stored

    def _files(self, log: TrialLog) -> TrialFiles:
        return TrialFiles(
            log,
            save_checkpoints=self.options.save_checkpoints,
            keep_all=self.options.save_intermediate_checkpoints,
        )

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
        if self.options.clock == "wall":
            return WallTime()
        return StepTime(self.options.step_seconds or self.workload.spec.step_seconds)

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
        )
        if directory is not None:
            write_result(directory, result)
        self.observer.ended(result)
        return result
