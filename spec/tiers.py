"""The two tiers of a workload: ``full`` is the benchmark's own, ``mini`` trains on a laptop.

The numbers are in :mod:`spec.tier_table`.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import replace
from types import MappingProxyType

from spec import development, workloads
from spec.clauses import Source, check_version, clause
from spec.tier_table import MINI_ROWS, MINI_TARGETS
from spec.workloads import UnknownWorkload, WorkloadSpec


class Tier(enum.StrEnum):
    """Size of a workload; all code is shared."""

    FULL = "full"
    MINI = "mini"


def names(tier: Tier | str) -> tuple[str, ...]:
    """Names of the benchmark's workloads that exist in a tier.

    Args:
      tier: tier or its name.

    Returns:
      The names, in the order of :func:`spec.workloads.names`.

    Raises:
      ValueError: no such tier.
    """
    return workloads.names() if Tier(tier) is Tier.FULL else tuple(MINI_TARGETS)


@clause(
    "WORK-13",
    "In the mini tier a submission's batch size, chosen for the full workload, is divided by a "
    "fixed divisor, so that submissions run unchanged.",
    source=(Source("Workload facts", "mini_tier, part 2"),),
)
def get(name: str, tier: Tier | str = Tier.FULL, version: str = "v0.6") -> WorkloadSpec:
    """The row of a workload in a tier.

    Args:
      name: workload name, of the benchmark or of :mod:`spec.development`.
      tier: tier or its name.
      version: ruleset version.

    Returns:
      The row; the same object for the same arguments.

    Raises:
      UnknownWorkload: no workload has this name, or it does not exist in this tier.
      spec.clauses.UnknownVersion: no ruleset has this version.
      ValueError: no such tier.
    """
    level = Tier(tier)
    check_version(version)
    everywhere = (*workloads.names(), *development.names(Tier.FULL))
    if name not in everywhere:
        raise UnknownWorkload(name, everywhere)
    in_tier = (*names(level), *development.names(level))
    if name not in in_tier:
        raise UnknownWorkload(name, in_tier, table=f"{level.value}-tier workload")
    if name in development.names(level):
        return development.ROWS[level][name]
    return workloads.get(name, version) if level is Tier.FULL else _mini(name, version)


@functools.cache
def _mini(name: str, version: str) -> WorkloadSpec:
    full = workloads.get(name, version)
    row = MINI_ROWS[full.base_name]
    sizes = row.config.get(name, {**row.config[full.base_name], **full.model_overrides})
    overrides = {key: sizes.get(key, value) for key, value in full.model_overrides.items()}
    validation_target, test_target = MINI_TARGETS[name]
    return replace(
        full,
        validation_target_value=validation_target,
        test_target_value=test_target,
        max_allowed_runtime_sec=row.max_allowed_runtime_sec,
        eval_period_time_sec=row.eval_period_time_sec,
        step_hint=row.step_hint,
        num_train_examples=row.num_train_examples,
        num_eval_train_examples=row.num_eval_train_examples,
        num_validation_examples=row.num_validation_examples,
        num_test_examples=row.num_test_examples,
        eval_batch_size=row.eval_batch_size,
        batch_size_divisor=row.batch_size_divisor,
        simulated_step_seconds=row.step_seconds,
        model_config=MappingProxyType({**full.model_config, **sizes}),
        model_overrides=MappingProxyType(overrides),
    )
