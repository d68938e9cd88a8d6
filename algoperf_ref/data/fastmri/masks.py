"""Which columns of the k-space a slice keeps: the centre, and random others (fourfold
acceleration).

An evaluation uses one mask for all slices of a width. A training slice keeps one mask for the whole
run, a pure function of the run's data seed and of the slice's number in the split: it depends
neither on workers and epochs nor on what is cached. (In the official pipeline the number is that of
the slice in a stream whose order depends on how the file system lists the files.)
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.philox import fold_in, stateless_uniform

CENTER_FRACTION = 0.08
ACCELERATION = 4
EVALUATION_SEED = (0, 0)
"""Seed of the mask of every slice of the validation and the test split."""

# Told apart from other uses of the data seed: the letters "mask".
_PURPOSE = 0x6D61736B


def num_low_frequencies(width: int) -> int:
    """How many columns in the centre are always kept.

    Args:
      width: columns of the k-space.

    Returns:
      The product with :data:`CENTER_FRACTION` in float32, truncated.
    """
    return int(np.float32(width) * np.float32(CENTER_FRACTION))


def center_start(width: int) -> int:
    """The first column of the centre that is always kept."""
    return (width - num_low_frequencies(width) + 1) // 2


def random_share(width: int) -> np.float32:
    """The probability of keeping a column outside the centre."""
    low = num_low_frequencies(width)
    return np.float32((width / ACCELERATION - low) / (width - low))


def column_mask(uniforms: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Makes masks of random numbers.

    Args:
      uniforms: random numbers at least 0 and below 1, float32 [..., width].

    Returns:
      Whether a column is kept, bool [..., width]. Source: Workload facts, fastmri, 5.
    """
    width = uniforms.shape[-1]
    kept = uniforms < random_share(width)
    start = center_start(width)
    kept[..., start : start + num_low_frequencies(width)] = True
    return kept


@functools.lru_cache(maxsize=64)
def evaluation_mask(width: int) -> NDArray[np.bool_]:
    """The mask of every validation and test slice of a width, bool [width], read-only."""
    mask = column_mask(stateless_uniform(EVALUATION_SEED, width))
    mask.flags.writeable = False
    return mask


def training_seeds(data_seed: int, examples: NDArray[np.int64]) -> NDArray[np.int64]:
    """The seeds of the masks of training slices.

    Args:
      data_seed: of the run, not negative.
      examples: numbers of slices in the split, int64 [n].

    Returns:
      int64 [n, 2].
    """
    sequence = np.random.SeedSequence([data_seed, _PURPOSE])
    return fold_in(sequence.generate_state(2, np.uint64), examples)


def training_masks(
    data_seed: int, examples: NDArray[np.int64], widths: NDArray[np.int64]
) -> list[NDArray[np.bool_]]:
    """The masks of training slices.

    Args:
      data_seed: of the run, not negative.
      examples: numbers of slices in the split, int64 [n].
      widths: columns of their k-spaces, int64 [n].

    Returns:
      For each slice, bool [width].
    """
    # All at once: the first numbers of a stream do not depend on how many are drawn.
    uniforms = stateless_uniform(training_seeds(data_seed, examples), int(max(widths, default=0)))
    return [column_mask(row[:width]) for row, width in zip(uniforms, widths, strict=True)]
