"""Target setting: how the targets of a workload follow from runs of four standard algorithms.

Sources: Dahl et al. 2023, sections 4.1 and 5; Rules v0.6, "Defining target performance".
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from spec.evaluation import target_reached
from spec.workloads import Direction


class TargetSettingError(ValueError):
    """The runs do not determine a target."""


ALGORITHMS: tuple[str, ...] = ("adamw", "nadamw", "heavy_ball", "nesterov")
"""The target-setting algorithms; the best of them sets the targets."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Size of a target-setting study.

    Attributes:
      num_trials: tuning trials of each algorithm.
      num_reruns: runs of the best configuration, each with its own seed.
    """

    num_trials: int
    num_reruns: int


FULL_BUDGET = Budget(num_trials=200, num_reruns=20)
"""The benchmark's own: quasi-random trials of each algorithm, reruns with different seeds."""

RUNTIME_FACTOR = 0.75
"""Part of a submission's maximum runtime that a target-setting run lasts."""


def target_setting_steps(step_hint: int) -> int:
    """Returns the number of steps of a target-setting run: 3/4 of the step hint.

    In version 0.5 the maximum runtime of a submission was 4/3 of the target-setting runtime, and
    the step hint counts the steps of that maximum runtime.

    Args:
      step_hint: the workload's step hint.

    Returns:
      Steps, rounded down.
    """
    return int(step_hint * RUNTIME_FACTOR)


def best_value(values: Sequence[float], direction: Direction) -> float:
    """Returns the best of a run's metric values.

    Args:
      values: one per evaluation; values that are not finite do not count.
      direction: of the metric.

    Returns:
      The best finite value; the infinity that is worst for the metric if there is none.
    """
    finite = [value for value in values if math.isfinite(value)]
    if direction is Direction.MINIMIZE:
        return min(finite, default=math.inf)
    return max(finite, default=-math.inf)


def best_trial(validation_values: Sequence[float], direction: Direction) -> int:
    """Chooses the trial whose configuration is run again: the one with the best validation value.

    Args:
      validation_values: best validation value of each trial, see :func:`best_value`.
      direction: of the metric.

    Returns:
      Index of the best trial, the first one of several equally good.

    Raises:
      TargetSettingError: no trial has a finite value.
    """
    best = best_value(validation_values, direction)
    if not math.isfinite(best):
        raise TargetSettingError(f"none of {len(validation_values)} trials has a finite value")
    return list(validation_values).index(best)


@dataclass(frozen=True, slots=True)
class Rerun:
    """What one run of the best configuration achieved, see :func:`best_value`.

    Attributes:
      validation: best validation value of the run.
      test: best test value of the run.
    """

    validation: float
    test: float


@dataclass(frozen=True, slots=True)
class Targets:
    """The result of target setting.

    Attributes:
      validation: validation target.
      test: test target.
      num_reached: reruns that reach the validation target; the test target comes from these.
    """

    validation: float
    test: float
    num_reached: int


def targets(reruns: Sequence[Rerun], direction: Direction) -> Targets:
    """Computes both targets.

    The validation target is the median over the reruns of the best validation value that each
    achieved; a rerun without a finite value counts as the worst. The test target is the worst of
    the test values achieved by the reruns that reach the validation target.

    Args:
      reruns: the runs of the best configuration; at least one.
      direction: of the metric.

    Returns:
      The targets.

    Raises:
      TargetSettingError: no rerun, or too few of them with finite values.
    """
    if not reruns:
        raise TargetSettingError("targets need at least one rerun of the best configuration")
    validation = statistics.median(rerun.validation for rerun in reruns)
    if not math.isfinite(validation):
        raise TargetSettingError(
            f"half or more of {len(reruns)} reruns have no finite validation value"
        )
    reached = [r.test for r in reruns if target_reached(r.validation, validation, direction)]
    worst = max(reached) if direction is Direction.MINIMIZE else min(reached)
    if not math.isfinite(worst):
        raise TargetSettingError("a rerun reached the validation target without a test value")
    return Targets(validation, worst, len(reached))
