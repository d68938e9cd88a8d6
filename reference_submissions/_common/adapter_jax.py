"""Adapter to the submission API for JAX: everything of a step that is not the algorithm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from algoperf_ref import jax_sharding_utils
from reference_submissions._common.schedules import Schedule
from reference_submissions._common.settings import Settings
from spec.submission import ForwardPassMode

LOG_PERIOD_STEPS = 100
"""Loss, gradient norm and learning rate go to the metrics logger once in so many steps."""

TINY = 1e-30
"""Keeps a gradient of zero from a division by zero."""


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """The static part of the optimizer state.

    Attributes:
      run: compiled ``(opt_state, params, model_state, batch, rng) -> (opt_state, params,
        model_state, loss, grad_norm)``; the first three arguments are donated.
      learning_rate: ``(n, opt_state)`` -> learning rate of the update that follows ``n`` finished
        steps.
      statistics: compiled ``(params, model_state, batch, rng) -> model_state``: one update of the
        running statistics at some parameters; ``model_state`` is donated.
    """

    run: Callable[..., Any]
    learning_rate: Callable[[int, Any], float]
    statistics: Callable[..., Any]


def initializer(
    settings: Callable[[Any, int], Settings],
    update_rule: Callable[..., optax.GradientTransformation],
    schedule: Callable[..., Schedule],
    *,
    scales_itself: bool = False,
    updates_statistics: bool = True,
) -> Callable[..., tuple[Any, TrainingStep]]:
    """Puts the parts of a submission together to its ``init_optimizer_state``.

    Args:
      settings: reads ``(hyperparameters, step_hint)``.
      update_rule: makes the transformation of gradients to descent directions, without a
        learning rate (:mod:`reference_submissions._common.update_rules_jax`).
      schedule: called with the settings and the array namespace ``xp``
        (:mod:`reference_submissions._common.schedules`).
      scales_itself: the update rule is called with the settings and the learning rate (finished
        steps -> rate), and makes steps of that rate in place of directions.
      updates_statistics: whether a step updates the running statistics of batch normalisation.

    Returns:
      The function of the submission API. Its result is the arrays of the optimizer state, and the
      compiled step that belongs to them.
    """

    def init_optimizer_state(
        workload: Any, model_params: Any, model_state: Any, hyperparameters: Any, rng: Any
    ) -> tuple[Any, TrainingStep]:
        del model_state, rng
        chosen = settings(hyperparameters, workload.step_hint)
        optimizer = _optimizer(chosen, update_rule, schedule(chosen, xp=jnp), scales_itself)
        factor = schedule(chosen)
        step = compile_step(
            workload,
            chosen,
            partial(_step, workload, chosen, optimizer, updates_statistics),
            lambda n, _: chosen.learning_rate * float(factor(n)),
        )
        replicated = jax_sharding_utils.get_replicate_sharding()
        return jax.jit(optimizer.init, out_shardings=replicated)(model_params), step

    return init_optimizer_state


def compile_step(
    workload: Any,
    settings: Settings,
    step: Callable[..., Any],
    learning_rate: Callable[[int, Any], float],
) -> TrainingStep:
    """Returns the static part of an optimizer state.

    Args:
      workload: of the run.
      settings: of the trial.
      step: what ``TrainingStep.run`` compiles.
      learning_rate: as in :class:`TrainingStep`.
    """
    replicated = jax_sharding_utils.get_replicate_sharding()
    batch_sharded = jax_sharding_utils.get_batch_dim_sharding()

    def statistics(params: Any, model_state: Any, batch: Any, rng: jax.Array) -> Any:
        _, new = mean_loss(workload, settings, model_state, batch, rng)(params)
        return new

    return TrainingStep(
        jax.jit(
            step,
            donate_argnums=(0, 1, 2),
            in_shardings=(replicated, replicated, replicated, batch_sharded, replicated),
            out_shardings=replicated,
        ),
        learning_rate,
        jax.jit(
            statistics,
            donate_argnums=1,
            in_shardings=(replicated, replicated, batch_sharded, replicated),
            out_shardings=replicated,
        ),
    )


def mean_loss(
    workload: Any, settings: Settings, model_state: Any, batch: Any, rng: jax.Array
) -> Callable[..., tuple[jax.Array, Any]]:
    """Returns ``(params, update_batch_norm=True) -> (loss, new model_state)``.

    The loss is the mean over the valid examples of a global batch.
    """
    # A rate that is a Python number lets the model leave dropout out of the compiled step.
    dropout = {} if settings.dropout_rate is None else {"dropout_rate": settings.dropout_rate}

    def of_params(params: Any, update_batch_norm: bool = True) -> tuple[jax.Array, Any]:
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=update_batch_norm,
            **dropout,
        )
        loss = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=settings.label_smoothing,
        )
        return loss["summed"] / loss["n_valid_examples"], new_model_state

    return of_params


def _optimizer(
    settings: Settings,
    update_rule: Callable[..., optax.GradientTransformation],
    factor: Schedule,
    scales_itself: bool,
) -> optax.GradientTransformation:
    """Clipping, update rule, scheduled learning rate, in this order."""

    def rate(count: Any) -> Any:
        return settings.learning_rate * factor(count)

    clip = [] if settings.grad_clip is None else [optax.clip_by_global_norm(settings.grad_clip)]
    if scales_itself:
        return optax.chain(*clip, update_rule(settings, rate), optax.scale(-1.0))
    return optax.chain(*clip, update_rule(settings), optax.scale_by_learning_rate(rate))


def _ascended(params: Any, grads: Any, rho: float) -> Any:
    """Moves the parameters by ``rho`` along the normalised gradient."""
    scale = rho / jnp.maximum(optax.tree.norm(grads), TINY)
    return jax.tree.map(lambda p, g: p + scale * g, params, grads)


def _step(
    workload: Any,
    settings: Settings,
    optimizer: optax.GradientTransformation,
    updates_statistics: bool,
    opt_state: Any,
    params: Any,
    model_state: Any,
    batch: Any,
    rng: jax.Array,
) -> tuple[Any, Any, Any, jax.Array, jax.Array]:
    """One training step on a global batch. The loss is the mean over the valid examples.

    With a positive ``settings.rho`` the gradient is that of the loss, on the same batch and with
    the same random numbers, at the parameters moved by rho along the plain gradient. Loss and
    model state are those of the parameters themselves.
    """
    loss_of = mean_loss(workload, settings, model_state, batch, rng)
    first = partial(loss_of, update_batch_norm=updates_statistics)
    (loss, new_model_state), grads = jax.value_and_grad(first, has_aux=True)(params)
    if settings.rho:
        near = _ascended(params, grads, settings.rho)
        grads, _ = jax.grad(partial(loss_of, update_batch_norm=False), has_aux=True)(near)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    return opt_state, params, new_model_state, loss, optax.tree.norm(grads)


def update_params(
    workload: Any,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: Any,
    loss_type: Any,
    optimizer_state: Any,
    eval_results: Any,
    global_step: int,
    rng: Any,
    train_state: Any = None,
) -> tuple[Any, Any, Any]:
    """Does one training step.

    The arrays of ``current_param_container``, ``model_state`` and ``optimizer_state`` are donated
    and dead afterwards.

    Returns:
      Optimizer state, parameters, model state.
    """
    del current_params_types, hyperparameters, loss_type, eval_results, train_state
    arrays, training_step = optimizer_state
    arrays, params, model_state, loss, grad_norm = training_step.run(
        arrays, current_param_container, model_state, batch, rng
    )
    if global_step % LOG_PERIOD_STEPS == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(
            {
                "loss": float(loss),
                "grad_norm": float(grad_norm),
                "lr": training_step.learning_rate(global_step, arrays),
            },
            global_step,
        )
    return (arrays, training_step), params, model_state
