"""The two tiers of a workload: ``full`` is the benchmark's own, ``mini`` trains on a laptop."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from spec import workloads
from spec.clauses import Source, check_version, clause, rule
from spec.workloads import UnknownWorkload, WorkloadSpec


class Tier(enum.StrEnum):
    """Size of a workload; all code is shared."""

    FULL = "full"
    MINI = "mini"


@dataclass(frozen=True)
class MiniRow:
    """What the mini tier of a base workload changes; fields as in ``WorkloadSpec``.

    Attributes:
      config: entries of ``model_config`` for the base workload and for each of its variants;
        a variant that is not listed keeps the base's mini entries and its own overrides.
    """

    num_train_examples: int
    num_validation_examples: int
    num_test_examples: int
    num_eval_train_examples: int
    eval_batch_size: int
    batch_size_divisor: int
    step_hint: int
    max_allowed_runtime_sec: int
    eval_period_time_sec: int
    step_seconds: float
    config: Mapping[str, Mapping[str, Any]]


# (validation, test), set by `python -m algoperf_ref.target_setting` and rounded down to 4 digits.
# Runs and budget: algoperf_ref/workloads/ogbg/mini_targets/, held to this table by a test.
MINI_TARGETS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "ogbg": (0.5371, 0.5296),
        "ogbg_gelu": (0.5557, 0.5621),
        "ogbg_silu": (0.4538, 0.4375),
        "ogbg_model_size": (0.2954, 0.3067),
    }
)

rule(
    "WORK-12",
    "The mini tier keeps the metric, the loss and the rules of a workload and changes only sizes, "
    "data, budgets and targets; its budgets do not depend on the ruleset version.",
    source=(Source("Workload facts", "mini_tier, part 2"), Source("Decisions", "18")),
    implementation="spec.tiers.MINI_ROWS",
)
MINI_ROWS: Mapping[str, MiniRow] = MappingProxyType(
    {
        "ogbg": MiniRow(
            num_train_examples=12_000,
            num_validation_examples=1_441,
            num_test_examples=1_441,
            num_eval_train_examples=1_441,
            eval_batch_size=512,
            batch_size_divisor=16,
            step_hint=1_600,
            max_allowed_runtime_sec=240,
            eval_period_time_sec=4,
            step_seconds=0.04,
            config={
                "ogbg": {"hidden_dims": (64,), "latent_dim": 64, "num_message_passing_steps": 2},
                # As in the full tier: half the width, two hidden layers, fewer steps.
                "ogbg_model_size": {
                    "hidden_dims": (64, 64),
                    "latent_dim": 32,
                    "num_message_passing_steps": 1,
                },
            },
        ),
    }
)
"""Mini rows by base workload."""


def names(tier: Tier | str) -> tuple[str, ...]:
    """Names of the workloads that exist in a tier.

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
      name: workload name.
      tier: tier or its name.
      version: ruleset version.

    Returns:
      The row; the same object for the same arguments.

    Raises:
      UnknownWorkload: no workload has this name, or it does not exist in this tier.
      spec.clauses.UnknownVersion: no ruleset has this version.
      ValueError: no such tier.
    """
    return workloads.get(name, version) if Tier(tier) is Tier.FULL else _mini(name, version)


@functools.cache
def _mini(name: str, version: str) -> WorkloadSpec:
    check_version(version)
    full = workloads.get(name, version)
    if name not in MINI_TARGETS:
        raise UnknownWorkload(name, MINI_TARGETS, table="mini-tier workload")
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
