"""Stochastic gradient descent with a line search on every batch, in JAX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_ref import jax_sharding_utils
from reference_submissions._common import line_search
from reference_submissions._common.adapter_jax import TrainingStep, compile_step, mean_loss
from reference_submissions._common.settings import Settings


class LineSearchState(NamedTuple):
    """The learning rate of the last step."""

    learning_rate: jax.Array


def _step(
    workload: Any,
    settings: Settings,
    state: LineSearchState,
    params: Any,
    model_state: Any,
    batch: Any,
    rng: jax.Array,
) -> tuple[LineSearchState, Any, Any, jax.Array, jax.Array]:
    """One step on a global batch; every try has the same batch and the same random numbers."""
    loss_of = mean_loss(workload, settings, model_state, batch, rng)
    (loss, new_model_state), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    norm = optax.tree.norm(grads)

    def moved(rate: jax.Array) -> Any:
        return jax.tree.map(lambda p, g: p - rate * g, params, grads)

    def is_enough(rate: jax.Array) -> jax.Array:
        there, _ = loss_of(moved(rate), update_batch_norm=False)
        # False for a loss that is not a number.
        return there <= loss - line_search.SUFFICIENT * rate * norm**2

    def shorter(search: tuple[Any, ...]) -> tuple[Any, ...]:
        rate, tries, _ = search
        rate = line_search.DECREASE * rate
        return rate, tries + 1, is_enough(rate)

    def goes_on(search: tuple[Any, ...]) -> jax.Array:
        _, tries, found = search
        return ~found & (tries < line_search.MAX_TRIES)

    first = jnp.minimum(line_search.INCREASE * state.learning_rate, line_search.LARGEST_RATE)
    rate, _, found = jax.lax.while_loop(goes_on, shorter, (first, 1, is_enough(first)))
    params = moved(jnp.where(found, rate, 0.0))
    return LineSearchState(rate), params, new_model_state, loss, norm


def initializer(
    settings: Callable[[Any, int], Settings],
) -> Callable[..., tuple[LineSearchState, TrainingStep]]:
    """Makes the ``init_optimizer_state`` of the line search, for the adapter's ``update_params``.

    Args:
      settings: reads ``(hyperparameters, step_hint)``; dropout and label smoothing are used.
    """

    def init_optimizer_state(
        workload: Any, model_params: Any, model_state: Any, hyperparameters: Any, rng: Any
    ) -> tuple[LineSearchState, TrainingStep]:
        del model_params, model_state, rng
        chosen = settings(hyperparameters, workload.step_hint)
        step = compile_step(
            workload,
            chosen,
            partial(_step, workload, chosen),
            lambda _, state: float(state.learning_rate),
        )
        rate = jax.device_put(
            jnp.float32(line_search.FIRST_RATE), jax_sharding_utils.get_replicate_sharding()
        )
        return LineSearchState(rate), step

    return init_optimizer_state
