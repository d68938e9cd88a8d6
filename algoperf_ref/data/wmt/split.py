"""Splits of sentence pairs, and their batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data import batches
from algoperf_ref.data.batches import WEIGHTS, Batch, Part, in_order
from algoperf_ref.data.streams import ShuffledStream
from algoperf_ref.data.wmt.layout import Layout
from algoperf_ref.data.wmt.packing import PackingPlan, packed_batch
from algoperf_ref.data.wmt.store import SIDES, TokenStore, read_info
from algoperf_ref.data.wmt.tokenizer import END, Tokenizer
from algoperf_ref.errors import MissingDataError, UserError

__all__ = ["END", "WmtSplit", "evaluation_batches", "open_split", "training_batches"]


class WmtSplit:
    """The pairs of a split that are short enough.

    Attributes:
      store: their tokens.
      tokenizer: what made them, and makes text of them again.
      max_length: of a row.
    """

    def __init__(self, store: TokenStore, tokenizer: Tokenizer, max_length: int) -> None:
        self.store = store
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __len__(self) -> int:
        return len(self.store)

    def padded(self, numbers: NDArray[np.int64]) -> Batch:
        """Returns ``inputs`` and ``targets`` of some pairs, int32 ``[pairs, max_length]``."""
        batch: Batch = {}
        for side in SIDES:
            rows = np.zeros((len(numbers), self.max_length), np.int32)
            for row, number in zip(rows, numbers.tolist(), strict=True):
                ids = self.store.sentence(side, number)
                row[: len(ids)] = ids
            batch[side] = rows
        return batch


def open_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_pairs: int,
    max_length: int,
    vocabulary: int,
) -> WmtSplit:
    """Maps the tokens of a split into memory.

    Args:
      data_dir: directory of all data sets.
      tier: "full" or "mini".
      split: ``train``, ``eval_train`` (the same examples), ``validation`` or ``test``.
      expected_pairs: of the split, before long ones are left out.
      max_length: longest sentence, in pieces with the end.
      vocabulary: pieces that the tokenizer must have.

    Raises:
      MissingDataError: the data are not prepared.
      UserError: they are damaged, or made for something else.
    """
    layout = Layout.of(data_dir, tier)
    directory = layout.tokens("train" if split == "eval_train" else split)
    info = read_info(directory)
    if info is None:
        raise MissingDataError(
            f"no tokens of the {split} split in {directory}; run: {layout.prepare_command()}"
        )
    tokenizer = Tokenizer(layout.tokenizer, vocabulary)
    if info.tokenizer != tokenizer.sha256:
        raise UserError(
            f"{directory} was made with another tokenizer than {layout.tokenizer}; delete "
            f"{directory.parent} and run: {layout.prepare_command()}"
        )
    if (info.num_pairs, info.max_length) != (expected_pairs, max_length):
        raise UserError(
            f"{directory} has {info.num_pairs:,} pairs of at most {info.max_length} pieces, "
            f"expected {expected_pairs:,} of at most {max_length}; delete {directory.parent} and "
            f"run: {layout.prepare_command()}"
        )
    return WmtSplit(TokenStore(directory), tokenizer, max_length)


def training_batches(
    split: WmtSplit,
    *,
    data_seed: int,
    global_batch_size: int,
    part: Part | None = None,
    start_step: int = 0,
    workers: int = 1,
    ahead: int = 2,
) -> Iterator[Batch]:
    """Endless shuffled batches of packed rows; see :func:`packing.packed_batch`.

    Args:
      split: the pairs.
      data_seed: seed of the order, not negative.
      global_batch_size: rows of a batch over all processes.
      part: this process's part; None for the whole batch.
      start_step: number of batches to skip, without making them.
      workers: threads that make batches; 0 makes them in the caller's thread.
      ahead: finished batches to hold.
    """
    rows = (part or Part()).rows(global_batch_size)
    store = split.store
    counts = np.stack([store.counts[side] for side in SIDES], axis=1)
    plan = PackingPlan(ShuffledStream(len(split), data_seed), counts, split.max_length)

    def batch(step: int) -> Batch:
        first = step * global_batch_size
        found = plan.rows(first + rows.start, first + rows.stop)
        return packed_batch(store, found, split.max_length)

    return in_order(batch, itertools.count(start_step), workers, ahead)


def evaluation_batches(
    split: WmtSplit,
    order: Sequence[int] | NDArray[np.int64],
    *,
    global_batch_size: int,
    part: Part | None = None,
    workers: int = 1,
    ahead: int = 2,
) -> Iterator[Batch]:
    """Batches that cover the pairs exactly once, in order, a pair in each row.

    Args:
      split: the pairs.
      order: their numbers.
      global_batch_size, part, workers, ahead: as for :func:`training_batches`.

    Yields:
      ``inputs``, ``targets``, int32 ``[rows, max_length]``, and ``weights``, float32 of that shape.
    """

    def make(numbers: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
        del positions
        return split.padded(numbers)

    shared: dict[str, Any] = {"part": part, "workers": workers, "ahead": ahead}
    made = batches.evaluation_batches(order, make, global_batch_size=global_batch_size, **shared)
    for batch in made:
        targets: NDArray[Any] = batch["targets"]
        yield {**batch, WEIGHTS: (targets > 0).astype(np.float32)}
