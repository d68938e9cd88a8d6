"""Times two pieces of work in turn, so that both meet the same noise of the machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Seconds of every round of two pieces of work, measured in turn.

    Attributes:
      ours: seconds per round.
      twin: seconds per round.
    """

    ours: tuple[float, ...]
    twin: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Median over the rounds of ours minus twin, in seconds."""
        return statistics.median(a - b for a, b in zip(self.ours, self.twin, strict=True))

    @property
    def ratio(self) -> float:
        """Median over the rounds of twin / ours: how many times faster ours is."""
        return statistics.median(b / a for a, b in zip(self.ours, self.twin, strict=True))


def measure(
    ours: Callable[[], object],
    twin: Callable[[], object],
    rounds: int,
    timer: Callable[[], float] = time.perf_counter,
) -> Pair:
    """Runs both in turn, the order alternating, after one round of each to warm up.

    Args:
      ours: does our work once.
      twin: does the twin's work once.
      rounds: measured rounds.
      timer: reads the clock in seconds; the wall clock by default.

    Returns:
      The times.
    """
    ours()
    twin()
    seconds: dict[str, list[float]] = {"ours": [], "twin": []}
    for number in range(rounds):
        order = [("ours", ours), ("twin", twin)]
        for name, work in order if number % 2 == 0 else reversed(order):
            start = timer()
            work()
            seconds[name].append(timer() - start)
    return Pair(tuple(seconds["ours"]), tuple(seconds["twin"]))
