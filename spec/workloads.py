"""The workload table: everything a rule needs to know about a workload, by ruleset version."""

from __future__ import annotations

import difflib
import enum
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from spec import dropout
from spec.clauses import BrokenRule, Source, check_version, clause
from spec.submission import LossType
from spec.variant_table import VARIANTS
from spec.workload_table import BASES, base_name

__all__ = [
    "Direction",
    "UnknownWorkload",
    "WorkloadSpec",
    "base_name",
    "get",
    "names",
    "num_eval_train_examples",
]


class UnknownWorkload(BrokenRule, clause="WORK-14"):
    """A workload name that the table does not have; the message lists near names."""

    def __init__(self, name: str, known: Iterable[str], table: str = "workload") -> None:
        names = list(known)
        near = difflib.get_close_matches(name, names, n=3) or sorted(
            other for other in names if name and name.lower() in other
        )
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {table} {name!r}; {hint}")
        self.name = name
        self.near = tuple(near)


@clause(
    "WORK-8",
    "The direction of a metric, smaller or larger is better, is part of the target's definition.",
    source=(Source("Scoring semantics", "1"), Source("Rules v0.6", "Workloads")),
)
class Direction(enum.Enum):
    """Which values of a metric are better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class WorkloadSpec:
    """One workload of one ruleset version and tier.

    Attributes:
      name: workload name, for example ``ogbg_gelu``.
      base_name: the base workload that it varies, or its own name.
      dataset: data set.
      model: model architecture.
      loss_type: loss, as told to submissions.
      target_metric_name: metric of the targets, without split prefix.
      direction: which values of the metric are better.
      validation_target_value: validation target.
      test_target_value: test target.
      max_allowed_runtime_sec: submission time budget of one external-tuning trial, seconds.
      eval_period_time_sec: least time from the end of an evaluation to the next, seconds.
      step_hint: steps that the baseline does within the budget.
      num_train_examples: size of the training split.
      num_eval_train_examples: how many training examples an evaluation covers.
      num_validation_examples: size of the validation split.
      num_test_examples: size of the test split.
      eval_batch_size: global evaluation batch size.
      train_mean: per-channel mean of the inputs on the 0..255 scale, None where undefined.
      train_stddev: per-channel standard deviation, likewise.
      dropout_rate: documented default of ``model_fn``, None for a model without dropout.
      model_config: constants of model and input pipeline by their official property names.
      model_overrides: the part of ``model_config`` that differs from the base workload's.
      batch_size_divisor: what a submission's batch size is divided by (1 in the full tier).
      simulated_step_seconds: cost of a step under the simulated clock, None for the default.
    """

    name: str
    base_name: str
    dataset: str
    model: str
    loss_type: LossType
    target_metric_name: str
    direction: Direction
    validation_target_value: float
    test_target_value: float
    max_allowed_runtime_sec: int
    eval_period_time_sec: int
    step_hint: int
    num_train_examples: int
    num_eval_train_examples: int
    num_validation_examples: int
    num_test_examples: int
    eval_batch_size: int
    train_mean: tuple[float, ...] | None = None
    train_stddev: tuple[float, ...] | None = None
    dropout_rate: float | None = None
    model_config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    model_overrides: Mapping[str, Any] = field(default_factory=dict, hash=False)
    batch_size_divisor: int = 1
    simulated_step_seconds: float | None = None

    @property
    def is_variant(self) -> bool:
        """Whether this is a variant of another workload."""
        return self.name != self.base_name

    @property
    @clause(
        "WORK-9",
        "Under the simulated clock a step costs the budget divided by the step hint, so that the "
        "step hint is reached when the budget is used up, unless the tier says otherwise.",
        source=(Source("Rules v0.6", "Fixed functions: step_hint"),),
    )
    def step_seconds(self) -> float:
        """Cost of one step under the simulated clock, in seconds."""
        if self.simulated_step_seconds is not None:
            return self.simulated_step_seconds
        return self.max_allowed_runtime_sec / self.step_hint


@clause(
    "WORK-10",
    "An evaluation on the training split covers as many examples as the validation split, rounded "
    "up to whole evaluation batches; ogbg covers exactly as many as its validation split.",
    source=(Source("Decisions", "13"), Source("Workload facts", "section 1 of every sheet")),
)
def num_eval_train_examples(num_validation_examples: int, eval_batch_size: int) -> int:
    """How many training examples an evaluation covers.

    Args:
      num_validation_examples: size of the validation split.
      eval_batch_size: global evaluation batch size.

    Returns:
      The smallest multiple of ``eval_batch_size`` that is at least ``num_validation_examples``.
    """
    return -(-num_validation_examples // eval_batch_size) * eval_batch_size


def names(kind: str = "all") -> tuple[str, ...]:
    """Workload names.

    Args:
      kind: ``base`` (8 names), ``variant`` (24 names) or ``all`` (base names first).

    Returns:
      The names, in the order of the rules' table.

    Raises:
      ValueError: another ``kind``.
    """
    kinds = {"base": tuple(BASES), "variant": tuple(VARIANTS), "all": (*BASES, *VARIANTS)}
    if kind not in kinds:
        raise ValueError(f"kind of workload is {kind!r}, must be one of {', '.join(kinds)}")
    return kinds[kind]


@clause(
    "WORK-11",
    "A variant has its own targets and inherits everything else of its base workload, budget, "
    "step hint and evaluation period included, except the properties it exists to change.",
    source=(
        Source("Scoring semantics", "1"),
        Source("Workload facts", "section 1 of every sheet"),
    ),
)
@clause(
    "WORK-14",
    "A workload is named exactly as in the table; another name is an error that lists near names, "
    "never a silent default.",
    source=(Source("Scoring semantics", "5"), Source("Harness contract", "7")),
)
def get(name: str, version: str = "v0.6") -> WorkloadSpec:
    """The full-tier row of a workload.

    Args:
      name: workload name.
      version: ruleset version.

    Returns:
      The row; the same object for the same arguments.

    Raises:
      UnknownWorkload: no workload has this name.
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    check_version(version)
    if name not in BASES and name not in VARIANTS:
        raise UnknownWorkload(name, names())
    return _row(name, version)


@functools.cache
def _row(name: str, version: str) -> WorkloadSpec:
    variant = VARIANTS.get(name)
    base = BASES[variant.base if variant else name]
    overrides = variant.overrides if variant else {}
    validation_target, test_target = variant.targets if variant else base.targets
    eval_batch_size = (variant and variant.eval_batch_size) or base.eval_batch_size
    num_train, num_validation, num_test = base.num_examples
    column = 1 if version == "v0.6" else 0
    return WorkloadSpec(
        name=name,
        base_name=base_name(name),
        dataset=base.dataset,
        model=base.model,
        loss_type=base.loss_type,
        target_metric_name=base.metric,
        direction=Direction.MINIMIZE if base.minimize else Direction.MAXIMIZE,
        validation_target_value=validation_target,
        test_target_value=test_target,
        max_allowed_runtime_sec=base.max_allowed_runtime_sec[column],
        eval_period_time_sec=base.eval_period_time_sec,
        step_hint=base.step_hint[column],
        num_train_examples=num_train,
        num_eval_train_examples=base.num_eval_train_examples
        or num_eval_train_examples(num_validation, eval_batch_size),
        num_validation_examples=num_validation,
        num_test_examples=num_test,
        eval_batch_size=eval_batch_size,
        train_mean=base.train_mean,
        train_stddev=base.train_stddev,
        dropout_rate=dropout.default_rate(name),
        model_config=MappingProxyType({**base.config, **overrides}),
        model_overrides=MappingProxyType(dict(overrides)),
    )
