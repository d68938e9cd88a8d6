"""``python -m algoperf_ref.leaderboard``: reference submissions on the mini tier, run and scored.

A complete small AlgoPerf on a laptop: data, one study of every chosen submission on every workload,
times to target, scores. The same command again goes on with what is not done.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from algoperf_ref import study
from algoperf_ref.data import datasets
from algoperf_ref.errors import UserError
from algoperf_ref.flags import normalised
from algoperf_ref.harness.options import CLOCKS
from algoperf_ref.score.__main__ import main as score
from algoperf_ref.studies.plan import chosen_workloads
from spec import tiers
from spec.clauses import VERSIONS
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.tiers import Tier

SUBMISSIONS = Path(__file__).parents[1] / "reference_submissions"
RULES, TIER = VERSIONS[-1], Tier.MINI.value
SPACE = "tuning_search_space_mini.json"
"""Points for the small problems; a list, of which the first trials are taken."""


@dataclass(frozen=True)
class Entry:
    """A submission of the leaderboard.

    Attributes:
      name: of the submission.
      tuning: its ruleset.
      trials: of its one study.
      by_default: whether it takes part when no submissions are named.
    """

    name: str
    tuning: Tuning
    trials: int = 1
    by_default: bool = True

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return SUBMISSIONS / f"{self.tuning.value}_tuning" / self.name


def _external(name: str, *, by_default: bool = True) -> Entry:
    return Entry(name, Tuning.EXTERNAL, 2, by_default)


def _self_tuning(name: str, *, by_default: bool = True) -> Entry:
    return Entry(name, Tuning.SELF, by_default=by_default)


ENTRIES: tuple[Entry, ...] = (
    _external("nadamw"),
    _external("adamw"),
    _external("lamb", by_default=False),
    _external("heavy_ball", by_default=False),
    _external("nesterov", by_default=False),
    _external("adafactor", by_default=False),
    _external("sam", by_default=False),
    _external("shampoo", by_default=False),
    _self_tuning("schedule_free_adamw"),
    _self_tuning("lawa"),
    _self_tuning("nadamw"),
    _self_tuning("line_search", by_default=False),
)
"""All that can take part; a trial on all workloads takes about a quarter of an hour of a core."""


@dataclass(frozen=True)
class Options:
    """What is run.

    Attributes:
      tuning: the ruleset; submissions of two rulesets are not scored together.
      submissions: names of entries; empty takes those by default.
      framework: ``"jax"`` or ``"pytorch"``.
      workloads: names or words, as for a study.
      trials: of each externally tuned submission; None takes those of the entries.
      clock: ``"steps"`` or ``"wall"``.
      jobs: trials at a time.
      seed: of all trials.
      data_dir: directory of the data sets.
      output: directory of the logs and of the scores.
    """

    tuning: Tuning
    submissions: tuple[str, ...]
    framework: str
    workloads: str
    trials: int | None
    clock: str
    jobs: int
    seed: int
    data_dir: Path
    output: Path

    @property
    def logs(self) -> Path:
        """Directory of the experiments of one ruleset and framework."""
        return self.output / f"{self.tuning.value}_{self.framework}"

    @property
    def results(self) -> Path:
        """Directory of the scores."""
        return self.output / f"{self.tuning.value}_{self.framework}_scores"

    def entries(self) -> list[Entry]:
        """Returns the submissions that take part.

        Raises:
          UserError: a name that is no entry of the ruleset.
        """
        known = {entry.name: entry for entry in ENTRIES if entry.tuning is self.tuning}
        for name in self.submissions:
            if name not in known:
                raise UserError(
                    f"--submissions: no {self.tuning.value}-tuning reference submission {name!r}; "
                    f"choose from {', '.join(known)}"
                )
        names = self.submissions or [name for name, entry in known.items() if entry.by_default]
        return [known[name] for name in dict.fromkeys(names)]

    def study_arguments(self, entry: Entry, workload: str) -> list[str]:
        """Returns the arguments of ``python -m algoperf_ref.study`` for one submission.

        A trial ends at the step hint, where the schedules of the references end: the time budget of
        the mini tier is some times as long.
        """
        arguments = {
            "submission_path": entry.directory,
            "workloads": workload,
            "max_global_steps": tiers.get(workload, TIER, RULES).step_hint,
            "framework": self.framework,
            "tier": TIER,
            "rules": RULES,
            "tuning_ruleset": entry.tuning.value,
            "studies": 1,
            "rng_seed": self.seed,
            "data_dir": self.data_dir,
            "experiment_dir": self.logs,
            "experiment_name": entry.name,
            "clock": self.clock,
            "jobs": self.jobs,
        }
        if entry.tuning is Tuning.EXTERNAL:
            arguments["tuning_search_space"] = entry.directory / SPACE
            arguments["num_tuning_trials"] = self.trials or entry.trials
        return [f"--{name}={value}" for name, value in arguments.items()]


def prepare(options: Options) -> None:
    """Makes the mini data sets that are not there.

    Raises:
      UserError: one cannot be made.
    """
    names = chosen_workloads(options.workloads, RULES, TIER)
    for dataset in dict.fromkeys(map(datasets.of_workload, names)):
        datasets.commands(dataset).prepare(options.data_dir, TIER)


def leaderboard(options: Options, run_study: Callable[[Sequence[str]], int] = study.main) -> int:
    """Prepares, runs and scores.

    Args:
      options: what is run.
      run_study: runs the study of given arguments, and returns its exit code.

    Returns:
      Exit code: 0, 1 if some trial failed (the others are scored), or the code of a study that
      could not be done or was interrupted.

    Raises:
      UserError: bad input.
    """
    entries = options.entries()
    prepare(options)
    failed = False
    names = chosen_workloads(options.workloads, RULES, TIER)
    work = [(entry, workload) for entry in entries for workload in names]
    for number, (entry, workload) in enumerate(work, start=1):
        print(f"\n[{number}/{len(work)}] {entry.name} on {workload}\n", flush=True)
        code = run_study(options.study_arguments(entry, workload))
        if code > 1:
            return code
        failed |= code == 1
    asked = {
        "rules": RULES,
        "ruleset": options.tuning.value,
        "tier": TIER,
        "workloads": ",".join(names),
        "num_studies": 1,
        "framework": options.framework,
        # Logs of an earlier call with other submissions may be there.
        "include": ",".join(entry.name for entry in entries),
        "reference": entries[0].name,
        "output": options.results,
    }
    print(flush=True)
    arguments = [f"--{name}={value}" for name, value in asked.items()]
    code = score([str(options.logs), *arguments])
    if code == 0:
        table = target_table(options.results / "trials.csv", [e.name for e in entries], names)
        file = options.results / "targets.md"
        file.write_text(table, encoding="utf-8")
        print(f"  {file}\n\n{table}", end="")
    return code or int(failed)


def target_table(trials: Path, submissions: Sequence[str], workloads: Sequence[str]) -> str:
    """Makes a Markdown table of what it took to reach the validation targets.

    Args:
      trials: ``trials.csv`` of the scorer.
      submissions: the columns.
      workloads: the rows.

    Returns:
      The table. A cell has the seconds and the steps of the fastest trial; a dash, where none
      reached the target.
    """
    hits: dict[tuple[str, str], tuple[float, int]] = {}
    with trials.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["hit_step"]:
                key = (row["workload"], row["submission"])
                hit = (float(row["hit_seconds"]), int(row["hit_step"]))
                hits[key] = min(hit, hits.get(key, hit))
    lines = [
        "| workload | " + " | ".join(submissions) + " |",
        "| --- |" + " --- |" * len(submissions),
    ]
    for workload in workloads:
        cells = [hits.get((workload, name)) for name in submissions]
        shown = ["-" if hit is None else f"{hit[0]:.1f} s, {hit[1]:,}" for hit in cells]
        lines.append(f"| `{workload}` | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program name; None takes ``sys.argv``.

    Returns:
      Exit code: 0, 1 if some trial failed, 2 for bad input, 128 plus the signal's number after a
      signal.
    """
    given = sys.argv[1:] if arguments is None else arguments
    parsed = vars(_parser().parse_args(normalised(given)))
    try:
        for name, least in (("jobs", 1), ("trials", 1), ("seed", 0)):
            if parsed[name] is not None and parsed[name] < least:
                raise UserError(f"--{name} is {parsed[name]}; it must be at least {least}")
        options = Options(
            **{
                **parsed,
                "tuning": Tuning(parsed["tuning"]),
                "submissions": tuple(name for name in parsed["submissions"].split(",") if name),
                "data_dir": parsed["data_dir"].expanduser(),
                "output": parsed["output"].expanduser(),
            }
        )
        return leaderboard(options)
    except (UserError, OSError) as error:
        # A full disk or a missing permission: a traceback would explain it no better.
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.leaderboard",
        description="Run reference submissions on the mini tier, one study each, and score them. "
        "The same command again goes on with what is not done.",
        epilog="Flags may be written with - or _.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--ruleset",
        dest="tuning",
        default=Tuning.EXTERNAL.value,
        choices=[tuning.value for tuning in Tuning],
        help="which submissions (%(default)s); those of two rulesets are not scored together",
    )
    chosen = {
        tuning: ", ".join(e.name for e in ENTRIES if e.tuning is tuning and e.by_default)
        for tuning in Tuning
    }
    add(
        "--submissions",
        default="",
        metavar="A,B",
        help="names; by default "
        + "; ".join(f"{names} ({tuning.value})" for tuning, names in chosen.items()),
    )
    add("--framework", default="pytorch", choices=FRAMEWORKS, help="(%(default)s)")
    add(
        "--workloads",
        default="base",
        help="names, separated by commas, or base, qualification (%(default)s)",
    )
    add("--trials", type=int, help="tuning trials of each submission; by default those of the list")
    add(
        "--clock",
        default="steps",
        choices=CLOCKS,
        help="wall, or steps for simulated time, the same on every machine (%(default)s)",
    )
    add(
        "--jobs",
        type=int,
        default=1,
        help="trials at a time (%(default)s); more only with --clock steps",
    )
    add("--seed", type=int, default=0, help="of all trials (%(default)s)")
    add("--data_dir", type=Path, default=Path("~/data"), help="(%(default)s)")
    add(
        "--output",
        type=Path,
        default=Path("experiments/leaderboard"),
        help="directory of the logs and scores (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
