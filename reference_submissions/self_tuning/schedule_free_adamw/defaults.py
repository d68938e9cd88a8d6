"""The one configuration of Schedule-Free AdamW."""

from __future__ import annotations

from typing import Any

from reference_submissions._common.settings import Settings

WARMUP_FACTOR = 0.05
"""Warm-up, as a fraction of the step hint."""


def settings(hyperparameters: Any, step_hint: int) -> Settings:
    """Returns the configuration, the same for every workload but for the length of the warm-up.

    Args:
      hyperparameters: None under the self-tuning ruleset; not used.
      step_hint: the workload's step hint.

    Returns:
      The settings; the rate does not decay.
    """
    del hyperparameters
    return Settings(
        learning_rate=1e-2,
        warmup_steps=int(WARMUP_FACTOR * step_hint),
        total_steps=step_hint,
        end_factor=1.0,
        beta1=0.9,
        beta2=0.99,
        weight_decay=0.03,
        dropout_rate=0.0,
    )
