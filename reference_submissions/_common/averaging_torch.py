"""Training with one set of weights and evaluating another, in PyTorch.

The optimizers here keep the weights of the evaluation as ``averaged`` in their state.
``prepare_for_eval`` exchanges them with the parameters, and the next ``update_params`` exchanges
them back, to the bit, so that training does not see how often it is evaluated.

Batch normalisation has its running statistics at the weights of the evaluation: training passes
leave them alone (they use those of the batch), and once in ``STATISTICS_PERIOD`` steps a pass at
those weights updates them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from reference_submissions._common import adapter_torch
from reference_submissions._common.averaging import (
    NUM_SNAPSHOTS,
    STATISTICS_PERIOD,
    snapshot_period,
)
from reference_submissions._common.optimizer_torch import ListOptimizer, gradients
from reference_submissions._common.settings import Settings
from reference_submissions._common.sharpness_torch import replayed_random_numbers
from reference_submissions._common.update_rules_torch import NadamW
from spec.submission import ForwardPassMode


class AveragingOptimizer(ListOptimizer):
    """An optimizer that keeps ``averaged`` weights in the state of every parameter."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options, is_exchanged=False)

    @property
    def is_exchanged(self) -> bool:
        """Whether the parameters are the averaged weights now."""
        return bool(self.param_groups[0]["is_exchanged"])

    @torch.no_grad()
    def exchange(self) -> None:
        """Puts the averaged weights in the place of the parameters and the other way round."""
        params = [p for p, state in self.state.items() if "averaged" in state]
        averaged = [self.state[p]["averaged"] for p in params]
        if params:
            kept = [p.clone() for p in params]
            torch._foreach_copy_(params, averaged)
            torch._foreach_copy_(averaged, kept)
        for group in self.param_groups:
            group["is_exchanged"] = not group["is_exchanged"]


class ScheduleFreeAdamW(AveragingOptimizer):
    """Schedule-Free AdamW; the parameters are y, where the gradient is taken.

    The learning rate is that of the warm-up; it does not decay.
    """

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        beta1, beta2 = group["betas"]
        states = [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                state["base"], state["averaged"] = p.clone(), p.clone()
                state["v"] = torch.zeros_like(p)
        grads = gradients(params)
        base, averaged, v = ([state[k] for state in states] for k in ("base", "averaged", "v"))
        rate = group["lr"] * math.sqrt(1 - beta2 ** group["t"])
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        root = torch._foreach_sqrt(v)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(base, grads, root, -rate)
        torch._foreach_add_(base, params, alpha=-rate * group["weight_decay"])
        group["sum_of_squares"] = group.get("sum_of_squares", 0.0) + rate**2
        # While the rate is 0, in the first step of a warm-up, nothing has moved.
        weight = rate**2 / group["sum_of_squares"] if group["sum_of_squares"] else 1.0
        torch._foreach_lerp_(averaged, base, weight)
        torch._foreach_copy_(params, torch._foreach_lerp(base, averaged, beta1))


class LawaNadamW(AveragingOptimizer, NadamW):
    """NadamW that keeps the mean of its latest weights."""

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        super()._update(group, params)
        number, rest = divmod(group["t"], group["period"])  # of the snapshot, from 1
        if number == 0:
            for p in params:
                self.state[p]["averaged"] = p.clone()
        if number == 0 or rest:
            return
        count = min(number, NUM_SNAPSHOTS)
        for p in params:
            state = self.state[p]
            if "snapshots" not in state:
                state["snapshots"] = p.new_zeros((NUM_SNAPSHOTS, *p.shape))
            state["snapshots"][(number - 1) % NUM_SNAPSHOTS] = p
            # Places that are not filled yet are 0.
            state["averaged"] = state["snapshots"].sum(0) / count


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "lr": settings.learning_rate,
        "betas": (settings.beta1, settings.beta2),
        "eps": settings.epsilon,
        "weight_decay": settings.weight_decay,
    }


def schedule_free_adamw(params: Any, settings: Settings) -> torch.optim.Optimizer:
    """Schedule-Free AdamW (:class:`ScheduleFreeAdamW`)."""
    return ScheduleFreeAdamW(params, **_options(settings))


def lawa_nadamw(params: Any, settings: Settings) -> torch.optim.Optimizer:
    """NadamW that keeps the mean of its latest weights (:class:`LawaNadamW`)."""
    period = snapshot_period(settings.total_steps)
    return LawaNadamW(params, **_options(settings), period=period)


initializer: Callable[..., Callable[..., dict[str, Any]]] = partial(
    adapter_torch.initializer, updates_statistics=False
)
"""As :func:`adapter_torch.initializer`, for an :class:`AveragingOptimizer`."""


def update_params(
    workload: Any,
    current_param_container: torch.nn.Module,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: Any,
    loss_type: Any,
    optimizer_state: dict[str, Any],
    eval_results: Any,
    global_step: int,
    rng: Any,
    train_state: Any = None,
) -> tuple[Any, Any, Any]:
    """Does one training step, with the weights of the training.

    Returns:
      Optimizer state, model, model state.
    """
    optimizer = optimizer_state["optimizer"]
    if optimizer.is_exchanged:
        optimizer.exchange()
    optimizer_state, model, model_state = adapter_torch.update_params(
        workload,
        current_param_container,
        current_params_types,
        model_state,
        hyperparameters,
        batch,
        loss_type,
        optimizer_state,
        eval_results,
        global_step,
        rng,
        train_state,
    )
    if global_step % STATISTICS_PERIOD == 0 and next(model.buffers(), None) is not None:
        _update_statistics(workload, model, model_state, batch, rng, optimizer_state)
    return optimizer_state, model, model_state


def _update_statistics(
    workload: Any,
    model: torch.nn.Module,
    model_state: Any,
    batch: Any,
    rng: Any,
    optimizer_state: dict[str, Any],
) -> None:
    """One update of the running statistics at the averaged weights."""
    optimizer, rate = optimizer_state["optimizer"], optimizer_state["options"].dropout_rate
    dropout = {} if rate is None else {"dropout_rate": rate}
    optimizer.exchange()
    with torch.no_grad(), replayed_random_numbers(model):
        workload.model_fn(
            model,
            batch,
            model_state,
            ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            **dropout,
        )
    optimizer.exchange()


def prepare_for_eval(
    workload: Any,
    current_param_container: torch.nn.Module,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    loss_type: Any,
    optimizer_state: dict[str, Any],
    eval_results: Any,
    global_step: int,
    rng: Any,
) -> tuple[Any, Any, Any]:
    """Puts the averaged weights in the place of those of the training.

    Returns:
      Optimizer state, model, model state.
    """
    del workload, current_params_types, hyperparameters, loss_type, eval_results, global_step, rng
    optimizer = optimizer_state["optimizer"]
    if not optimizer.is_exchanged:
        optimizer.exchange()
    return optimizer_state, current_param_container, model_state
