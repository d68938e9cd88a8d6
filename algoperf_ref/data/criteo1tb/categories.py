"""Categories: from columns of text to the buckets that they are hashed into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.criteo1tb.farmhash import (
    Words,
    fingerprint64,
    hash_8_to_16,
    multiplier_of,
)

NUM_BUCKETS = (
    39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10, 2208,
    11938, 155, 4, 976, 14, 39979771, 25641295, 39664984, 585935, 12972, 108, 36,
)  # fmt: skip
"""Buckets of every category column (Workload facts, criteo1tb, 5)."""

MISSING = b"00000000"
"""What stands for a missing category: an empty text, or ``-1``."""

_USUAL = len(MISSING)  # bytes of nearly all texts: eight hexadecimal digits
_MISSING_WORD = np.uint64(int.from_bytes(MISSING, "little"))
# The number of its column is appended to each text. How many bits that takes, and which bits.
_SUFFIXES = [str(number).encode() for number in range(len(NUM_BUCKETS))]
_SHIFTS = np.array([[8 * len(suffix)] for suffix in _SUFFIXES], np.uint64)
_HIGH = np.array(
    [[int.from_bytes(suffix, "little") << (64 - 8 * len(suffix))] for suffix in _SUFFIXES],
    np.uint64,
)
_MULTIPLIERS = np.array([[multiplier_of(_USUAL + len(suffix))] for suffix in _SUFFIXES])
# Numbers that are hashed at a time: they should stay in a core's cache.
_AT_A_TIME = 16_384


class TextColumn:
    """The texts of one column, one after another, as Arrow stores them.

    Attributes:
      text: their bytes, uint8.
      starts: where each begins, and where the last ends, int32 [rows + 1].
    """

    __slots__ = ("starts", "text")

    def __init__(self, text: NDArray[np.uint8], starts: NDArray[np.int32]) -> None:
        self.text = text
        self.starts = starts


def buckets(columns: Sequence[TextColumn], out: NDArray[np.float32]) -> None:
    """Hashes categories.

    Args:
      columns: all 26.
      out: gets the buckets, float32 [rows, 26]; those above 2**24 are rounded.
    """
    num_rows = len(out)
    step = max(1, _AT_A_TIME // max(1, num_rows))
    for first in range(0, len(columns), step):
        group = columns[first : first + step]
        these = slice(first, first + len(group))
        words, unusual = _usual_words(group)
        last = words >> _SHIFTS[these]
        last |= _HIGH[these]
        hashes = hash_8_to_16(words, last, _MULTIPLIERS[these])
        for number, (column, hashed) in enumerate(zip(group, hashes, strict=True), first):
            if unusual is not None and len(rows := np.flatnonzero(unusual[number - first])):
                hashed[rows] = _unusual_hashes(column, rows, _SUFFIXES[number])
            # Dividing by a scalar and multiplying is much quicker in numpy than a remainder.
            size = np.uint64(NUM_BUCKETS[number])
            hashed -= hashed // size * size
        out[:, these] = hashes.T


def _usual_words(columns: Sequence[TextColumn]) -> tuple[Words, NDArray[np.bool_] | None]:
    """The texts of eight bytes and the missing ones as words, uint64 [columns, rows].

    Returns:
      The words, and which texts are neither, bool [columns, rows]; None if there is no such text.
    """
    starts = np.stack([column.starts for column in columns])
    lengths = starts[:, 1:] - starts[:, :-1]
    usual = lengths == _USUAL
    words = np.full(lengths.shape, _MISSING_WORD)
    num_bytes = np.sum(starts[:, -1] - starts[:, 0], dtype=np.int64)
    if num_bytes == _USUAL * np.count_nonzero(usual):
        # All others are empty, so the texts of eight bytes lie side by side.
        texts = [column.text[column.starts[0] : column.starts[-1]] for column in columns]
        words[usual] = np.concatenate(texts).view("<u8")
        return words, None
    places = starts[:, :-1, None] + np.arange(_USUAL, dtype=np.int32)
    for row, column, place, which in zip(words, columns, places, usual, strict=True):
        row[which] = column.text[place[which]].view("<u8")[:, 0]
    return words, ~usual & (lengths > 0)


def _unusual_hashes(column: TextColumn, rows: NDArray[np.int64], suffix: bytes) -> Words:
    """Hashes of the texts in these rows, length by length."""
    starts = column.starts[rows]
    lengths = column.starts[rows + 1] - starts
    hashes = np.empty(len(rows), np.uint64)
    for length in np.unique(lengths):
        same = lengths == length
        text = column.text[starts[same, None] + np.arange(length)]
        if length == 2:  # b"-1" means missing
            absent = (text == np.frombuffer(b"-1", np.uint8)).all(axis=1)
        else:
            absent = np.zeros(len(text), bool)
        hashed = fingerprint64(_with_suffix(text, suffix))
        if absent.any():
            hashed[absent] = fingerprint64(np.frombuffer(MISSING + suffix, np.uint8).reshape(1, -1))
        hashes[same] = hashed
    return hashes


def _with_suffix(text: NDArray[np.uint8], suffix: bytes) -> NDArray[np.uint8]:
    tail = np.broadcast_to(np.frombuffer(suffix, np.uint8), (len(text), len(suffix)))
    return np.concatenate([text, tail], axis=1)
