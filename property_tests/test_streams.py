"""What holds for every stream of training examples: order, coverage, resuming, prefetching."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.data.graphs import GraphBatch, GraphSizes, PackedGraphs, ShardLimits
from algoperf_ref.data.streams import ShuffledStream, prefetch, shard_stream
from algoperf_ref.workloads.ogbg.data import training_batches
from conformance_tests.support import molecules

seeds = st.integers(0, 2**64 - 1)


@pytest.mark.clause("DATA-2")
def test_the_order_of_a_seed_never_changes() -> None:
    # Stored: a change would make recorded runs unrepeatable.
    stream = ShuffledStream(10, seed=7)
    assert stream.epoch(0).tolist() == [4, 5, 9, 8, 1, 7, 6, 0, 2, 3]
    assert stream.epoch(1).tolist() == [8, 6, 9, 5, 0, 7, 3, 4, 1, 2]
    assert ShuffledStream(10, seed=2**63 + 1).epoch(0).tolist() == [4, 3, 6, 7, 8, 5, 0, 2, 9, 1]


@pytest.mark.clause("DATA-1")
@given(st.integers(1, 60), seeds, st.integers(0, 5))
def test_every_epoch_has_every_example_once(size: int, seed: int, epoch: int) -> None:
    stream = ShuffledStream(size, seed)
    assert sorted(stream.epoch(epoch)) == list(range(size))
    assert sorted(stream.indices(epoch * size, (epoch + 1) * size)) == list(range(size))


@pytest.mark.clause("DATA-1")
@given(st.integers(1, 20), seeds, st.integers(0, 80), st.integers(0, 80))
def test_a_block_of_the_stream_is_the_examples_at_its_positions(
    size: int, seed: int, start: int, length: int
) -> None:
    stream = ShuffledStream(size, seed)
    expected = [stream[position] for position in range(start, start + length)]
    assert stream.indices(start, start + length).tolist() == expected


@pytest.mark.clause("DATA-2")
@given(seeds)
def test_epochs_and_seeds_have_orders_of_their_own(seed: int) -> None:
    stream = ShuffledStream(200, seed)
    assert not np.array_equal(stream.epoch(0), stream.epoch(1))
    assert not np.array_equal(stream.epoch(0), ShuffledStream(200, seed ^ 1).epoch(0))


def test_the_first_position_is_uniform() -> None:
    counts = np.bincount([ShuffledStream(5, seed)[0] for seed in range(2000)], minlength=5)
    # Five standard deviations of a binomial count.
    assert np.abs(counts - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)


@pytest.mark.parametrize(("size", "seed"), [(0, 1), (3, -1)])
def test_impossible_streams_are_refused(size: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"must not be negative|at least one example"):
        ShuffledStream(size, seed)


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="not a range"):
        ShuffledStream(3, 0).indices(2, 1)


graph_sizes = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 60)), min_size=1, max_size=40)


@given(graph_sizes, seeds, st.integers(1, 60), st.integers(0, 30))
def test_shards_cut_the_stream_without_gaps_across_epochs(
    pairs: list[tuple[int, int]], seed: int, max_graphs: int, first: int
) -> None:
    nodes, edges = np.array(pairs, np.int64).T
    sizes, limits = GraphSizes(nodes, edges), ShardLimits(40, 80, max_graphs)
    stream = ShuffledStream(len(pairs), seed)
    shards = list(itertools.islice(shard_stream(stream, sizes, limits), first + 20))
    total = sum(map(len, shards))
    np.testing.assert_array_equal(np.concatenate(shards), stream.indices(0, total))
    following = stream.indices(total, total + 1)
    for shard, after in itertools.zip_longest(shards, shards[1:], fillvalue=following):
        grown = np.append(shard, after[0])
        assert len(shard) >= 1
        assert len(shard) <= max_graphs
        assert nodes[shard].sum() <= 40
        assert edges[shard].sum() <= 80
        # Greedy: the graph after the shard would not have fitted.
        assert len(grown) > max_graphs or nodes[grown].sum() > 40 or edges[grown].sum() > 80
    resumed = shard_stream(stream, sizes, limits, first_shard=first)
    for shard, again in zip(shards[first:], resumed, strict=False):
        np.testing.assert_array_equal(shard, again)


@pytest.fixture(scope="module")
def packed() -> PackedGraphs:
    return molecules.packed(50)


def _stream(packed: PackedGraphs, **arguments: int) -> Iterator[GraphBatch]:
    return training_batches(packed, global_batch_size=16, **arguments)


def _assert_same(one: GraphBatch, other: GraphBatch) -> None:
    for field, mine, theirs in zip(
        one["inputs"]._fields, one["inputs"], other["inputs"], strict=True
    ):
        if field != "globals":
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(one["targets"], other["targets"])
    np.testing.assert_array_equal(one["weights"], other["weights"])


@pytest.mark.clause("DATA-2")
@given(seed=seeds, start=st.integers(0, 25), num_shards=st.integers(1, 2), ahead=st.integers(0, 3))
def test_a_resumed_stream_is_the_tail_of_the_whole_one_for_any_prefetching(
    packed: PackedGraphs, seed: int, start: int, num_shards: int, ahead: int
) -> None:
    whole = _stream(packed, data_seed=seed, num_shards=num_shards, prefetch_batches=0)
    tail = _stream(
        packed, data_seed=seed, num_shards=num_shards, start_step=start, prefetch_batches=ahead
    )
    for batch, again in zip(itertools.islice(whole, start, start + 3), tail, strict=False):
        _assert_same(batch, again)


@pytest.mark.clause("DATA-1")
@given(seed=seeds)
def test_the_batches_of_the_first_epochs_hold_every_graph_equally_often(
    packed: PackedGraphs, seed: int
) -> None:
    stream = ShuffledStream(len(packed), seed)
    limits = ShardLimits.of_batch(16, 1)
    counts = np.zeros(len(packed), int)
    for shard in itertools.islice(shard_stream(stream, packed.sizes(), limits), 40):
        counts += np.bincount(shard, minlength=len(packed))
    assert counts.max() - counts.min() <= 1


@pytest.mark.clause("DATA-2")
@given(st.integers(0, 30), st.integers(0, 5))
def test_prefetching_changes_neither_items_nor_order(count: int, ahead: int) -> None:
    assert list(prefetch(lambda: iter(range(count)), ahead)) == list(range(count))


@given(st.integers(0, 5), st.integers(0, 3))
def test_an_error_in_the_background_reaches_the_consumer(good: int, ahead: int) -> None:
    def items() -> Iterator[int]:
        yield from range(good)
        raise ArithmeticError("broken")

    received = prefetch(items, ahead)
    assert list(itertools.islice(received, good)) == list(range(good))
    with pytest.raises(ArithmeticError, match="broken"):
        next(received)


def test_a_consumer_that_stops_early_ends_the_background_thread() -> None:
    before = threading.enumerate()
    endless = prefetch(itertools.count, 2)
    assert next(endless) == 0
    (thread,) = [one for one in threading.enumerate() if one not in before]
    assert thread.name == "algoperf-prefetch"
    endless.close()  # type: ignore[attr-defined]
    thread.join(timeout=10)
    assert not thread.is_alive()
