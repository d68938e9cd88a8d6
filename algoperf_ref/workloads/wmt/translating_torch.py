"""Translations by a Transformer in PyTorch; twin of ``translating_jax``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from algoperf_ref.workloads.wmt.beam_search_torch import Beams, beam_search
from algoperf_ref.workloads.wmt.sizes import WmtSizes
from algoperf_ref.workloads.wmt.transformer_torch import Transformer


@torch.no_grad()
def search(
    sizes: WmtSizes,
    params: nn.Module,
    sources: torch.Tensor,
    *,
    beam_size: int = 4,
    alpha: float = 0.6,
    max_decode_len: int | None = None,
    end: int = 2,
) -> Beams:
    """Translates sentences; leaves the module in evaluation mode.

    Args:
      sizes: of the model.
      params: its module, perhaps distributed or compiled.
      sources: int ``[rows, length]``, 0 where there is nothing.
      beam_size, alpha, end: as for :func:`beam_search`.
      max_decode_len: length of the translations with their start; None for ``sizes.max_len``.

    Returns:
      All beams.
    """
    module = _unwrap(params).eval()
    length = max_decode_len or sizes.max_len
    rows = len(sources)
    memory = module.memory(sources)
    caches = module.empty_caches(rows * beam_size, length)
    first = torch.arange(rows, device=sources.device)[:, None] * beam_size
    used = 0

    def next_logits(ids: torch.Tensor, index: int) -> torch.Tensor:
        nonlocal used
        used = index + 1
        return module.next_logits(ids, index, caches, memory, sources)

    def reorder(beams: torch.Tensor) -> None:
        numbers = (first + beams).flatten()
        for pair in caches:
            for cache in pair:
                cache[:, :, :used] = cache[numbers, :, :used]

    return beam_search(
        next_logits,
        reorder,
        rows=rows,
        beam_size=beam_size,
        length=length,
        device=sources.device,
        alpha=alpha,
        end=end,
    )


def translate(
    sizes: WmtSizes, params: nn.Module, sources: torch.Tensor, **options: Any
) -> torch.Tensor:
    """Returns the best translations, int64 ``[rows, max_decode_len - 1]``, without the start.

    Arguments are those of :func:`search`.
    """
    return search(sizes, params, sources, **options).sequences[:, -1, 1:]


@torch.no_grad()
def greedy(
    sizes: WmtSizes,
    params: nn.Module,
    sources: torch.Tensor,
    *,
    max_decode_len: int | None = None,
    end: int = 2,
) -> torch.Tensor:
    """Takes the most probable token each time; without a search, so cheaper.

    Args:
      sizes, params, sources, max_decode_len, end: as for :func:`search`.

    Returns:
      Int64 ``[rows, max_decode_len - 1]``; zeros behind the end.
    """
    module = _unwrap(params).eval()
    length = max_decode_len or sizes.max_len
    memory = module.memory(sources)
    caches = module.empty_caches(len(sources), length)
    ids = torch.zeros(len(sources), 1, dtype=torch.int64, device=sources.device)
    has_ended = torch.zeros(len(sources), dtype=torch.bool, device=sources.device)
    sequences = torch.zeros(len(sources), length - 1, dtype=torch.int64, device=sources.device)
    for index in range(length - 1):
        ids = module.next_logits(ids, index, caches, memory, sources).argmax(-1)
        ids = torch.where(has_ended[:, None], 0, ids)
        sequences[:, index] = ids[:, 0]
        has_ended |= ids[:, 0] == end
        if bool(has_ended.all()):
            break
    return sequences


def _unwrap(params: nn.Module) -> Transformer:
    """Returns the Transformer inside wrappers of DistributedDataParallel and torch.compile."""
    module = params
    while not isinstance(module, Transformer):
        inner = getattr(module, "module", None) or getattr(module, "_orig_mod", None)
        if inner is None:
            raise TypeError(f"{type(params).__name__} holds no Transformer")
        module = inner
    return module
