"""The one configuration of the line search."""

from __future__ import annotations

from typing import Any

from reference_submissions._common.settings import Settings


def settings(hyperparameters: Any, step_hint: int) -> Settings:
    """Returns the configuration: no dropout, no label smoothing; the rest is searched.

    Args:
      hyperparameters: None under the self-tuning ruleset; not used.
      step_hint: the workload's step hint.

    Returns:
      The settings; of the rest nothing is used.
    """
    del hyperparameters
    return Settings(learning_rate=0.0, warmup_steps=0, total_steps=step_hint, dropout_rate=0.0)
