"""Adafactor as a ``torch.optim`` optimizer; the equations are in its README.

``torch.optim.Adafactor`` is another algorithm: it has no momentum, takes the last two axes for its
factors whatever their sizes, and scales the step with the size of the parameter.
"""

from __future__ import annotations

from typing import Any

import torch

from reference_submissions._common.optimizer_torch import ListOptimizer
from reference_submissions._common.settings import Settings

TINY = 1e-30
"""Added to the square of a gradient, as optax does."""

LARGEST_RMS = 1.0
"""Root mean square that a tensor's step is clipped to before the learning rate."""


class Adafactor(ListOptimizer):
    """Step by the factored second moment, clipped, with a momentum of steps.

    ``eps`` is not used.
    """

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        beta1, beta2 = group["betas"]
        t = group["t"]
        decay = beta2 * (1 - beta2 ** (t - 1)) / (1 - beta2**t)
        for p in params:
            if p.grad is None:
                continue
            state = self.state[p]
            step = p.grad * _inverse_root(state, p.grad.square() + TINY, decay)
            rms = step.square().mean().sqrt()
            step = step / torch.clamp(rms / LARGEST_RMS, min=1.0)
            m = state.setdefault("m", torch.zeros_like(p))
            m.lerp_(step * group["lr"], 1 - beta1)
            p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(m)


def _inverse_root(state: dict[str, Any], square: torch.Tensor, decay: float) -> torch.Tensor:
    """Updates the second moment and returns its inverse root, in a shape that fits ``square``.

    A tensor with two axes longer than 1 has the means over each of its two longest axes in place
    of the whole second moment.
    """
    axes = sorted(range(square.dim()), key=lambda axis: square.shape[axis])[-2:]
    if len(axes) < 2 or square.shape[axes[0]] < 2:
        return _moving_mean(state, "v", square, decay).rsqrt()
    shorter, longer = axes
    rows = _moving_mean(state, "rows", square.mean(longer, keepdim=True), decay)
    columns = _moving_mean(state, "columns", square.mean(shorter, keepdim=True), decay)
    return (rows / rows.mean(shorter, keepdim=True)).rsqrt() * columns.rsqrt()


def _moving_mean(
    state: dict[str, Any], name: str, value: torch.Tensor, decay: float
) -> torch.Tensor:
    mean: torch.Tensor = state.setdefault(name, torch.zeros_like(value))
    return mean.lerp_(value, 1 - decay)


def adafactor(params: Any, settings: Settings) -> torch.optim.Optimizer:
    """Adafactor (:class:`Adafactor`), decoupled weight decay on all parameters."""
    return Adafactor(
        params,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=0.0,
        weight_decay=settings.weight_decay,
    )
