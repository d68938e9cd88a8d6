"""``python -m algoperf_ref.target_setting``: targets of a workload by the rules' procedure.

Four standard algorithms are tuned with quasi-random points; the best configuration is run again
with other seeds; median and worst case of these runs are the targets (:mod:`spec.target_setting`).
Numbers of trials and reruns, and the length of a run, are flags, so that the procedure also fits
a laptop; the result states them beside the benchmark's own.

Runs never stop at a target and use the simulated clock: evaluations fall on the same steps
everywhere. Every finished run is one line of ``<output stem>.jsonl``; started again, the command
goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.harness.hyperparameters import read_search_space
from algoperf_ref.records.record_file import Record, RecordFile
from spec import target_setting, tiers
from spec.tuning import quasi_random_points, trial_seed
from spec.workloads import Direction

SUBMISSIONS = Path(__file__).parents[1] / "reference_submissions" / "target_setting"
"""Where the target-setting algorithms are, one directory each."""

TUNING, RERUN = "tuning", "rerun"


@dataclass(frozen=True)
class Study:
    """What decides the outcome of target setting.

    Attributes:
      workload, tier, framework: as for ``python -m algoperf_ref.run``.
      num_trials: tuning trials of each algorithm.
      num_reruns: runs of the best configuration.
      max_global_steps: length of every run, in steps.
      seed: seed of everything, 0 to 2**32 - 1.
    """

    workload: str
    tier: str
    framework: str
    num_trials: int
    num_reruns: int
    max_global_steps: int
    seed: int


@dataclass(frozen=True)
class Run:
    """One training run of a study.

    Attributes:
      id: unique within the study, for example ``tuning/adamw/3``.
      algorithm: one of :data:`spec.target_setting.ALGORITHMS`.
      hyperparameters: the point to train with.
      seed: the run's seed.
    """

    id: str
    algorithm: str
    hyperparameters: Mapping[str, Any]
    seed: int


def search_space_file(algorithm: str, tier: str) -> Path:
    """Returns the search space of an algorithm: the tier's own, if it has one.

    With a handful of trials instead of two hundred, the wide spaces of the full tier would make
    targets of poorly tuned runs.
    """
    own = SUBMISSIONS / algorithm / f"tuning_search_space_{tier}.json"
    return own if own.exists() else own.with_name("tuning_search_space.json")


def tuning_runs(study: Study) -> list[Run]:
    """Returns the tuning trials: the first quasi-random points of each algorithm's space.

    There are none if the study runs the configuration of another one again.

    Raises:
      UserError: a search space is missing or out of schema.
    """
    runs: list[Run] = []
    if study.num_trials == 0:
        return runs
    for number, algorithm in enumerate(target_setting.ALGORITHMS):
        space = read_search_space(search_space_file(algorithm, study.tier))
        for index, point in enumerate(quasi_random_points(space, study.num_trials), start=1):
            seed = trial_seed(study.seed, number, index)
            runs.append(Run(f"{TUNING}/{algorithm}/{index}", algorithm, point, seed))
    return runs


def reruns(study: Study, best: Record) -> list[Run]:
    """Returns the runs of the best configuration, each with a seed of its own."""
    after_tuning = len(target_setting.ALGORITHMS)
    return [
        Run(
            f"{RERUN}/{best['id']}/{index}",
            best["algorithm"],
            best["hyperparameters"],
            trial_seed(study.seed, after_tuning, index),
        )
        for index in range(1, study.num_reruns + 1)
    ]


def train(study: Study, run: Run, data_dir: str) -> dict[str, Any]:
    """Trains one run to its step limit and returns its record.

    A run whose submission fails has no values; the rules count it as the worst.

    Raises:
      UserError: missing data or bad input.
    """
    from algoperf_ref import workloads
    from algoperf_ref.harness.console import Quiet
    from algoperf_ref.harness.options import RunOptions
    from algoperf_ref.harness.study import run_study

    options = RunOptions(
        submission_path=str(SUBMISSIONS / run.algorithm),
        workload=study.workload,
        framework=study.framework,
        tier=study.tier,
        hyperparameters=run.hyperparameters,
        clock="steps",
        data_dir=data_dir,
        max_global_steps=study.max_global_steps,
        rng_seed=run.seed,
    )
    workload = workloads.load(study.workload, framework=study.framework, tier=study.tier)
    # Without reachable targets a run ends at its step limit only.
    unreachable = -math.inf if workload.spec.direction is Direction.MINIMIZE else math.inf
    workload.spec = replace(
        workload.spec, validation_target_value=unreachable, test_target_value=unreachable
    )
    result = run_study(options, workload, workload.backend, Quiet()).trials[0]
    metric = result.target_metric
    return {
        **asdict(run),
        "status": result.status.value,
        "message": result.message,
        "global_step": result.global_step,
        "submission_seconds": result.submission_seconds,
        "steps": [step for step, _ in result.eval_results],
        "validation": [m.get(f"validation/{metric}", math.nan) for _, m in result.eval_results],
        "test": [m.get(f"test/{metric}", math.nan) for _, m in result.eval_results],
    }


def best_record(records: Sequence[Record], direction: Direction) -> Record:
    """Returns the record of the trial with the best validation value.

    Raises:
      spec.target_setting.TargetSettingError: no trial has a finite value.
    """
    values = [target_setting.best_value(record["validation"], direction) for record in records]
    return records[target_setting.best_trial(values, direction)]


def read_configuration(path: Path) -> Record:
    """Returns the best configuration that another study wrote to its output file.

    Raises:
      UserError: the file is not the result of a study.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        best = {name: result["best"][name] for name in ("id", "algorithm", "hyperparameters")}
        return {**best, "tuned_on": result["study"]["workload"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--configuration {path}: not the result of a study ({error})") from error


def summary(
    study: Study,
    best: Record,
    trials: Sequence[Record],
    repeated: Sequence[Record],
    direction: Direction,
) -> dict[str, Any]:
    """Returns the content of the output file: targets, budget, and the values they come from.

    Args:
      study: what was run.
      best: the configuration of the reruns, see :func:`best_record`, :func:`read_configuration`.
      trials: records of the tuning trials; none if the configuration comes from another study.
      repeated: records of the reruns.
      direction: of the target metric.

    Raises:
      spec.target_setting.TargetSettingError: the runs do not determine the targets.
    """
    reached = [
        target_setting.Rerun(
            target_setting.best_value(record["validation"], direction),
            target_setting.best_value(record["test"], direction),
        )
        for record in repeated
    ]
    return {
        "study": asdict(study),
        "search_spaces": {
            algorithm: search_space_file(algorithm, study.tier).name
            for algorithm in target_setting.ALGORITHMS
        },
        "benchmark_budget": asdict(target_setting.FULL_BUDGET),
        "targets": asdict(target_setting.targets(reached, direction)),
        "best": {
            "tuned_on": best.get("tuned_on", study.workload),
            **{name: best[name] for name in ("id", "algorithm", "hyperparameters")},
        },
        "best_validation_by_algorithm": {
            algorithm: target_setting.best_value(
                [v for r in trials if r["algorithm"] == algorithm for v in r["validation"]],
                direction,
            )
            for algorithm in target_setting.ALGORITHMS
            if trials
        },
        "reruns": [asdict(rerun) for rerun in reached],
    }


Trainer = Callable[[Study, Run, str], Record]
"""Trains one run; :func:`train`, or a stand-in."""


def run_all(
    study: Study,
    runs: Iterable[Run],
    file: RecordFile,
    data_dir: str,
    num_processes: int,
    trainer: Trainer = train,
) -> list[Record]:
    """Runs what has not been run, several at a time, and returns all records in order.

    Args:
      study: what the runs belong to.
      runs: the runs.
      file: finished runs; new ones are appended.
      data_dir: where the data sets are.
      num_processes: runs at a time, each in a process of its own; 1 stays in this process.
      trainer: trains one run.

    Raises:
      UserError: missing data or bad input.
    """
    runs = list(runs)
    waiting = [run for run in runs if run.id not in file.records]
    for record in _in_turn(study, waiting, data_dir, num_processes, trainer):
        file.append(record)
        _show(record, done=sum(run.id in file.records for run in runs), total=len(runs))
    return [file.records[run.id] for run in runs]


def _in_turn(
    study: Study, runs: Sequence[Run], data_dir: str, num_processes: int, trainer: Trainer
) -> Iterator[Record]:
    """Yields the records as the runs finish."""
    if num_processes == 1:
        yield from (trainer(study, run, data_dir) for run in runs)
        return
    with ProcessPoolExecutor(
        num_processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_share_cores,
        initargs=(num_processes,),
    ) as pool:
        futures = [pool.submit(trainer, study, run, data_dir) for run in runs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _share_cores(num_processes: int) -> None:
    """Lets the processes together use every core once; called before a framework is imported."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))


def _show(record: Record, done: int, total: int) -> None:
    last = f"{record['validation'][-1]:.4f}" if record["validation"] else "no value"
    print(f"[{done}/{total}] {record['id']}: last validation value {last}", file=sys.stderr)


def set_targets(
    study: Study,
    output: Path,
    data_dir: str,
    num_processes: int = 1,
    trainer: Trainer = train,
    configuration: Record | None = None,
) -> dict[str, Any]:
    """Runs a study, or what is left of it, and writes its result.

    Args:
      study: what to run.
      output: JSON file of the result; the runs go to the same name with ``.jsonl``.
      data_dir: where the data sets are.
      num_processes: runs at a time.
      trainer: trains one run.
      configuration: run this one again instead of tuning; ``study.num_trials`` is then 0.

    Returns:
      The content of the output file.

    Raises:
      UserError: bad input, missing data, or runs that do not determine the targets.
    """
    direction = tiers.get(study.workload, study.tier).direction
    file = RecordFile(output.with_suffix(".jsonl"), {"study": asdict(study)})
    trials = run_all(study, tuning_runs(study), file, data_dir, num_processes, trainer)
    try:
        best = configuration or best_record(trials, direction)
        again = reruns(study, best)
        repeated = run_all(study, again, file, data_dir, num_processes, trainer)
        result = summary(study, best, trials, repeated, direction)
    except target_setting.TargetSettingError as error:
        raise UserError(f"no targets for {study.workload}: {error}") from error
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
      Exit code: 0, 2 for bad input, 130 if interrupted.
    """
    try:
        parsed = _parser().parse_args(arguments)
        study = _study(parsed)
        configuration = None
        if parsed.configuration is not None:
            configuration = read_configuration(parsed.configuration)
            study = replace(study, num_trials=0)
        result = set_targets(
            study,
            parsed.output,
            parsed.data_dir,
            parsed.processes,
            configuration=configuration,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with the runs that are left", file=sys.stderr)
        return 130
    print(json.dumps(result["targets"]))
    return 0


def _study(parsed: argparse.Namespace) -> Study:
    for flag in ("trials", "reruns", "processes"):
        if getattr(parsed, flag) < 1:
            raise UserError(f"--{flag} is {getattr(parsed, flag)}; it must be at least 1")
    try:
        row = tiers.get(parsed.workload, parsed.tier)
    except ValueError as error:
        raise UserError(str(error)) from error
    steps = parsed.max_global_steps
    if steps is None:
        steps = target_setting.target_setting_steps(row.step_hint)
    if steps < 1:
        raise UserError(f"--max_global_steps is {steps}; it must be at least 1")
    if not 0 <= parsed.seed < 2**32:
        raise UserError(f"--seed is {parsed.seed}; it must be between 0 and {2**32 - 1}")
    return Study(
        workload=parsed.workload,
        tier=parsed.tier,
        framework=parsed.framework,
        num_trials=parsed.trials,
        num_reruns=parsed.reruns,
        max_global_steps=steps,
        seed=parsed.seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.target_setting",
        description="Set the targets of a workload by the benchmark's procedure.",
    )
    full = target_setting.FULL_BUDGET
    add = parser.add_argument
    add("--workload", required=True, help="workload name, for example ogbg")
    add("--tier", default="mini", help="full or mini (%(default)s)")
    add("--framework", required=True, choices=("jax", "pytorch"), help="jax or pytorch")
    add("--data_dir", default="~/data", help="directory of the data sets (%(default)s)")
    add(
        "--trials",
        type=int,
        default=full.num_trials,
        help="quasi-random trials of each algorithm (%(default)s)",
    )
    add(
        "--reruns",
        type=int,
        default=full.num_reruns,
        help="runs of the best configuration with other seeds (%(default)s)",
    )
    add(
        "--configuration",
        type=Path,
        help="result of another workload's study: run its best configuration again, do not tune",
    )
    add("--max_global_steps", type=int, help="length of a run; 3/4 of the step hint by default")
    add("--seed", type=int, default=0, help="seed of everything (%(default)s)")
    add("--processes", type=int, default=1, help="runs at a time (%(default)s)")
    add("--output", type=Path, required=True, help="JSON file of the result")
    return parser


if __name__ == "__main__":
    sys.exit(main())
