"""Learning-rate schedules of the paper's appendix A.1, one formula for JAX and PyTorch.

A schedule is a function from the number of finished optimizer steps to the *factor* that the peak
learning rate is multiplied with, 0 <= factor <= 1. The formulas use only ``where``, ``minimum``
and ``cos`` of an array namespace: ``jax.numpy`` inside a jitted step, numpy everywhere else.

Both schedules stay at their end value for ever after their last step (the official PyTorch twin
rises again after the end of the cosine and starts its warm-up at 1e-10 of the peak instead of 0;
neither is copied, the JAX twin does what is written here).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from reference_submissions._common.settings import Settings

Schedule = Callable[[Any], Any]
"""Number of finished steps (int or integer array) -> factor of the peak learning rate."""


def _check(warmup_steps: int, **others: int) -> None:
    for name, value in {"warmup_steps": warmup_steps, **others}.items():
        if value < 0:
            raise ValueError(f"{name} is {value}, but a number of steps is not negative")


def warmup_cosine(warmup_steps: int, total_steps: int, *, xp: Any = np) -> Schedule:
    """Linear warm-up from 0 to 1, then a cosine to 0.

    With ``w = warmup_steps`` and ``d = max(total_steps - w, 1)``::

        factor(t) = t / w                                     for t < w
        factor(t) = (1 + cos(pi * min((t - w) / d, 1))) / 2   for t >= w

    Source: Dahl et al. 2023, appendix A.1.1.

    Args:
      warmup_steps: steps of the warm-up; 0 starts at the peak.
      total_steps: steps of the whole schedule, warm-up included.
      xp: array namespace, numpy or ``jax.numpy``.

    Returns:
      The schedule.

    Raises:
      ValueError: a number of steps is negative.
    """
    _check(warmup_steps, total_steps=total_steps)
    decay_steps = max(total_steps - warmup_steps, 1)

    def factor(step: Any) -> Any:
        progress = xp.minimum((step - warmup_steps) / decay_steps, 1.0)
        cosine = (1.0 + xp.cos(math.pi * progress)) / 2.0
        return xp.where(step < warmup_steps, step / max(warmup_steps, 1), cosine)

    return factor


def warmup_linear_constant(
    warmup_steps: int, decay_steps: int, end_factor: float, *, xp: Any = np
) -> Schedule:
    """Linear warm-up from 0 to 1, linear decay to ``end_factor``, then constant.

    With ``w = warmup_steps`` and ``d = max(decay_steps, 1)``::

        factor(t) = t / w                                      for t < w
        factor(t) = 1 - (1 - end_factor) * min((t - w) / d, 1) for t >= w

    Source: Dahl et al. 2023, appendix A.1.2.

    Args:
      warmup_steps: steps of the warm-up; 0 starts at the peak.
      decay_steps: steps of the linear decay, after the warm-up.
      end_factor: learning rate of the constant end, as a fraction of the peak.
      xp: array namespace, numpy or ``jax.numpy``.

    Returns:
      The schedule.

    Raises:
      ValueError: a number of steps is negative.
    """
    _check(warmup_steps, decay_steps=decay_steps)

    def factor(step: Any) -> Any:
        progress = xp.minimum((step - warmup_steps) / max(decay_steps, 1), 1.0)
        decay = 1.0 - (1.0 - end_factor) * progress
        return xp.where(step < warmup_steps, step / max(warmup_steps, 1), decay)

    return factor


def cosine(settings: Settings, *, xp: Any = np) -> Schedule:
    """:func:`warmup_cosine` of a trial's settings."""
    return warmup_cosine(settings.warmup_steps, settings.total_steps, xp=xp)


def linear_constant(settings: Settings, *, xp: Any = np) -> Schedule:
    """:func:`warmup_linear_constant` of a trial's settings."""
    return warmup_linear_constant(
        settings.warmup_steps, settings.decay_steps, settings.end_factor, xp=xp
    )
