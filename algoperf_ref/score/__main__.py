"""``python -m algoperf_ref.score LOGS``: prints times to target and scores."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from algoperf_ref.errors import UserError
from algoperf_ref.score import report
from algoperf_ref.score.computing import score_logs
from algoperf_ref.score.logs import LAYOUT
from spec.clauses import VERSIONS
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.tiers import Tier


def main(arguments: Sequence[str] | None = None) -> int:
    """Scores logs and prints the result.

    Args:
      arguments: command-line arguments; None takes those of the process.

    Returns:
      The exit code: 0, or 2 after an error that the user can mend.
    """
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args([_dashed(argument) for argument in given])
    try:
        result = score_logs(
            options.logs,
            rules=options.rules,
            tuning=options.ruleset,
            tier=options.tier,
            num_studies=options.num_studies,
            framework=options.framework,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.text(result, list_trials=options.trials), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.score",
        description="Times to target, performance ratios and benchmark scores from logs.",
        epilog=f"Logs are read as {LAYOUT}. Flags may be written with - or _.",
    )
    parser.add_argument(
        "logs", metavar="LOGS", help="directory of submissions, one submission, or one workload"
    )
    parser.add_argument("--rules", default="v0.6", choices=VERSIONS, help="ruleset version")
    parser.add_argument(
        "--ruleset",
        default=Tuning.EXTERNAL.value,
        choices=[tuning.value for tuning in Tuning],
        help="tuning ruleset of the submissions",
    )
    parser.add_argument("--tier", default=Tier.FULL.value, choices=[tier.value for tier in Tier])
    parser.add_argument(
        "--num-studies",
        type=int,
        help="planned studies instead of the ruleset's, for example 1 for a single run",
    )
    parser.add_argument("--framework", choices=FRAMEWORKS, help="take only runs of this framework")
    parser.add_argument("--trials", action="store_true", help="print one line for every trial")
    return parser


def _dashed(argument: str) -> str:
    """Turns ``--num_studies=1`` into ``--num-studies=1``; values stay as they are."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


if __name__ == "__main__":
    sys.exit(main())
