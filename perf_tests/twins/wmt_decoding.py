"""Beam search without a cache: the decoder reads the whole sentence again at every step.

This is decoding as one writes it first: the same search, but the logits of the next token come from
a pass over all tokens so far. The encoder runs once here too.
"""

from __future__ import annotations

from typing import Any

from algoperf_ref.workloads.wmt.sizes import WmtSizes


def translate_jax(
    sizes: WmtSizes, params: Any, sources: Any, *, beam_size: int, length: int
) -> Any:
    """Best translations, int32 ``[rows, length - 1]``; shapes are fixed, so all places are read."""
    import jax
    import jax.numpy as jnp

    from algoperf_ref.workloads.wmt import transformer_jax
    from algoperf_ref.workloads.wmt.beam_search_jax import beam_search

    model, variables = transformer_jax.Transformer(sizes), {"params": params}
    rows = sources.shape[0]
    encoded = model.apply(variables, sources, method="encode")
    encoded = jnp.repeat(encoded, beam_size, axis=0)
    memory_mask = jnp.repeat(sources > 0, beam_size, axis=0)[:, None]
    causal = jnp.tri(length, dtype=bool)[None]

    def last_logits(module: Any, tokens: Any, index: Any) -> Any:
        drop = transformer_jax.KEEP_ALL
        states = module._embed(tokens, None, drop)
        states = module.decoder(states, causal, drop, encoded, memory_mask)
        return module._read_out(jax.lax.dynamic_index_in_dim(states, index, 1, keepdims=False))

    def next_logits(ids: Any, index: Any, sentences: Any) -> tuple[Any, Any]:
        sentences = jax.lax.dynamic_update_index_in_dim(sentences, ids, index, axis=2)
        tokens = sentences.reshape(rows * beam_size, length)
        logits = model.apply(variables, tokens, index, method=last_logits)
        return logits.reshape(rows, beam_size, -1), sentences

    empty = jnp.zeros((rows, beam_size, length), jnp.int32)
    beams = beam_search(next_logits, empty, rows=rows, beam_size=beam_size, length=length)
    return beams.sequences[:, -1, 1:]


def translate_pytorch(
    sizes: WmtSizes, params: Any, sources: Any, *, beam_size: int, length: int
) -> Any:
    """Best translations, int64 ``[rows, length - 1]``."""
    import torch

    from algoperf_ref.workloads.wmt.beam_search_torch import beam_search

    module, rows = params.eval(), len(sources)
    sentences = torch.zeros(rows, beam_size, length, dtype=torch.int64)

    @torch.no_grad()
    def translate() -> Any:
        encoded = module.encode(sources).repeat_interleave(beam_size, 0)
        memory_mask = module._additive((sources > 0).repeat_interleave(beam_size, 0)[:, None])

        def next_logits(ids: Any, index: int) -> Any:
            sentences[:, :, index] = ids
            tokens = sentences[:, :, : index + 1].flatten(0, 1)
            causal = module._additive(torch.ones(1, index + 1, index + 1).tril().bool())
            states = module._embed(tokens, None, 0.0)
            states = module.decoder["decoder"](states, causal, encoded, memory_mask, 0.0)
            logits = module.shared_embedding.read_out(states[:, -1])
            return logits.view(rows, beam_size, -1)

        def reorder(beams: Any) -> None:
            numbers = beams[:, :, None].expand(-1, -1, length)
            sentences.copy_(sentences.gather(1, numbers))

        return beam_search(
            next_logits,
            reorder,
            rows=rows,
            beam_size=beam_size,
            length=length,
            device=sources.device,
        )

    return translate().sequences[:, -1, 1:]
