"""The runner of the test vectors: what counts as agreement, and how disagreement is told."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import pytest

from spec import cases
from spec.cases import Case
from spec.cases.runner import Failure, Refused, check, matches, run_case

ALL = cases.load_all()
TIME_REMAINS = next(case for case in ALL if case.id == "evaluation/time-remains-just-below")
REFUSED = next(case for case in ALL if case.id == "timing/one-nanosecond-back")


def implementation(function: Any) -> SimpleNamespace:
    return SimpleNamespace(evaluation_time_remains=function, timing_accounts=function)


def test_an_implementation_of_a_strangers_own_passes() -> None:
    class Mine:
        @staticmethod
        def evaluation_time_remains(*, budget_seconds: float, submission_seconds: float) -> Any:
            return {"time_remains": submission_seconds < budget_seconds, "more": 1}

        @staticmethod
        def timing_accounts(*, start: Any, events: Any) -> Any:
            raise Refused("TIM-4", "the clock went back")

    assert run_case(TIME_REMAINS, Mine) is None
    assert run_case(REFUSED, Mine()) is None


def crash(**arguments: Any) -> Any:
    raise ZeroDivisionError("oops")


def refuse(**arguments: Any) -> Any:
    raise Refused("TIM-1")


@pytest.mark.parametrize(
    ("function", "case", "message"),
    [
        (lambda **a: {"time_remains": False}, TIME_REMAINS, "to be True, got False"),
        (lambda **a: {"time_remains": 1}, TIME_REMAINS, "to be True, got 1"),
        (lambda **a: {}, TIME_REMAINS, "time_remains to be True, got nothing"),
        (lambda **a: {"submission_seconds": 0.0}, REFUSED, r"expected an error \[TIM-4\], got"),
        (refuse, REFUSED, r"expected an error \[TIM-4\], refused: breaks TIM-1"),
        (refuse, TIME_REMAINS, "refused: breaks TIM-1"),
        (crash, TIME_REMAINS, "failed: ZeroDivisionError: oops"),
        (crash, REFUSED, "failed: ZeroDivisionError: oops"),
        (lambda: {}, TIME_REMAINS, "failed: TypeError"),
    ],
)
def test_a_wrong_result_is_told_in_one_sentence(function: Any, case: Case, message: str) -> None:
    failure = run_case(case, implementation(function))
    assert isinstance(failure, Failure)
    assert failure.case == case.id
    assert re.search(message, failure.message)
    assert str(failure) == f"{case.id}: {failure.message}"


def test_check_lists_the_failures_in_order() -> None:
    empty = SimpleNamespace()
    assert [failure.case for failure in check(empty)] == [case.id for case in ALL]
    assert check(empty, [TIME_REMAINS]) == [
        Failure(TIME_REMAINS.id, "the implementation has no evaluation.time_remains")
    ]


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "agree"),
    [
        (2, 2.0, 0.0, True),
        (1.0, True, 0.0, False),
        (math.nan, math.nan, 0.0, True),
        (math.nan, 1.0, 0.5, False),
        (math.inf, math.inf, 0.0, True),
        (math.inf, 1e308, 0.5, False),
        (0.3, 0.1 + 0.2, 0.0, False),
        (0.3, 0.1 + 0.2, 1e-12, True),
        (0.0, 1e-300, 1e-12, False),
        ([1, 2], (1, 2), 0.0, True),
        ([1, 2], [1], 0.0, False),
        ([1, 2], "12", 0.0, False),
        ({"a": 1}, {"a": 1, "b": 2}, 0.0, False),
        ({"a": 1}, [1], 0.0, False),
        (None, None, 0.0, True),
        ("a", "b", 0.0, False),
    ],
)
def test_results_are_compared_as_the_readme_says(
    expected: Any, found: Any, tolerance: float, agree: bool
) -> None:
    assert matches(expected, found, tolerance) is agree


def test_lists_can_be_compared_in_any_order() -> None:
    assert matches([1, 2, 2], [2, 1, 2], any_order=True)
    assert not matches([1, 2, 2], [2, 1, 1], any_order=True)
    assert not matches([1, 2], [2, 1])
