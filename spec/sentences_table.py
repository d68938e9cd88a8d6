"""Reads the rules sentence by sentence; the format is described in :mod:`spec.sentences`."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spec.clauses import ClauseError, load_all

PACKAGE = "spec.sentences"
_FIELDS = ("section", "sentence", "clauses", "reason")


class SentenceError(ClauseError):
    """A file of sentences is wrong; the message names the file and the row."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a document that states a rule.

    Attributes:
      document: short name of the document, as in ``Source.document``.
      section: title or number of the section.
      number: position in the document, from 1.
      text: the sentence in our own words.
      clauses: ids of the clauses that execute it; empty if there is a reason.
      reason: why it cannot be executed; empty if there are clauses.
    """

    document: str
    section: str
    number: int
    text: str
    clauses: tuple[str, ...]
    reason: str


@functools.cache
def load_sentences() -> tuple[Sentence, ...]:
    """All sentences, by document in the order of file names, each in its document's order.

    Returns:
      The sentences.

    Raises:
      SentenceError: a file is wrong, or two files are of one document.
    """
    ids = load_all()
    sentences: list[Sentence] = []
    files: dict[str, str] = {}
    folder = importlib.resources.files(PACKAGE)
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".json"):
            continue
        rows = parse_sentences(file.name, file.read_text(encoding="utf-8"), ids)
        document = rows[0].document
        if document in files:
            raise SentenceError(f"{file.name}: {files[document]} has the document {document!r} too")
        files[document] = file.name
        sentences += rows
    return tuple(sentences)


def parse_sentences(name: str, text: str, ids: Container[str]) -> tuple[Sentence, ...]:
    """Reads the sentences of one document.

    Args:
      name: file name, for messages.
      text: contents, JSON.
      ids: the clause ids that exist.

    Returns:
      The sentences, at least one.

    Raises:
      SentenceError: not the format of :mod:`spec.sentences`.
    """
    try:
        parsed = json.loads(text, object_pairs_hook=_without_repetition)
    except ValueError as error:
        raise SentenceError(f"{name}: {error}") from None
    _check_fields(name, parsed, ("document", "sentences"))
    document, rows = parsed["document"], parsed["sentences"]
    _check_text(f"{name}: document", document)
    if not isinstance(rows, list) or not rows:
        raise SentenceError(f"{name}: sentences is not a list with at least one row")
    sentences = tuple(
        _sentence(f"{name}, row {number}", document, number, row, ids)
        for number, row in enumerate(rows, start=1)
    )
    first: dict[tuple[str, str], int] = {}
    for sentence in sentences:
        other = first.setdefault((sentence.section, sentence.text), sentence.number)
        if other != sentence.number:
            raise SentenceError(f"{name}, row {sentence.number}: repeats row {other}")
    return sentences


def _sentence(where: str, document: str, number: int, row: Any, ids: Container[str]) -> Sentence:
    _check_fields(where, row, _FIELDS)
    section, text, clauses, reason = (row[field] for field in _FIELDS)
    _check_text(f"{where}: section", section)
    _check_text(f"{where}: sentence", text)
    if not isinstance(clauses, list) or not all(isinstance(id, str) for id in clauses):
        raise SentenceError(f"{where}: clauses is not a list of clause ids")
    if not isinstance(reason, str) or reason != reason.strip():
        raise SentenceError(f"{where}: reason is not a text without space around it")
    if bool(clauses) == bool(reason):
        both = "both clauses and a reason" if clauses else "neither clauses nor a reason"
        raise SentenceError(f"{where}: has {both}, must have one of them")
    unknown = [id for id in clauses if id not in ids]
    if unknown:
        raise SentenceError(f"{where}: unknown clauses {', '.join(unknown)}")
    if len(set(clauses)) < len(clauses):
        raise SentenceError(f"{where}: names a clause twice")
    return Sentence(document, section, number, text, tuple(clauses), reason)


def _check_fields(where: str, value: Any, fields: Sequence[str]) -> None:
    if not isinstance(value, Mapping):
        raise SentenceError(f"{where}: is not an object with the fields {', '.join(fields)}")
    for problem, names in (
        ("unknown field", [name for name in value if name not in fields]),
        ("missing field", [name for name in fields if name not in value]),
    ):
        if names:
            raise SentenceError(f"{where}: {problem} {', '.join(names)}")


def _check_text(where: str, value: Any) -> None:
    if not isinstance(value, str) or not value or value != value.strip():
        raise SentenceError(f"{where} is not a text without space around it")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"an object has the field {', '.join(repeated)} twice")
    return dict(pairs)
