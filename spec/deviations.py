"""Where the official code, the rules and the paper differ, and what this project does.

``python -m spec deviations`` lists the table, ``--workload`` and ``--framework`` narrow it. The
rows are in ``deviations.json``; every row names its clauses or decisions, its sources, and the part
of the project that it is about.
"""

from __future__ import annotations

import argparse
import functools
import importlib.resources
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spec import workloads
from spec.records import FRAMEWORKS
from spec.text import FORMATS, MAX_LINE, UsageError, choose, markdown_table, wrap

DONE = "done"
TO_COME = "to come"
STATUSES: tuple[str, ...] = (DONE, TO_COME)
"""Whether the project has the part that a row is about."""

NUM_DECISIONS = 23
"""Decisions are numbered from 1."""

WORKLOAD_PART = "workload "
"""What the part of a row starts with that is about the code of a workload, and not a file."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One row: a place where official code differs from the rules, the paper or its own twin.

    Attributes:
      id: ``DEV-n``, counted from 1.
      area: subject, for example ``timing`` or ``parameter types``.
      workloads: names of workloads, base or variant; empty for all.
      frameworks: frameworks in which the official code is as described.
      official: what the official code does.
      rules: what the rules or the paper say.
      ours: what this project does, or will do.
      effect: how much it matters, in numbers where they are known.
      decisions: numbers of the decisions that say so.
      clauses: ids of the clauses that say so.
      sources: where the facts are from; at least one.
      status: one of :data:`STATUSES`.
      part: a file of the project, or ``workload <name>`` for the code of a base workload.
    """

    id: str
    area: str
    workloads: tuple[str, ...]
    frameworks: tuple[str, ...]
    official: str
    rules: str
    ours: str
    effect: str
    decisions: tuple[int, ...]
    clauses: tuple[str, ...]
    sources: tuple[str, ...]
    status: str
    part: str

    @property
    def where(self) -> str:
        """Workloads and frameworks in a few words."""
        names = ", ".join(self.workloads) or "all workloads"
        return (
            names if self.frameworks == FRAMEWORKS else f"{names}, {' and '.join(self.frameworks)}"
        )

    @property
    def basis(self) -> str:
        """Decisions and clauses in a few words."""
        parts = [f"decision {number}" for number in self.decisions]
        return ", ".join([*parts, *self.clauses]) or "no rule decides"


@functools.cache
def load() -> tuple[Deviation, ...]:
    """Returns all rows, in the order of their ids."""
    text = importlib.resources.files("spec").joinpath("deviations.json").read_text("utf-8")
    return tuple(_row(entry) for entry in json.loads(text))


def _row(entry: Mapping[str, Any]) -> Deviation:
    cells: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
    }
    return Deviation(**cells)


def problems(rows: Sequence[Deviation], clauses: Iterable[str]) -> list[str]:
    """Says what is wrong with a table of deviations.

    Args:
      rows: the table.
      clauses: ids of the clauses that exist.

    Returns:
      One sentence per problem; empty if there is none.
    """
    known = set(clauses)
    found: list[str] = []
    for number, row in enumerate(rows, 1):
        if row.id != f"DEV-{number}":
            found.append(f"row {number} has the id {row.id}, not DEV-{number}")
        found += [f"{row.id} {problem}" for problem in _problems_of(row, known)]
    seen: dict[tuple[object, ...], str] = {}
    for row in rows:
        first = seen.setdefault((row.workloads, row.official), row.id)
        if first != row.id:
            found.append(f"{row.id} says the same as {first}")
    return found


def _problems_of(row: Deviation, clauses: set[str]) -> Iterator[str]:
    for name, value in asdict(row).items():
        if name not in ("workloads", "decisions", "clauses") and not value:
            yield f"has an empty {name}"
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and (not text.strip() or text != " ".join(text.split())):
                yield f"has a blank or unclean text in {name}"
    for name in ("official", "rules", "ours", "effect"):
        if not getattr(row, name).endswith("."):
            yield f"has no full stop after {name}"
    for number in row.decisions:
        if not 1 <= number <= NUM_DECISIONS:
            yield f"cites decision {number}, which does not exist"
    for clause_id in row.clauses:
        if clause_id not in clauses:
            yield f"cites clause {clause_id}, which does not exist"
    for name in row.workloads:
        if name not in workloads.names():
            yield f"names the unknown workload {name}"
    if set(row.frameworks) - set(FRAMEWORKS):
        yield f"names an unknown framework in {', '.join(row.frameworks)}"
    if row.status not in STATUSES:
        yield f"has the status {row.status}, not one of {', '.join(STATUSES)}"


def select(
    rows: Iterable[Deviation], workload: str | None = None, framework: str | None = None
) -> list[Deviation]:
    """Chooses the rows of a workload or a framework.

    Args:
      rows: the table.
      workload: rows that name it; a base workload stands for its variants as well, and a variant
        inherits the rows of its base. None for all rows, those about every workload included.
      framework: rows about official code in this framework; None for both.

    Returns:
      The rows, in their order.
    """
    return [
        row
        for row in rows
        if (workload is None or any(_concerns(name, workload) for name in row.workloads))
        and (framework is None or framework in row.frameworks)
    ]


def _concerns(named: str, asked: str) -> bool:
    return asked in (named, workloads.base_name(named)) or named == workloads.base_name(asked)


def add_command(commands: Any, options: argparse.ArgumentParser) -> None:
    """Adds ``python -m spec deviations``."""
    parser = commands.add_parser(
        "deviations",
        parents=[options],
        help="where official code, rules and paper differ, and what this project does",
    )
    parser.add_argument("--workload", help="only rows that name this workload or its base")
    parser.add_argument("--framework", help=f"only this framework ({', '.join(FRAMEWORKS)})")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> str:
    form = choose(arguments.format, FORMATS, "format")
    if arguments.version is not None:
        raise UsageError("deviations are those of the current code; leave out --version")
    workload = framework = None
    if arguments.workload is not None:
        workload = choose(arguments.workload, workloads.names(), "workload")
    if arguments.framework is not None:
        framework = choose(arguments.framework, FRAMEWORKS, "framework")
    rows = select(load(), workload, framework)
    if form == "json":
        return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)
    if form == "markdown":
        head = ("id", "where", "official code", "rules or paper", "ours", "effect", "see", "status")
        return markdown_table(head, map(_cells, rows))
    return "\n\n".join(_text(row) for row in rows) if rows else "no deviation matches"


def _cells(row: Deviation) -> tuple[str, ...]:
    where = f"{row.area}: {row.where}"
    return row.id, where, row.official, row.rules, row.ours, row.effect, row.basis, row.status


def _text(row: Deviation) -> str:
    lines = [f"{row.id} {row.area} ({row.where}) [{row.status}]"]
    cells = {
        "official": row.official,
        "rules": row.rules,
        "ours": row.ours,
        "effect": row.effect,
        "see": row.basis,
    }
    for name, text in cells.items():
        lines += wrap(f"  {name + ':':<10}{text}", MAX_LINE, " " * 12)
    return "\n".join(lines)
