"""How long target setting trains, and how that relates to what submissions may use.

The targets were set once, before the first competition, and were kept when v0.6 adjusted the
submissions' budgets. So there is one target-setting budget per workload, and only its ratio to
the maximum runtime differs by version.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from spec import workloads
from spec.clauses import BrokenRule, Source, clause
from spec.target_setting import RUNTIME_FACTOR

_PAPER = Source("Dahl et al. 2023", "4.1 and 5")
_RULES = Source("Rules v0.6", "Defining target performance")
_REFERENCE_VERSION = "v0.5"


class IllegalStepTime(BrokenRule, clause="TGT-9"):
    """A step that takes no time, or a budget that is not a positive number."""


@dataclass(frozen=True, slots=True)
class TargetBudget:
    """What a target-setting run of a workload may use.

    Attributes:
      runtime_seconds: runtime budget.
      steps: the number of steps that stands for it.
      runtime_ratio: maximum runtime of a submission of the version, divided by the runtime budget.
      steps_ratio: step hint of the version, divided by the steps.
    """

    runtime_seconds: float
    steps: int
    runtime_ratio: float
    steps_ratio: float


@clause(
    "TGT-9",
    """The runtime budget of target setting is used as a number of steps, the most that fit into it;
    it is the same for all four algorithms, whose steps take nearly the same time.""",
    source=_PAPER,
)
def steps_within(runtime_seconds: float, step_seconds: float) -> int:
    """Returns how many whole steps fit into a runtime budget.

    Args:
      runtime_seconds: the budget, positive.
      step_seconds: what a step takes, positive.

    Returns:
      The largest n with n steps in at most the budget, computed without rounding.

    Raises:
      IllegalStepTime: an argument is not a positive finite number.
    """
    for value in (runtime_seconds, step_seconds):
        if not 0 < value < math.inf:
            raise IllegalStepTime(f"{value} s; a budget and a step take a positive time")
    return math.floor(Fraction(runtime_seconds) / Fraction(step_seconds))


@clause(
    "TGT-10",
    """The published targets of all versions were set with 3/4 of the paper's and v0.5's maximum
    runtime, so that submissions of these versions have 4/3 of it; v0.6 moved the maximum runtimes
    workload by workload and kept the targets, so that its submissions have from 2/3 to 7/5.""",
    source=(_RULES, _PAPER, Source("Scoring semantics", "1 and 6")),
)
def target_budget(workload: str, version: str = "v0.6") -> TargetBudget:
    """Returns the budget that the published targets of a workload were set with.

    The step hint of v0.5 was computed from the steps, times 4/3 and rounded down; rounding 3/4 of
    it *up* gives the steps back (8000 for criteo1tb, whose hint is 10666). Runs that are made
    anew use :func:`spec.target_setting.target_setting_steps` of their own hint.

    Args:
      workload: name of a workload; a variant has the budget of its base workload.
      version: ruleset version of the submissions to compare with.

    Returns:
      The budget.

    Raises:
      spec.workloads.UnknownWorkload: no workload has this name.
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    origin = workloads.get(workload, _REFERENCE_VERSION)
    row = workloads.get(workload, version)
    seconds = origin.max_allowed_runtime_sec * RUNTIME_FACTOR
    steps = math.ceil(origin.step_hint * Fraction(RUNTIME_FACTOR))
    return TargetBudget(
        runtime_seconds=seconds,
        steps=steps,
        runtime_ratio=row.max_allowed_runtime_sec / seconds,
        steps_ratio=row.step_hint / steps,
    )
