"""``python -m algoperf_ref.audit DIR``: one line for every trial, one for every problem."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from algoperf_ref.audit import Rules, TrialAudit, audit_logs
from algoperf_ref.errors import UserError
from algoperf_ref.flags import normalised
from algoperf_ref.score.options import DEFAULT_RULES, DEFAULT_TUNING
from spec.clauses import VERSIONS
from spec.rulesets import Tuning
from spec.text import Parser
from spec.tiers import Tier


def _lines(found: TrialAudit) -> list[str]:
    """One trial as text."""
    count = len(found.problems)
    steps = "" if found.num_steps is None else f", {_plural(found.num_steps, 'step')}"
    state = _plural(count, "problem") if count else "ok"
    what = f"({_plural(found.num_evaluations, 'evaluation')}{steps}, from {found.source})"
    unchecked = f"; not checked: {'; '.join(found.unchecked)}" if found.unchecked else ""
    lines = [f"{found.trial}: {state} {what}{unchecked}"]
    lines += [f"  {problem}" for problem in found.problems]
    if hidden := count - len(found.problems.listed):
        lines.append(f"  and {hidden} more")
    return lines


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _text(trials: Iterator[TrialAudit]) -> bool:
    """Prints every trial as soon as it has been audited; returns whether there was a problem."""
    num_trials = with_problems = 0
    trials_by_clause: Counter[str] = Counter()
    for found in trials:
        print("\n".join(_lines(found)))
        num_trials += 1
        with_problems += bool(found.problems)
        trials_by_clause.update({problem.clause or "damaged" for problem in found.problems})
    print(f"{_plural(num_trials, 'trial')}, {with_problems} with problems", end="")
    by_number = sorted(trials_by_clause.items(), key=lambda item: (-item[1], item[0]))
    print("".join(f"{': ' if i == 0 else ', '}{c} in {n}" for i, (c, n) in enumerate(by_number)))
    return with_problems > 0


def _json(trials: Iterator[TrialAudit]) -> bool:
    found = list(trials)
    print(json.dumps({"trials": [trial.as_json() for trial in found]}, indent=2))
    return any(trial.problems for trial in found)


_FORMATS: Mapping[str, Callable[[Iterator[TrialAudit]], bool]] = {"text": _text, "json": _json}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program name; None takes ``sys.argv``.

    Returns:
      Exit code: 0 without problems, 1 with some, 2 for bad input.
    """
    asked = _parser().parse_args(normalised(sys.argv[1:] if arguments is None else arguments))
    rules = Rules(asked.rules, Tuning(asked.ruleset), Tier(asked.tier))
    try:
        return int(_FORMATS[asked.format](audit_logs(asked.directory, rules)))
    except UserError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m algoperf_ref.audit",
        description="Derives all times and decisions of trials from their event logs once more, "
        "and reports where tables and results disagree. Logs of the official harness are checked "
        "as far as their columns go.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "directory", metavar="DIR", help="a trial or a directory above, or a .tar or .zip of one"
    )
    parser.add_argument("--format", choices=sorted(_FORMATS), default="text")
    official = parser.add_argument_group("rules for logs without an event log")
    official.add_argument("--rules", choices=VERSIONS, default=DEFAULT_RULES)
    official.add_argument(
        "--ruleset",
        choices=[tuning.value for tuning in Tuning],
        default=DEFAULT_TUNING.value,
    )
    official.add_argument("--tier", choices=[tier.value for tier in Tier], default=Tier.FULL.value)
    return parser


if __name__ == "__main__":
    sys.exit(main())
