"""A global batch of graphs holds the same graphs on any number of devices and processes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from algoperf_ref.data.graphs import GraphBatch
from algoperf_ref.workloads.ogbg import data
from algoperf_ref.workloads.ogbg.division import Division
from conformance_tests.support import molecules

GRAPHS = molecules.packed(90, seed=5)
BATCH = 16
LAYOUTS = (
    [Division(num_devices=n) for n in (1, 2, 4, 8)]
    + [Division(num_devices=2 * p, num_processes=p) for p in (2, 4)]
    + [Division(num_devices=p, num_processes=p, is_global=False) for p in (1, 2, 4)]
)


def parts(division: Division, make: Any) -> list[list[GraphBatch]]:
    """The batches of every process."""
    processes = range(division.num_processes)
    return [list(make(division=replace(division, process=number))) for number in processes]


def train(division: Division) -> Any:
    stream = data.training_batches(
        GRAPHS, data_seed=3, global_batch_size=BATCH, prefetch_batches=0, division=division
    )
    return itertools.islice(stream, 9)


def evaluate(division: Division) -> Any:
    return data.evaluation_batches(GRAPHS, global_batch_size=BATCH, division=division)


def real_graphs(batches: list[GraphBatch]) -> list[Any]:
    """Sizes, first node features and labels of the real graphs of one global batch, in order."""
    graphs = []
    for batch in batches:
        inputs = batch["inputs"]
        starts = np.cumsum(inputs.n_node) - inputs.n_node
        for number in np.flatnonzero(batch["weights"].any(axis=1)):
            start, count = starts[number], inputs.n_node[number]
            nodes = inputs.nodes[start : start + count]
            graphs.append((count, inputs.n_edge[number], nodes.sum(), *batch["targets"][number]))
    return graphs


def joined(batches: list[GraphBatch], division: Division) -> list[GraphBatch]:
    """The parts of a global batch, in a form that :func:`real_graphs` can read."""
    if not division.is_global:
        return batches
    inputs = [batch["inputs"] for batch in batches]
    fields = {f: np.concatenate([getattr(i, f) for i in inputs]) for f in ("nodes", "n_node")}
    fields |= {"n_edge": np.concatenate([i.n_edge for i in inputs])}
    whole = inputs[0]._replace(**fields)
    rest = {n: np.concatenate([b[n] for b in batches]) for n in ("targets", "weights")}  # type: ignore[literal-required]
    return [{"inputs": whole, **rest}]  # type: ignore[typeddict-item]


@pytest.mark.clause("DATA-2", "DATA-3", "DATA-8")
@pytest.mark.parametrize("division", LAYOUTS, ids=str)
@pytest.mark.parametrize("make", [train, evaluate])
def test_all_layouts_hold_the_same_graphs_in_the_same_order(division: Division, make: Any) -> None:
    expected = [real_graphs([batch]) for batch in make(Division())]
    whole = zip(*parts(division, make), strict=True)  # as many batches on every process
    assert [real_graphs(joined(list(batches), division)) for batches in whole] == expected


@pytest.mark.clause("DATA-3")
@pytest.mark.parametrize("division", LAYOUTS, ids=str)
def test_an_evaluation_covers_every_graph_once(division: Division) -> None:
    whole = zip(*parts(division, evaluate), strict=True)
    found = [g for batches in whole for g in real_graphs(joined(list(batches), division))]
    (everything,) = data.evaluation_batches(GRAPHS, global_batch_size=10 * len(GRAPHS.labels))
    assert sorted(found) == sorted(real_graphs([everything]))


@pytest.mark.clause("DATA-5")
@pytest.mark.parametrize("division", [d for d in LAYOUTS if d.is_global], ids=str)
def test_global_rows_are_divided_evenly_and_consecutively(division: Division) -> None:
    for batches in zip(*parts(division, train), strict=True):
        for field in ("nodes", "edges", "senders", "n_node"):
            lengths = {len(getattr(batch["inputs"], field)) for batch in batches}
            assert len(lengths) == 1
            assert lengths.pop() * division.num_processes % division.num_devices == 0
        senders = np.concatenate([batch["inputs"].senders for batch in batches])
        total = sum(len(batch["inputs"].nodes) for batch in batches)
        assert senders.max() < total


@pytest.mark.parametrize("processes", [2, 4])
def test_shares_of_processes_are_whole_graphs_with_equal_graph_rows(processes: int) -> None:
    division = Division(processes, processes, is_global=False)
    for batches in zip(*parts(division, train), strict=True):
        assert {len(batch["weights"]) for batch in batches} == {BATCH // processes + 1}
        for batch in batches:
            inputs = batch["inputs"]
            assert inputs.n_node.sum() == len(inputs.nodes)
            assert inputs.n_edge.sum() == len(inputs.edges)
            graph = np.repeat(np.arange(len(inputs.n_node)), inputs.n_node)
            assert (graph[inputs.senders] == graph[inputs.receivers]).all()


def test_the_rows_of_one_device_are_a_prefix_of_those_of_many() -> None:
    """So that JAX, whose random bits depend on the row only, drops the same values on all."""
    for one, many in zip(train(Division()), train(Division(num_devices=8)), strict=True):
        rows = len(one["inputs"].nodes)
        np.testing.assert_array_equal(many["inputs"].nodes[:rows], one["inputs"].nodes)
        np.testing.assert_array_equal(many["targets"][: len(one["targets"])], one["targets"])
