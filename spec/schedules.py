"""The two learning-rate schedules of the benchmark's own experiments.

Plain definitions, one step at a time, for target setting and for the baselines. Training code has
them for arrays (``reference_submissions``); tests hold that code to these definitions.
"""

from __future__ import annotations

import math

from spec.clauses import BrokenRule, Source, clause, rule


class IllegalSchedule(BrokenRule, clause="TGT-11"):
    """A schedule that is longer than it may be, or counts steps below zero."""


rule(
    "TGT-11",
    "AdamW and NadamW use a linear warm-up from zero and a cosine decay to zero; Heavy Ball and "
    "Nesterov a linear warm-up from zero, a linear decay and a constant end. Lengths are given as "
    "parts of the schedule's steps.",
    source=Source("Dahl et al. 2023", "5, Table 8, and A.1"),
    implementation="spec.schedules.SCHEDULES",
)
SCHEDULES = {
    "adamw": "warmup_cosine_decay",
    "nadamw": "warmup_cosine_decay",
    "heavy_ball": "warmup_linear_decay_constant",
    "nesterov": "warmup_linear_decay_constant",
}
"""Function of this module by target-setting algorithm."""


@clause(
    "TGT-12",
    """Warm-up and cosine: with w warm-up steps of n, the learning rate at step t is base t / w
    below w and base (1 + cos(pi (t - w) / (n - w))) / 2 from there on; the first step has rate
    zero.""",
    source=Source("Dahl et al. 2023", "A.1.1 and 7.1"),
)
def warmup_cosine_decay(step: int, base_lr: float, num_steps: int, warmup_steps: int) -> float:
    """Returns the learning rate of a step.

    Args:
      step: number of finished steps, from 0; past ``num_steps`` the end value stays.
      base_lr: peak.
      num_steps: steps of the schedule, warm-up included.
      warmup_steps: steps of the warm-up, at most ``num_steps``; 0 starts at the peak.

    Returns:
      The learning rate.

    Raises:
      IllegalSchedule: a number of steps is negative, or the warm-up is longer than the schedule.
    """
    _check(step, num_steps, warmup_steps)
    if step < warmup_steps:
        return base_lr * step / warmup_steps
    progress = min((step - warmup_steps) / max(num_steps - warmup_steps, 1), 1.0)
    return base_lr * (1 + math.cos(math.pi * progress)) / 2


@clause(
    "TGT-13",
    """Warm-up, linear decay, constant: after the warm-up the rate falls linearly to the decay
    factor times its peak and stays there; the decay takes the stated part of the steps that
    the warm-up leaves.""",
    source=Source("Dahl et al. 2023", "A.1.2"),
)
def warmup_linear_decay_constant(
    step: int,
    base_lr: float,
    num_steps: int,
    warmup_steps: int,
    decay_factor: float,
    decay_steps_factor: float,
) -> float:
    """Returns the learning rate of a step.

    Args:
      step: number of finished steps, from 0.
      base_lr: peak.
      num_steps: steps of the schedule, warm-up included.
      warmup_steps: steps of the warm-up, at most ``num_steps``; 0 starts at the peak.
      decay_factor: rate of the constant end, as a part of the peak, in [0, 1].
      decay_steps_factor: steps of the decay, as a part of those after the warm-up, in [0, 1]; their
        number is rounded down.

    Returns:
      The learning rate.

    Raises:
      IllegalSchedule: a number of steps is negative, the warm-up is longer than the schedule, or a
        factor is not in [0, 1].
    """
    _check(step, num_steps, warmup_steps)
    for factor in (decay_factor, decay_steps_factor):
        if not 0 <= factor <= 1:
            raise IllegalSchedule(f"a factor of the schedule is {factor}; it lies between 0 and 1")
    if step < warmup_steps:
        return base_lr * step / warmup_steps
    decay_steps = max(int((num_steps - warmup_steps) * decay_steps_factor), 1)
    progress = min((step - warmup_steps) / decay_steps, 1.0)
    return base_lr * (1 - (1 - decay_factor) * progress)


def _check(step: int, num_steps: int, warmup_steps: int) -> None:
    if step < 0 or not 0 <= warmup_steps <= num_steps:
        raise IllegalSchedule(
            f"step {step} of a schedule of {num_steps} steps with {warmup_steps} of warm-up; "
            "0 <= step and 0 <= warm-up <= length"
        )
