"""Stochastic gradient descent with a line search on every batch, in PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from reference_submissions._common import line_search
from reference_submissions._common.adapter_torch import (
    LOG_PERIOD_STEPS,
    StepOptions,
    global_sum,
    mean_loss,
    num_processes,
)
from reference_submissions._common.optimizer_torch import gradients
from reference_submissions._common.settings import Settings


def initializer(settings: Callable[[Any, int], Settings]) -> Callable[..., dict[str, Any]]:
    """Makes the ``init_optimizer_state`` of the line search.

    Args:
      settings: reads ``(hyperparameters, step_hint)``; dropout and label smoothing are used.

    Returns:
      The function; its result holds ``options``, and the ``learning_rate`` of the last step.
    """

    def init_optimizer_state(
        workload: Any, model_params: Any, model_state: Any, hyperparameters: Any, rng: Any
    ) -> dict[str, Any]:
        del model_params, model_state, rng
        chosen = settings(hyperparameters, workload.step_hint)
        options = StepOptions(chosen.dropout_rate, chosen.label_smoothing, grad_clip=None)
        return {"options": options, "learning_rate": line_search.FIRST_RATE}

    return init_optimizer_state


def _replayed(device: torch.device) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Keeps the state of torch's global generators.

    Returns:
      Makes a context that draws the same numbers from here, and leaves the generators as it found
      them.
    """
    devices = [device] if device.type == "cuda" else []
    of_cpu = torch.random.get_rng_state()
    of_devices = [torch.cuda.get_rng_state(one) for one in devices]

    @contextlib.contextmanager
    def again() -> Iterator[None]:
        with torch.random.fork_rng(devices):
            torch.random.set_rng_state(of_cpu)
            for one, state in zip(devices, of_devices, strict=True):
                torch.cuda.set_rng_state(state, one)
            yield

    return again


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
    """Does one training step; every try has the same batch and the same random numbers.

    The losses are those of all processes, so each of them takes the same step.

    Returns:
      Optimizer state, model, model state.
    """
    del current_params_types, hyperparameters, loss_type, eval_results, train_state
    model, options = current_param_container, optimizer_state["options"]
    model.zero_grad(set_to_none=True)
    again = _replayed(next(model.parameters()).device)
    loss, model_state = mean_loss(workload, model, model_state, batch, rng, options, True)
    loss.backward()  # type: ignore[no-untyped-call]
    start = _global_mean(loss)

    params = [p for p in model.parameters() if p.grad is not None]
    grads = gradients(params)
    norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))))
    places = [p.detach().clone() for p in params]

    @torch.no_grad()
    def move(rate: float) -> None:
        torch._foreach_copy_(params, torch._foreach_sub(places, grads, alpha=rate))

    @torch.no_grad()
    def is_enough(rate: float) -> bool:
        move(rate)
        with again():
            there, _ = mean_loss(workload, model, model_state, batch, rng, options, False)
        # False for a loss that is not a number.
        return _global_mean(there) <= start - line_search.SUFFICIENT * rate * norm**2

    rate = min(line_search.INCREASE * optimizer_state["learning_rate"], line_search.LARGEST_RATE)
    tries, found = 1, is_enough(rate)
    while not found and tries < line_search.MAX_TRIES:
        rate *= line_search.DECREASE
        tries, found = tries + 1, is_enough(rate)
    if not found:
        move(0.0)
    optimizer_state["learning_rate"] = rate
    if global_step % LOG_PERIOD_STEPS == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(
            {"loss": start, "grad_norm": norm, "lr": rate}, global_step
        )
    return optimizer_state, model, model_state


def _global_mean(loss: torch.Tensor) -> float:
    return float(global_sum(loss) / num_processes())
