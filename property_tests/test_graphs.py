"""What holds for every split of graphs and every batch made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.data import packed_store
from algoperf_ref.data.graphs import (
    GraphBatch,
    PackedGraphs,
    ShardLimits,
    assemble,
    greedy_shards,
)
from algoperf_ref.data.packed import GraphSizes, compact, compact_labels, ranges, split_labels
from algoperf_ref.workloads.ogbg.data import evaluation_batches, training_batches

_TASKS = 3


@st.composite
def graphs(draw: st.DrawFn, max_nodes: int = 8, max_bonds: int = 9) -> dict[str, Any]:
    nodes = draw(st.integers(1, max_nodes))
    bonds = draw(st.lists(st.tuples(*[st.integers(0, nodes - 1)] * 2), max_size=max_bonds))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.RandomState(seed)
    labels = random.choice([0.0, 1.0, np.nan], _TASKS)
    return {
        "num_nodes": np.array([nodes]),
        "num_edges": np.array([len(bonds)]),
        "node_feat": random.randint(1, 200, (nodes, 9)).astype(np.float32),
        "edge_feat": random.randint(1, 6, (len(bonds), 3)).astype(np.float32),
        "edge_index": np.array(bonds, np.int64).reshape(-1, 2),
        "labels": labels.astype(np.float32),
    }


splits = st.lists(graphs(), min_size=1, max_size=25)


def _unbatched(batch: GraphBatch) -> list[dict[str, Any]]:
    """The graphs of a batch that have nodes, with node numbers of their own."""
    inputs = batch["inputs"]
    node_ends, edge_ends = np.cumsum(inputs.n_node), np.cumsum(inputs.n_edge)
    found = []
    for row in np.flatnonzero(inputs.n_node):
        nodes = slice(node_ends[row] - inputs.n_node[row], node_ends[row])
        edges = slice(edge_ends[row] - inputs.n_edge[row], edge_ends[row])
        found.append(
            {
                "nodes": inputs.nodes[nodes],
                "edges": inputs.edges[edges],
                "senders": inputs.senders[edges] - nodes.start,
                "receivers": inputs.receivers[edges] - nodes.start,
                "targets": batch["targets"][row],
                "weights": batch["weights"][row],
            }
        )
    return found


def _assert_is(found: dict[str, Any], example: dict[str, Any]) -> None:
    forwards, backwards = example["edge_index"].T, example["edge_index"].T[::-1]
    senders, receivers = np.concatenate([forwards, backwards], axis=1)
    np.testing.assert_array_equal(found["nodes"], example["node_feat"])
    np.testing.assert_array_equal(found["edges"], np.concatenate([example["edge_feat"]] * 2))
    np.testing.assert_array_equal(found["senders"], senders)
    np.testing.assert_array_equal(found["receivers"], receivers)
    np.testing.assert_array_equal(found["targets"], np.nan_to_num(example["labels"]))
    np.testing.assert_array_equal(found["weights"], ~np.isnan(example["labels"]))


@given(splits)
def test_packing_and_unpacking_gives_back_every_graph(examples: list[dict[str, Any]]) -> None:
    packed = PackedGraphs.from_examples(examples)
    for number, example in enumerate(examples):
        again = packed.example(number)
        assert set(again) == set(example)
        for field, value in example.items():
            np.testing.assert_array_equal(again[field], value)
    assert packed_store.digest(PackedGraphs.from_examples(packed.examples())) == (
        packed_store.digest(packed)
    )


@given(splits, st.data())
def test_taking_graphs_is_packing_those_graphs(
    examples: list[dict[str, Any]], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(examples) - 1), min_size=1, max_size=30))
    taken = PackedGraphs.from_examples(examples).take(np.array(chosen))
    for number, source in enumerate(chosen):
        for field, value in taken.example(number).items():
            np.testing.assert_array_equal(value, examples[source][field])


@given(splits, st.integers(1, 12), st.integers(1, 4))
def test_unbatching_an_evaluation_gives_back_the_split_in_order(
    examples: list[dict[str, Any]], batch_size: int, num_shards: int
) -> None:
    packed = PackedGraphs.from_examples(examples)
    batches = list(
        evaluation_batches(packed, global_batch_size=batch_size * num_shards, num_shards=num_shards)
    )
    found = [graph for batch in batches for graph in _unbatched(batch) if _is_real(graph)]
    assert len(found) == len(examples)
    for graph, example in zip(found, examples, strict=True):
        _assert_is(graph, example)
    assert len({batch["inputs"].edges.shape for batch in batches}) == 1


def _is_real(graph: dict[str, Any]) -> bool:
    # Features of the made-up atoms are never zero, those of padding always are.
    return bool(graph["nodes"].all())


@given(splits, st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**64 - 1))
def test_every_training_batch_keeps_its_shape_and_its_padding_rules(
    examples: list[dict[str, Any]], batch_size: int, num_shards: int, seed: int
) -> None:
    packed = PackedGraphs.from_examples(examples)
    limits = ShardLimits.of_batch(batch_size * num_shards, num_shards)
    batches = training_batches(
        packed,
        data_seed=seed,
        global_batch_size=batch_size * num_shards,
        num_shards=num_shards,
        prefetch_batches=0,
    )
    for batch, _ in zip(batches, range(4), strict=False):
        inputs = batch["inputs"]
        n_node = inputs.n_node.reshape(num_shards, limits.graphs + 1)
        n_edge = inputs.n_edge.reshape(num_shards, limits.graphs + 1)
        assert (n_node.sum(axis=1) == limits.nodes + 1).all()
        assert (n_edge.sum(axis=1) == limits.edges).all()
        for shard in range(num_shards):
            first_row = shard * (limits.graphs + 1)
            weights = batch["weights"][first_row : first_row + limits.graphs + 1]
            real = int(np.sum(n_node[shard] > 0)) - 1
            padding_node = shard * (limits.nodes + 1) + int(n_node[shard, :real].sum())
            padding_edge = shard * limits.edges + int(n_edge[shard, :real].sum())
            nodes = slice(padding_node, (shard + 1) * (limits.nodes + 1))
            edges = slice(padding_edge, (shard + 1) * limits.edges)
            assert real >= 1
            assert n_node[shard, real] >= 1
            assert not n_node[shard, real + 1 :].any()
            assert not weights[real:].any()
            assert not batch["targets"][first_row + real : first_row + limits.graphs + 1].any()
            assert not inputs.nodes[nodes].any()
            assert not inputs.edges[edges].any()
            assert (inputs.senders[edges] == padding_node).all()
            assert (inputs.receivers[edges] == padding_node).all()


@given(splits, st.integers(1, 6), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_shards_of_a_batch_are_the_merged_batch_cut_apart(
    examples: list[dict[str, Any]], batch_size: int, num_shards: int, seed: int
) -> None:
    packed = PackedGraphs.from_examples(examples)
    limits = ShardLimits.of_batch(batch_size * num_shards, num_shards)

    def first(shard: int | None) -> GraphBatch:
        return next(
            training_batches(
                packed,
                data_seed=seed,
                global_batch_size=batch_size * num_shards,
                num_shards=num_shards,
                shard=shard,
                prefetch_batches=0,
            )
        )

    merged = first(None)
    for shard in range(num_shards):
        alone = first(shard)
        for field in ("nodes", "edges", "n_node", "n_edge", "senders", "receivers"):
            part = np.split(getattr(merged["inputs"], field), num_shards)[shard]
            if field in ("senders", "receivers"):
                part = part - shard * (limits.nodes + 1)
            np.testing.assert_array_equal(getattr(alone["inputs"], field), part)
        for name in ("targets", "weights"):
            np.testing.assert_array_equal(alone[name], np.split(merged[name], num_shards)[shard])


sizes = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 60)), min_size=1, max_size=60)


@given(sizes, st.integers(30, 90), st.integers(60, 150), st.integers(1, 9))
def test_shards_respect_the_limits_and_are_greedy(
    pairs: list[tuple[int, int]], max_nodes: int, max_edges: int, max_graphs: int
) -> None:
    nodes, edges = np.array(pairs, np.int64).T
    limits = ShardLimits(max_nodes, max_edges, max_graphs)
    end = 0
    for start, stop in greedy_shards(GraphSizes(nodes, edges), limits):
        assert start == end < stop
        assert stop - start <= max_graphs
        assert nodes[start:stop].sum() <= max_nodes
        assert edges[start:stop].sum() <= max_edges
        if stop < len(pairs):
            assert (
                stop - start == max_graphs
                or nodes[start : stop + 1].sum() > max_nodes
                or edges[start : stop + 1].sum() > max_edges
            )
        end = stop
    assert end == len(pairs)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5)), max_size=20))
def test_ranges_are_the_concatenated_aranges(pairs: list[tuple[int, int]]) -> None:
    starts, lengths = np.array(pairs, np.int64).reshape(-1, 2).T
    expected = [position for start, length in pairs for position in range(start, start + length)]
    assert ranges(starts, lengths).tolist() == expected


@given(
    st.lists(
        st.one_of(st.integers(-(2**24), 2**24), st.floats(width=32, allow_nan=False)), max_size=20
    )
)
def test_compact_columns_keep_every_value(values: list[float]) -> None:
    column = np.array(values, np.float32)
    np.testing.assert_array_equal(compact(column).astype(np.float32), column)


@given(st.lists(st.one_of(st.sampled_from([0.0, 1.0, np.nan]), st.floats(-2, 2, width=32))))
def test_stored_labels_keep_every_value_and_gap(values: list[float]) -> None:
    labels = np.array(values, np.float32)
    stored, known = split_labels(compact_labels(labels))
    np.testing.assert_array_equal(known, ~np.isnan(labels))
    np.testing.assert_array_equal(stored.astype(np.float32), np.nan_to_num(labels))


def test_an_all_padding_batch_has_no_weight() -> None:
    random = np.random.RandomState(0)
    packed = PackedGraphs.from_columns(
        node_features=random.randint(1, 5, (3, 9)),
        bond_features=random.randint(1, 5, (2, 3)),
        bonds=np.array([[0, 1], [1, 2]]),
        num_nodes=np.array([3]),
        num_bonds=np.array([2]),
        labels=np.ones((1, _TASKS), np.float32),
    )
    limits = ShardLimits.of_batch(2, 1)
    batch = assemble(packed, [np.zeros(0, np.int64)], limits)
    assert batch["inputs"].n_node.tolist() == [limits.nodes + 1, 0, 0]
    assert not batch["weights"].any()
