"""Runs test vectors against an implementation of their operations."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spec.cases import Case, load_all
from spec.clauses import BrokenRule

_ANY_ORDER = "_in_any_order"


class Refused(Exception):
    """An implementation refuses what a case asks for.

    Implementations other than ours raise it where a case expects an error.

    Attributes:
      clause: id of the clause that is broken, as the cases name it.
    """

    def __init__(self, clause: str, message: str = "") -> None:
        super().__init__(message or f"breaks {clause}")
        self.clause = clause


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that an implementation does not satisfy.

    Attributes:
      case: id of the case.
      message: what was expected and what came, in one sentence.
    """

    case: str
    message: str

    def __str__(self) -> str:
        return f"{self.case}: {self.message}"


def run_case(case: Case, implementation: Any = None) -> Failure | None:
    """Runs one case.

    Args:
      case: the case.
      implementation: an object with a function per operation, whose name is that of the operation
        with an underscore for the dot. Each takes the arguments of ``given`` and ``when`` by name
        and returns a mapping that has at least the keys of ``expect``, or raises
        :class:`Refused` (or :class:`spec.clauses.BrokenRule`). None stands for the rules of
        this package.

    Returns:
      None if the case holds, else what is wrong.
    """
    if implementation is None:
        implementation = importlib.import_module("spec.cases.operations")
    operation = getattr(implementation, case.operation.replace(".", "_"), None)
    if operation is None:
        return Failure(case.id, f"the implementation has no {case.operation}")
    try:
        result = operation(**case.given, **case.when)
    except (Refused, BrokenRule) as refusal:
        if case.error == refusal.clause:
            return None
        return Failure(case.id, f"expected {_expected(case)}, refused: {refusal}")
    except Exception as error:
        return Failure(
            case.id, f"expected {_expected(case)}, failed: {type(error).__name__}: {error}"
        )
    if case.error is not None:
        return Failure(case.id, f"expected {_expected(case)}, got {result}")
    for key, value in case.expect.items():
        found = result.get(key.removesuffix(_ANY_ORDER), "nothing")
        if not matches(value, found, case.tolerance, any_order=key.endswith(_ANY_ORDER)):
            return Failure(case.id, f"expected {key} to be {value}, got {found}")
    return None


def check(implementation: Any = None, cases: Iterable[Case] | None = None) -> list[Failure]:
    """Runs cases against an implementation.

    Args:
      implementation: see :func:`run_case`.
      cases: default all.

    Returns:
      The cases that do not hold, in order; empty if the implementation is right.
    """
    results = (run_case(case, implementation) for case in (load_all() if cases is None else cases))
    return [failure for failure in results if failure is not None]


def matches(expected: Any, found: Any, tolerance: float = 0.0, *, any_order: bool = False) -> bool:
    """Compares a result with what is expected.

    Numbers are equal if they are the same number (2 and 2.0 are), both NaN, or finite and within
    the tolerance; true and false are no numbers. Lists and mappings are compared by element.

    Args:
      expected: from the case.
      found: from the implementation.
      tolerance: relative error of finite numbers.
      any_order: the elements of a list may come in another order.

    Returns:
      True if they agree.
    """
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        if math.isnan(expected) or math.isnan(found):
            return math.isnan(expected) and math.isnan(found)
        return expected == found or math.isclose(expected, found, rel_tol=tolerance, abs_tol=0.0)
    if isinstance(expected, Mapping):
        return (
            isinstance(found, Mapping)
            and expected.keys() == found.keys()
            and all(matches(value, found[key], tolerance) for key, value in expected.items())
        )
    if isinstance(expected, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(expected) != len(found):
            return False
        if any_order:
            return _same_elements(list(expected), list(found), tolerance)
        return all(matches(a, b, tolerance) for a, b in zip(expected, found, strict=True))
    return bool(expected == found)


def _same_elements(expected: list[Any], found: list[Any], tolerance: float) -> bool:
    for element in expected:
        for index, candidate in enumerate(found):
            if matches(element, candidate, tolerance):
                del found[index]
                break
        else:
            return False
    return True


def _expected(case: Case) -> str:
    return f"an error [{case.error}]" if case.error else str(dict(case.expect))
