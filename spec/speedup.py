"""Speedup over a reference: a score beside the benchmark score that is easier to picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spec.clauses import Source, clause
from spec.profiles import check_time
from spec.scoring import NothingToScore

_DEFINITION = Source("Scoring semantics", "7")


@dataclass(frozen=True, slots=True)
class Speedup:
    """How much faster a submission is than a reference.

    Attributes:
      factor: geometric mean of the reference's time over the submission's; above 1 is faster.
      num_replaced: workloads on which the submission has no time, so that one stands in.
      num_replaced_reference: the same of the reference.
    """

    factor: float
    num_replaced: int
    num_replaced_reference: int

    @property
    def inverse(self) -> float:
        """The submission's time over the reference's; below 1 is faster."""
        return 1 / self.factor


@clause(
    "SCORE-16",
    """For a speedup a workload whose target was not reached, or that was never run, counts as the
    budget of the tuning ruleset plus one second.""",
    source=_DEFINITION,
)
def replaced_time(seconds: float, budget_seconds: float) -> float:
    """Returns a finite time for the mean.

    Args:
      seconds: median time of a submission, infinity without one.
      budget_seconds: what a run may use (:meth:`spec.rulesets.Ruleset.budget_seconds`).

    Raises:
      IllegalTime: the time or the budget is NaN or not positive.
    """
    check_time(seconds)
    check_time(budget_seconds)
    return seconds if seconds < math.inf else budget_seconds + 1


@clause(
    "SCORE-17",
    """The speedup over a reference is the geometric mean, over all base workloads, of the
    reference's time divided by the submission's; credit and held-out workloads do not enter.""",
    source=(_DEFINITION, Source("Rules v0.6", "Alternative scores")),
)
def speedup(
    times: Mapping[str, float], reference: Mapping[str, float], budgets: Mapping[str, float]
) -> Speedup:
    """Computes the speedup of a submission over a reference.

    Args:
      times: median seconds of the submission by workload; an absent workload is infinite.
      reference: the same of the reference.
      budgets: budget in seconds of every base workload; these are the workloads of the mean.

    Returns:
      The speedup, with the number of times that had to be replaced.

    Raises:
      NothingToScore: there are no workloads.
      IllegalTime: a time or budget is NaN or not positive.
    """
    if not budgets:
        raise NothingToScore("there are no workloads to compare")
    own = {name: times.get(name, math.inf) for name in budgets}
    other = {name: reference.get(name, math.inf) for name in budgets}
    logs = [
        math.log(replaced_time(other[name], budget) / replaced_time(own[name], budget))
        for name, budget in budgets.items()
    ]
    return Speedup(
        factor=math.exp(math.fsum(logs) / len(logs)),
        num_replaced=sum(seconds == math.inf for seconds in own.values()),
        num_replaced_reference=sum(seconds == math.inf for seconds in other.values()),
    )
