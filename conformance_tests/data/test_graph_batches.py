"""Batches of graphs: stored outputs of the official pipeline, and what ours does beyond it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.data.graphs import (
    GraphBatch,
    OversizeGraphError,
    PackedGraphs,
    ShardLimits,
    assemble,
    check_fits,
    greedy_shards,
)
from algoperf_ref.errors import UserError
from algoperf_ref.workloads.ogbg.data import (
    evaluation_batches,
    num_evaluation_batches,
    training_batches,
)
from conformance_tests.support import molecules
from spec.data_order import eval_train_order

_GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline"
_FACTS = json.loads((_GOLDEN / "ogbg.json").read_text())
_ARRAYS = np.load(_GOLDEN / "ogbg.npz")
_INPUT_FIELDS = ("nodes", "edges", "senders", "receivers", "n_node", "n_edge")


@pytest.fixture(scope="module")
def golden_graphs() -> PackedGraphs:
    fields = ("num_nodes", "node_feat", "edge_feat", "edge_index", "labels")
    made = []
    for number in range(len(_FACTS["sizes"])):
        example = {field: _ARRAYS[f"graph/{number}/{field}"] for field in fields}
        made.append(example | {"num_edges": np.array([len(example["edge_feat"])])})
    return PackedGraphs.from_examples(made)


def _golden(case: str, batch: int, field: str) -> np.ndarray:
    return _ARRAYS[f"{case}/{batch}/{field}"]


def _assert_equal(batch: GraphBatch, case: str, number: int) -> None:
    for field in _INPUT_FIELDS:
        expected = _golden(case, number, field)
        np.testing.assert_array_equal(getattr(batch["inputs"], field), expected, err_msg=field)
    for field in ("targets", "weights"):
        expected = _golden(case, number, field)
        np.testing.assert_array_equal(batch[field], expected, err_msg=field)


def _in_order(graphs: PackedGraphs, limits: ShardLimits) -> Iterator[GraphBatch]:
    for start, stop in greedy_shards(graphs.sizes(), limits):
        yield assemble(graphs, [np.arange(start, stop)], limits)


@pytest.mark.parametrize(("case", "batch_size"), [("bs4_shards1", 4), ("bs6_shards1", 6)])
def test_batches_on_one_shard_equal_the_official_ones(
    golden_graphs: PackedGraphs, case: str, batch_size: int
) -> None:
    batches = list(_in_order(golden_graphs, ShardLimits.of_batch(batch_size, 1)))
    assert len(batches) == len(_FACTS[case])
    for number, batch in enumerate(batches):
        _assert_equal(batch, case, number)


@pytest.mark.parametrize(
    ("case", "batch_size"), [("bs2_shards1_oversize", 2), ("bs1_shards1_oversize", 1)]
)
def test_an_oversize_graph_is_an_error_after_the_graphs_before_it(
    golden_graphs: PackedGraphs, case: str, batch_size: int
) -> None:
    batches = _in_order(golden_graphs, ShardLimits.of_batch(batch_size, 1))
    *stored, raised = _FACTS[case]
    assert set(raised) == {"raises"}
    for number, facts in enumerate(stored):
        batch = next(batches)
        assert batch["inputs"].n_node.tolist() == facts["n_node"]
        assert batch["inputs"].n_edge.tolist() == facts["n_edge"]
        _assert_equal(batch, case, number)
    with pytest.raises(OversizeGraphError, match="use a batch size of at least 3 per shard"):
        next(batches)


@pytest.mark.clause("DATA-3", "DATA-4")
def test_two_shards_equal_the_official_ones_and_the_left_over_shard_is_kept(
    golden_graphs: PackedGraphs,
) -> None:
    case, limits = "bs8_shards2", ShardLimits.of_batch(8, 2)
    batches = list(evaluation_batches(golden_graphs, global_batch_size=8, num_shards=2))
    assert len(batches) == len(_FACTS[case]) + 1
    for number in range(len(_FACTS[case])):
        _assert_equal(batches[number], case, number)
    # The official pipeline drops the fifth shard, because the group of two is not full.
    last = batches[-1]["inputs"]
    rows = limits.graphs + 1
    assert last.n_node[:rows].tolist() == _FACTS["bs4_shards1"][4]["n_node"]
    assert last.n_node[rows:].tolist() == [limits.nodes + 1, 0, 0, 0, 0]
    assert last.n_edge[rows:].tolist() == [limits.edges, 0, 0, 0, 0]
    assert not batches[-1]["weights"][rows:].any()
    assert (last.senders[limits.edges :] == limits.nodes + 1).all()
    assert num_evaluation_batches(golden_graphs, global_batch_size=8, num_shards=2) == 3


@pytest.mark.clause("DATA-5")
def test_a_single_shard_is_the_part_that_the_official_layout_stacks(
    golden_graphs: PackedGraphs,
) -> None:
    case = "bs8_shards2_sharddim"
    for shard in range(2):
        batches = evaluation_batches(golden_graphs, global_batch_size=8, num_shards=2, shard=shard)
        for number, batch in zip(range(len(_FACTS[case])), batches, strict=False):
            for field in _INPUT_FIELDS:
                np.testing.assert_array_equal(
                    getattr(batch["inputs"], field), _golden(case, number, field)[shard]
                )
            for field in ("targets", "weights"):
                np.testing.assert_array_equal(batch[field], _golden(case, number, field)[shard])


def test_batches_have_the_documented_types_and_shapes(golden_graphs: PackedGraphs) -> None:
    limits = ShardLimits.of_batch(8, 2)
    (batch, *_) = evaluation_batches(golden_graphs, global_batch_size=8, num_shards=2)
    inputs = batch["inputs"]
    assert inputs._fields == (
        "nodes",
        "edges",
        "receivers",
        "senders",
        "globals",
        "n_node",
        "n_edge",
    )
    assert inputs.globals == {}
    assert inputs.nodes.shape == (2 * (limits.nodes + 1), 9)
    assert inputs.edges.shape == (2 * limits.edges, 3)
    assert {inputs.nodes.dtype, inputs.edges.dtype} == {np.dtype(np.float32)}
    for field in ("senders", "receivers", "n_node", "n_edge"):
        assert getattr(inputs, field).dtype == np.int32
    assert batch["targets"].shape == batch["weights"].shape == (2 * (limits.graphs + 1), 4)
    assert {batch["targets"].dtype, batch["weights"].dtype} == {np.dtype(np.float32)}


def test_unlabelled_tasks_have_weight_zero(golden_graphs: PackedGraphs) -> None:
    limits = ShardLimits.of_batch(4, 1)
    batch = assemble(golden_graphs, [np.arange(4)], limits)
    labels = np.stack([_ARRAYS[f"graph/{number}/labels"] for number in range(4)])
    assert np.isnan(labels).any()
    np.testing.assert_array_equal(batch["weights"][:4], ~np.isnan(labels))
    np.testing.assert_array_equal(batch["targets"][:4], np.nan_to_num(labels))


def test_labels_that_are_not_binary_are_kept_as_numbers() -> None:
    (example,) = molecules.examples(1)
    example["labels"] = np.array([0.25, np.nan, -1.0], np.float32)
    graphs = PackedGraphs.from_examples([example])
    np.testing.assert_array_equal(graphs.example(0)["labels"], example["labels"])
    batch = assemble(graphs, [np.arange(1)], ShardLimits.of_batch(3, 1))
    assert batch["targets"][0].tolist() == [0.25, 0.0, -1.0]
    assert batch["weights"][0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.clause("DATA-3")
@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
def test_an_evaluation_covers_every_graph_once_on_any_number_of_shards(num_shards: int) -> None:
    graphs = molecules.packed(40)
    arguments: dict[str, Any] = {"global_batch_size": 7 * 4, "num_shards": num_shards}
    batches = list(evaluation_batches(graphs, **arguments))
    labels = np.concatenate([batch["targets"] for batch in batches])
    known = np.concatenate([batch["weights"] for batch in batches])
    # Labels identify the molecules here: they are random and 128 tasks wide.
    found = {
        (row.tobytes(), mask.tobytes())
        for row, mask in zip(labels, known, strict=True)
        if mask.any()
    }
    wanted = set()
    for example in graphs.examples():
        mask = (~np.isnan(example["labels"])).astype(np.float32)
        wanted.add((np.nan_to_num(example["labels"]).tobytes(), mask.tobytes()))
    assert found == wanted
    assert np.sum(known.any(axis=1)) == len(graphs)
    assert len(batches) == num_evaluation_batches(graphs, **arguments)
    assert len({batch["inputs"].nodes.shape for batch in batches}) == 1


@pytest.mark.clause("DATA-3")
def test_an_evaluation_is_the_same_each_time() -> None:
    graphs = molecules.packed(30)
    first, second = (
        list(evaluation_batches(graphs, global_batch_size=8, num_shards=1, prefetch_batches=count))
        for count in (0, 3)
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["inputs"].nodes, other["inputs"].nodes)
        np.testing.assert_array_equal(one["targets"], other["targets"])


@pytest.mark.clause("DATA-6")
def test_eval_train_is_a_fixed_subset_in_a_fixed_order() -> None:
    order = eval_train_order(1000, 10)
    # Stored: the same subset in every trial and with every version of numpy.
    assert order.tolist() == [562, 594, 822, 768, 753, 429, 121, 731, 806, 356]
    graphs = molecules.packed(30)
    chosen = eval_train_order(30, 12)
    batches = list(evaluation_batches(graphs, global_batch_size=16, num_shards=1, order=chosen))
    expected = list(evaluation_batches(graphs.take(chosen), global_batch_size=16, num_shards=1))
    for one, other in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(one["inputs"].nodes, other["inputs"].nodes)


def test_training_with_shards_too_small_for_a_graph_fails_at_once() -> None:
    graphs = molecules.packed(30, mean_nodes=60)
    with pytest.raises(OversizeGraphError, match="does not fit a shard"):
        training_batches(graphs, data_seed=0, global_batch_size=2, num_shards=1)


def test_more_shards_than_graphs_of_a_batch_is_a_users_error() -> None:
    with pytest.raises(UserError, match="use at least 8"):
        ShardLimits.of_batch(4, 8)


def test_a_shard_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="shard 2 of 2"):
        training_batches(
            molecules.packed(30), data_seed=0, global_batch_size=32, num_shards=2, shard=2
        )


def test_graphs_that_fit_exactly_are_not_oversize() -> None:
    (example,) = molecules.examples(1)
    nodes = int(example["num_nodes"][0])
    edges = 2 * int(example["num_edges"][0])
    graphs = PackedGraphs.from_examples([example, example])
    limits = ShardLimits(nodes, edges, 1)
    check_fits(graphs.sizes(), limits)
    assert list(greedy_shards(graphs.sizes(), limits)) == [(0, 1), (1, 2)]
    with pytest.raises(OversizeGraphError):
        check_fits(graphs.sizes(), ShardLimits(nodes - 1, edges, 1))
    with pytest.raises(OversizeGraphError):
        check_fits(graphs.sizes(), ShardLimits(nodes, edges - 1, 1))


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("num_nodes", lambda value: value + 1, "declares"),
        ("edge_index", lambda value: value + 100, "a bond points to a node"),
        ("edge_index", lambda value: value[:-1], "declares"),
    ],
)
def test_contradictory_examples_are_refused(field: str, change: Any, message: str) -> None:
    (example,) = molecules.examples(1)
    example[field] = change(example[field])
    with pytest.raises(ValueError, match=message):
        PackedGraphs.from_examples([example])
