"""The clause registry: every rule of the benchmark has an id, a statement, a source and a version.

A clause is declared next to the code that executes it, by a decorator::

    @clause("TIM-1", "Every second between two readings belongs to one account.",
            source=Source("Decisions", "3"))
    def charge(...): ...

or, for a rule that is a table or a constant, by :func:`rule`. Tests cite clauses with
``@pytest.mark.clause("TIM-1")``; ``nox -s clauses`` fails on a clause that no test cites.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

VERSIONS: tuple[str, ...] = ("paper2023", "v0.5", "v0.6")
"""Ruleset versions, oldest first."""

CHECKED_ON: tuple[str, ...] = ("harness", "submission")
"""Harness and scorer execute a clause, or the conformance tests check it on a submission."""

CHAPTERS: Mapping[str, str] = MappingProxyType(
    {
        "RULE": "rulesets",
        "WORK": "workloads",
        "SUB": "submission API",
        "TUNE": "tuning",
        "TIM": "timing",
        "EVAL": "evaluation",
        "DROP": "dropout",
        "REC": "records",
        "AUDIT": "audit of logs",
        "SCORE": "scoring",
        "TGT": "target setting",
        "HELD": "held-out workloads",
        "VALID": "validity of a submission",
        "DATA": "data",
        "HARD": "hardware",
        "VERS": "versions",
        "COST": "costs",
    }
)
"""Chapter titles by the prefix of their clause ids, in reading order."""

_ID = re.compile(r"([A-Z]{3,5})-[1-9][0-9]*")
_T = TypeVar("_T", bound=Callable[..., Any])


class ClauseError(ValueError):
    """A clause is declared wrongly: malformed id, id used twice, or unknown version."""


class BrokenRule(ValueError):
    """A rule is broken. Every rule that a caller can break has a class of its own::

        class ClockWentBackwards(BrokenRule, clause="TIM-4"): ...

    Attributes:
      clause: id of the rule, which the message ends with; empty only for base classes.
    """

    clause: ClassVar[str] = ""

    def __init_subclass__(cls, clause: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if clause:
            cls.clause = clause

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} [{self.clause}]" if self.clause else message


class UnknownVersion(BrokenRule, clause="RULE-10"):
    """A ruleset version that does not exist."""


def check_version(version: str) -> str:
    """Returns ``version`` if it is one of :data:`VERSIONS`.

    Raises:
      UnknownVersion: it is not; the message lists the versions.
    """
    if version not in VERSIONS:
        raise UnknownVersion(f"unknown ruleset version {version!r}; known: {', '.join(VERSIONS)}")
    return version


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rule is written.

    Attributes:
      document: short name of the document, for example ``Rules v0.6``, ``Dahl et al. 2023``,
        ``Decisions`` (our side where documents disagree) or ``Harness contract``.
      section: section title or number in it.
    """

    document: str
    section: str

    def __str__(self) -> str:
        return f"{self.document}, {self.section}"


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule.

    Attributes:
      id: unique, ``<CHAPTER>-<number>``, for example ``TIM-3``.
      statement: the rule in one sentence of our own words.
      sources: where it is written; at least one.
      versions: the ruleset versions that it holds in, a subset of :data:`VERSIONS`.
      implementation: dotted name of the function, class or table that is the rule.
      checked_on: what is checked against it, one of :data:`CHECKED_ON`.
    """

    id: str
    statement: str
    sources: tuple[Source, ...]
    versions: tuple[str, ...]
    implementation: str
    checked_on: str = "harness"

    @property
    def chapter(self) -> str:
        """Prefix of the id, a key of :data:`CHAPTERS`."""
        return self.id.rsplit("-", 1)[0]


_REGISTRY: dict[str, Clause] = {}


def rule(
    id: str,
    statement: str,
    *,
    source: Source | tuple[Source, ...],
    implementation: str,
    versions: tuple[str, ...] = VERSIONS,
    checked_on: str = "harness",
) -> Clause:
    """Declares a clause whose executable form is a table or a constant.

    Args:
      id: see :class:`Clause`.
      statement: one sentence.
      source: one or several sources.
      implementation: dotted name, for example ``spec.rulesets.V0_6``.
      versions: ruleset versions.
      checked_on: see :class:`Clause`.

    Returns:
      The registered clause.

    Raises:
      ClauseError: malformed or duplicate id, unknown chapter, no source, or a version that does
        not exist, or ``checked_on`` is unknown.
    """
    sources = (source,) if isinstance(source, Source) else tuple(source)
    if not (match := _ID.fullmatch(id)):
        raise ClauseError(f"clause id {id!r} is not of the form CHAPTER-number, such as TIM-3")
    if match[1] not in CHAPTERS:
        raise ClauseError(f"clause {id}: unknown chapter, known: {', '.join(CHAPTERS)}")
    if not sources:
        raise ClauseError(f"clause {id} names no source")
    unknown = [v for v in versions if v not in VERSIONS]
    if unknown or not versions:
        raise ClauseError(f"clause {id}: unknown ruleset versions {unknown}, known: {VERSIONS}")
    if checked_on not in CHECKED_ON:
        raise ClauseError(f"clause {id}: checked_on is {checked_on!r}, known: {CHECKED_ON}")
    new = Clause(
        id, " ".join(statement.split()), sources, tuple(versions), implementation, checked_on
    )
    old = _REGISTRY.get(id)
    if old is not None and old.implementation != implementation:
        raise ClauseError(f"clause id {id} is used by {old.implementation} and by {implementation}")
    if old is not None and old != new:
        raise ClauseError(
            f"clause {id} is declared twice in {implementation}, with different texts"
        )
    _REGISTRY[id] = new
    return new


def clause(
    id: str,
    statement: str,
    *,
    source: Source | tuple[Source, ...],
    versions: tuple[str, ...] = VERSIONS,
    checked_on: str = "harness",
) -> Callable[[_T], _T]:
    """Declares the decorated function or class to be the executable form of a clause.

    Args and Raises: see :func:`rule`. The decorated object is returned unchanged; several
    clauses may decorate one function.
    """

    def register(implementation: _T) -> _T:
        name = f"{implementation.__module__}.{implementation.__qualname__}"
        rule(
            id,
            statement,
            source=source,
            versions=versions,
            implementation=name,
            checked_on=checked_on,
        )
        return implementation

    return register


def load_all() -> Mapping[str, Clause]:
    """Imports every module of ``spec`` and returns all clauses, in reading order.

    Raises:
      ClauseError: some declaration is wrong (see :func:`rule`).
    """
    package = importlib.import_module("spec")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "__main__":
            importlib.import_module(f"spec.{module.name}")
    return dict(sorted(_REGISTRY.items(), key=lambda item: _order(item[0])))


def _order(id: str) -> tuple[int, int]:
    chapter, number = id.rsplit("-", 1)
    return list(CHAPTERS).index(chapter), int(number)
