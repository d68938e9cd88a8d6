"""Training with one set of weights and evaluating another, in JAX.

The update rules here keep the weights of the evaluation as ``averaged`` in their state.
``prepare_for_eval`` exchanges them with the parameters, and the next ``update_params`` exchanges
them back, to the bit, so that training does not see how often it is evaluated.

Batch normalisation has its running statistics at the weights of the evaluation: training passes
leave them alone (they use those of the batch), and once in ``STATISTICS_PERIOD`` steps a pass at
those weights updates them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from reference_submissions._common import adapter_jax, update_rules_jax
from reference_submissions._common.averaging import (
    NUM_SNAPSHOTS,
    STATISTICS_PERIOD,
    snapshot_period,
)
from reference_submissions._common.settings import Settings


class ScheduleFreeState(NamedTuple):
    """Finished steps, base iterate z, average x, second moment, and the sum of squared rates."""

    num_steps: jax.Array
    base: optax.Params
    averaged: optax.Params
    nu: optax.Params
    sum_of_squares: jax.Array


def schedule_free_adamw(
    settings: Settings, learning_rate: Callable[[Any], Any]
) -> optax.GradientTransformation:
    """Schedule-Free AdamW; the parameters are y, where the gradient is taken.

    Args:
      settings: ``beta1`` interpolates; ``beta2``, ``epsilon`` and ``weight_decay`` as in AdamW.
      learning_rate: finished steps -> rate, of the warm-up; it does not decay.

    Returns:
      The transformation; its updates have the learning rate, and no sign.
    """
    beta1, beta2 = settings.beta1, settings.beta2

    def init(params: optax.Params) -> ScheduleFreeState:
        return ScheduleFreeState(
            jnp.zeros([], jnp.int32),
            jax.tree.map(jnp.array, params),
            jax.tree.map(jnp.array, params),
            jax.tree.map(jnp.zeros_like, params),
            jnp.zeros([]),
        )

    def update(
        grads: optax.Updates, state: ScheduleFreeState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ScheduleFreeState]:
        num_steps = state.num_steps + 1
        rate = learning_rate(state.num_steps) * jnp.sqrt(1 - beta2**num_steps)
        nu = optax.tree.update_moment(grads, state.nu, beta2, 2)
        base = jax.tree.map(
            lambda z, g, v, y: (
                z - rate * (g / (jnp.sqrt(v) + settings.epsilon) + settings.weight_decay * y)
            ),
            state.base,
            grads,
            nu,
            params,
        )
        total = state.sum_of_squares + rate**2
        # While the rate is 0, in the first step of a warm-up, nothing has moved.
        weight = jnp.where(total > 0, rate**2 / jnp.maximum(total, adapter_jax.TINY), 1.0)
        averaged = jax.tree.map(lambda x, z: x + weight * (z - x), state.averaged, base)
        updates = jax.tree.map(lambda y, x, z: y - (z + beta1 * (x - z)), params, averaged, base)
        return updates, ScheduleFreeState(num_steps, base, averaged, nu, total)

    return optax.GradientTransformation(init, update)


class LawaState(NamedTuple):
    """Finished steps, the last snapshots (NUM_SNAPSHOTS, ...), and their mean; before the first
    snapshot, the weights of the training."""

    num_steps: jax.Array
    snapshots: optax.Params
    averaged: optax.Params


def _keep_snapshots(period: int) -> optax.GradientTransformation:
    """Lets updates pass, and keeps the mean of the last snapshots of the parameters."""

    def init(params: optax.Params) -> LawaState:
        room = jax.tree.map(lambda p: jnp.zeros((NUM_SNAPSHOTS, *p.shape), p.dtype), params)
        return LawaState(jnp.zeros([], jnp.int32), room, jax.tree.map(jnp.array, params))

    def update(
        updates: optax.Updates, state: LawaState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, LawaState]:
        num_steps = state.num_steps + 1
        number = num_steps // period  # of the snapshot, from 1

        def take() -> tuple[optax.Params, optax.Params]:
            new = optax.apply_updates(params, updates)
            snapshots = jax.tree.map(
                lambda room, p: room.at[(number - 1) % NUM_SNAPSHOTS].set(p), state.snapshots, new
            )
            count = jnp.minimum(number, NUM_SNAPSHOTS)
            # Places that are not filled yet are 0.
            return snapshots, jax.tree.map(lambda room: room.sum(0) / count, snapshots)

        def keep() -> tuple[optax.Params, optax.Params]:
            return state.snapshots, state.averaged

        def follow() -> tuple[optax.Params, optax.Params]:
            return state.snapshots, optax.apply_updates(params, updates)

        which = jnp.where(number == 0, 2, jnp.where(num_steps % period == 0, 1, 0))
        snapshots, averaged = jax.lax.switch(which, (keep, take, follow))
        return updates, LawaState(num_steps, snapshots, averaged)

    return optax.GradientTransformation(init, update)


def lawa_nadamw(
    settings: Settings, learning_rate: Callable[[Any], Any]
) -> optax.GradientTransformation:
    """NadamW that keeps the mean of its latest weights; the updates have no sign."""
    return optax.chain(
        update_rules_jax.nadamw(settings),
        optax.scale_by_learning_rate(learning_rate),
        _keep_snapshots(snapshot_period(settings.total_steps)),
        optax.scale(-1.0),
    )


class AveragingState(NamedTuple):
    """State of the adapter, and whether the parameters are those of the evaluation now."""

    inner: Any
    is_exchanged: bool


def initializer(
    settings: Callable[[Any, int], Settings],
    update_rule: Callable[..., optax.GradientTransformation],
    schedule: Callable[..., Any],
) -> Callable[..., AveragingState]:
    """As :func:`adapter_jax.initializer`, for an update rule with ``averaged`` in its state."""
    init = adapter_jax.initializer(
        settings, update_rule, schedule, scales_itself=True, updates_statistics=False
    )

    def init_optimizer_state(*args: Any, **kwargs: Any) -> AveragingState:
        return AveragingState(init(*args, **kwargs), is_exchanged=False)

    return init_optimizer_state


def _exchanged(state: AveragingState, params: Any) -> tuple[AveragingState, Any]:
    arrays, training_step = state.inner
    averaged = optax.tree.get(arrays, "averaged")
    inner = (optax.tree.set(arrays, averaged=params), training_step)
    return AveragingState(inner, not state.is_exchanged), averaged


def update_params(
    workload: Any,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: Any,
    loss_type: Any,
    optimizer_state: AveragingState,
    eval_results: Any,
    global_step: int,
    rng: Any,
    train_state: Any = None,
) -> tuple[Any, Any, Any]:
    """Does one training step, with the weights of the training.

    Returns:
      Optimizer state, parameters, model state.
    """
    params = current_param_container
    if optimizer_state.is_exchanged:
        optimizer_state, params = _exchanged(optimizer_state, params)
    inner, params, model_state = adapter_jax.update_params(
        workload,
        params,
        current_params_types,
        model_state,
        hyperparameters,
        batch,
        loss_type,
        optimizer_state.inner,
        eval_results,
        global_step,
        rng,
        train_state,
    )
    if model_state is not None and global_step % STATISTICS_PERIOD == 0:
        arrays, training_step = inner
        averaged = optax.tree.get(arrays, "averaged")
        model_state = training_step.statistics(averaged, model_state, batch, rng)
    return AveragingState(inner, is_exchanged=False), params, model_state


def prepare_for_eval(
    workload: Any,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    loss_type: Any,
    optimizer_state: AveragingState,
    eval_results: Any,
    global_step: int,
    rng: Any,
) -> tuple[Any, Any, Any]:
    """Puts the averaged weights in the place of those of the training.

    Returns:
      Optimizer state, parameters, model state.
    """
    del workload, current_params_types, hyperparameters, loss_type, eval_results, global_step, rng
    params = current_param_container
    if not optimizer_state.is_exchanged:
        optimizer_state, params = _exchanged(optimizer_state, params)
    return optimizer_state, params, model_state
