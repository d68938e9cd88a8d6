"""Batches of examples that are read one by one."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Part, evaluation_batches, in_order, training_batches
from spec.data_order import NegativePosition, UnevenShards, epoch_order


def make(examples: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
    return {"inputs": np.stack([examples, positions], 1).astype(np.float32), "targets": examples}


def first(batches: Iterator[Batch], count: int) -> list[Batch]:
    return list(itertools.islice(batches, count))


@pytest.mark.clause("DATA-1", "DATA-2")
def test_training_goes_through_every_epoch_in_its_own_order() -> None:
    batches = first(training_batches(5, make, data_seed=3, global_batch_size=4), 5)
    order = np.concatenate([batch["targets"] for batch in batches])
    assert order.tolist() == [x for epoch in range(4) for x in epoch_order(5, 3, epoch)]
    positions = np.concatenate([batch["inputs"][:, 1] for batch in batches])
    assert positions.tolist() == list(range(20))


@pytest.mark.clause("DATA-8")
def test_the_processes_parts_make_up_the_batch() -> None:
    whole = first(training_batches(7, make, data_seed=0, global_batch_size=6), 4)
    parts = [
        first(training_batches(7, make, data_seed=0, global_batch_size=6, part=Part(number, 3)), 4)
        for number in range(3)
    ]
    for step, batch in enumerate(whole):
        joined = np.concatenate([part[step]["inputs"] for part in parts])
        np.testing.assert_array_equal(joined, batch["inputs"])


@pytest.mark.clause("DATA-5")
def test_a_batch_that_the_processes_cannot_share_is_refused_at_once() -> None:
    with pytest.raises(UnevenShards, match="7 is not a multiple"):
        training_batches(7, make, data_seed=0, global_batch_size=7, part=Part(0, 2))


@pytest.mark.clause("DATA-3", "DATA-4")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_evaluation_covers_every_example_once_and_pads_the_last_batch(workers: int) -> None:
    examples = np.array([4, 2, 9, 7, 5])
    batches = list(evaluation_batches(examples, make, global_batch_size=4, workers=workers))
    assert [batch["targets"].tolist() for batch in batches] == [[4, 2, 9, 7], [5, 0, 0, 0]]
    assert [batch["weights"].tolist() for batch in batches] == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batches[1]["inputs"].tolist() == [[5, 4], [0, 0], [0, 0], [0, 0]]
    assert {batch["weights"].dtype for batch in batches} == {np.dtype(np.float32)}


@pytest.mark.clause("DATA-4", "DATA-8")
def test_a_process_without_examples_pads_as_the_others_do() -> None:
    (batch,) = evaluation_batches([3], make, global_batch_size=4, part=Part(1, 2))
    assert batch["inputs"].shape == (2, 2)
    assert not batch["inputs"].any()
    assert batch["weights"].tolist() == [0, 0]


def test_results_come_in_order_however_long_each_takes() -> None:
    def slow(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0.0)
        return number

    assert list(in_order(slow, range(12), workers=3, ahead=2)) == list(range(12))


def test_no_more_than_the_asked_number_is_made_ahead() -> None:
    made: list[int] = []
    results = in_order(lambda number: made.append(number) or number, range(100), 1, ahead=2)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(made) <= 4


def test_a_failure_is_raised_where_its_result_is_due() -> None:
    def fail(number: int) -> int:
        if number == 2:
            raise NegativePosition("example 2")
        return number

    results = in_order(fail, range(5), workers=2, ahead=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(NegativePosition, match="example 2"):
        next(results)


def test_the_threads_end_with_the_iterator() -> None:
    before = set(threading.enumerate())  # those of other tests may still be ending
    results = in_order(lambda number: number, itertools.count(), workers=2, ahead=1)
    next(results)
    ours = set(threading.enumerate()) - before
    assert ours
    results.close()  # type: ignore[attr-defined]
    for thread in ours:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in ours)
