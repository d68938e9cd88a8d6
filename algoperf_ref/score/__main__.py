"""``python -m algoperf_ref.score LOGS``: scores logs, prints a ranked table, writes the results."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from algoperf_ref.errors import UserError
from algoperf_ref.score import outputs, published, report
from algoperf_ref.score.computing import BASELINE, score_logs
from algoperf_ref.score.logs import LAYOUT
from algoperf_ref.score.options import DEFAULT_RULES, DEFAULT_TUNING, Options, TimeAxis, Timestamped
from spec.clauses import VERSIONS
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.text import Parser
from spec.tiers import Tier
from spec.uncertainty import DEFAULT_RESAMPLES, DEFAULT_SEED

DEFAULT_OUTPUT = "score_results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Scores logs, prints the result and writes it.

    Args:
      arguments: command-line arguments; None takes those of the process.

    Returns:
      The exit code: 0, or 2 after an error that the user can mend.
    """
    given = sys.argv[1:] if arguments is None else arguments
    asked = _parser().parse_args([_underscored(argument) for argument in given])
    fields = [field.name for field in dataclasses.fields(Options)]
    options = Options(**{name: getattr(asked, name) for name in fields})
    try:
        scored = score_logs(asked.logs, options)
        lines = report.text(scored, list_trials=asked.trials)
        files: tuple[Path, ...] = ()
        left_out: tuple[str, ...] = ()
        if not asked.no_output:
            output = Path(asked.output).expanduser()
            files, left_out = outputs.write(scored, output, with_report=not asked.no_report)
    except UserError as error:
        print(_printable(f"error: {error}", sys.stderr), file=sys.stderr)
        return 2
    if files:
        written = ["", "Written:", *(f"  {line}" for line in (*files, *left_out))]
        lines += "\n".join(written) + "\n"
    print(_printable(lines, sys.stdout), end="")
    return 0


def _printable(text: str, stream: TextIO) -> str:
    """Escapes what the stream cannot print, and what a terminal would take for a command."""
    shown = "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )
    encoding = stream.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m algoperf_ref.score",
        description="Times to target, performance ratios and benchmark scores from logs.",
        epilog=f"Logs are read as {LAYOUT}. Flags may be written with - or _.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "logs",
        metavar="LOGS",
        help="directory of submissions, one submission or one workload, or a .tar or .zip of one",
    )
    rules = parser.add_argument_group("rules")
    _flag(rules, "--rules", choices=VERSIONS, help=f"ruleset version (default {DEFAULT_RULES})")
    _flag(
        rules,
        "--ruleset",
        dest="tuning",
        choices=[tuning.value for tuning in Tuning],
        help=f"tuning ruleset of the submissions (default {DEFAULT_TUNING})",
    )
    _flag(rules, "--tier", default=Tier.FULL.value, choices=[tier.value for tier in Tier])
    _flag(
        rules,
        "--num_studies",
        type=int,
        help="planned studies instead of the ruleset's, for example 1 for a single run",
    )
    _flag(
        rules,
        "--held_out",
        metavar="NAME,NAME|FILE|published|none",
        help="held-out workloads whose conditions apply (default: those of the version)",
    )
    _flag(
        rules,
        "--workloads",
        metavar="qualification|NAME,...",
        help="base workloads that the score is the mean over (default: all)",
    )
    _flag(
        rules,
        "--as_published",
        action="store_true",
        help="compute as the published leaderboards were, not by the written rules",
    )
    _flag(
        rules,
        "--both_targets",
        action="store_true",
        help="paper2023: conditions on the validation and the test target together",
    )
    _flag(
        rules,
        "--strict",
        action="store_true",
        help="what would make the logs ineligible officially is an error",
    )
    chosen = parser.add_argument_group("what is scored")
    _flag(chosen, "--include", metavar="A,B", help="only these submissions")
    _flag(chosen, "--exclude", metavar="A,B", help="all submissions but these")
    _flag(chosen, "--framework", choices=FRAMEWORKS, help="only runs of this framework")
    _flag(
        chosen,
        "--timestamped",
        default=Timestamped.MERGE.value,
        choices=[value.value for value in Timestamped],
        help="what <name>-YYYY-MM-DD-hh-mm-ss is: a part of <name>, a submission, or nothing",
    )
    _flag(
        chosen,
        "--against",
        metavar="NAME|FILE",
        help=f"score together with published times: {', '.join(published.known())}",
    )
    _flag(
        chosen,
        "--reference",
        metavar="NAME",
        help=f"submission that speedups are relative to (default: {BASELINE}, or the first)",
    )
    _flag(
        chosen,
        "--time_axis",
        default=TimeAxis.TIME.value,
        choices=[axis.value for axis in TimeAxis],
        help="submission time, or global steps",
    )
    sure = parser.add_argument_group("uncertainty")
    _flag(
        sure,
        "--bootstrap",
        type=int,
        default=DEFAULT_RESAMPLES,
        metavar="N",
        help=f"resamples of the studies (default {DEFAULT_RESAMPLES}; 0: no intervals)",
    )
    _flag(
        sure,
        "--bootstrap_seed",
        type=int,
        default=DEFAULT_SEED,
        metavar="SEED",
        help=f"seed of the resamples (default {DEFAULT_SEED})",
    )
    results = parser.add_argument_group("results")
    _flag(results, "--output", default=DEFAULT_OUTPUT, metavar="DIR", help="where to write them")
    _flag(results, "--no_output", action="store_true", help="write no files")
    _flag(results, "--no_report", action="store_true", help="write the tables only")
    _flag(results, "--trials", action="store_true", help="print one line for every trial")
    return parser


def _flag(group: argparse._ArgumentGroup, name: str, **options: object) -> None:
    """Adds a flag with underscores, and its form with dashes."""
    group.add_argument(*dict.fromkeys((name, _dashed(name))), **options)  # type: ignore[arg-type]


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _underscored(argument: str) -> str:
    """Turns ``--num-studies=1`` into ``--num_studies=1``; values stay as they are."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


if __name__ == "__main__":
    sys.exit(main())
