"""Speedup over a reference, by example."""

from __future__ import annotations

import math

import pytest

from spec.profiles import IllegalTime
from spec.scoring import NothingToScore
from spec.speedup import replaced_time, speedup

INF = math.inf


@pytest.mark.clause("SCORE-16")
def test_a_missing_time_is_the_budget_and_one_second() -> None:
    assert replaced_time(INF, 100.0) == 101.0
    assert replaced_time(99.0, 100.0) == 99.0
    for seconds, budget in ((math.nan, 1.0), (0.0, 1.0), (INF, 0.0), (1.0, math.nan)):
        with pytest.raises(IllegalTime):
            replaced_time(seconds, budget)


@pytest.mark.clause("SCORE-17")
def test_twice_and_eight_times_faster_are_four_times_in_the_mean() -> None:
    result = speedup({"a": 10.0, "b": 5.0}, {"a": 20.0, "b": 40.0}, {"a": 100.0, "b": 100.0})
    assert result.factor == pytest.approx(4.0)
    assert result.inverse == pytest.approx(0.25)
    assert (result.num_replaced, result.num_replaced_reference) == (0, 0)


@pytest.mark.clause("SCORE-16", "SCORE-17")
def test_replaced_times_are_counted_on_either_side() -> None:
    budgets = {"a": 99.0, "b": 199.0, "c": 7.0}
    result = speedup({"a": INF, "extra": 1.0}, {"a": 50.0, "c": INF}, budgets)
    # a: 50/100, b: 200/200, c: 8/8.
    assert result.factor == pytest.approx(0.5 ** (1 / 3))
    assert (result.num_replaced, result.num_replaced_reference) == (3, 2)


@pytest.mark.clause("SCORE-17")
def test_without_workloads_there_is_no_speedup() -> None:
    with pytest.raises(NothingToScore):
        speedup({"a": 1.0}, {"a": 1.0}, {})
