"""Targets: what a workload asks for, and when an evaluation has reached it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spec.clauses import BrokenRule, Source, clause
from spec.workloads import Direction


class MissingMetric(BrokenRule, clause="EVAL-9"):
    """An evaluation does not contain the metric that the workload's target is stated in."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The targets of a workload.

    Attributes:
      metric_name: without the split, for example ``mean_average_precision``.
      direction: whether smaller or larger values are better.
      validation_target: target for ``validation/<metric_name>``.
      test_target: target for ``test/<metric_name>``; None if the workload has no test split,
        and then the test goal holds from the first evaluation on.
    """

    metric_name: str
    direction: Direction
    validation_target: float
    test_target: float | None = None


@clause(
    "EVAL-5",
    """A target is reached by a value that is at least as good, equality included; a value that is
    not finite never reaches it.""",
    source=(Source("Scoring semantics", "2"), Source("Rules v0.6", "Scoring")),
)
def target_reached(value: float, target: float, direction: Direction) -> bool:
    """Compares a metric with its target.

    The official runner stops at ``>`` while the official scorer counts ``>=``; here the
    same inclusive comparison serves both, so that a stopped run is a run that scores.

    Args:
      value: the metric.
      target: the workload's target.
      direction: whether smaller or larger is better.

    Returns:
      True if the target is reached.
    """
    if not math.isfinite(value):
        return False
    return value <= target if direction is Direction.MINIMIZE else value >= target


@clause(
    "EVAL-6",
    """An evaluation whose validation or test target metric is not finite counts as a failed one:
    it is logged with its reason and counted, and the next is due a full period later.""",
    source=Source("Decisions", "9"),
)
@clause(
    "EVAL-9",
    """An evaluation contains the target metric of every split that has a target, under the name
    <split>/<metric>.""",
    source=(Source("Harness contract", "5"), Source("Scoring semantics", "4")),
)
def evaluation_problem(metrics: Mapping[str, float], goal: Goal) -> str | None:
    """Says what is wrong with the metrics of an evaluation.

    Args:
      metrics: by ``<split>/<metric>``.
      goal: the targets.

    Returns:
      None if the target metrics are finite, else a sentence that names the first bad one.

    Raises:
      MissingMetric: a metric with a target is absent, which is a defect of the workload and
        not an outcome of training.
    """
    for split, target in (("validation", goal.validation_target), ("test", goal.test_target)):
        if target is None:
            continue
        name = f"{split}/{goal.metric_name}"
        if name not in metrics:
            raise MissingMetric(f"the evaluation has no {name!r}, only {sorted(metrics)}")
        if not math.isfinite(metrics[name]):
            return f"{name} is {metrics[name]}"
    return None
