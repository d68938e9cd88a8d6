"""Decides whether our work keeps a budget beside its twin, or says that it cannot tell."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from perf_tests.interleaved import measure

CONFIDENCE = 0.99


class Verdict(StrEnum):
    """What the rounds say of the median ratio."""

    WITHIN = "within the budget"
    BEYOND = "beyond the budget"
    UNDECIDED = "undecided: the machine is too noisy"


@dataclass(frozen=True)
class Decision:
    """Ours / twin over all rounds.

    Attributes:
      ratio: median.
      low, high: bounds of the median, at ``CONFIDENCE``.
      rounds: how many were measured.
      ours, twin: median seconds of a round.
      verdict: by the bounds.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    ours: float
    twin: float
    verdict: Verdict


def bounds_of_median(values: list[float], confidence: float) -> tuple[float, float]:
    """Bounds of the median of what the values are drawn from, whatever its distribution.

    The k-th smallest value lies above the median as often as fewer than k of n fair coins show
    heads.

    Args:
      values: independent draws.
      confidence: probability that the median is between the bounds, at least.

    Returns:
      Two of the values; infinite bounds if there are too few values to say anything.
    """
    count, tail, drawn = len(values), 0.0, 0
    while drawn < count:
        tail += math.comb(count, drawn) / 2**count
        if tail > (1 - confidence) / 2:
            break
        drawn += 1
    if drawn == 0:
        return -math.inf, math.inf
    ordered = sorted(values)
    return ordered[drawn - 1], ordered[count - drawn]


def decide(
    ours: Callable[[], object],
    twin: Callable[[], object],
    budget: float,
    *,
    rounds: int = 10,
    most_rounds: int = 120,
    timer: Callable[[], float] = time.process_time,
) -> Decision:
    """Measures in turn until the bounds of the median ratio are on one side of the budget.

    Args:
      ours: does our work once.
      twin: does the twin's work once.
      budget: largest ratio ours / twin.
      rounds: measured before each look.
      most_rounds: measured before giving up.
      timer: reads the clock in seconds; by default processor time, which a busy machine moves less
        than the wall clock.

    Returns:
      The figures and the verdict.
    """
    mine: list[float] = []
    others: list[float] = []
    while True:
        pair = measure(ours, twin, rounds, timer)
        mine += pair.ours
        others += pair.twin
        ratios = [a / b for a, b in zip(mine, others, strict=True)]
        low, high = bounds_of_median(ratios, CONFIDENCE)
        verdict = Verdict.UNDECIDED
        if high <= budget:
            verdict = Verdict.WITHIN
        elif low > budget:
            verdict = Verdict.BEYOND
        if verdict is not Verdict.UNDECIDED or len(mine) >= most_rounds:
            return Decision(
                statistics.median(ratios),
                low,
                high,
                len(mine),
                statistics.median(mine),
                statistics.median(others),
                verdict,
            )
