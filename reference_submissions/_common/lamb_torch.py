"""LAMB as a ``torch.optim`` optimizer; torch has none, the equations are in its README."""

from __future__ import annotations

from typing import Any

import torch

from reference_submissions._common.optimizer_torch import ListOptimizer
from reference_submissions._common.settings import Settings


class Lamb(ListOptimizer):
    """Adam with decoupled weight decay, each tensor's step as long as the tensor.

    With Adam's direction u, r = u + weight_decay p and the learning rate a::

        p = p - a (|p| / |r|) r        (p - a r where |p| or |r| is 0)
    """

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        _, steps = self._adam(group, params)
        torch._foreach_add_(steps, params, alpha=group["weight_decay"])
        ratios = [
            torch.where((length > 0) & (norm > 0), length / norm, 1.0)
            for length, norm in zip(
                torch._foreach_norm(params), torch._foreach_norm(steps), strict=True
            )
        ]
        torch._foreach_mul_(steps, ratios)
        torch._foreach_add_(params, steps, alpha=-group["lr"])


def lamb(params: Any, settings: Settings) -> torch.optim.Optimizer:
    """LAMB (:class:`Lamb`), decoupled weight decay on all parameters."""
    return Lamb(
        params,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
