"""What a run says: a table, and what differs from the list of accepted survivors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from conformance_tests.mutation.modules import Place, Survivor


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the mutants of a module.

    Attributes:
      module: its name.
      num_mutants: how many were tried.
      survivors: those that all tests passed with.
      seconds: how long it took.
    """

    module: str
    num_mutants: int
    survivors: tuple[Place, ...]
    seconds: float


def problems(results: Iterable[Result], accepted: Iterable[Survivor]) -> list[str]:
    """What differs between the survivors of a run and the accepted ones of the same modules."""
    results = list(results)
    survived = {place for result in results for place in result.survivors}
    ran = {result.module for result in results}
    listed = {survivor.place for survivor in accepted if survivor.place.module in ran}
    return [
        *(f"not in the list: {_as_json(place)}" for place in sorted(survived - listed, key=str)),
        *(f"in the list, but no survivor: {place}" for place in sorted(listed - survived, key=str)),
    ]


def _as_json(place: Place) -> str:
    row = {"module": place.module, "function": place.function, "diff": place.diff}
    return json.dumps({**row, "kind": "", "reason": ""}, indent=2, ensure_ascii=False)


def table(results: Iterable[Result]) -> list[str]:
    """Lines of the table: module, mutants, killed, survived, seconds."""
    rows: list[tuple[Any, ...]] = [("module", "mutants", "killed", "survived", "seconds")]
    for result in results:
        survived = len(result.survivors)
        killed = result.num_mutants - survived
        rows.append((result.module, result.num_mutants, killed, survived, round(result.seconds)))
    return [f"{row[0]:18}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
