"""The plain way to batch graphs: one graph after the other, each with arrays of its own.

This is what a straightforward input pipeline does: take a graph, double its bonds, collect graphs
until the next one would not fit, concatenate, pad. It makes the same batches as ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from algoperf_ref.data.graphs import GraphBatch, GraphsTuple, ShardLimits


def to_graph(example: Mapping[str, Any]) -> dict[str, Any]:
    """A graph with both directions of every bond."""
    first, second = example["edge_index"][:, 0], example["edge_index"][:, 1]
    return {
        "nodes": example["node_feat"],
        "edges": np.concatenate([example["edge_feat"], example["edge_feat"]]),
        "senders": np.concatenate([first, second]),
        "receivers": np.concatenate([second, first]),
        "labels": example["labels"],
    }


def batches(examples: Iterable[Mapping[str, Any]], limits: ShardLimits) -> Iterator[GraphBatch]:
    """Padded batches on one shard, in the order of the examples."""
    waiting: list[dict[str, Any]] = []
    num_nodes = num_edges = 0
    for example in examples:
        graph = to_graph(example)
        nodes, edges = len(graph["nodes"]), len(graph["edges"])
        if (
            num_nodes + nodes > limits.nodes
            or num_edges + edges > limits.edges
            or len(waiting) == limits.graphs
        ):
            yield _padded(waiting, limits)
            waiting, num_nodes, num_edges = [], 0, 0
        waiting.append(graph)
        num_nodes += nodes
        num_edges += edges
    yield _padded(waiting, limits)


def _padded(graphs: list[dict[str, Any]], limits: ShardLimits) -> GraphBatch:
    n_node = [len(graph["nodes"]) for graph in graphs]
    n_edge = [len(graph["edges"]) for graph in graphs]
    offsets = np.concatenate([[0], np.cumsum(n_node)])
    padding_nodes = limits.nodes + 1 - sum(n_node)
    padding_edges = limits.edges - sum(n_edge)
    empty = limits.graphs - len(graphs)
    padding = [np.full(padding_edges, offsets[-1])]
    labels = np.stack([graph["labels"] for graph in graphs])
    gaps = np.zeros((empty + 1, labels.shape[1]), np.float32)
    inputs = GraphsTuple(
        nodes=np.concatenate(
            [graph["nodes"] for graph in graphs] + [np.zeros((padding_nodes, 9), np.float32)]
        ),
        edges=np.concatenate(
            [graph["edges"] for graph in graphs] + [np.zeros((padding_edges, 3), np.float32)]
        ),
        senders=np.concatenate(
            [graph["senders"] + offset for graph, offset in zip(graphs, offsets, strict=False)]
            + padding
        ).astype(np.int32),
        receivers=np.concatenate(
            [graph["receivers"] + offset for graph, offset in zip(graphs, offsets, strict=False)]
            + padding
        ).astype(np.int32),
        globals={},
        n_node=np.array(n_node + [padding_nodes] + [0] * empty, np.int32),
        n_edge=np.array(n_edge + [padding_edges] + [0] * empty, np.int32),
    )
    return {
        "inputs": inputs,
        "targets": np.concatenate([np.nan_to_num(labels), gaps]),
        "weights": np.concatenate([(~np.isnan(labels)).astype(np.float32), gaps]),
    }
