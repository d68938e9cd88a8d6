"""Update rules as ``torch.optim`` optimizers.

The adapter clips the gradients before ``step`` and lets a scheduler set the learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from reference_submissions._common.optimizer_torch import ListOptimizer, gradients
from reference_submissions._common.settings import Settings

Parameters = Iterable[torch.nn.Parameter]


class NadamW(ListOptimizer):
    """AdamW with Nesterov momentum, as the benchmark defines it.

    With the gradient g of step t = 1, 2, ... and the learning rate a::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        u = (beta1 m + (1 - beta1) g) / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
        p = p - a (u + weight_decay p)

    ``torch.optim.NAdam`` follows another schedule of momenta (its ``momentum_decay``) and does not
    compute this.
    """

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        beta1, beta2 = group["betas"]
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                state["m"] = torch.zeros_like(p)
                state["v"] = torch.zeros_like(p)
        grads = gradients(params)
        m = [state["m"] for state in states]
        v = [state["v"] for state in states]
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        look_ahead = torch._foreach_lerp(m, grads, 1 - beta1)
        root = torch._foreach_sqrt(v)
        torch._foreach_mul_(root, 1 / math.sqrt(1 - beta2 ** group["t"]))
        torch._foreach_add_(root, group["eps"])
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(params, look_ahead, root, -group["lr"] / (1 - beta1 ** group["t"]))


def nadamw(params: Parameters, settings: Settings) -> torch.optim.Optimizer:
    """NadamW (:class:`NadamW`), decoupled weight decay on all parameters."""
    return NadamW(
        params,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )


def adamw(params: Parameters, settings: Settings) -> torch.optim.Optimizer:
    """AdamW (``torch.optim``), decoupled weight decay on all parameters."""
    return torch.optim.AdamW(
        params,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        foreach=True,
    )


def _momentum(params: Parameters, settings: Settings, nesterov: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        params,
        lr=settings.learning_rate,
        momentum=settings.beta1,
        weight_decay=settings.weight_decay,
        nesterov=nesterov,
        foreach=True,
    )


def heavy_ball(params: Parameters, settings: Settings) -> torch.optim.Optimizer:
    """Heavy ball (``torch.optim.SGD``): m = beta1 m + g; weight decay is part of g."""
    return _momentum(params, settings, nesterov=False)


def nesterov(params: Parameters, settings: Settings) -> torch.optim.Optimizer:
    """Nesterov (``torch.optim.SGD``): update = beta1 m + g; weight decay is part of g."""
    return _momentum(params, settings, nesterov=True)
