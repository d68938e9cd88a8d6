"""The operations of the test vectors on targets and on held-out workloads.

See :mod:`spec.cases.operations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spec import (
    credit,
    heldout,
    rulesets,
    schedules,
    scoring,
    target_budget,
    target_configurations,
    target_setting,
    variant_testing,
)
from spec.rulesets import Split, Tuning
from spec.workloads import Direction

__all__ = [
    "held_out_condition_time",
    "held_out_credit",
    "held_out_distinctness",
    "held_out_draw",
    "held_out_pools",
    "held_out_published",
    "held_out_trainable",
    "held_out_trained",
    "held_out_variants",
    "target_setting_budget",
    "target_setting_choose",
    "target_setting_configuration",
    "target_setting_from_runs",
    "target_setting_learning_rates",
    "target_setting_setup",
    "target_setting_steps",
    "target_setting_steps_within",
    "target_setting_targets",
    "target_setting_variant_algorithms",
]

Result = dict[str, Any]
Times = Mapping[str, Mapping[str, float]]
Trials = Mapping[str, Sequence[Sequence[float]]]
Reruns = Sequence[Mapping[str, Sequence[float]]]


# Target setting.


def target_setting_setup() -> Result:
    """Gives the size of a target-setting study."""
    budget = target_setting.FULL_BUDGET
    return {
        "algorithms": list(target_setting.ALGORITHMS),
        "num_trials": budget.num_trials,
        "num_reruns": budget.num_reruns,
    }


def target_setting_steps(*, step_hint: int) -> Result:
    """Gives the length of a target-setting run."""
    return {"steps": target_setting.target_setting_steps(step_hint)}


def target_setting_steps_within(*, runtime_seconds: float, step_seconds: float) -> Result:
    """Gives the number of steps that fit into a runtime budget."""
    return {"steps": target_budget.steps_within(runtime_seconds, step_seconds)}


def target_setting_budget(*, version: str, workload: str) -> Result:
    """Gives the budget that the published targets were set with."""
    budget = target_budget.target_budget(workload, version)
    return {
        "runtime_seconds": budget.runtime_seconds,
        "steps": budget.steps,
        "runtime_ratio": budget.runtime_ratio,
    }


def target_setting_choose(*, direction: str, trials: Trials) -> Result:
    """Chooses the configuration to run again from the validation values of all evaluations."""
    towards = Direction(direction)
    best = {
        algorithm: [target_setting.best_value(values, towards) for values in own]
        for algorithm, own in trials.items()
    }
    choice = target_setting.best_configuration(best, towards)
    return {"algorithm": choice.algorithm, "trial": choice.trial}


def target_setting_variant_algorithms(
    *, direction: str, best_on_base: Mapping[str, float]
) -> Result:
    """Gives the algorithms that are tuned on the variants of a base workload."""
    found = target_setting.variant_algorithms(best_on_base, Direction(direction))
    return {"algorithms": list(found)}


def target_setting_targets(*, direction: str, reruns: Reruns) -> Result:
    """Computes both targets from the values of all evaluations of the reruns."""
    towards = Direction(direction)
    found = target_setting.targets(
        [
            target_setting.Rerun(
                target_setting.best_value(rerun["validation"], towards),
                target_setting.best_value(rerun["test"], towards),
            )
            for rerun in reruns
        ],
        towards,
    )
    return {
        "validation_target": found.validation,
        "test_target": found.test,
        "reruns_that_reach_it": found.num_reached,
    }


def target_setting_from_runs(*, direction: str, trials: Trials, reruns: Reruns) -> Result:
    """Goes from all runs to the configuration and the targets."""
    return {
        **target_setting_choose(direction=direction, trials=trials),
        **target_setting_targets(direction=direction, reruns=reruns),
    }


def target_setting_learning_rates(
    *,
    algorithm: str,
    base_lr: float,
    num_steps: int,
    warmup_steps: int,
    steps: Sequence[int],
    **shape: float,
) -> Result:
    """Gives the learning rates of an algorithm at some steps."""
    schedule = getattr(schedules, schedules.SCHEDULES[algorithm])
    return {"rates": [schedule(step, base_lr, num_steps, warmup_steps, **shape) for step in steps]}


def target_setting_configuration(*, workload: str) -> Result:
    """Gives the algorithm that the published targets of a workload were set with."""
    return {"algorithm": target_configurations.CONFIGURATIONS[workload].algorithm}


# Held-out workloads.


def held_out_variants(*, base: str) -> Result:
    """Gives the variants of a base workload."""
    return {"variants": list(heldout.variants(base))}


def held_out_pools(*, version: str) -> Result:
    """Gives the sizes of the pools that held-out workloads are drawn from."""
    return {"sizes": [len(pool) for pool in heldout.pools(version).values()]}


def held_out_draw(*, version: str, seed: int) -> Result:
    """Counts the held-out workloads of a draw and the pools that they come from."""
    drawn = heldout.draw(version, seed)
    pools = heldout.pools(version)
    return {
        "count": len(drawn),
        "pools": sum(any(name in pool for name in drawn) for pool in pools.values()),
    }


def held_out_published(*, version: str) -> Result:
    """Gives the published held-out workloads of a version."""
    return {"held_out": list(heldout.held_out_workloads(version))}


def held_out_trained(*, version: str, held_out: Sequence[str]) -> Result:
    """Counts the workloads that a submission is trained on."""
    return {"count": len(set(heldout.trained_workloads(version, held_out)))}


def held_out_credit(
    *,
    version: str,
    workloads: Sequence[str],
    held_out: Sequence[str],
    times: Times,
    condition_times: Times | None = None,
) -> Result:
    """Gives the times on base workloads that count for the score."""
    credited = credit.credited_times(
        times, workloads, held_out, rulesets.get(version), condition_times=condition_times
    )
    return {"credited": credited}


def held_out_condition_time(
    *, version: str, tuning: str, trials: Sequence[Mapping[str, float]]
) -> Result:
    """Gives the time of a study that the conditions look at."""
    ruleset = credit.condition_rules(rulesets.get(version))
    by_split = [{Split(split): seconds for split, seconds in t.items()} for t in trials]
    return {"seconds": scoring.ruleset_study_time(ruleset, Tuning(tuning), by_split)}


def held_out_distinctness(
    *, direction: str, base: Sequence[float], variant: Sequence[float]
) -> Result:
    """Says how distinct a variant is from its base workload."""
    found = variant_testing.transfer(base, variant, Direction(direction))
    return {
        "base_to_variant": found.base_to_variant,
        "variant_to_base": found.variant_to_base,
        "distinctness": found.distinctness,
    }


def held_out_trainable(*, direction: str, base_value: float, variant_value: float) -> Result:
    """Says whether a variant trains nearly as well as its base workload."""
    reached = variant_testing.is_trainable(base_value, variant_value, Direction(direction))
    return {"trainable": reached}
