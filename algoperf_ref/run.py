"""``python -m algoperf_ref.run``: trains a submission on a workload, timed and logged.

The only place where the harness and the workloads meet.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algoperf_ref import workloads
from algoperf_ref.compat import calls_pmap
from algoperf_ref.errors import ProcessFailed, UserError
from algoperf_ref.flags import normalised, switch
from algoperf_ref.frameworks import processes
from algoperf_ref.frameworks.processes import ProcessSettings
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.harness.console import Console, Observer, Quiet
from algoperf_ref.harness.loading import find_submission_file
from algoperf_ref.harness.options import CLOCKS, RunOptions
from algoperf_ref.harness.results import StudyResult, TrialResult
from algoperf_ref.harness.study import run_study as run_trials
from spec.clauses import VERSIONS
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.tiers import Tier


def run_trial(
    workload: str,
    framework: str,
    submission_path: str | Path,
    *,
    tier: str = "full",
    data_dir: str | Path = "~/data",
    hyperparameters: Mapping[str, Any] | None = None,
    tuning: str = "external",
    seed: int | None = None,
    study: int | None = None,
    rules: str = VERSIONS[-1],
    clock: str = "wall",
    step_seconds: float | None = None,
    max_global_steps: int | None = None,
    output_dir: str | Path | None = None,
    experiment_name: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    **options: Any,
) -> TrialResult:
    """Runs one trial from Python.

    Args:
      workload: for example ``"ogbg"``; see ``algoperf_ref.workloads.names(tier=...)``.
      framework: ``"jax"`` or ``"pytorch"``.
      submission_path: the submission's file or directory.
      tier: ``"full"`` or ``"mini"``.
      data_dir: where the data sets are.
      hyperparameters: the point to train with; None under ``tuning="self"``.
      tuning: ``"external"`` or ``"self"``.
      seed: 0 to 2**32 - 1; None draws one, which the result states.
      study: index of the study.
      rules: ruleset version.
      clock: ``"wall"``, or ``"steps"`` for simulated time.
      step_seconds: simulated cost of a step in seconds; None takes the workload's.
      max_global_steps: step limit.
      output_dir: where to keep logs and checkpoints; None keeps none.
      experiment_name: directory below ``output_dir``.
      resume: go on with the trial found there.
      overwrite: delete the trial found there.
      quiet: show no progress.
      **options: any other field of :class:`algoperf_ref.harness.options.RunOptions`.

    Returns:
      The result, also if the trial failed; see its ``status`` and ``message``.

    Raises:
      UserError: bad input or missing data.
    """
    result = run_study(
        RunOptions(
            submission_path=str(submission_path),
            workload=workload,
            framework=framework,
            tier=tier,
            rules=rules,
            tuning_ruleset=tuning,
            hyperparameters=hyperparameters,
            study=study,
            clock=clock,
            step_seconds=step_seconds,
            data_dir=str(data_dir),
            max_global_steps=max_global_steps,
            rng_seed=seed,
            experiment_dir=None if output_dir is None else str(output_dir),
            experiment_name=experiment_name,
            resume_last_run=resume,
            overwrite=overwrite,
            **options,
        ),
        observer=Quiet() if quiet else Console(),
    )
    return result.trials[0]


def run_study(options: RunOptions, observer: Observer | None = None) -> StudyResult:
    """Runs the trials that the options describe; see :class:`RunOptions`.

    Args:
      options: the flags.
      observer: shows progress; None shows nothing.

    Returns:
      The results.

    Raises:
      UserError: bad input or missing data.
    """
    options.check()
    # Before the framework is imported: a wrong path is told at once.
    file = find_submission_file(options.submission_path, options.framework)
    if options.framework == "jax" and not options.per_device_layout and calls_pmap(file):
        print(
            f"note: {file} calls jax.pmap; if it expects an axis of devices in front of batches "
            "and parameters, as before v0.6, run it with --per_device_layout",
            file=sys.stderr,
        )
    settings = ProcessSettings(
        options.coordinator_address,
        options.num_processes,
        options.process_id,
        options.process_timeout_seconds,
    )
    with processes.joined(options.framework, settings):
        workload = workloads.load(
            options.workload,
            framework=options.framework,
            tier=options.tier,
            version=options.rules,
        )
        backend, trained = workload.backend, workload
        if options.per_device_layout:
            trained = load_twin("algoperf_ref.frameworks.{}_per_device", "jax").PerDeviceWorkload(
                workload
            )
        return run_trials(options, trained, backend, observer or Quiet())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program name; None takes ``sys.argv``.

    Returns:
      Exit code: 0 if every trial ended as the rules foresee, 1 if a trial or another process of
      the run failed, 2 for bad input, 3 if a trial hangs and its process had to be ended, 130 if
      interrupted (Ctrl-C) and 143 if terminated, as a cluster ends a job.
    """
    options, quiet = parse(sys.argv[1:] if arguments is None else arguments)
    return processes.exit_code(_run(options, quiet))


class _Terminated(KeyboardInterrupt):
    """SIGTERM: ends a trial as Ctrl-C does."""


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def _run(options: RunOptions, quiet: bool) -> int:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        result = run_study(options, Quiet() if quiet else Console())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ProcessFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print("interrupted; go on with --resume_last_run", file=sys.stderr)
        return 143 if isinstance(interrupt, _Terminated) else 130
    if processes.process_index() == 0:
        for trial in result.trials:
            print(_summary(trial))
    for trial in result.failed:
        print(f"error: trial {trial.trial}: {trial.message or trial.status.value}", file=sys.stderr)
    return 1 if result.failed else 0


def parse(arguments: Sequence[str]) -> tuple[RunOptions, bool]:
    """Reads a command line.

    Args:
      arguments: without the program name.

    Returns:
      The options, not checked yet, and whether ``--quiet`` is given.

    Raises:
      SystemExit: an unknown or malformed flag; the message is on standard error.
    """
    parsed = vars(_parser().parse_args(normalised(arguments, SWITCHES)))
    quiet: bool = parsed.pop("quiet")
    return RunOptions(**parsed), quiet


def _summary(trial: TrialResult) -> str:
    if trial.reached_validation_target:
        outcome = f"validation target reached after {trial.validation_time_seconds:.2f} s"
    else:
        outcome = "validation target not reached"
    if trial.clock == "steps":
        outcome += " (simulated time)"
    where = "" if trial.directory is None else f"; logs in {trial.directory}"
    return f"{trial.workload} {trial.framework} trial {trial.trial}: {outcome}{where}"


SWITCHES = {
    "torch_compile": "compile models and losses where the workload's policy says so (CUDA only)",
    "compat": "the names algoperf and algorithmic_efficiency lead to this package",
    "per_device_layout": "JAX: an axis of devices in front of batches and parameters, for jax.pmap",
    "save_checkpoints": "write a checkpoint after every evaluation and at the end",
    "save_intermediate_checkpoints": "keep all checkpoints, not only the newest two",
    "resume_last_run": "go on with the run found in the experiment directory",
    "overwrite": "delete the run found in the experiment directory",
    "append_timestamp": "append the date and time to the experiment name",
    "tensorboard": "write TensorBoard event files of the evaluations",
    "use_wandb": "send the evaluations to Weights & Biases",
    "profile": "time the parts of the loop: a table at the end, and profile.json",
    "skip_evals": "never evaluate; the budget is checked after every step",
    "quiet": "print the result and errors only",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.run",
        description="Train a submission on a workload, timed, evaluated and logged by the rules.",
        epilog="Flags may be written with - or _.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--submission_path", required=True, help="the submission's Python file, or its directory")
    add("--workload", required=True, help="workload name, for example ogbg")
    add("--framework", required=True, help=f"one of {', '.join(FRAMEWORKS)}")
    add("--experiment_dir", default="experiments", help="directory of all runs (%(default)s)")
    add("--experiment_name", help="directory of this run below --experiment_dir")
    add("--tier", default=Tier.FULL.value, help="full or mini (%(default)s)")
    add("--rules", default=VERSIONS[-1], help=f"ruleset version: {', '.join(VERSIONS)}")
    add(
        "--tuning_ruleset",
        default=Tuning.EXTERNAL.value,
        help="external or self (%(default)s)",
    )
    add("--tuning_search_space", help="JSON file with the search space (external tuning)")
    add("--num_tuning_trials", type=int, default=1, help="trials of the study (%(default)s)")
    add("--hparam_start_index", type=int, help="first trial to run, from 0")
    add("--hparam_end_index", type=int, help="trial to stop before")
    add("--study", type=int, help="index of the study, from 0: other seeds, its own directory")
    add("--data_dir", default="~/data", help="directory of the data sets (%(default)s)")
    add("--imagenet_v2_data_dir", help="directory of ImageNet-v2, the ImageNet test split")
    add("--max_global_steps", type=int, help="step limit; none by default")
    add("--rng_seed", type=int, help="seed of the run, 0 to 2**32 - 1; drawn if not given")
    add("--clock", default=CLOCKS[0], help="wall, or steps for simulated time (%(default)s)")
    add("--step_seconds", type=float, help="cost of a step under --clock=steps, in seconds")
    add(
        "--checkpoint_every_steps",
        type=int,
        default=0,
        help="a checkpoint after every so many steps too, besides those of evaluations; 0 for none",
    )
    add(
        "--checkpoint_every_minutes",
        type=float,
        default=0.0,
        help="a checkpoint after so many minutes without one; 0 for none",
    )
    add(
        "--step_timeout_seconds",
        type=float,
        default=3600.0,
        help="end a trial in which nothing happens for so long; 0 waits for ever (%(default)s)",
    )
    add(
        "--trace_steps",
        type=int,
        default=0,
        help="record so many steps with the framework's profiler, in traces/; 0 for none",
    )
    add(
        "--coordinator_address",
        help="several JAX processes: host:port of process 0 (for PyTorch, use torchrun)",
    )
    add("--num_processes", type=int, help="several JAX processes: how many")
    add("--process_id", type=int, help="several JAX processes: number of this one, from 0")
    add(
        "--process_timeout_seconds",
        type=float,
        default=1800.0,
        help="longest wait for another process of the run (%(default)s)",
    )
    defaults = RunOptions("", "", "")
    for name, text in SWITCHES.items():
        default = getattr(defaults, name, False)
        add(
            f"--{name}",
            type=switch,
            nargs="?",
            const=True,
            default=default,
            metavar="BOOL",
            help=f"{text} ({str(default).lower()})",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
