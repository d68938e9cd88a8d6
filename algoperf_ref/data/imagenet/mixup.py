"""Mixup over the global batch, whichever process makes which rows of it.

Every row is mixed with the row before it, the first with the last, by one weight for each global
batch. Both are functions of positions in the stream, so a process needs at most the one row before
its own besides those. Source: Workload facts, imagenet_resnet, 5e (the official JAX rule; the
official PyTorch pipeline draws one weight for each device, decision 1).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.2
"""Of the beta distribution of the weight, both parameters. Source: imagenet_vit, 5."""

# Told apart from other uses of the data seed: the letters "mixu".
_PURPOSE = 0x6D697875


@functools.lru_cache(maxsize=8)
def weight(data_seed: int, batch: int, alpha: float = ALPHA) -> float:
    """The share that a row keeps of itself in a global batch, between 0 and 1.

    Args:
      data_seed: of the run, not negative.
      batch: number of the global batch, from 0.
      alpha: 0 mixes nothing.
    """
    if alpha == 0:
        return 1.0
    bits = np.random.MT19937(np.random.SeedSequence([data_seed, _PURPOSE, batch]))
    # A legacy generator, whose streams numpy has frozen.
    return float(np.random.RandomState(bits).beta(alpha, alpha))


def partners(positions: NDArray[np.int64], global_batch_size: int) -> NDArray[np.int64]:
    """Positions of the rows that rows are mixed with.

    Args:
      positions: in the stream, int64 [n].
      global_batch_size: rows of a batch over all processes.

    Returns:
      int64 [n], each in the same global batch.
    """
    first = positions - positions % global_batch_size
    return np.asarray(first + (positions - first - 1) % global_batch_size, np.int64)


def mix(own: NDArray[np.float32], before: NDArray[np.float32], share: float) -> None:
    """Mixes rows with the row before each, in place.

    Args:
      own: float32 [n, ...]; row i is mixed with row i - 1 as it was.
      before: what row 0 is mixed with, float32 [...]; not part of ``own``.
      share: that a row keeps of itself.
    """
    kept, given = np.float32(share), np.float32(1) - np.float32(share)
    # From the last to the first, so that a row is used before it is changed.
    for row in range(len(own) - 1, -1, -1):
        own[row] *= kept
        own[row] += given * (own[row - 1] if row else before)
