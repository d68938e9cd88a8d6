"""Beam search in JAX; twin of ``beam_search_torch``. Source: Workload facts (wmt), 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

MINUS_INFINITY = -1.0e7
"""Score of what is no candidate. Source: Workload facts (wmt), 7."""

NextLogits = Callable[[jax.Array, jax.Array, Any], tuple[jax.Array, Any]]
"""``(ids [rows, beams], index, caches) -> (logits [rows, beams, vocabulary], caches)``; every array
of the caches is ``[rows, beams, ...]``."""


class Beams(NamedTuple):
    """What a search ends with, the best beam last.

    Attributes:
      sequences: int32 ``[rows, beams, length]``, with the start token.
      scores: float32 ``[rows, beams]``.
    """

    sequences: jax.Array
    scores: jax.Array


class _State(NamedTuple):
    index: jax.Array
    live_log_probabilities: jax.Array
    live: jax.Array
    finished_scores: jax.Array
    finished: jax.Array
    is_finished: jax.Array
    caches: Any


def beam_search(
    next_logits: NextLogits,
    caches: Any,
    *,
    rows: int,
    beam_size: int,
    length: int,
    alpha: float = 0.6,
    end: int = 2,
    start: int = 0,
) -> Beams:
    """Searches for the most probable sequences of every row.

    The score of a finished sequence is its log-probability over ``((5 + n) / 6) ** alpha``, with
    ``n`` tokens behind the start. The search ends when no living beam of any row can beat a row's
    worst finished one, or at the length limit.

    Args:
      next_logits: continues sequences by one token.
      caches: for its first call.
      rows: number of searches.
      beam_size: sequences that are kept of each.
      length: of the sequences, with the start token.
      alpha: exponent of the penalty.
      end: token that finishes a sequence.
      start: token before the first.

    Returns:
      The finished sequences of rows that have any, otherwise the living ones. Behind the last token
      there are zeros.
    """

    def is_going_on(state: _State) -> jax.Array:
        best = state.live_log_probabilities[:, -1:] / _penalty(length, alpha)
        worst = state.finished_scores.min(axis=1, keepdims=True)
        worst = jnp.where(state.is_finished, worst, MINUS_INFINITY)
        return (state.index < length - 1) & ~jnp.all(worst > best)

    def step(state: _State) -> _State:
        last = jax.lax.dynamic_index_in_dim(state.live, state.index, axis=2, keepdims=False)
        logits, new_caches = next_logits(last, state.index, state.caches)
        vocabulary = logits.shape[-1]
        candidates = jax.nn.log_softmax(logits) + state.live_log_probabilities[:, :, None]
        # Twice as many as beams, since at most one of each beam's can be the end.
        best, flat = jax.lax.top_k(candidates.reshape(rows, -1), 2 * beam_size)
        beams, tokens = flat // vocabulary, (flat % vocabulary).astype(jnp.int32)
        sequences = jax.lax.dynamic_update_index_in_dim(
            _take(state.live, beams), tokens[:, :, None], state.index + 1, axis=2
        )
        is_new = tokens == end
        living = _best(best + is_new * MINUS_INFINITY, beam_size)
        scores = best / _penalty(state.index + 1, alpha) + ~is_new * MINUS_INFINITY
        scores = jnp.concatenate([state.finished_scores, scores], axis=1)
        ended = _best(scores, beam_size)
        all_ended = jnp.concatenate([state.finished, sequences], axis=1)
        flags = jnp.concatenate([state.is_finished, is_new], axis=1)
        parents = _take(beams, living)
        return _State(
            state.index + 1,
            _take(best + is_new * MINUS_INFINITY, living),
            _take(sequences, living),
            _take(scores, ended),
            _take(all_ended, ended),
            _take(flags, ended),
            jax.tree.map(lambda array: _take(array, parents), new_caches),
        )

    nothing = jnp.full((rows, beam_size), MINUS_INFINITY)
    empty = jnp.zeros((rows, beam_size, length), jnp.int32)
    first = _State(
        index=jnp.asarray(0),
        live_log_probabilities=nothing.at[:, 0].set(0.0),
        live=empty.at[:, :, 0].set(start),
        finished_scores=nothing,
        finished=empty,
        is_finished=jnp.zeros((rows, beam_size), bool),
        caches=caches,
    )
    last = jax.lax.while_loop(is_going_on, step, first)
    has_finished = last.is_finished.any(axis=1)
    return Beams(
        jnp.where(has_finished[:, None, None], last.finished, last.live),
        jnp.where(has_finished[:, None], last.finished_scores, last.live_log_probabilities),
    )


def _penalty(count: Any, alpha: float) -> Any:
    return ((5.0 + count) / 6.0) ** alpha


def _best(scores: jax.Array, count: int) -> jax.Array:
    """Numbers of the highest scores, ``[rows, count]``, the best last."""
    return jax.lax.top_k(scores, count)[1][:, ::-1]


def _take(array: jax.Array, numbers: jax.Array) -> jax.Array:
    """Takes entries of axis 1 by number: of ``[rows, n, ...]`` those of ``[rows, m]``."""
    numbers = numbers.reshape(*numbers.shape, *[1] * (array.ndim - 2))
    return jnp.take_along_axis(array, numbers, axis=1)
