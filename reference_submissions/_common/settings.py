"""The hyperparameters of the reference submissions as one typed value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spec.target_setting import target_setting_steps


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training algorithm of this family can be told.

    Attributes:
      learning_rate: peak learning rate.
      warmup_steps: steps of the linear warm-up.
      total_steps: steps of the whole schedule.
      beta1: momentum, or decay of the first moment.
      beta2: decay of the second moment; not used by momentum methods.
      epsilon: added to the root of the second moment; not used by momentum methods.
      weight_decay: decoupled in the Adam family, an L2 gradient in momentum methods.
      decay_steps_factor: fraction of the steps after the warm-up that the linear decay takes.
      end_factor: learning rate of the constant end, as a fraction of the peak.
      dropout_rate: rate given to ``model_fn``; None leaves the workload's default.
      label_smoothing: given to ``loss_fn``, which ignores it where it makes no sense.
      grad_clip: largest global norm of the gradient; None does not clip.
      rho: radius of sharpness-aware minimisation: the gradient is taken so far up the plain
        gradient; 0 takes the plain one.
      block_size: largest size of a block along an axis; Shampoo only.
      preconditioner_interval: steps from one preconditioner to the next; Shampoo only.
    """

    learning_rate: float
    warmup_steps: int
    total_steps: int
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decay_steps_factor: float = 1.0
    end_factor: float = 0.0
    dropout_rate: float | None = None
    label_smoothing: float = 0.0
    grad_clip: float | None = None
    rho: float = 0.0
    block_size: int = 128
    preconditioner_interval: int = 20

    @property
    def decay_steps(self) -> int:
        """Steps of the linear decay of the warm-up, linear decay, constant schedule."""
        return int((self.total_steps - self.warmup_steps) * self.decay_steps_factor)


_SPELLINGS = (
    ("beta1", "one_minus_beta1"),
    ("beta2", "one_minus_beta2"),
    ("warmup_steps", "warmup_factor"),
)
_PLAIN_FIELDS = (
    "epsilon",
    "weight_decay",
    "decay_steps_factor",
    "end_factor",
    "dropout_rate",
    "label_smoothing",
    "grad_clip",
    "rho",
    "block_size",
    "preconditioner_interval",
)


def _from_hyperparameters(hyperparameters: Any, total_steps: int, defaults: Any) -> Settings:
    """Reads the settings of one tuning trial.

    The names are those of the benchmark's search spaces. Three quantities have two spellings:
    ``beta1`` or ``one_minus_beta1``, ``beta2`` or ``one_minus_beta2`` (both useful for sampling
    on a log scale), ``warmup_steps`` or ``warmup_factor`` (a fraction of ``total_steps``). Absent
    fields take the algorithm's defaults, and those of :class:`Settings` after them.

    Args:
      hyperparameters: named tuple of the trial; a learning rate and a warm-up are required.
      total_steps: steps of the schedule.
      defaults: of the algorithm, by field of :class:`Settings`.

    Returns:
      The settings. The hyperparameters are not changed.

    Raises:
      ValueError: no learning rate, no warm-up, or a quantity given in both spellings.
    """
    given = {name: getattr(hyperparameters, name) for name in hyperparameters._fields}
    for first, second in _SPELLINGS:
        if first in given and second in given:
            raise ValueError(f"the search space has both {first!r} and {second!r}; keep one")
    values = {**defaults, **{name: given[name] for name in _PLAIN_FIELDS if name in given}}
    for name in ("beta1", "beta2"):
        if name in given:
            values[name] = given[name]
        elif f"one_minus_{name}" in given:
            values[name] = 1.0 - given[f"one_minus_{name}"]
    if "warmup_steps" in given:
        warmup_steps = int(given["warmup_steps"])
    elif "warmup_factor" in given:
        warmup_steps = int(given["warmup_factor"] * total_steps)
    else:
        raise ValueError("the search space has neither 'warmup_factor' nor 'warmup_steps'")
    if "learning_rate" not in given:
        raise ValueError("the search space has no field 'learning_rate'")
    return Settings(given["learning_rate"], warmup_steps, total_steps, **values)


def tuned(hyperparameters: Any, step_hint: int, **defaults: Any) -> Settings:
    """Settings of an external-tuning trial: the schedule ends at the step hint.

    Args:
      hyperparameters: named tuple of the trial.
      step_hint: the workload's step hint.
      defaults: fields of :class:`Settings` in which an algorithm's defaults are others.

    Returns:
      The settings.
    """
    return _from_hyperparameters(hyperparameters, step_hint, defaults)


def target_setting(hyperparameters: Any, step_hint: int) -> Settings:
    """Settings of a target-setting trial: the schedule ends with the run
    (:mod:`spec.target_setting`)."""
    return _from_hyperparameters(hyperparameters, target_setting_steps(step_hint), {})
