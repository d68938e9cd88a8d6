"""Translations by a Transformer in JAX; twin of ``translating_torch``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from algoperf_ref.frameworks import jax_sharding
from algoperf_ref.workloads.wmt.beam_search_jax import Beams, beam_search
from algoperf_ref.workloads.wmt.sizes import WmtSizes
from algoperf_ref.workloads.wmt.transformer_jax import Transformer, empty_caches

_Result = TypeVar("_Result")


def search(
    sizes: WmtSizes,
    params: Any,
    sources: jax.Array,
    *,
    beam_size: int = 4,
    alpha: float = 0.6,
    max_decode_len: int | None = None,
    end: int = 2,
) -> Beams:
    """Translates sentences; may be traced.

    If the number of devices divides that of the sentences, every device translates its own.

    Args:
      sizes: of the model.
      params: its parameters.
      sources: int ``[rows, length]``, 0 where there is nothing.
      beam_size, alpha, end: as for :func:`beam_search`.
      max_decode_len: length of the translations with their start; None for ``sizes.max_len``.

    Returns:
      All beams.
    """
    model, length = Transformer(sizes), max_decode_len or sizes.max_len

    def search_rows(params: Any, sources: jax.Array) -> Beams:
        variables = {"params": params}
        memory = model.apply(variables, sources, method="memory")

        def next_logits(ids: jax.Array, index: jax.Array, caches: Any) -> tuple[jax.Array, Any]:
            result: tuple[jax.Array, Any] = model.apply(
                variables, ids, index, caches, memory, sources, method="next_logits"
            )
            return result

        rows = sources.shape[0]
        return beam_search(
            next_logits,
            empty_caches(sizes, rows, beam_size, length),
            rows=rows,
            beam_size=beam_size,
            length=length,
            alpha=alpha,
            end=end,
        )

    return _on_every_device(search_rows, params, sources)


def translate(sizes: WmtSizes, params: Any, sources: jax.Array, **options: Any) -> jax.Array:
    """Returns the best translations, int32 ``[rows, max_decode_len - 1]``, without the start.

    Arguments are those of :func:`search`.
    """
    return search(sizes, params, sources, **options).sequences[:, -1, 1:]


def greedy(
    sizes: WmtSizes,
    params: Any,
    sources: jax.Array,
    *,
    max_decode_len: int | None = None,
    end: int = 2,
) -> jax.Array:
    """Takes the most probable token each time; without a search, so cheaper.

    Args:
      sizes, params, sources, max_decode_len, end: as for :func:`search`.

    Returns:
      Int32 ``[rows, max_decode_len - 1]``; zeros behind the end.
    """
    model, length = Transformer(sizes), max_decode_len or sizes.max_len

    def decode_rows(params: Any, sources: jax.Array) -> jax.Array:
        variables = {"params": params}
        memory = model.apply(variables, sources, method="memory")
        rows = sources.shape[0]

        def step(state: Any) -> Any:
            index, ids, has_ended, sequences, caches = state
            logits, caches = model.apply(
                variables, ids, index, caches, memory, sources, method="next_logits"
            )
            ids = jnp.where(has_ended[:, None], 0, logits.argmax(-1).astype(jnp.int32))
            sequences = jax.lax.dynamic_update_slice_in_dim(sequences, ids, index, axis=1)
            return index + 1, ids, has_ended | (ids[:, 0] == end), sequences, caches

        first = (
            jnp.asarray(0),
            jnp.zeros((rows, 1), jnp.int32),
            jnp.zeros(rows, bool),
            jnp.zeros((rows, length - 1), jnp.int32),
            empty_caches(sizes, rows, 1, length),
        )
        last = jax.lax.while_loop(lambda s: (s[0] < length - 1) & ~s[2].all(), step, first)
        sequences: jax.Array = last[3]
        return sequences

    return _on_every_device(decode_rows, params, sources)


def _on_every_device(
    decode: Callable[[Any, jax.Array], _Result], params: Any, sources: jax.Array
) -> _Result:
    """Calls ``decode`` with the rows of each device alone.

    So a device stops when its own rows are done, and nothing is sent between devices: left to
    itself, XLA gathers the candidates of all rows on every device in each step, to sort them. What
    a row gets does not depend on when the search stops: a living beam that cannot win any more
    cannot win later either.
    """
    mesh = jax_sharding.batch_mesh()
    if mesh.size == 1 or sources.shape[0] % mesh.size:
        return decode(params, sources)
    rows = PartitionSpec("batch")
    # Zeros that a loop starts from are the same on all devices, and what it makes of them is not:
    # the check would have them marked one by one.
    divided: Callable[[Any, jax.Array], _Result] = jax.shard_map(
        decode, mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows, check_vma=False
    )
    return divided(params, sources)
