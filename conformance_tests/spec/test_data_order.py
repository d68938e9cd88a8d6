"""Order of the training stream and coverage of evaluations."""

from __future__ import annotations

import numpy as np
import pytest

from spec import data_order, workloads
from spec.data_order import epoch_and_position, epoch_order, evaluation_batch, shard_of


@pytest.mark.clause("DATA-1")
def test_the_stream_starts_a_new_epoch_after_the_last_example() -> None:
    assert [epoch_and_position(p, 3) for p in range(7)] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
    ]


@pytest.mark.clause("DATA-1")
def test_a_batch_may_reach_into_the_next_epochs() -> None:
    assert data_order.epoch_parts(2, 8, 3) == [(0, 2, 3), (1, 0, 3), (2, 0, 2)]
    assert data_order.epoch_parts(4, 4, 3) == []


@pytest.mark.clause("DATA-2")
def test_the_order_of_an_epoch_is_stored() -> None:
    # A change would make recorded runs unrepeatable.
    assert epoch_order(10, 7, 0).tolist() == [4, 5, 9, 8, 1, 7, 6, 0, 2, 3]
    assert epoch_order(10, 7, 1).tolist() == [8, 6, 9, 5, 0, 7, 3, 4, 1, 2]


@pytest.mark.clause("DATA-2")
def test_an_order_does_not_depend_on_what_was_drawn_before() -> None:
    expected = epoch_order(50, 3, 4)
    np.random.seed(0)
    epoch_order(50, 3, 0)
    np.testing.assert_array_equal(epoch_order(50, 3, 4), expected)
    with pytest.raises(ValueError, match="read-only"):
        expected[0] = 1


@pytest.mark.clause("DATA-3", "DATA-4")
def test_the_last_batch_of_an_evaluation_is_filled_up_with_weight_zero() -> None:
    assert data_order.num_evaluation_batches(10, 4) == 3
    assert evaluation_batch(0, 10, 4) == (range(4), (1.0,) * 4)
    assert evaluation_batch(2, 10, 4) == (range(8, 10), (1.0, 1.0, 0.0, 0.0))
    assert data_order.num_evaluation_batches(8, 4) == 2
    assert evaluation_batch(1, 8, 4) == (range(4, 8), (1.0,) * 4)


@pytest.mark.clause("DATA-3")
@pytest.mark.parametrize("name", workloads.names("base"))
def test_the_evaluations_of_the_benchmark_cover_their_splits(name: str) -> None:
    row = workloads.get(name)
    for size in (row.num_validation_examples, row.num_test_examples):
        batches = data_order.num_evaluation_batches(size, row.eval_batch_size)
        last, _ = evaluation_batch(batches - 1, size, row.eval_batch_size)
        assert (batches - 1) * row.eval_batch_size + len(last) == size


@pytest.mark.clause("DATA-5")
def test_devices_hold_equal_consecutive_parts() -> None:
    assert [list(shard_of(6, device, 3)) for device in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(data_order.UnevenShards, match=r"6 is not a multiple .* devices 4"):
        shard_of(6, 0, 4)


@pytest.mark.clause("DATA-6")
def test_the_evaluated_training_examples_are_one_stored_sample() -> None:
    sample = data_order.eval_train_order(1000, 10).tolist()
    assert sample == [562, 594, 822, 768, 753, 429, 121, 731, 806, 356]
    assert len(set(data_order.eval_train_order(40, 40).tolist())) == 40


def test_a_split_without_examples_has_no_batch() -> None:
    assert data_order.num_evaluation_batches(0, 4) == 0
    with pytest.raises(data_order.NoSuchBatch, match="batch 0 of 0 does not exist"):
        evaluation_batch(0, 0, 4)


@pytest.mark.clause("DATA-3", "DATA-5")
@pytest.mark.parametrize("number", [-1, 3, 4])
def test_a_batch_or_a_device_beyond_the_last_does_not_exist(number: int) -> None:
    with pytest.raises(data_order.NoSuchBatch, match=f"batch {number} of 3 does not exist"):
        evaluation_batch(number, 10, 4)
    with pytest.raises(data_order.NoSuchShard, match=f"shard {number} of 3 does not exist"):
        shard_of(6, number, 3)


@pytest.mark.clause("DATA-1", "DATA-2")
def test_a_stream_has_an_example_and_a_seed_that_is_not_negative() -> None:
    data_order.check_stream(1)
    data_order.check_stream(1, 0)
    with pytest.raises(data_order.EmptySplit):
        data_order.check_stream(0)
    with pytest.raises(data_order.NegativeDataSeed):
        data_order.check_stream(1, -1)


@pytest.mark.clause("DATA-1", "DATA-2")
def test_the_number_before_the_first_one_is_no_position_and_no_epoch() -> None:
    assert epoch_and_position(0, 10) == (0, 0)
    with pytest.raises(data_order.NegativePosition):
        epoch_and_position(-1, 10)
    with pytest.raises(data_order.NegativePosition):
        epoch_order(10, 7, -1)
