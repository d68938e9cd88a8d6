"""Batches of examples that are read one by one: which rows a process makes, in which order.

The stream of training batches is a pure function of the data seed and of the step; an evaluation
covers its examples exactly once. Neither depends on the number of devices, processes or workers.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.streams import ShuffledStream
from spec import data_order

T = TypeVar("T")
R = TypeVar("R")

Batch = dict[str, NDArray[np.generic]]
"""Arrays by name; the examples are on axis 0 of each."""

Make = Callable[[NDArray[np.int64], NDArray[np.int64]], Batch]
"""Makes the rows of a batch from the numbers of the examples, int64 [rows], and from their
positions in the stream (training) or in the split's order (evaluation), int64 [rows]."""

WEIGHTS = "weights"
"""Name of the float32 [rows] array of an evaluation batch: 1 for an example, 0 for padding."""


@dataclass(frozen=True)
class Part:
    """The part of every global batch that this process makes.

    Attributes:
      process: number of the process, from 0.
      num_processes: number of processes that share a batch evenly.
    """

    process: int = 0
    num_processes: int = 1

    def rows(self, global_batch_size: int) -> range:
        """Returns this process's rows of a global batch.

        Raises:
          spec.data_order.UnevenShards: the processes cannot share the batch evenly.
        """
        return data_order.shard_of(global_batch_size, self.process, self.num_processes)


def training_batches(
    num_examples: int,
    make: Make,
    *,
    data_seed: int,
    global_batch_size: int,
    part: Part | None = None,
    start_step: int = 0,
    workers: int = 1,
    ahead: int = 2,
) -> Iterator[Batch]:
    """Endless shuffled training batches; nothing is dropped at the end of an epoch.

    Args:
      num_examples: size of the split.
      make: makes the rows.
      data_seed: seed of the order, not negative.
      global_batch_size: examples of a batch over all processes.
      part: this process's part; None for the whole batch.
      start_step: number of batches to skip, without making them.
      workers: threads that make batches; 0 makes them in the caller's thread.
      ahead: finished batches to hold.

    Returns:
      Batches of this process's rows.
    """
    rows = (part or Part()).rows(global_batch_size)
    stream = ShuffledStream(num_examples, data_seed)

    def batch(step: int) -> Batch:
        first = step * global_batch_size + rows.start
        positions = np.arange(first, first + len(rows))
        return make(stream.indices(first, first + len(rows)), positions)

    return in_order(batch, itertools.count(start_step), workers, ahead)


def evaluation_batches(
    examples: Sequence[int] | NDArray[np.int64],
    make: Make,
    *,
    global_batch_size: int,
    part: Part | None = None,
    workers: int = 1,
    ahead: int = 2,
) -> Iterator[Batch]:
    """Batches that cover the examples exactly once, in order, all of the same shape.

    Args:
      examples: numbers of the examples in the order of the evaluation, at least one.
      make: makes the rows; the last batch is filled up with zeros behind them.
      global_batch_size: rows of a batch over all processes.
      part, workers, ahead: as for :func:`training_batches`.

    Returns:
      Batches of this process's rows, as many on every process, with :data:`WEIGHTS`.
    """
    rows = (part or Part()).rows(global_batch_size)
    order = np.asarray(examples, np.int64)

    def batch(number: int) -> Batch:
        items, _ = data_order.evaluation_batch(number, len(order), global_batch_size)
        positions = np.arange(items.start + rows.start, min(items.start + rows.stop, items.stop))
        # A process whose rows are all padding still has to know their shapes.
        known = positions if len(positions) else np.arange(1)
        made = make(order[known], known)
        padded = {name: _fill_up(array, len(positions), len(rows)) for name, array in made.items()}
        weights = np.zeros(len(rows), np.float32)
        weights[: len(positions)] = 1.0
        return padded | {WEIGHTS: weights}

    numbers = range(data_order.num_evaluation_batches(len(order), global_batch_size))
    return in_order(batch, numbers, workers, ahead)


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Iterator[R]:
    """Yields ``function(item)`` in the order of the items, computed by threads ahead of their use.

    Threads are enough where the work is done by libraries that release the interpreter lock. A
    failure is raised where its result is due; the threads end with the iterator.

    Args:
      function: called for each item, in any thread.
      items: may be endless.
      workers: number of threads; 0 computes in the caller's thread, when asked.
      ahead: finished results to hold, besides those that are being computed.
    """
    if workers <= 0:
        return map(function, items)
    return _in_order(function, items, workers, ahead)


def _in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Iterator[R]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="algoperf-batches")
    waiting: deque[Future[R]] = deque()
    rest = iter(items)
    try:
        waiting.extend(pool.submit(function, x) for x in itertools.islice(rest, workers + ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, x) for x in itertools.islice(rest, 1))
            yield result
    finally:  # also when the consumer drops the iterator
        pool.shutdown(wait=False, cancel_futures=True)


def _fill_up(array: NDArray[np.generic], used: int, rows: int) -> NDArray[np.generic]:
    if used == rows:
        return array
    filled = np.zeros((rows, *array.shape[1:]), array.dtype)
    filled[:used] = array[:used]
    return filled
