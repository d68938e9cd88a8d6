"""Update rules as optax transformations, up to but without the learning rate.

The adapter puts gradient clipping in front and the scheduled, negated learning rate behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from reference_submissions._common.settings import Settings


class NadamState(NamedTuple):
    """Number of finished steps, and the first and second moment of the gradient."""

    num_steps: jax.Array
    mu: optax.Params
    nu: optax.Params


def scale_by_nadam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    """Adam with Nesterov momentum, as the benchmark defines it.

    With the gradient g of step t = 1, 2, ...::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2
        update = (beta1 m + (1 - beta1) g) / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)

    ``optax.nadamw`` corrects the bias of the look-ahead moment with beta1^(t+1) and is another
    algorithm: on the 10-step golden trajectories it is off by 0.07, this one by 5e-7.

    Args:
      beta1: decay of the first moment.
      beta2: decay of the second moment.
      epsilon: added to the root of the second moment.

    Returns:
      The transformation.
    """

    def init(params: optax.Params) -> NadamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return NadamState(jnp.zeros([], jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(
        grads: optax.Updates, state: NadamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, NadamState]:
        del params
        num_steps = state.num_steps + 1
        mu = optax.tree.update_moment(grads, state.mu, beta1, 1)
        nu = optax.tree.update_moment(grads, state.nu, beta2, 2)
        look_ahead = optax.tree.update_moment(grads, mu, beta1, 1)
        first = optax.tree.bias_correction(look_ahead, beta1, num_steps)
        second = optax.tree.bias_correction(nu, beta2, num_steps)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + epsilon), first, second)
        return updates, NadamState(num_steps, mu, nu)

    return optax.GradientTransformation(init, update)


def nadamw(settings: Settings) -> optax.GradientTransformation:
    """NadamW: :func:`scale_by_nadam` plus decoupled weight decay on all parameters."""
    return optax.chain(
        scale_by_nadam(settings.beta1, settings.beta2, settings.epsilon),
        optax.add_decayed_weights(settings.weight_decay),
    )


def adamw(settings: Settings) -> optax.GradientTransformation:
    """AdamW (optax): Adam plus decoupled weight decay on all parameters."""
    return optax.chain(
        optax.scale_by_adam(settings.beta1, settings.beta2, settings.epsilon),
        optax.add_decayed_weights(settings.weight_decay),
    )


def lamb(settings: Settings) -> optax.GradientTransformation:
    """LAMB (optax): AdamW's step of each tensor, made as long as the tensor."""
    return optax.chain(
        optax.scale_by_adam(settings.beta1, settings.beta2, settings.epsilon),
        optax.add_decayed_weights(settings.weight_decay),
        optax.scale_by_trust_ratio(),
    )


def adafactor(
    settings: Settings, learning_rate: Callable[[Any], Any]
) -> optax.GradientTransformation:
    """Adafactor (the parts of optax), with momentum and decoupled weight decay.

    ``optax.adafactor`` puts the same parts together, but its second moment has a decay that does
    not come from ``beta2``, and its weight decay acts without the learning rate.

    Args:
      settings: ``epsilon`` is not used.
      learning_rate: finished steps -> rate. It is inside the momentum, which adds up steps.

    Returns:
      The transformation; its updates have the learning rate.
    """

    def decay(step: Any, rate: Any) -> Any:
        del rate
        finished = jnp.asarray(step, jnp.float32)
        corrected = (1 - settings.beta2**finished) / (1 - settings.beta2 ** (finished + 1))
        return settings.beta2 * corrected

    return optax.chain(
        optax.scale_by_factored_rms(min_dim_size_to_factor=2, decay_rate_fn=decay),
        optax.clip_by_block_rms(1.0),
        optax.scale_by_learning_rate(learning_rate, flip_sign=False),
        optax.ema(settings.beta1, debias=False),
        optax.add_decayed_weights(lambda count: settings.weight_decay * learning_rate(count)),
    )


def heavy_ball(settings: Settings) -> optax.GradientTransformation:
    """Heavy ball (optax): m = beta1 m + g; update = m; weight decay is part of g."""
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay),
        optax.trace(decay=settings.beta1, nesterov=False),
    )


def nesterov(settings: Settings) -> optax.GradientTransformation:
    """Nesterov (optax): m = beta1 m + g; update = beta1 m + g; weight decay is part of g."""
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay),
        optax.trace(decay=settings.beta1, nesterov=True),
    )
