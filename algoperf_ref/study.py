"""``python -m algoperf_ref.study``: all trials of all studies of a ruleset, a process for each.

The same command given again goes on with what is not done yet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from algoperf_ref import run
from algoperf_ref.errors import UserError
from algoperf_ref.flags import normalised, switch
from algoperf_ref.harness.options import CLOCKS
from algoperf_ref.records.metadata import software_facts
from algoperf_ref.studies import files, plan, report
from algoperf_ref.studies.launching import RUN, Launcher, record
from algoperf_ref.studies.options import StudyOptions
from algoperf_ref.studies.plan import Slice, Task
from algoperf_ref.studies.processes import Children
from algoperf_ref.studies.progress import Progress, State, look
from algoperf_ref.studies.runner import Outcome, run_tasks
from spec.clauses import VERSIONS
from spec.costs import Cost
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.tiers import Tier


def main(arguments: Sequence[str] | None = None, *, program: Sequence[str] = RUN) -> int:
    """Runs the command line.

    Args:
      arguments: without the program name; None takes ``sys.argv``.
      program: what Python runs for a trial, before the trial's arguments.

    Returns:
      Exit code: 0 if all trials of the slice ended as the rules foresee, 1 if some did not, 2 for
      bad input, and 128 plus the signal's number after a signal (130 after Ctrl-C).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, run_flags = given, []
    if "--" in given:
        cut = given.index("--")
        own, run_flags = given[:cut], given[cut + 1 :]
    parsed = vars(_parser().parse_args(normalised(own, _SWITCHES)))
    how = {name: parsed.pop(name) for name in (*_SWITCHES, "jobs", "slice")}
    try:
        part = Slice() if how["slice"] is None else Slice.parse(how["slice"])
        if how["jobs"] < 1:
            raise UserError(f"--jobs is {how['jobs']}; it must be at least 1")
        options = StudyOptions(**parsed, run_flags=tuple(normalised(run_flags, run.SWITCHES)))
        return _study(options, part, how, given, program)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _study(
    options: StudyOptions,
    part: Slice,
    how: dict[str, Any],
    command_line: Sequence[str],
    program: Sequence[str],
) -> int:
    options.check()
    # The run's own checks, with any workload: a wrong flag is told now and not by every trial.
    probe = replace(options, num_tuning_trials=options.num_tuning_trials or 1)
    run.parse(probe.run_arguments(Task("ogbg", 0, 1, 0.0)))[0].check()
    cost = options.plan()
    configuration = options.configuration()
    recorded = files.read_study(options.directory)
    options = replace(
        options, rng_seed=files.recorded_seed(options.directory, configuration, recorded)
    )
    all_tasks = plan.tasks(cost)
    mine = part.of(all_tasks)
    progress = _look(options, mine)
    work = _work(progress, retry_failed=how["retry_failed"])
    if how["dry_run"]:
        print(report.plan_text(options, part, progress, work, len(all_tasks)), end="")
        return 0
    seed = files.begin(options.directory, configuration, cost, part, command_line)
    options = replace(options, rng_seed=seed)
    print(report.plan_text(options, part, progress, work, len(all_tasks)))
    return _run(options, configuration, cost, part, how, work, command_line, program)


def _run(
    options: StudyOptions,
    configuration: Mapping[str, Any],
    cost: Cost,
    part: Slice,
    how: dict[str, Any],
    work: Sequence[Task],
    command_line: Sequence[str],
    program: Sequence[str],
) -> int:
    """Runs the work and returns the exit code."""
    history = files.History(options.directory, part)
    history.add("started", slice=str(part), command_line=list(command_line), **software_facts())
    children = Children()
    jobs = how["jobs"]
    shown = None if how["quiet"] or jobs > 1 else sys.stderr
    if jobs > 1 and options.clock == "wall":
        print(f"note: {jobs} trials at a time share the machine, so their times do not count\n")
    num_ended = 0

    def ended(outcome: Outcome) -> None:
        nonlocal num_ended
        num_ended += 1
        record(history, outcome)
        print(f"[{num_ended}/{len(work)}] {report.outcome_text(outcome)}", flush=True)

    launch = Launcher(options, configuration, children, history, shown, program)
    with children.signals_handed_on():
        run_tasks(work, launch, ended, jobs=jobs, stop_on_failure=how["stop_on_failure"])
        stopped_by = children.signal
        history.add("ended", signal=stopped_by)
    progress = _look(options, part.of(plan.tasks(cost)))
    num_studies = max(row.num_studies for row in cost.workloads)
    print("\n" + report.summary(options, progress, part, num_studies), end="")
    if stopped_by is not None:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 128 + stopped_by
    return 0 if all(p.state is State.DONE for p in progress.values()) else 1


def _look(options: StudyOptions, work: Sequence[Task]) -> dict[Task, Progress]:
    """Returns the state of trials.

    Raises:
      UserError: one belongs to another study.
    """
    configuration = options.configuration()
    return {
        task: look(options.trial_directory(task), configuration, options.max_global_steps)
        for task in work
    }


def _work(progress: dict[Task, Progress], *, retry_failed: bool) -> list[Task]:
    """Returns the trials to run now."""
    states = {State.WAITING, State.STARTED} | ({State.FAILED} if retry_failed else set())
    return [task for task, found in progress.items() if found.state in states]


_SWITCHES = {
    "dry_run": "print the plan and the hours it may take, and run nothing",
    "stop_on_failure": "start no further trial after one that failed; else the next one runs",
    "retry_failed": "go on with failed trials too; crashed and interrupted ones go on anyway",
    "quiet": "do not show what the trials print; it is in the directory consoles/",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.study",
        usage="python -m algoperf_ref.study [flags] [-- further flags of algoperf_ref.run]",
        description="All trials and studies of a ruleset for one or many workloads, one process "
        "for each trial. The same command again goes on with what is not done.",
        epilog="Flags may be written with - or _.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--submission_path", required=True, help="the submission's Python file, or its directory")
    add(
        "--workloads",
        required=True,
        help=f"names, separated by commas, or {', '.join(plan.WORKLOAD_SETS)} of the rules",
    )
    add("--framework", required=True, help=f"one of {', '.join(FRAMEWORKS)}")
    add("--tuning_ruleset", default=Tuning.EXTERNAL.value, help="external or self (%(default)s)")
    add("--tuning_search_space", help="JSON file with the search space (external tuning)")
    add("--tier", default=Tier.FULL.value, help="full or mini (%(default)s)")
    add("--rules", default=VERSIONS[-1], help=f"ruleset version: {', '.join(VERSIONS)}")
    add("--studies", type=int, help="number of studies; by default the ruleset's")
    add("--num_tuning_trials", type=int, help="trials of a study; by default the ruleset's")
    add("--rng_seed", type=int, help="seed of all trials; drawn once and kept if not given")
    add("--data_dir", default="~/data", help="directory of the data sets (%(default)s)")
    add("--experiment_dir", default="experiments", help="directory of all runs (%(default)s)")
    add("--experiment_name", help="directory of this study below it; by default the submission's")
    add("--clock", default=CLOCKS[0], help="wall, or steps for simulated time (%(default)s)")
    add("--step_seconds", type=float, help="cost of a step under --clock=steps, in seconds")
    add("--max_global_steps", type=int, help="step limit of a trial; none by default")
    add("--nproc_per_node", type=int, help="PyTorch: so many processes for a trial, by torchrun")
    add("--slice", metavar="I/N", help="only the I-th of N parts, for the I-th of N machines")
    add(
        "--jobs",
        type=int,
        default=1,
        help="trials at a time (%(default)s); times count only with 1, on an idle machine",
    )
    for name, text in _SWITCHES.items():
        add(
            f"--{name}",
            type=switch,
            nargs="?",
            const=True,
            default=False,
            metavar="BOOL",
            help=text,
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
