"""``python -m spec coverage``: the sentences of the rules with their clauses or reasons, and tests.

A sentence is covered if a clause executes it and a test cites the clause. Sentences that cannot be
executed carry their reason instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spec.citations import TEST_FOLDERS, citing_tests
from spec.clauses import VERSIONS, Clause, load_all
from spec.sentences_table import Sentence, load_sentences
from spec.text import FORMATS, MAX_LINE, choose, markdown_table, wrap

SHOWN_TESTS = 3
"""Tests that text and Markdown name in a row; JSON names all of them."""

NOT_EXECUTABLE = "not executable"
_NO_TESTS_HERE = (
    f"The tests ({' and '.join(TEST_FOLDERS)}) are not installed beside this package, so the tests "
    "column says 'not installed' where a checkout names them."
)


@dataclass(frozen=True, slots=True)
class Row:
    """A sentence with the tests of its clauses.

    Attributes:
      sentence: the sentence.
      clauses: the clauses that execute it.
      tests: ``path::function`` of the tests that cite one of them, sorted; None if the tests are
        not installed.
    """

    sentence: Sentence
    clauses: tuple[Clause, ...]
    tests: tuple[str, ...] | None

    @property
    def on_submissions(self) -> bool:
        """Whether all its clauses are checked on submissions, not on harness and scorer."""
        return bool(self.clauses) and all(c.checked_on == "submission" for c in self.clauses)

    @property
    def how(self) -> str:
        """The clauses or the reason, in words."""
        if not self.clauses:
            return self.sentence.reason
        return ", ".join(
            f"{clause.id} (on submissions)" if clause.checked_on == "submission" else clause.id
            for clause in self.clauses
        )

    @property
    def tested_by(self) -> tuple[str, ...]:
        """The first tests and how many more there are, or why there is none; never empty."""
        if not self.clauses:
            return (NOT_EXECUTABLE,)
        if self.tests is None:
            return ("not installed",)
        if not self.tests:
            return ("none",)
        more = len(self.tests) - SHOWN_TESTS
        return self.tests[:SHOWN_TESTS] + ((f"and {more} more",) if more > 0 else ())


def rows(
    sentences: Iterable[Sentence],
    clauses: Mapping[str, Clause],
    tests: Mapping[str, Sequence[str]] | None,
) -> tuple[Row, ...]:
    """Joins sentences, clauses and tests.

    Args:
      sentences: the sentences.
      clauses: the registry.
      tests: tests by clause id, None if they are not installed.

    Returns:
      One row per sentence, in the same order.
    """
    return tuple(
        Row(
            sentence,
            tuple(clauses[id] for id in sentence.clauses),
            None
            if tests is None
            else tuple(sorted({test for id in sentence.clauses for test in tests.get(id, ())})),
        )
        for sentence in sentences
    )


def unreached(
    document: str, sentences: Iterable[Sentence], clauses: Mapping[str, Clause]
) -> tuple[str, ...]:
    """Clauses that name a document as their source but that none of its sentences names.

    Args:
      document: short name of the document.
      sentences: the sentences, also those of other documents.
      clauses: the registry.

    Returns:
      Clause ids, in the order of the registry.
    """
    reached = {id for s in sentences if s.document == document for id in s.clauses}
    return tuple(
        clause.id
        for clause in clauses.values()
        if clause.id not in reached and any(s.document == document for s in clause.sources)
    )


def add_command(commands: Any, options: argparse.ArgumentParser) -> None:
    """Adds ``coverage`` to the command line; see :data:`spec.__main__.COMMANDS`."""
    parser = commands.add_parser(
        "coverage", parents=[options], help="list the sentences of the rules with clauses and tests"
    )
    parser.add_argument("--document", help="only sentences of this document")
    parser.add_argument(
        "--uncovered",
        action="store_true",
        help="only sentences that no clause executes or whose clauses have no test",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> str:
    form = choose(arguments.format, FORMATS, "format")
    clauses, sentences = load_all(), load_sentences()
    tests = citing_tests()
    missing = {
        document: unreached(document, sentences, clauses)
        for document in dict.fromkeys(sentence.document for sentence in sentences)
    }
    if arguments.document is not None:
        document = choose(arguments.document, missing, "document")
        missing = {document: missing[document]}
    table = [row for row in rows(sentences, clauses, tests) if row.sentence.document in missing]
    chosen = table
    if arguments.version is not None:
        version = choose(arguments.version, VERSIONS, "ruleset version")
        chosen = [row for row in chosen if any(version in c.versions for c in row.clauses)]
    if arguments.uncovered:
        chosen = [row for row in chosen if not row.clauses or row.tests == ()]
    if form == "json":
        return json.dumps(
            {
                "tests_installed": tests is not None,
                "unreached_clauses": missing,
                "sentences": [_as_dict(row) for row in chosen],
            },
            indent=2,
        )
    head = [] if tests is not None else [_NO_TESTS_HERE]
    if not chosen:
        return "\n\n".join([*head, "no sentence matches"])
    body = _markdown(chosen) if form == "markdown" else _text(chosen)
    return "\n\n".join([*head, body, *_summary(table, chosen, missing)])


def _as_dict(row: Row) -> dict[str, Any]:
    sentence = row.sentence
    return {
        "document": sentence.document,
        "section": sentence.section,
        "number": sentence.number,
        "sentence": sentence.text,
        "clauses": [{"id": clause.id, "checked_on": clause.checked_on} for clause in row.clauses],
        "reason": sentence.reason,
        "tests": None if row.tests is None else list(row.tests),
    }


def _markdown(chosen: Sequence[Row]) -> str:
    return markdown_table(
        ("document", "section", "no.", "sentence", "clauses or reason", "tests"),
        (
            (
                row.sentence.document,
                row.sentence.section,
                str(row.sentence.number),
                row.sentence.text,
                row.how,
                ", ".join(f"`{part}`" if "::" in part else part for part in row.tested_by),
            )
            for row in chosen
        ),
    )


def _text(chosen: Sequence[Row]) -> str:
    lines: list[str] = []
    place = ("", "")
    for row in chosen:
        sentence = row.sentence
        if (sentence.document, sentence.section) != place:
            place = (sentence.document, sentence.section)
            lines += [*([""] if lines else []), f"{sentence.document}, {sentence.section}".upper()]
        number, indent = f"{sentence.number}.", " " * 5
        name = "clauses" if row.clauses else "reason"
        lines += wrap(f"{number:<5}{sentence.text}", MAX_LINE, indent)
        lines += wrap(f"{indent}{name + ':':<9}{row.how}", MAX_LINE, indent + " " * 9)
        # One line each, however long, so that a name can be copied.
        first, *others = row.tested_by
        lines.append(f"{indent}{'tests:':<9}{first}")
        lines += [f"{indent}{'':<9}{other}" for other in others]
    return "\n".join(lines)


def _summary(
    table: Sequence[Row], chosen: Sequence[Row], missing: Mapping[str, Sequence[str]]
) -> list[str]:
    """One paragraph per document, on all its sentences."""
    paragraphs = []
    for document, ids in missing.items():
        mine = [row for row in table if row.sentence.document == document]
        shown = sum(row.sentence.document == document for row in chosen)
        executed = [row for row in mine if row.clauses]
        untested = sum(row.tests == () for row in executed)
        paragraphs.append(
            f"{document}: {len(mine)} sentences"
            + (f" ({shown} of them shown)" if shown < len(mine) else "")
            + f", {len(executed)} with clauses "
            f"({sum(row.on_submissions for row in executed)} of them checked on submissions only, "
            f"{untested} without a test), {len(mine) - len(executed)} with a reason; "
            + (f"clauses of no sentence: {', '.join(ids)}." if ids else "every clause is reached.")
        )
    return paragraphs
