"""Data of the graph workload: prepared molecules -> numpy batches for training and evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.graphs import (
    GraphBatch,
    PackedGraphs,
    ShardLimits,
    assemble,
    check_fits,
    greedy_shards,
)
from algoperf_ref.data.ogbg.layout import load_packed_split
from algoperf_ref.data.streams import ShuffledStream, prefetch, shard_stream
from algoperf_ref.workloads.ogbg.division import Division
from spec import data_order

# Split of the benchmark's evaluation API -> split on disk.
_STORED_SPLIT = {
    "train": "train",
    "eval_train": "train",
    "validation": "validation",
    "test": "test",
}


def load_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
) -> PackedGraphs:
    """The molecules of a split, as memory-mapped columns.

    Args:
      data_dir: the directory that was given to `python -m algoperf_ref.data prepare`.
      tier: "full" or "mini" (or a `spec.tiers.Tier`).
      split: "train", "eval_train", "validation" or "test"; "eval_train" gives the training split.
      expected_examples: number of molecules the workload's specification asks for; None: any.

    Raises:
      MissingDataError: if the data is absent, incomplete or of another tier.
      ValueError: for an unknown split.
    """
    if split not in _STORED_SPLIT:
        raise ValueError(f"unknown split {split!r}, expected one of {sorted(_STORED_SPLIT)}")
    return load_packed_split(
        data_dir, tier, _STORED_SPLIT[split], expected_examples=expected_examples
    )


def training_batches(
    packed: PackedGraphs,
    *,
    data_seed: int,
    global_batch_size: int,
    num_shards: int = 1,
    shard: int | None = None,
    start_step: int = 0,
    prefetch_batches: int = 2,
    division: Division | None = None,
) -> Iterator[GraphBatch]:
    """Endless shuffled training batches; nothing is dropped at the end of an epoch.

    The stream is a pure function of (data_seed, global_batch_size, num_shards): it does not depend
    on `prefetch_batches`, and from `start_step` on it is the same as the tail of the whole stream.

    Args:
      packed: the training split.
      data_seed: non-negative integer.
      global_batch_size: graphs of a step over all shards, at most.
      num_shards: shards of a batch, filled one after the other (the benchmark's layout).
      shard: None for all shards merged into one graph; k for the k-th shard alone.
      start_step: number of batches to skip, without building them.
      prefetch_batches: batches to prepare ahead in a background thread; 0 for no thread.
      division: the part of a batch of one shard that this process wants; None: all of it.

    Returns:
      Batches as `algoperf_ref.data.graphs.assemble` makes them.

    Raises:
      UserError: if a shard would be too small for some graph of the split (at once).
    """
    limits = ShardLimits.of_batch(global_batch_size, num_shards)
    shards = shard_stream(
        ShuffledStream(len(packed), data_seed),
        packed.sizes(),
        limits,
        first_shard=start_step * num_shards,
    )
    wanted = _wanted(shard, num_shards)

    def batches() -> Iterator[GraphBatch]:
        while True:
            group = list(itertools.islice(shards, num_shards))
            yield _assemble(packed, group[wanted], limits, division)

    return prefetch(batches, prefetch_batches)


def evaluation_batches(
    packed: PackedGraphs,
    *,
    global_batch_size: int,
    num_shards: int = 1,
    shard: int | None = None,
    order: NDArray[np.integer] | None = None,
    prefetch_batches: int = 0,
    division: Division | None = None,
) -> Iterator[GraphBatch]:
    """Batches that cover every graph exactly once, in the same order each time.

    All batches have the same shapes; the last group is filled up with empty shards (all padding),
    so nothing is dropped whatever the number of shards (Decisions, 20).

    Args:
      packed: the split.
      global_batch_size: graphs of a batch over all shards, at most.
      num_shards: shards of a batch, one per device.
      shard: None for all shards merged into one graph; k for the k-th shard alone.
      order: graphs to evaluate, in this order (see `spec.data_order.eval_train_order`); None: all,
        as stored.
      prefetch_batches: as in `training_batches`.
      division: as in `training_batches`.

    Raises:
      UserError: if a shard would be too small for some graph (at once).
    """
    limits, bounds, chosen = _evaluation_plan(packed, global_batch_size, num_shards, order)
    wanted = _wanted(shard, num_shards)
    empty = np.zeros(0, np.int64)

    def batches() -> Iterator[GraphBatch]:
        for batch in range(data_order.num_evaluation_batches(len(bounds), num_shards)):
            items, weights = data_order.evaluation_batch(batch, len(bounds), num_shards)
            group = [chosen[slice(*bounds[item])] for item in items]
            group += [empty] * weights.count(0.0)
            yield _assemble(packed, group[wanted], limits, division)

    return prefetch(batches, prefetch_batches)


def num_evaluation_batches(
    packed: PackedGraphs,
    *,
    global_batch_size: int,
    num_shards: int,
    order: NDArray[np.integer] | None = None,
) -> int:
    """How many batches `evaluation_batches` yields."""
    _, bounds, _ = _evaluation_plan(packed, global_batch_size, num_shards, order)
    return data_order.num_evaluation_batches(len(bounds), num_shards)


def _evaluation_plan(
    packed: PackedGraphs,
    global_batch_size: int,
    num_shards: int,
    order: NDArray[np.integer] | None,
) -> tuple[ShardLimits, list[tuple[int, int]], NDArray[np.integer]]:
    limits = ShardLimits.of_batch(global_batch_size, num_shards)
    chosen = np.arange(len(packed)) if order is None else order
    sizes = packed.sizes()
    check_fits(sizes, limits)
    sizes = type(sizes)(sizes.nodes[chosen], sizes.edges[chosen])
    return limits, list(greedy_shards(sizes, limits)), chosen


def _assemble(
    packed: PackedGraphs,
    shards: list[NDArray[np.integer]],
    limits: ShardLimits,
    division: Division | None,
) -> GraphBatch:
    if division is None:
        return assemble(packed, shards, limits)
    (graphs,) = shards
    return division.assemble(packed, graphs, limits)


def _wanted(shard: int | None, num_shards: int) -> slice:
    if shard is None:
        return slice(None)
    slots = data_order.shard_of(num_shards, shard, num_shards)
    return slice(slots.start, slots.stop)
