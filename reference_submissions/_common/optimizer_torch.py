"""The frame of a ``torch.optim`` optimizer that works on lists of tensors."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any

import torch


class ListOptimizer(torch.optim.Optimizer, abc.ABC):
    """Counts the steps of a group as ``t`` and updates all its tensors at once.

    Works on lists of tensors (``torch._foreach_*``), since a small model on a CPU spends more time
    in Python per tensor than in arithmetic.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        **others: Any,
    ) -> None:
        """Creates the optimizer.

        Args:
          params: parameters or parameter groups.
          lr: learning rate, not negative.
          betas: decay of the first and of the second moment, each in [0, 1).
          eps: epsilon, not negative.
          weight_decay: decoupled weight decay, not negative.
          others: further options of a group.

        Raises:
          ValueError: a number out of its range.
        """
        if lr < 0 or eps < 0 or weight_decay < 0:
            raise ValueError(f"negative lr {lr}, eps {eps} or weight_decay {weight_decay}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas {betas} are not in [0, 1)")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "t": 0}
        super().__init__(params, {**defaults, **others})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all parameters that have a gradient.

        Args:
          closure: re-evaluates the loss, as for every ``torch.optim.Optimizer``.

        Returns:
          The loss of the closure, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["t"] += 1
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(group, params)
        return loss

    @abc.abstractmethod
    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        """Updates the parameters of a group, which all have gradients; ``group["t"]`` is 1 in the
        first step."""

    def _adam(
        self, group: dict[str, Any], params: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Updates the moments ``m`` and ``v`` of the parameters.

        Returns:
          The first moments with their bias corrected, and Adam's directions.
        """
        beta1, beta2 = group["betas"]
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if "m" not in state:
                state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
        grads = gradients(params)
        m = [state["m"] for state in states]
        v = [state["v"] for state in states]
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        first = list(torch._foreach_mul(m, 1 / (1 - beta1 ** group["t"])))
        root = torch._foreach_sqrt(v)
        torch._foreach_mul_(root, 1 / math.sqrt(1 - beta2 ** group["t"]))
        torch._foreach_add_(root, group["eps"])
        return first, list(torch._foreach_div(first, root))


def gradients(params: list[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the gradients of parameters, of which every one has a gradient."""
    return [p.grad for p in params if p.grad is not None]
