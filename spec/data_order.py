"""Which example comes when: the endless training stream, and evaluations that cover a split once.

Pure functions of a data seed and of positions. Nothing here depends on the framework, on the
number of devices, on how many workers load data or on where a run was interrupted. *Items* are
what a loader deals out: single examples, or packed groups of them where examples differ in size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spec.clauses import BrokenRule, Source, clause, rule

_ORDER = Source("Decisions", "15")
_COVERAGE = Source("Decisions", "20")


class DataOrderError(BrokenRule):
    """A place in the data that does not exist; the base of the errors below."""


class EmptySplit(DataOrderError, clause="DATA-1"):
    """A stream over no examples."""


class NegativePosition(DataOrderError, clause="DATA-1"):
    """A position before the start of the stream, or a range that runs backwards."""


class NegativeDataSeed(DataOrderError, clause="DATA-2"):
    """A data seed below 0."""


class NoSuchBatch(DataOrderError, clause="DATA-3"):
    """A batch that an evaluation does not have."""


class UnevenShards(DataOrderError, clause="DATA-5"):
    """A batch that cannot be divided evenly among the devices."""


class NoSuchShard(DataOrderError, clause="DATA-5"):
    """A part of a batch beyond the number of parts."""


def check_stream(num_examples: int, data_seed: int = 0) -> None:
    """Checks that there can be a stream of training examples.

    Args:
      num_examples: size of the split.
      data_seed: seed of the stream.

    Raises:
      EmptySplit: the split has no example.
      NegativeDataSeed: the seed is negative.
    """
    if num_examples < 1:
        raise EmptySplit(f"a stream of {num_examples} examples; it needs at least one example")
    if data_seed < 0:
        raise NegativeDataSeed(f"the data seed is {data_seed}; it must not be negative")


@clause(
    "DATA-1",
    """Training goes through the whole training split epoch after epoch: position p of the stream
    is example p mod n of epoch p div n, so that within an epoch no example comes twice and none
    is left out.""",
    source=(_ORDER, Source("Rules v0.6", "Submission functions: data_selection")),
)
def epoch_and_position(position: int, num_examples: int) -> tuple[int, int]:
    """Locates a position of the endless training stream.

    Args:
      position: number of the example in the stream, from 0.
      num_examples: size of the split, at least 1.

    Returns:
      (epoch, place in the order of that epoch), both from 0.

    Raises:
      EmptySplit: the split has no example.
      NegativePosition: ``position`` is negative.
    """
    check_stream(num_examples)
    if position < 0:
        raise NegativePosition(f"position {position} lies before the start of the stream")
    return divmod(position, num_examples)


def epoch_parts(start: int, stop: int, num_examples: int) -> list[tuple[int, int, int]]:
    """Divides a range of stream positions into parts of epochs.

    Args:
      start: first position.
      stop: position after the last one, at least ``start``.
      num_examples: size of the split, at least 1.

    Returns:
      (epoch, first place, place after the last one) of every part, in stream order.

    Raises:
      EmptySplit: the split has no example.
      NegativePosition: a position is negative, or the range runs backwards.
    """
    epoch, place = epoch_and_position(start, num_examples)
    if stop < start:
        raise NegativePosition(f"stream positions {start} to {stop} are not a range")
    parts = []
    while start < stop:
        end = min(place + stop - start, num_examples)
        parts.append((epoch, place, end))
        start += end - place
        epoch, place = epoch + 1, 0
    return parts


@clause(
    "DATA-2",
    """The order of an epoch is a pure function of the data seed and of the number of the epoch:
    the same in both frameworks, for any number of loader workers, and in a run that is resumed at
    any step; every epoch has an order of its own.""",
    source=_ORDER,
)
def epoch_order(num_examples: int, data_seed: int, epoch: int) -> NDArray[np.int64]:
    """Returns the order of the examples in an epoch.

    The permutation comes from a legacy ``RandomState``, whose streams numpy has frozen: the order
    is the same with every numpy version.

    Args:
      num_examples: size of the split, at least 1.
      data_seed: any non-negative integer.
      epoch: number of the epoch, from 0.

    Returns:
      A permutation, int64 [num_examples], read-only.

    Raises:
      EmptySplit: the split has no example.
      NegativeDataSeed: the seed is negative.
      NegativePosition: ``epoch`` is negative.
    """
    check_stream(num_examples, data_seed)
    if epoch < 0:
        raise NegativePosition(f"epoch {epoch} lies before the start of the stream")
    bits = np.random.MT19937(np.random.SeedSequence([data_seed, epoch]))
    order = np.random.RandomState(bits).permutation(num_examples).astype(np.int64)
    order.flags.writeable = False
    return order


EVAL_TRAIN_SEED = 1_000_003
"""Data seed of the permutation whose head is evaluated as ``eval_train``."""


@clause(
    "DATA-6",
    """The training examples that an evaluation looks at are one fixed sample of the training split,
    the same and in the same order in every evaluation of every trial, in both frameworks.""",
    source=(_COVERAGE, Source("Workload facts", "ogbg, 7 and librispeech_data, 2")),
)
def eval_train_order(num_train_examples: int, num_eval_train_examples: int) -> NDArray[np.int64]:
    """Returns which training examples ``eval_train`` evaluates, in order.

    Args:
      num_train_examples: size of the training split.
      num_eval_train_examples: size of the sample.

    Returns:
      Different examples, int64 [num_eval_train_examples].
    """
    return epoch_order(num_train_examples, EVAL_TRAIN_SEED, 0)[:num_eval_train_examples]


def num_evaluation_batches(num_items: int, num_slots: int) -> int:
    """How many batches an evaluation has.

    Args:
      num_items: items of the split.
      num_slots: items of a batch, at least 1.

    Returns:
      The number of batches, the last of which may be filled up.
    """
    return -(-num_items // num_slots)


@clause(
    "DATA-3",
    """An evaluation deals the items of a split to batches in one fixed order, each item to exactly
    one batch on any number of devices: nothing is dropped and nothing is replayed.""",
    source=(_COVERAGE, Source("Rules v0.6", "Evaluation during training")),
)
@clause(
    "DATA-4",
    """All batches of an evaluation have the same number of slots; the last one is filled up with
    padding of weight zero, which counts in no metric.""",
    source=(_COVERAGE, Source("Workload facts", "shared, 5")),
)
def evaluation_batch(batch: int, num_items: int, num_slots: int) -> tuple[range, tuple[float, ...]]:
    """Returns what a batch of an evaluation holds.

    Args:
      batch: number of the batch, from 0.
      num_items: items of the split.
      num_slots: items of a batch, at least 1.

    Returns:
      The items of the batch, and the weights of its slots: 1 for every item, then 0 for padding.

    Raises:
      NoSuchBatch: the evaluation has no batch of this number.
    """
    num_batches = num_evaluation_batches(num_items, num_slots)
    if not 0 <= batch < num_batches:
        raise NoSuchBatch(f"batch {batch} of {num_batches} does not exist")
    items = range(batch * num_slots, min((batch + 1) * num_slots, num_items))
    return items, (1.0,) * len(items) + (0.0,) * (num_slots - len(items))


@clause(
    "DATA-5",
    """A global batch is divided into equal parts of consecutive slots, part k for device k; a batch
    that cannot be divided evenly is an error.""",
    source=(Source("Decisions", "11"), Source("Harness contract", "2.3 and 7")),
)
def shard_of(num_slots: int, shard: int, num_shards: int) -> range:
    """Returns the slots of a global batch that one device holds.

    Args:
      num_slots: slots of the global batch.
      shard: number of the device, from 0.
      num_shards: number of devices, at least 1.

    Returns:
      The slots.

    Raises:
      NoSuchShard: there is no such device.
      UnevenShards: ``num_slots`` is not a multiple of ``num_shards``.
    """
    if not 0 <= shard < num_shards:
        raise NoSuchShard(f"shard {shard} of {num_shards} does not exist")
    if num_slots % num_shards:
        raise UnevenShards(f"{num_slots} is not a multiple of the number of devices {num_shards}")
    size = num_slots // num_shards
    return range(shard * size, (shard + 1) * size)


rule(
    "DATA-8",
    """Which examples a global batch holds does not depend on the number of devices or of processes
    that share it.""",
    source=(_ORDER, Source("Workload facts", "ogbg, 4")),
    implementation="spec.data_order.shard_of",
)

rule(
    "DATA-7",
    """A run uses splits with exactly the numbers of examples of the workload table; data with other
    numbers are refused before training.""",
    source=(
        Source("Rules v0.6", "Workloads"),
        Source("Workload facts", "section 1 of every sheet"),
    ),
    implementation="spec.workloads.WorkloadSpec",
)

rule(
    "DATA-9",
    """Examples that lie line by line in files are shuffled by file: an epoch reads whole files one
    after another, in the order that the data seed gives to the epoch's files.""",
    source=(_ORDER, Source("Workload facts", "criteo1tb, 5")),
    implementation="spec.data_order.epoch_order",
)

rule(
    "DATA-10",
    """What is random about an example, such as the sampled columns of a scan, is a pure function of
    the data seed and of the example's number or place in the stream; in an evaluation it is the
    same each time.""",
    source=(_ORDER, Source("Workload facts", "fastmri, 5")),
    implementation="spec.data_order.epoch_order",
)
