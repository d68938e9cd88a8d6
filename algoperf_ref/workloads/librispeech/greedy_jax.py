"""Greedy decoding in JAX; twin of ``greedy_torch``.

Source: Workload facts (librispeech_data), 6.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from algoperf_ref.frameworks.ctc import BLANK


def greedy(logits: jax.Array, paddings: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes the best class of each frame, one of each run of equal ones, and drops the blanks.

    Args:
      logits: float ``[examples, frames, classes]``; of equal ones the first counts.
      paddings: ``[examples, frames]``, 1 behind the end of an example and 0 before it.

    Returns:
      Classes, int32 ``[examples, frames]``, those of each example first and then zeros, and their
      paddings, float32 of the same shape.
    """
    best = logits.argmax(-1).astype(jnp.int32)
    examples, frames = best.shape
    # Nothing is before the first frame, and no class is -1.
    previous = jnp.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    is_kept = (best != previous) & (best != BLANK) & (paddings == 0)
    # What is not kept goes to a place behind the end, which is dropped.
    place = jnp.where(is_kept, is_kept.cumsum(1) - 1, frames)
    ids = jnp.zeros_like(best).at[jnp.arange(examples)[:, None], place].set(best, mode="drop")
    counts = is_kept.sum(1, keepdims=True)
    return ids, (jnp.arange(frames) >= counts).astype(jnp.float32)
