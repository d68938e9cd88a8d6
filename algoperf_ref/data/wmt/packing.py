"""Several short sentences in one row: which go where, and the arrays of a batch.

Consecutive examples are taken in groups of 256. In a group they are put into rows in order: a pair
that does not fit behind the others any more, in its inputs or in its targets, starts a new row; the
last row of a group is not filled up from the next. Source: Workload facts (wmt), 5.

The rows of the endless training stream are numbered; since the lengths of all sentences are known,
a row is found without making those before it.
"""

from __future__ import annotations

import bisect
import threading
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch
from algoperf_ref.data.streams import ShuffledStream
from algoperf_ref.data.wmt.store import SIDES, TokenStore

GROUP = 256
"""Examples of a group."""
_GROUPS = 512
"""Groups that are planned at a time."""


def rows_of_groups(lengths: NDArray[np.integer[Any]], max_length: int) -> NDArray[np.int64]:
    """Returns the row of every example within its group.

    Args:
      lengths: pieces of inputs and targets, ``[groups, examples, 2]``; none above ``max_length``.
      max_length: of a row.

    Returns:
      int64 ``[groups, examples]``, from 0.
    """
    groups, examples, _ = lengths.shape
    rows = np.zeros((groups, examples), np.int64)
    used = np.zeros((groups, 2), np.int64)
    row = np.zeros(groups, np.int64)
    for place in range(examples):
        wanted = used + lengths[:, place]
        is_new = (wanted > max_length).any(1)
        row = row + is_new
        used = np.where(is_new[:, None], lengths[:, place], wanted)
        rows[:, place] = row
    return rows


class _Block(NamedTuple):
    """Rows of some consecutive groups: examples in order, and where each row starts among them."""

    examples: NDArray[np.int64]
    starts: NDArray[np.int64]


class PackingPlan:
    """The rows of an endless stream of examples.

    Args:
      stream: order of the examples.
      counts: pieces of inputs and targets of every example, ``[examples, 2]``.
      max_length: of a row.
    """

    def __init__(
        self, stream: ShuffledStream, counts: NDArray[np.integer[Any]], max_length: int
    ) -> None:
        self._stream = stream
        self._counts = counts
        self._max_length = max_length
        self._ends: list[int] = [0]  # rows up to each block
        self._lock = threading.Lock()
        self._block = lru_cache(maxsize=4)(self._plan)

    def rows(self, first: int, last: int) -> list[NDArray[np.int64]]:
        """Returns the examples of the rows ``first`` to ``last`` (exclusive)."""
        found: list[NDArray[np.int64]] = []
        with self._lock:
            while self._ends[-1] < last:
                block = self._block(len(self._ends) - 1)
                self._ends.append(self._ends[-1] + len(block.starts) - 1)
            row = first
            while row < last:
                number = bisect.bisect_right(self._ends, row) - 1
                block, before = self._block(number), self._ends[number]
                for inner in range(row - before, min(last, self._ends[number + 1]) - before):
                    found.append(block.examples[block.starts[inner] : block.starts[inner + 1]])
                row = self._ends[number + 1]
        return found

    def _plan(self, number: int) -> _Block:
        size = _GROUPS * GROUP
        examples = self._stream.indices(number * size, (number + 1) * size)
        lengths = self._counts[examples].reshape(_GROUPS, GROUP, 2)
        rows = rows_of_groups(lengths, self._max_length)
        first_rows = np.concatenate([[0], np.cumsum(rows[:, -1] + 1)[:-1]])
        flat = (rows + first_rows[:, None]).ravel()
        starts = np.flatnonzero(np.diff(flat, prepend=-1))
        return _Block(examples, np.append(starts, size))


def packed_batch(store: TokenStore, rows: list[NDArray[np.int64]], max_length: int) -> Batch:
    """Makes the arrays of a batch.

    A sentence is cut to the number of its pieces that are not unknown, so that an unknown one
    inside costs the last piece: as in the benchmark (DEV-181).

    Args:
      store: the tokens.
      rows: examples of every row.
      max_length: of a row.

    Returns:
      int32 ``[rows, max_length]``: ``inputs``, ``targets``, ``<side>_position`` (from 0 in every
      sentence) and ``<side>_segmentation`` (from 1; 0 where there is nothing and for unknown
      pieces); and float32 ``weights``, 1 where there is a target.
    """
    examples = np.concatenate(rows)
    sentences = np.array([len(row) for row in rows])
    row_numbers = np.repeat(np.arange(len(rows)), sentences)
    first_of_row = np.repeat(np.cumsum(sentences) - sentences, sentences)
    numbers = np.arange(len(examples)) - first_of_row + 1
    batch: Batch = {}
    for side in SIDES:
        lengths = store.counts[side][examples].astype(np.int64)
        before = np.cumsum(lengths) - lengths
        offsets = before - before[first_of_row]
        within = np.arange(lengths.sum()) - np.repeat(before, lengths)
        ids = store.ids[side][np.repeat(store.starts[side][examples], lengths) + within]
        places = np.repeat(row_numbers * max_length + offsets, lengths) + within
        segments = np.repeat(numbers, lengths) * (ids != 0)
        for name, values in (
            (side, ids),
            (f"{side}_position", within),
            (f"{side}_segmentation", segments),
        ):
            array = np.zeros(len(rows) * max_length, np.int32)
            array[places] = values
            batch[name] = array.reshape(len(rows), max_length)
    batch["weights"] = (batch["targets"] > 0).astype(np.float32)
    return batch
