"""Adapter to the submission API for PyTorch: everything of a step that is not the algorithm."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed

from reference_submissions._common.schedules import Schedule
from reference_submissions._common.settings import Settings
from reference_submissions._common.sharpness_torch import ascended, replayed_random_numbers
from spec.submission import ForwardPassMode

LOG_PERIOD_STEPS = 100
"""Loss, gradient norm and learning rate go to the metrics logger once in so many steps."""


@dataclasses.dataclass(slots=True)
class StepOptions:
    """What a step needs besides optimizer and schedule; can be saved and restored like those.

    Attributes:
      dropout_rate: rate given to ``model_fn``; None leaves the workload's default.
      label_smoothing: given to ``loss_fn``.
      grad_clip: largest global norm of the gradient; None does not clip.
      rho: radius of sharpness-aware minimisation; 0 takes the plain gradient.
      updates_statistics: whether a step updates the running statistics of batch normalisation.
    """

    dropout_rate: float | None
    label_smoothing: float
    grad_clip: float | None
    rho: float = 0.0
    updates_statistics: bool = True

    def state_dict(self) -> dict[str, float | None]:
        """Returns the options by name."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Sets the options from :meth:`state_dict`.

        A field that is not there, since the checkpoint is older than the field, keeps its value.
        """
        for field in dataclasses.fields(self):
            if field.name in state_dict:
                setattr(self, field.name, state_dict[field.name])


def initializer(
    settings: Callable[[Any, int], Settings],
    update_rule: Callable[[Any, Settings], torch.optim.Optimizer],
    schedule: Callable[[Settings], Schedule],
    *,
    updates_statistics: bool = True,
) -> Callable[..., dict[str, Any]]:
    """Puts the parts of a submission together to its ``init_optimizer_state``.

    Args:
      settings: reads ``(hyperparameters, step_hint)``.
      update_rule: makes the optimizer of parameters and settings
        (:mod:`reference_submissions._common.update_rules_torch`).
      schedule: makes the schedule of the settings
        (:mod:`reference_submissions._common.schedules`).
      updates_statistics: whether a step updates the running statistics of batch normalisation.

    Returns:
      The function of the submission API. Its result holds ``optimizer``, ``scheduler`` and
      ``options``, each with a ``state_dict``.
    """

    def init_optimizer_state(
        workload: Any,
        model_params: torch.nn.Module,
        model_state: Any,
        hyperparameters: Any,
        rng: Any,
    ) -> dict[str, Any]:
        del model_state, rng
        chosen = settings(hyperparameters, workload.step_hint)
        optimizer = update_rule(model_params.parameters(), chosen)
        factor = schedule(chosen)
        return {
            "optimizer": optimizer,
            "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: float(factor(n))),
            "options": StepOptions(
                chosen.dropout_rate,
                chosen.label_smoothing,
                chosen.grad_clip,
                chosen.rho,
                updates_statistics,
            ),
        }

    return init_optimizer_state


def num_processes() -> int:
    """Returns the processes that train together."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return int(distributed.get_world_size())


def global_sum(value: torch.Tensor) -> torch.Tensor:
    """Returns the sum of a tensor over the processes, without a gradient."""
    value = value.detach().clone()
    if num_processes() > 1:
        torch.distributed.all_reduce(value)
    return value


def mean_loss(
    workload: Any,
    model: torch.nn.Module,
    model_state: Any,
    batch: Any,
    rng: Any,
    options: StepOptions,
    update_batch_norm: bool,
) -> tuple[torch.Tensor, Any]:
    """Computes this process's share of the mean loss over the valid examples of all processes.

    DistributedDataParallel averages the gradients over the processes, so each process takes its
    own sum of losses times the number of processes over the global number of valid examples.

    Returns:
      The loss, whose mean over the processes is the mean loss, and the model state.
    """
    dropout = {} if options.dropout_rate is None else {"dropout_rate": options.dropout_rate}
    logits, model_state = workload.model_fn(
        model,
        batch,
        model_state,
        ForwardPassMode.TRAIN,
        rng,
        update_batch_norm=update_batch_norm,
        **dropout,
    )
    losses = workload.loss_fn(
        label_batch=batch["targets"],
        logits_batch=logits,
        mask_batch=batch.get("weights"),
        label_smoothing=options.label_smoothing,
    )
    num_valid = losses["n_valid_examples"]
    if num_processes() > 1:
        num_valid = global_sum(num_valid) / num_processes()
    return losses["summed"] / num_valid, model_state


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
    """Does one training step; the model and the optimizer are changed in place.

    With a positive ``rho`` the gradient is that of the loss, on the same batch and with the same
    random numbers, at the parameters moved by rho along the plain gradient.

    Returns:
      Optimizer state, model, model state.
    """
    del current_params_types, hyperparameters, loss_type, eval_results, train_state
    optimizer, options = optimizer_state["optimizer"], optimizer_state["options"]
    model = current_param_container
    optimizer.zero_grad(set_to_none=True)
    replayed = replayed_random_numbers(model) if options.rho else contextlib.nullcontext()
    with replayed:
        loss, model_state = mean_loss(
            workload, model, model_state, batch, rng, options, options.updates_statistics
        )
        loss.backward()  # type: ignore[no-untyped-call]
    if options.rho:
        with ascended(model, options.rho):
            second, _ = mean_loss(
                workload, model, model_state, batch, rng, options, update_batch_norm=False
            )
            second.backward()  # type: ignore[no-untyped-call]

    # The same decision on all processes, although only the first one has a logger.
    log_now = global_step % LOG_PERIOD_STEPS == 0
    grad_norm = None
    if options.grad_clip is not None or log_now:
        max_norm = float("inf") if options.grad_clip is None else options.grad_clip
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    learning_rate = optimizer.param_groups[0]["lr"]
    optimizer.step()
    optimizer_state["scheduler"].step()
    if log_now and grad_norm is not None:
        loss = global_sum(loss) / num_processes()
        if workload.metrics_logger is not None:
            workload.metrics_logger.append_scalar_metrics(
                {
                    "loss": loss.item(),
                    "grad_norm": grad_norm.item(),
                    "lr": learning_rate,
                },
                global_step,
            )
    return optimizer_state, model, model_state
