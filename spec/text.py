"""Text of the command line: choices, wrapping, escaping, and errors of usage."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Iterable, Sequence
from typing import NoReturn

FORMATS = ("text", "markdown", "json")
MAX_LINE = 100


class UsageError(Exception):
    """An argument names something that does not exist; the message is one sentence."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line."""

    def error(self, message: str) -> NoReturn:
        """Exits with status 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def choose(value: str, known: Iterable[str], what: str) -> str:
    """Returns the element of ``known`` that equals ``value`` but for case.

    Raises:
      UsageError: there is none; the message names near ones.
    """
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
    raise UsageError(f"unknown {what} {value!r}; {hint}")


def wrap(text: str, width: int = MAX_LINE, indent: str = "") -> list[str]:
    """Wraps between words only, so that paths and names stay whole."""
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def escape(text: str) -> str:
    """Protects what Markdown would read as a table cell or as HTML, outside of code spans."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("_", r"\_") for part in parts[::2]]
    return "`".join(parts).replace("|", r"\|")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; the cells are escaped."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join(lines + [f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows])
