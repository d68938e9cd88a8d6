"""Greedy decoding in PyTorch; twin of ``greedy_jax``.

Source: Workload facts (librispeech_data), 6.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from algoperf_ref.frameworks.ctc import BLANK


def greedy(logits: torch.Tensor, paddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Takes the best class of each frame, one of each run of equal ones, and drops the blanks.

    Args:
      logits: float ``[examples, frames, classes]``; of equal ones the first counts.
      paddings: ``[examples, frames]``, 1 behind the end of an example and 0 before it.

    Returns:
      Classes, int32 ``[examples, frames]``, those of each example first and then zeros, and their
      paddings, float32 of the same shape.
    """
    best = logits.argmax(-1)
    frames = best.shape[1]
    # Nothing is before the first frame, and no class is -1.
    previous = F.pad(best[:, :-1], (1, 0), value=-1)
    is_kept = (best != previous) & (best != BLANK) & (paddings == 0)
    # What is not kept goes to a place behind the end, which is cut off.
    place = torch.where(is_kept, is_kept.cumsum(1) - 1, frames)
    ids = F.pad(torch.zeros_like(best), (0, 1)).scatter_(1, place, best)[:, :frames]
    counts = is_kept.sum(1, keepdim=True)
    return ids.int(), (torch.arange(frames, device=ids.device) >= counts).float()
