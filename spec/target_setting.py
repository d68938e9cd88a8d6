"""Target setting: how the targets of a workload follow from runs of four standard algorithms.

The procedure, for one workload: every algorithm is tuned (:data:`FULL_BUDGET`), each run for a
fixed number of steps (:mod:`spec.target_budget`); :func:`best_configuration` chooses one trial of
one algorithm; it is run again with other seeds; :func:`targets` are the median of the validation
values and the worst test value of the runs that reach it. A variant is tuned with two of the
algorithms only (:func:`variant_algorithms`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spec.clauses import BrokenRule, Source, clause, rule
from spec.evaluation import target_reached
from spec.workloads import Direction

_PAPER = Source("Dahl et al. 2023", "4.1 and 5")
_RULES = Source("Rules v0.6", "Defining target performance")


class TargetSettingError(BrokenRule):
    """The runs do not determine a target; the base of the errors below."""


class UnknownAlgorithm(TargetSettingError, clause="TGT-1"):
    """An algorithm that targets are not set with."""


class NoBestTrial(TargetSettingError, clause="TGT-4"):
    """No trial has a value by which it could be the best."""


class NoValidationTarget(TargetSettingError, clause="TGT-5"):
    """The reruns have no finite median."""


class NoTestTarget(TargetSettingError, clause="TGT-6"):
    """A rerun reached the validation target and has no test value."""


rule(
    "TGT-1",
    "Targets are what the best of AdamW, NadamW, Heavy Ball and Nesterov momentum reaches.",
    source=(_PAPER, _RULES),
    implementation="spec.target_setting.ALGORITHMS",
)
ALGORITHMS: tuple[str, ...] = ("adamw", "nadamw", "heavy_ball", "nesterov")
"""The target-setting algorithms."""

rule(
    "TGT-2",
    "Each algorithm is tuned with 200 quasi-random points of its search space, which is the same "
    "for all workloads, and the best configuration is run again with 20 random seeds.",
    source=_PAPER,
    implementation="spec.target_setting.FULL_BUDGET",
)


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
"""The benchmark's own."""

RUNTIME_FACTOR = 0.75
"""Part of a submission's maximum runtime that a target-setting run lasts."""


@clause(
    "TGT-3",
    """A target-setting run lasts 3/4 of the steps of the step hint: in version 0.5 the maximum
    runtime of a submission was 4/3 of the target-setting runtime, and the step hint counts the
    steps of that maximum runtime.""",
    source=(_RULES, _PAPER),
    versions=("v0.5", "v0.6"),
)
def target_setting_steps(step_hint: int) -> int:
    """Returns the number of steps of a target-setting run.

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


@clause(
    "TGT-4",
    """The configuration (algorithm and hyperparameters) to run again is the one whose trial has
    the best validation value of all trials of all algorithms.""",
    source=(_PAPER, _RULES),
)
def best_trial(validation_values: Sequence[float], direction: Direction) -> int:
    """Chooses the trial whose configuration is run again.

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
        raise NoBestTrial(f"none of {len(validation_values)} trials has a finite value")
    return list(validation_values).index(best)


@dataclass(frozen=True, slots=True)
class Choice:
    """The configuration to run again.

    Attributes:
      algorithm: one of :data:`ALGORITHMS`.
      trial: index of the trial among those of the algorithm, from 0.
      validation: its best validation value.
    """

    algorithm: str
    trial: int
    validation: float


@clause(
    "TGT-7",
    """Of equally good trials the first counts: algorithms in the order of the table, trials in the
    order of their points; a trial without a finite value is never the best.""",
    source=_PAPER,
)
def best_configuration(
    validation_values: Mapping[str, Sequence[float]], direction: Direction
) -> Choice:
    """Chooses among the trials of several algorithms.

    Args:
      validation_values: algorithm -> best validation value of each of its trials.
      direction: of the metric.

    Returns:
      The choice.

    Raises:
      UnknownAlgorithm: an algorithm is no target-setting algorithm.
      NoBestTrial: no trial has a finite value.
    """
    _check_algorithms(validation_values)
    trials = [
        (algorithm, index, value)
        for algorithm in ALGORITHMS
        for index, value in enumerate(validation_values.get(algorithm, ()))
    ]
    return Choice(*trials[best_trial([value for *_, value in trials], direction)])


VARIANT_ALGORITHM = "nadamw"
"""Tuned on every variant."""


@clause(
    "TGT-8",
    """The targets of a variant come from the same procedure with two algorithms only: NadamW and
    the best of the others on the base workload.""",
    source=Source("Dahl et al. 2023", "4.3.1 and 5"),
)
def variant_algorithms(best_on_base: Mapping[str, float], direction: Direction) -> tuple[str, str]:
    """Returns the algorithms that are tuned on the variants of a base workload.

    Args:
      best_on_base: algorithm -> best validation value of its trials on the base workload.
      direction: of the metric.

    Returns:
      NadamW and one other.

    Raises:
      UnknownAlgorithm: an algorithm is no target-setting algorithm.
      NoBestTrial: none of the others has a finite value.
    """
    others = {name: [value] for name, value in best_on_base.items() if name != VARIANT_ALGORITHM}
    return VARIANT_ALGORITHM, best_configuration(others, direction).algorithm


def _check_algorithms(names: Iterable[str]) -> None:
    for name in names:
        if name not in ALGORITHMS:
            raise UnknownAlgorithm(
                f"{name} is no target-setting algorithm; these are {', '.join(ALGORITHMS)}"
            )


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


@clause(
    "TGT-5",
    """The validation target is the median over the reruns of the best validation value that each
    achieved, for an even number the mean of the two middle ones; a rerun without a finite value
    counts as the worst.""",
    source=_PAPER,
)
@clause(
    "TGT-6",
    """The test target is the worst of the test values achieved by the reruns that reach the
    validation target.""",
    source=_PAPER,
)
def targets(reruns: Sequence[Rerun], direction: Direction) -> Targets:
    """Computes both targets.

    Args:
      reruns: the runs of the best configuration; at least one.
      direction: of the metric.

    Returns:
      The targets.

    Raises:
      TargetSettingError: no rerun, or too few of them with finite values.
    """
    if not reruns:
        raise NoValidationTarget("targets need at least one rerun of the best configuration")
    # Whatever is not finite becomes the worst infinity: NaN would have no place in the order, and
    # infinity on the good side would count as the best run.
    runs = [
        (best_value([r.validation], direction), best_value([r.test], direction)) for r in reruns
    ]
    validation = statistics.median(achieved for achieved, _ in runs)
    if not math.isfinite(validation):
        raise NoValidationTarget(
            f"half or more of {len(reruns)} reruns have no finite validation value"
        )
    reached = [test for achieved, test in runs if target_reached(achieved, validation, direction)]
    worst = max(reached) if direction is Direction.MINIMIZE else min(reached)
    if not math.isfinite(worst):
        raise NoTestTarget("a rerun reached the validation target without a test value")
    return Targets(validation, worst, len(reached))
