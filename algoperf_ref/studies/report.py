"""What a study says: its plan, what becomes of its trials, and how to go on."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from algoperf_ref.studies.options import StudyOptions
from algoperf_ref.studies.plan import Slice, Task, hours
from algoperf_ref.studies.progress import Progress, State
from algoperf_ref.studies.runner import Ending, Outcome

_COLUMNS = ("workload", "studies", "trials", "hours each", "hours", "done", "failed", "to do")


def plan_text(
    options: StudyOptions,
    part: Slice,
    progress: Mapping[Task, Progress],
    work: Sequence[Task],
    num_tasks: int,
) -> str:
    """Returns the plan as text.

    Args:
      options: of the study.
      part: this machine's slice.
      progress: state of every trial of the slice.
      work: the trials that a start would run now.
      num_tasks: trials of all slices.
    """
    mine = list(progress)
    seed = "drawn at the start" if options.rng_seed is None else str(options.rng_seed)
    lines = [
        f"{options.name}: {options.tuning_ruleset} tuning, rules {options.rules}, {options.tier} "
        f"tier, {options.framework}, seed {seed}, clock {options.clock}",
        "",
    ]
    rows = [_COLUMNS]
    for name in dict.fromkeys(task.workload for task in mine):
        own = [task for task in mine if task.workload == name]
        states = [progress[task].state for task in own]
        rows.append(
            (
                name,
                str(len({task.study for task in own})),
                str(len(own)),
                _hours(own[:1]),
                _hours(own),
                str(states.count(State.DONE)),
                str(states.count(State.FAILED)),
                str(sum(task.workload == name for task in work)),
            )
        )
    if len(rows) > 2:
        states = [p.state for p in progress.values()]
        done, failed = states.count(State.DONE), states.count(State.FAILED)
        total = ("total", "", str(len(mine)), "", _hours(mine))
        rows.append((*total, str(done), str(failed), str(len(work))))
    lines += table(rows)
    lines.append("")
    if part.count > 1:
        lines.append(f"slice {part}: {len(mine)} of {num_tasks} trials")
    lines.append(
        f"at most {_hours(mine)} machine hours of submission time by the budgets, "
        f"{_hours(work)} of them to go"
    )
    if options.clock == "steps":
        lines.append("(simulated hours: --clock=steps, so the real time is another)")
    lines.append(
        "a trial that reaches its targets ends earlier; evaluations, logging, checkpoints and "
        "start-up are not\nincluded"
    )
    return "\n".join([*lines, *notes(progress)]) + "\n"


def notes(progress: Mapping[Task, Progress]) -> list[str]:
    """Returns what is worth a warning about the trials found."""
    lines = [f"note: {p.note}" for p in progress.values() if p.state is not State.FAILED and p.note]
    failed = [task for task, p in progress.items() if p.state is State.FAILED]
    for task in failed:
        lines.append(f"note: {task} failed: {progress[task].note}")
    if failed:
        lines.append("note: --retry_failed goes on with failed trials from their last checkpoints")
    return lines


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns lines with the first column left, the others right; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def outcome_text(outcome: Outcome) -> str:
    """Returns one line on what became of a trial."""
    result = outcome.result
    if outcome.ending is not Ending.COMPLETE or result is None:
        return f"{outcome.task}: {outcome.ending.value}: {outcome.message}"
    text = f"{outcome.task}: {result.status.value} after {result.global_step} steps, "
    if result.reached_validation_target:
        text += f"validation target after {result.validation_time_seconds:.2f} s"
    else:
        text += f"validation target not reached in {result.submission_seconds:.2f} s"
    return text + (" (simulated time)" if result.clock == "steps" else "")


def summary(
    options: StudyOptions, progress: Mapping[Task, Progress], part: Slice, num_studies: int
) -> str:
    """Returns what is done at the end of a start, and what to do next.

    Args:
      options: of the study.
      progress: state of every trial of the slice.
      part: this machine's slice.
      num_studies: studies of all slices.
    """
    states = [p.state for p in progress.values()]
    of = "" if part.count == 1 else f" of slice {part}"
    line = f"{states.count(State.DONE)} of {len(states)} trials{of} complete"
    for state in (State.FAILED, State.STARTED, State.WAITING, State.IN_USE):
        if states.count(state):
            line += f", {states.count(state)} {_WORDS[state]}"
    hits = [
        p.result.validation_time_seconds
        for p in progress.values()
        if p.state is State.DONE and p.result is not None and p.result.reached_validation_target
    ]
    line += f"; {len(hits)} reached the validation target"
    if hits and math.isfinite(min(hits)):
        line += f", the fastest after {min(hits):.2f} s"
    return f"{line}\nlogs:  {options.directory}\nscore: {score_command(options, num_studies)}\n"


_WORDS = {
    State.FAILED: "failed",
    State.STARTED: "unfinished",
    State.WAITING: "not begun",
    State.IN_USE: "in use",
}


def score_command(options: StudyOptions, num_studies: int) -> str:
    """Returns the command that scores the study."""
    return shlex.join(
        [
            *("python", "-m", "algoperf_ref.score", str(options.directory)),
            *("--rules", options.rules, "--ruleset", options.tuning_ruleset),
            *("--tier", options.tier, "--num-studies", str(num_studies)),
        ]
    )


def _hours(work: Sequence[Task]) -> str:
    value = hours(work)
    return f"{value:,.1f}" if value >= 1 or value == 0 else f"{value:.3f}"
