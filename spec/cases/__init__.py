"""Test vectors: small cases of the rules with expected results, as data in JSON.

One file per area lies beside this module. A case says what is *given*, what happens *when*, and
what to *expect*; the expected values were derived by hand from the documents, never by running the
code of this package. ``README.md`` describes the format and every operation. Nothing is read
before it is asked for.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources
from types import MappingProxyType
from typing import Any

AREAS: tuple[str, ...] = (
    "timing",
    "evaluation",
    "tuning",
    "scoring",
    "held_out",
    "target_setting",
)
"""Areas, in reading order; each is a file ``<area>.json``."""

CHAPTERS: tuple[str, ...] = ("TIM", "EVAL", "TUNE", "SCORE", "TGT", "HELD")
"""Chapters of which every clause has a case."""

_NOT_FINITE: Mapping[str, float] = MappingProxyType(
    {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
)


class Verdict(StrEnum):
    """What a rule says to the situation of a case."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Case:
    """One test vector.

    Attributes:
      id: unique, ``<area>/<name>``.
      title: what the case shows, one sentence.
      clauses: ids of the clauses it is evidence for.
      operation: name of the function it asks for, ``<area>.<function>``.
      verdict: whether the rule lets the situation pass. Rejected is what it refuses with an error
        and also what does not count: no hit, no evaluation, an infinite time.
      given: arguments that describe the standing conditions.
      when: arguments that describe what happens.
      expect: the result, or ``{"error": <kind>}``.
      near: of a rejected case, the id of an accepted one that differs from it by as little as
        possible.
      why: the derivation, where it is not obvious.
      tolerance: relative error that a number of the result may have; 0 asks for equality.
    """

    id: str
    title: str
    clauses: tuple[str, ...]
    operation: str
    verdict: Verdict
    given: Mapping[str, Any] = field(hash=False)
    when: Mapping[str, Any] = field(hash=False)
    expect: Mapping[str, Any] = field(hash=False)
    near: str | None = None
    why: str = ""
    tolerance: float = 0.0

    @property
    def area(self) -> str:
        """First part of the id, one of :data:`AREAS`."""
        return self.id.split("/", 1)[0]

    @property
    def error(self) -> str | None:
        """The kind of error that is expected, None if a result is."""
        return self.expect.get("error")


def decode(value: Any) -> Any:
    """Replaces the strings ``inf``, ``-inf`` and ``nan`` of parsed JSON by the numbers.

    Args:
      value: what ``json.loads`` returned.

    Returns:
      The same with floats in place of these strings, at any depth.
    """
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, list):
        return [decode(element) for element in value]
    if isinstance(value, dict):
        return {key: decode(element) for key, element in value.items()}
    return value


def encode(value: Any) -> Any:
    """The inverse of :func:`decode`: JSON itself has no infinities and no NaN.

    Args:
      value: numbers, strings, booleans, None, and lists, tuples and mappings of these.

    Returns:
      What ``json.dumps(..., allow_nan=False)`` accepts.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, (list, tuple)):
        return [encode(element) for element in value]
    if isinstance(value, Mapping):
        return {key: encode(element) for key, element in value.items()}
    return value


def text(name: str) -> str:
    """Returns the content of a file of this package, for example ``schema.json``."""
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


@functools.cache
def raw(area: str) -> Mapping[str, Any]:
    """Returns the parsed file of an area, not decoded; do not change it."""
    content: Mapping[str, Any] = json.loads(text(f"{area}.json"))
    return content


@functools.cache
def load(area: str) -> tuple[Case, ...]:
    """Returns the cases of an area, in the order of its file."""
    return tuple(_case(entry) for entry in raw(area)["cases"])


def load_all() -> tuple[Case, ...]:
    """Returns the cases of all areas, in reading order."""
    return tuple(case for area in AREAS for case in load(area))


def one_verdict() -> Mapping[str, str]:
    """Returns the clauses that have cases of one verdict only, each with the reason why."""
    return {clause: reason for area in AREAS for clause, reason in raw(area)["one_verdict"].items()}


def _case(entry: Mapping[str, Any]) -> Case:
    return Case(
        **{
            **entry,
            "clauses": tuple(entry["clauses"]),
            "verdict": Verdict(entry["verdict"]),
            **{part: decode(entry[part]) for part in ("given", "when", "expect")},
        }
    )
