"""Laws of the data order: coverage, purity, and agreement with slow definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import data_order

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**64 - 1)


@pytest.mark.clause("DATA-1")
@given(sizes, st.integers(0, 500))
def test_positions_count_through_the_epochs(size: int, position: int) -> None:
    # The definition: walk through the stream one example at a time.
    walk = ((epoch, place) for epoch in itertools.count() for place in range(size))
    assert data_order.epoch_and_position(position, size) == next(
        itertools.islice(walk, position, None)
    )


@pytest.mark.clause("DATA-1")
@given(sizes, st.integers(0, 200), st.integers(0, 200))
def test_the_parts_of_a_range_are_its_positions_in_order(
    size: int, start: int, length: int
) -> None:
    parts = data_order.epoch_parts(start, start + length, size)
    places = [(epoch, place) for epoch, first, last in parts for place in range(first, last)]
    positions = range(start, start + length)
    assert places == [data_order.epoch_and_position(p, size) for p in positions]
    assert all(first < last for _, first, last in parts)


@pytest.mark.clause("DATA-2")
@given(sizes, seeds, st.integers(0, 2**32))
def test_an_epoch_is_a_permutation_and_a_pure_function(size: int, seed: int, epoch: int) -> None:
    order = data_order.epoch_order(size, seed, epoch)
    assert sorted(order) == list(range(size))
    np.testing.assert_array_equal(order, data_order.epoch_order(size, seed, epoch))


@pytest.mark.clause("DATA-2")
@given(seeds, st.integers(0, 100))
def test_epochs_and_seeds_have_orders_of_their_own(seed: int, epoch: int) -> None:
    order = data_order.epoch_order(200, seed, epoch)
    assert not np.array_equal(order, data_order.epoch_order(200, seed, epoch + 1))
    assert not np.array_equal(order, data_order.epoch_order(200, seed ^ 1, epoch))


@pytest.mark.clause("DATA-3", "DATA-4")
@given(st.integers(0, 300), st.integers(1, 40))
def test_an_evaluation_has_every_item_once_in_order_and_one_shape(items: int, slots: int) -> None:
    batches = [
        data_order.evaluation_batch(batch, items, slots)
        for batch in range(data_order.num_evaluation_batches(items, slots))
    ]
    assert list(itertools.chain.from_iterable(own for own, _ in batches)) == list(range(items))
    assert all(len(weights) == slots for _, weights in batches)
    assert sum(sum(weights) for _, weights in batches) == items
    for own, weights in batches:
        assert weights == tuple(float(slot < len(own)) for slot in range(slots))
        assert sum(weights) > 0, "a batch of padding only"


@pytest.mark.clause("DATA-5")
@given(st.integers(1, 12), st.integers(1, 12))
def test_the_devices_hold_every_slot_once_and_equally_many(per_device: int, devices: int) -> None:
    slots = per_device * devices
    parts = [data_order.shard_of(slots, device, devices) for device in range(devices)]
    assert list(itertools.chain(*parts)) == list(range(slots))
    assert {len(part) for part in parts} == {per_device}


@pytest.mark.clause("DATA-3", "DATA-5")
@given(st.integers(1, 200), st.integers(1, 6), st.integers(1, 6))
def test_what_is_evaluated_does_not_depend_on_the_number_of_devices(
    items: int, per_device: int, devices: int
) -> None:
    slots = per_device * devices
    seen = []
    for batch in range(data_order.num_evaluation_batches(items, slots)):
        own, weights = data_order.evaluation_batch(batch, items, slots)
        for device in range(devices):
            part = data_order.shard_of(slots, device, devices)
            seen += [own[slot] for slot in part if weights[slot]]
    assert seen == list(range(items))


@pytest.mark.clause("DATA-6")
@given(st.integers(1, 200), st.data())
def test_a_smaller_sample_is_the_head_of_a_larger_one(size: int, data: st.DataObject) -> None:
    larger = data.draw(st.integers(0, size))
    smaller = data.draw(st.integers(0, larger))
    sample = data_order.eval_train_order(size, larger)
    assert len(set(sample.tolist())) == larger
    np.testing.assert_array_equal(data_order.eval_train_order(size, smaller), sample[:smaller])
