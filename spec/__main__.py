"""The rule book on the command line: ``python -m spec list`` and ``python -m spec show ID``."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from spec.clauses import CHAPTERS, VERSIONS, Clause, ClauseError, load_all
from spec.text import FORMATS, MAX_LINE, Parser, UsageError, choose, escape, wrap
from spec.vectors import examples_json, examples_markdown, examples_text

COMMANDS: tuple[str, ...] = (
    "spec.coverage",
    "spec.diff_command",
    "spec.deviations",
    "spec.book",
    "spec.vectors",
)
"""Modules that add a command of their own: ``add_command(commands, options)``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      argv: arguments, default those of the process.

    Returns:
      Exit status: 0, or 2 for a wrong argument or a wrongly declared clause.
    """
    arguments = _parser().parse_args(argv)
    try:
        output = arguments.run(arguments)
    except (UsageError, ClauseError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without Unicode
    try:
        print(output, flush=True)
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Without this the interpreter reports a second
        # failure when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m spec",
        description="The rules of the benchmark: every clause with its source and its code.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    options = Parser(add_help=False)
    options.add_argument("--format", default="text", help=f"one of {', '.join(FORMATS)}")
    options.add_argument(
        "--version", help=f"only clauses of this ruleset version ({', '.join(VERSIONS)})"
    )
    listing = commands.add_parser("list", parents=[options], help="list the clauses")
    listing.add_argument("--chapter", help=f"only clauses of this chapter ({', '.join(CHAPTERS)})")
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", parents=[options], help="show one clause")
    show.add_argument("id", metavar="ID", help="clause id, such as TIM-3")
    show.set_defaults(run=_show)
    for module in COMMANDS:
        importlib.import_module(module).add_command(commands, options)
    return parser


def _list(arguments: argparse.Namespace) -> str:
    form = choose(arguments.format, FORMATS, "format")
    clauses = list(load_all().values())
    if arguments.version is not None:
        version = choose(arguments.version, VERSIONS, "ruleset version")
        clauses = [clause for clause in clauses if version in clause.versions]
    if arguments.chapter is not None:
        chapter = choose(arguments.chapter, CHAPTERS, "chapter")
        clauses = [clause for clause in clauses if clause.chapter == chapter]
    if form == "json":
        return json.dumps([_as_dict(clause) for clause in clauses], indent=2)
    return _list_markdown(clauses) if form == "markdown" else _list_text(clauses)


def _show(arguments: argparse.Namespace) -> str:
    form = choose(arguments.format, FORMATS, "format")
    clauses = load_all()
    clause = clauses[choose(arguments.id, clauses, "clause")]
    if arguments.version is not None:
        version = choose(arguments.version, VERSIONS, "ruleset version")
        if version not in clause.versions:
            raise UsageError(
                f"clause {clause.id} does not hold in {version}; it holds in "
                f"{', '.join(clause.versions)}"
            )
    if form == "json":
        return json.dumps({**_as_dict(clause), "cases": examples_json(clause.id)}, indent=2)
    if form == "markdown":
        return "\n\n".join(filter(None, (_show_markdown(clause), examples_markdown(clause.id))))
    return "\n".join(filter(None, (_show_text(clause), examples_text(clause.id))))


def _as_dict(clause: Clause) -> dict[str, Any]:
    return {
        "id": clause.id,
        "chapter": CHAPTERS[clause.chapter],
        "statement": clause.statement,
        "sources": [
            {"document": source.document, "section": source.section} for source in clause.sources
        ],
        "versions": list(clause.versions),
        "checked_on": clause.checked_on,
        "implementation": clause.implementation,
    }


def _versions(clause: Clause) -> str:
    return "all versions" if clause.versions == VERSIONS else ", ".join(clause.versions)


def _sources(clause: Clause) -> str:
    return "; ".join(str(source) for source in clause.sources)


def _list_text(clauses: Sequence[Clause]) -> str:
    """One line per clause, wrapped only on a terminal so that lines can be searched."""
    width = min(shutil.get_terminal_size().columns, MAX_LINE) if sys.stdout.isatty() else None
    lines: list[str] = []
    chapter = ""
    for clause in clauses:
        if clause.chapter != chapter:
            chapter = clause.chapter
            lines += [*([""] if lines else []), CHAPTERS[chapter].upper()]
        note = "" if clause.versions == VERSIONS else f" [{', '.join(clause.versions)}]"
        line = f"{clause.id:<9}{clause.statement}{note}"
        lines += [line] if width is None else wrap(line, width, " " * 9)
    return "\n".join(lines) if lines else "no clause matches"


def _show_text(clause: Clause) -> str:
    statement = "\n".join(wrap(f"  {clause.statement}", MAX_LINE, "  "))
    sources = "\n".join(f"            {source}" for source in clause.sources).lstrip()
    return (
        f"{clause.id} ({CHAPTERS[clause.chapter]})\n{statement}\n"
        f"  source:   {sources}\n"
        f"  versions: {_versions(clause)}\n"
        f"  code:     {clause.implementation}"
    )


def _list_markdown(clauses: Sequence[Clause]) -> str:
    rows = [
        f"| {clause.id} | {escape(clause.statement)} | {escape(_sources(clause))} "
        f"| {_versions(clause)} | `{clause.implementation}` |"
        for clause in clauses
    ]
    head = "| clause | rule | source | versions | code |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *rows])


def _show_markdown(clause: Clause) -> str:
    sources = "\n".join(f"- source: {escape(str(source))}" for source in clause.sources)
    return (
        f"### {clause.id}\n\n{escape(clause.statement)}\n\n{sources}\n"
        f"- versions: {_versions(clause)}\n- code: `{clause.implementation}`"
    )


if __name__ == "__main__":
    sys.exit(main())
