"""Draws a large table of uniform numbers in JAX without several arrays of its size at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32

SLICE_SIZE = 2**20
"""Numbers drawn at a time: 4 MiB, about what a processor's cache holds."""

_ONE = 0x3F800000  # The bits of float32 1.0: with 23 random bits below, a number in [1, 2).


def uniform_in_slices(bound: float, slice_size: int = SLICE_SIZE) -> Callable[..., jax.Array]:
    """Returns an initialiser: uniform between 0 and ``bound``, one slice after another.

    It returns exactly what ``flax.linen.initializers.uniform(bound)`` returns with partitionable
    threefry keys, which ``JaxBackend`` sets: there the n-th number depends on the key and n alone.
    ``jax.random`` holds arrays of four times the result's size meanwhile on a CPU, 9 GB for the
    full table. Tables that slices do not fill are drawn by it.

    Args:
      bound: every number is below it, or equal by rounding.
      slice_size: numbers drawn at a time.
    """

    def initialise(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        size = math.prod(shape)
        if size % slice_size or size > 2**32 or dtype != jnp.float32:
            return jax.random.uniform(key, shape, dtype) * bound
        words = jax.random.key_data(key)

        def draw(start: jax.Array) -> jax.Array:
            place = start + jnp.arange(slice_size, dtype=jnp.uint32)
            # The counter has 64 bits, and the halves of the result are put together.
            counters = jnp.concatenate([jnp.zeros_like(place), place])
            high, low = jnp.split(threefry_2x32(words, counters), 2)
            bits = ((high ^ low) >> 9) | jnp.uint32(_ONE)
            return (jax.lax.bitcast_convert_type(bits, jnp.float32) - 1.0) * bound

        starts = jnp.arange(size // slice_size, dtype=jnp.uint32) * jnp.uint32(slice_size)
        return jax.lax.map(draw, starts).reshape(shape)

    return initialise
