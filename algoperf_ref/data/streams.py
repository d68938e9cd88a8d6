"""Endless, shuffled, resumable streams of training examples.

The order is a pure function of (seed, position): nothing depends on the framework, on prefetching
or on where a run was interrupted.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.graphs import GraphSizes, ShardCutter, ShardLimits, check_fits
from spec import data_order

T = TypeVar("T")


class ShuffledStream:
    """All examples in a random order, again and again, every epoch in an order of its own.

    The order is that of :mod:`spec.data_order`; the last two epochs are kept in memory.
    """

    def __init__(self, num_examples: int, seed: int) -> None:
        """
        Args:
          num_examples: size of the split, at least 1.
          seed: any non-negative integer.

        Raises:
          spec.data_order.DataOrderError: no example, or a negative seed.
        """
        data_order.check_stream(num_examples, seed)
        self.num_examples = num_examples
        self.seed = seed
        self._epoch = lru_cache(maxsize=2)(partial(data_order.epoch_order, num_examples, seed))

    def epoch(self, number: int) -> NDArray[np.int64]:
        """The order of epoch `number` (from 0): a permutation, int64 [num_examples], read-only."""
        return self._epoch(number)

    def indices(self, start: int, stop: int) -> NDArray[np.int64]:
        """The examples at stream positions `start` to `stop` (exclusive), across epochs."""
        parts = [
            self.epoch(epoch)[first:last]
            for epoch, first, last in data_order.epoch_parts(start, stop, self.num_examples)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def __getitem__(self, position: int) -> int:
        epoch, index = data_order.epoch_and_position(position, self.num_examples)
        return int(self.epoch(epoch)[index])


def shard_stream(
    stream: ShuffledStream, sizes: GraphSizes, limits: ShardLimits, *, first_shard: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Graph indices of shard after shard of the endless stream, cut greedily across epochs.

    Skipping to `first_shard` only walks over sizes: a bisection per shard, no graph is touched.

    Raises:
      OversizeGraphError: at once, if some graph of the split fits no shard.
    """
    check_fits(sizes, limits)
    return _shards(stream, sizes, limits, first_shard)


def _shards(
    stream: ShuffledStream, sizes: GraphSizes, limits: ShardLimits, first_shard: int
) -> Iterator[NDArray[np.int64]]:
    window = np.zeros(0, np.int64)
    epoch = shard = 0
    while True:
        # A shard's end is certain once as many graphs as a shard can hold lie ahead of its start.
        while len(window) < limits.graphs or epoch == 0:
            window = np.concatenate([window, stream.epoch(epoch)])
            epoch += 1
        cuts = ShardCutter(sizes.nodes[window], sizes.edges[window], limits)
        start = 0
        while start + limits.graphs <= len(window):
            stop = cuts.stop(start)
            if shard >= first_shard:
                yield window[start:stop]
            shard += 1
            start = stop
        window = window[start:]


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetch(make: Callable[[], Iterator[T]], size: int) -> Iterator[T]:
    """Runs an iterator in a background thread, up to `size` items ahead; same items, same order.

    A thread is enough: batches are built by numpy gathers, which release the interpreter lock. The
    grain library is not used for this, because importing it imports JAX wherever JAX is installed,
    and a PyTorch run must not import JAX.

    Args:
      make: makes the iterator; called in the thread.
      size: number of finished items to hold; 0 means no thread.
    """
    if size <= 0:
        return make()
    return _prefetched(make, size)


def _prefetched(make: Callable[[], Iterator[T]], size: int) -> Iterator[T]:
    ready: queue.Queue[Any] = queue.Queue(maxsize=size)
    stop = threading.Event()

    def work() -> None:
        try:
            for item in make():
                if not _offer(ready, item, stop):
                    return
            _offer(ready, _END, stop)
        except BaseException as error:  # handed over to the consumer, who raises it
            _offer(ready, _Failure(error), stop)

    thread = threading.Thread(target=work, name="algoperf-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:  # also when the consumer drops the iterator
        stop.set()


def _offer(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Puts the item, or gives up when the consumer has gone."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
