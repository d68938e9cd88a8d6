"""How the makers of the benchmark tested a candidate variant of a base workload.

Both rules guided a human decision; they accept or reject nothing by themselves. The same NadamW
settings are run on the base workload and on the candidate, and one validation value per setting
and workload is compared here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spec.clauses import BrokenRule, Source, clause
from spec.target_setting import best_trial, best_value
from spec.workloads import Direction

_PAPER = Source("Dahl et al. 2023", "6.2")
TOLERANCE = 0.1
"""How much worse than the base workload a variant may train, as a part of the base's value."""


class UnpairedSettings(BrokenRule, clause="HELD-11"):
    """Base workload and candidate were not run with the same settings."""


class IllegalMetric(BrokenRule, clause="HELD-12"):
    """A metric that is not a positive number has no relative change."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """How badly the best settings transfer between a base workload and a candidate.

    Attributes:
      base_to_variant: rank on the candidate of the setting that is best on the base workload,
        the number of settings that are better; 0 means that it is the best there, too.
      variant_to_base: the same the other way round.
    """

    base_to_variant: int
    variant_to_base: int

    @property
    def distinctness(self) -> int:
        """The smaller of both ranks."""
        return min(self.base_to_variant, self.variant_to_base)


@clause(
    "HELD-11",
    """A variant is the more distinct from its base workload, the worse the best setting of each
    ranks on the other; what counts is the smaller of the two ranks, which are 0 if both share
    their best setting.""",
    source=_PAPER,
    versions=("paper2023",),
)
def transfer(base: Sequence[float], variant: Sequence[float], direction: Direction) -> Transfer:
    """Compares the ranks of the best settings.

    Args:
      base: validation value of every setting on the base workload.
      variant: the same settings in the same order on the candidate.
      direction: of the metric.

    Returns:
      Both ranks. A value that is not finite is worse than every finite one.

    Raises:
      UnpairedSettings: the sequences differ in length.
      spec.target_setting.NoBestTrial: no value is finite on one of the workloads.
    """
    if len(base) != len(variant):
        raise UnpairedSettings(f"{len(base)} settings on the base, {len(variant)} on the variant")
    return Transfer(
        base_to_variant=_rank(variant, best_trial(base, direction), direction),
        variant_to_base=_rank(base, best_trial(variant, direction), direction),
    )


@clause(
    "HELD-12",
    """A variant is trainable if, within the target-setting budget of its base workload, it reaches
    a validation value at most a tenth worse than that of the base workload.""",
    source=_PAPER,
    versions=("paper2023",),
)
def is_trainable(
    base_value: float, variant_value: float, direction: Direction, tolerance: float = TOLERANCE
) -> bool:
    """Says whether a variant trains nearly as well as its base workload.

    Args:
      base_value: best validation value on the base workload, positive.
      variant_value: best validation value on the candidate.
      direction: of the metric.
      tolerance: accepted loss, as a part of ``base_value``.

    Returns:
      Whether the loss is at most the tolerance; False for a value that is not finite.

    Raises:
      IllegalMetric: ``base_value`` is not a positive finite number.
    """
    if not 0 < base_value < math.inf:
        raise IllegalMetric(f"the base workload's value is {base_value}; it must be positive")
    if not math.isfinite(variant_value):
        return False
    if direction is Direction.MINIMIZE:
        return variant_value <= base_value * (1 + tolerance)
    return variant_value >= base_value * (1 - tolerance)


def _rank(values: Sequence[float], index: int, direction: Direction) -> int:
    own = best_value([values[index]], direction)
    others = [best_value([value], direction) for value in values]
    if direction is Direction.MINIMIZE:
        return sum(value < own for value in others)
    return sum(value > own for value in others)
