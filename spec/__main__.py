"""The rule book on the command line: ``python -m spec list`` and ``python -m spec show ID``."""

from __future__ import annotations

import argparse
import difflib
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from spec.clauses import CHAPTERS, VERSIONS, Clause, ClauseError, load_all

FORMATS = ("text", "markdown", "json")
_MAX_LINE = 100


class _UsageError(Exception):
    """An argument names something that does not exist; the message is one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


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
    except (_UsageError, ClauseError) as error:
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
    parser = _Parser(
        prog="python -m spec",
        description="The rules of the benchmark: every clause with its source and its code.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    options = _Parser(add_help=False)
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
    return parser


def _choose(value: str, known: Iterable[str], what: str) -> str:
    """Returns the element of ``known`` that equals ``value`` but for case."""
    choices = list(known)
    by_fold = {choice.casefold(): choice for choice in choices}
    if value.casefold() in by_fold:
        return by_fold[value.casefold()]
    near = difflib.get_close_matches(value.casefold(), by_fold, n=3)
    hint = (
        f"did you mean {' or '.join(by_fold[name] for name in near)}?"
        if near
        else f"known: {', '.join(choices)}"
    )
    raise _UsageError(f"unknown {what} {value!r}; {hint}")


def _list(arguments: argparse.Namespace) -> str:
    form = _choose(arguments.format, FORMATS, "format")
    clauses = list(load_all().values())
    if arguments.version is not None:
        version = _choose(arguments.version, VERSIONS, "ruleset version")
        clauses = [clause for clause in clauses if version in clause.versions]
    if arguments.chapter is not None:
        chapter = _choose(arguments.chapter, CHAPTERS, "chapter")
        clauses = [clause for clause in clauses if clause.chapter == chapter]
    if form == "json":
        return json.dumps([_as_dict(clause) for clause in clauses], indent=2)
    return _list_markdown(clauses) if form == "markdown" else _list_text(clauses)


def _show(arguments: argparse.Namespace) -> str:
    form = _choose(arguments.format, FORMATS, "format")
    clauses = load_all()
    clause = clauses[_choose(arguments.id, clauses, "clause")]
    if arguments.version is not None:
        version = _choose(arguments.version, VERSIONS, "ruleset version")
        if version not in clause.versions:
            raise _UsageError(
                f"clause {clause.id} does not hold in {version}; it holds in "
                f"{', '.join(clause.versions)}"
            )
    if form == "json":
        return json.dumps(_as_dict(clause), indent=2)
    return _show_markdown(clause) if form == "markdown" else _show_text(clause)


def _as_dict(clause: Clause) -> dict[str, Any]:
    return {
        "id": clause.id,
        "chapter": CHAPTERS[clause.chapter],
        "statement": clause.statement,
        "sources": [
            {"document": source.document, "section": source.section} for source in clause.sources
        ],
        "versions": list(clause.versions),
        "implementation": clause.implementation,
    }


def _versions(clause: Clause) -> str:
    return "all versions" if clause.versions == VERSIONS else ", ".join(clause.versions)


def _sources(clause: Clause) -> str:
    return "; ".join(str(source) for source in clause.sources)


def _list_text(clauses: Sequence[Clause]) -> str:
    """One line per clause, wrapped only on a terminal so that lines can be searched."""
    width = min(shutil.get_terminal_size().columns, _MAX_LINE) if sys.stdout.isatty() else None
    lines: list[str] = []
    chapter = ""
    for clause in clauses:
        if clause.chapter != chapter:
            chapter = clause.chapter
            lines += [*([""] if lines else []), CHAPTERS[chapter].upper()]
        note = "" if clause.versions == VERSIONS else f" [{', '.join(clause.versions)}]"
        line = f"{clause.id:<9}{clause.statement}{note}"
        lines += [line] if width is None else _wrap(line, width, " " * 9)
    return "\n".join(lines) if lines else "no clause matches"


def _wrap(text: str, width: int, indent: str) -> list[str]:
    """Wraps between words only, so that paths and names stay whole."""
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _show_text(clause: Clause) -> str:
    statement = "\n".join(_wrap(f"  {clause.statement}", _MAX_LINE, "  "))
    sources = "\n".join(f"            {source}" for source in clause.sources).lstrip()
    return (
        f"{clause.id} ({CHAPTERS[clause.chapter]})\n{statement}\n"
        f"  source:   {sources}\n"
        f"  versions: {_versions(clause)}\n"
        f"  code:     {clause.implementation}"
    )


def _escape(text: str) -> str:
    """Protects what Markdown would read as a table cell or as HTML, outside of code spans."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("_", r"\_") for part in parts[::2]]
    return "`".join(parts).replace("|", r"\|")


def _list_markdown(clauses: Sequence[Clause]) -> str:
    rows = [
        f"| {clause.id} | {_escape(clause.statement)} | {_escape(_sources(clause))} "
        f"| {_versions(clause)} | `{clause.implementation}` |"
        for clause in clauses
    ]
    head = "| clause | rule | source | versions | code |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *rows])


def _show_markdown(clause: Clause) -> str:
    sources = "\n".join(f"- source: {_escape(str(source))}" for source in clause.sources)
    return (
        f"### {clause.id}\n\n{_escape(clause.statement)}\n\n{sources}\n"
        f"- versions: {_versions(clause)}\n- code: `{clause.implementation}`"
    )


if __name__ == "__main__":
    sys.exit(main())
