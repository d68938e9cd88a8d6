"""Beam search in PyTorch; twin of ``beam_search_jax``. Source: Workload facts (wmt), 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

MINUS_INFINITY = -1.0e7
"""Score of what is no candidate. Source: Workload facts (wmt), 7."""

NextLogits = Callable[[torch.Tensor, int], torch.Tensor]
"""``(ids [rows, beams], index) -> logits [rows, beams, vocabulary]``; keeps its own caches."""

Reorder = Callable[[torch.Tensor], Any]
"""Is told which beam every beam goes on from, int64 ``[rows, beams]``, to reorder the caches."""


class Beams(NamedTuple):
    """What a search ends with, the best beam last.

    Attributes:
      sequences: int64 ``[rows, beams, length]``, with the start token.
      scores: float32 ``[rows, beams]``.
    """

    sequences: torch.Tensor
    scores: torch.Tensor


def beam_search(
    next_logits: NextLogits,
    reorder: Reorder,
    *,
    rows: int,
    beam_size: int,
    length: int,
    device: torch.device,
    alpha: float = 0.6,
    end: int = 2,
    start: int = 0,
) -> Beams:
    """Searches for the most probable sequences of every row.

    The score of a finished sequence is its log-probability over ``((5 + n) / 6) ** alpha``, with
    ``n`` tokens behind the start. The search ends when no living beam of any row can beat a row's
    worst finished one, or at the length limit. Unlike the official one it writes a chosen token to
    its own place only, as JAX does.

    Args:
      next_logits: continues sequences by one token.
      reorder: reorders its caches.
      rows: number of searches.
      beam_size: sequences that are kept of each.
      length: of the sequences, with the start token.
      device: where the logits are.
      alpha: exponent of the penalty.
      end: token that finishes a sequence.
      start: token before the first.

    Returns:
      The finished sequences of rows that have any, otherwise the living ones. Behind the last token
      there are zeros.
    """
    log_probabilities = torch.full((rows, beam_size), MINUS_INFINITY, device=device)
    finished_scores = log_probabilities.clone()
    log_probabilities[:, 0] = 0.0
    live = torch.zeros(rows, beam_size, length, dtype=torch.int64, device=device)
    live[:, :, 0] = start
    finished = torch.zeros_like(live)
    is_finished = torch.zeros(rows, beam_size, dtype=torch.bool, device=device)
    for index in range(length - 1):
        best_live = log_probabilities[:, -1] / _penalty(length, alpha)
        worst = finished_scores.amin(1, keepdim=True)
        worst = torch.where(is_finished, worst, MINUS_INFINITY)
        if bool((worst > best_live[:, None]).all()):
            break
        logits = next_logits(live[:, :, index], index)
        vocabulary = logits.shape[-1]
        candidates = F.log_softmax(logits, dim=-1) + log_probabilities[:, :, None]
        # Twice as many as beams, since at most one of each beam's can be the end.
        best, flat = candidates.flatten(1).topk(2 * beam_size)
        beams, tokens = flat // vocabulary, flat % vocabulary
        sequences = _take(live, beams)
        sequences[:, :, index + 1] = tokens
        is_new = tokens == end
        surviving = best + is_new * MINUS_INFINITY
        living = _best(surviving, beam_size)
        scores = best / _penalty(index + 1, alpha) + ~is_new * MINUS_INFINITY
        scores = torch.cat([finished_scores, scores], 1)
        ended = _best(scores, beam_size)
        finished_scores = scores.gather(1, ended)
        finished = _take(torch.cat([finished, sequences], 1), ended)
        is_finished = torch.cat([is_finished, is_new], 1).gather(1, ended)
        log_probabilities = surviving.gather(1, living)
        live = _take(sequences, living)
        reorder(beams.gather(1, living))
    has_finished = is_finished.any(1)
    return Beams(
        torch.where(has_finished[:, None, None], finished, live),
        torch.where(has_finished[:, None], finished_scores, log_probabilities),
    )


def _penalty(count: int, alpha: float) -> float:
    return float(((5.0 + count) / 6.0) ** alpha)


def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers of the highest scores, ``[rows, count]``, the best last."""
    return scores.topk(count).indices.flip(1)


def _take(array: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Takes entries of axis 1 by number: ``[rows, n, length]``, ``[rows, m]``."""
    return array.gather(1, numbers[:, :, None].expand(-1, -1, array.shape[2]))
