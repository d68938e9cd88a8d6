"""The dynamic batching of the graph workload: packed graphs -> padded batches of fixed shapes.

Every shard has a fixed number of node, edge and graph slots, is filled greedily in stream order,
and what stays free belongs to padding graphs that no loss or metric counts. Graphs are gathered
from columns (`PackedGraphs`), so no graph is ever touched alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.packed import (
    GraphSizes,
    PackedGraphs,
    ranges,
    split_labels,
    starts_of,
)
from algoperf_ref.errors import UserError

__all__ = [
    "EDGE_SLOTS_PER_GRAPH",
    "NODE_SLOTS_PER_GRAPH",
    "GraphBatch",
    "GraphSizes",
    "GraphsTuple",
    "OversizeGraphError",
    "PackedGraphs",
    "ShardCutter",
    "ShardLimits",
    "assemble",
    "check_fits",
    "greedy_shards",
]

# Slots of a shard per graph of the batch size (Workload facts, ogbg, input pipeline): the average
# ogbg-molpcba molecule has 26 atoms and 28 bonds, and a bond is two directed edges.
NODE_SLOTS_PER_GRAPH = 26
EDGE_SLOTS_PER_GRAPH = 56


class GraphsTuple(NamedTuple):
    """Several graphs as one, in the field order that the benchmark's graph networks use.

    Attributes:
      nodes: node features, float32 [nodes, node features].
      edges: features of directed edges, float32 [edges, edge features].
      receivers: node index every edge points to, int32 [edges].
      senders: node index every edge starts from, int32 [edges].
      globals: features of graphs; the pipeline leaves it an empty dict.
      n_node: number of nodes of each graph, int32 [graphs].
      n_edge: number of directed edges of each graph, int32 [graphs].
    """

    nodes: Any
    edges: Any
    receivers: Any
    senders: Any
    globals: Any
    n_node: Any
    n_edge: Any


class GraphBatch(TypedDict):
    """A batch: padded graphs, targets and weights, both float32 [graphs, tasks]."""

    inputs: GraphsTuple
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


class OversizeGraphError(UserError):
    """A graph has more nodes or edges than one shard has slots."""


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """What one shard holds at most: real nodes, directed edges and graphs.

    The padded shard has one node and one graph more than these (the padding graph).
    """

    nodes: int
    edges: int
    graphs: int

    @classmethod
    def of_batch(cls, global_batch_size: int, num_shards: int) -> ShardLimits:
        """Limits of each of `num_shards` shards of a global batch, rounded down.

        Source: Workload facts, ogbg, input pipeline.

        Raises:
          UserError: if a shard would hold no graph.
        """
        if num_shards < 1:
            raise ValueError(f"num_shards must be positive, not {num_shards}")
        graphs = global_batch_size // num_shards
        if graphs < 1:
            raise UserError(
                f"a global batch size of {global_batch_size} leaves no graph for each of "
                f"{num_shards} shards; use at least {num_shards}"
            )
        return cls(NODE_SLOTS_PER_GRAPH * graphs, EDGE_SLOTS_PER_GRAPH * graphs, graphs)


def check_fits(sizes: GraphSizes, limits: ShardLimits) -> None:
    """Raises `OversizeGraphError` if some graph of the split fits no shard."""
    too_large = (sizes.nodes > limits.nodes) | (sizes.edges > limits.edges)
    if too_large.any():
        raise _oversize(int(np.argmax(too_large)), sizes, limits)


def _oversize(index: int, sizes: GraphSizes, limits: ShardLimits) -> OversizeGraphError:
    needed = max(
        -(-int(sizes.nodes.max()) // NODE_SLOTS_PER_GRAPH),
        -(-int(sizes.edges.max()) // EDGE_SLOTS_PER_GRAPH),
    )
    return OversizeGraphError(
        f"graph {index} with {sizes.nodes[index]} nodes and {sizes.edges[index]} edges does not "
        f"fit a shard of {limits.nodes} nodes and {limits.edges} edges; use a batch size of at "
        f"least {needed} per shard"
    )


def greedy_shards(sizes: GraphSizes, limits: ShardLimits) -> Iterator[tuple[int, int]]:
    """Cuts graphs, in order, into shards: a shard ends where the next graph would exceed a limit.

    Yields:
      (start, stop) of every shard; together they cover all graphs, none twice.

    Raises:
      OversizeGraphError: at a graph that fits no shard, after the graphs before it were yielded.

    Source: Workload facts, ogbg, input pipeline (batching).
    """
    cuts = ShardCutter(sizes.nodes, sizes.edges, limits)
    start = 0
    while start < len(sizes.nodes):
        stop = cuts.stop(start)
        if stop == start:
            raise _oversize(start, sizes, limits)
        yield start, stop
        start = stop


class ShardCutter:
    """Finds where a greedy shard ends, by bisection in the running sums of the sizes."""

    def __init__(
        self, nodes: NDArray[np.int64], edges: NDArray[np.int64], limits: ShardLimits
    ) -> None:
        self._limits = limits
        # Memory views give plain integers, which bisect compares several times faster than numpy's.
        self._nodes = memoryview(cast(Any, starts_of(nodes)))
        self._edges = memoryview(cast(Any, starts_of(edges)))

    def stop(self, start: int) -> int:
        """End of the shard that begins at `start`; `start` itself if that graph is oversize."""
        limits, nodes, edges = self._limits, self._nodes, self._edges
        # Entry i is the running sum before graph i; the last entry within all limits is the end.
        past = min(start + limits.graphs + 1, len(nodes))
        past = bisect_right(nodes, nodes[start] + limits.nodes, start, past)
        return bisect_right(edges, edges[start] + limits.edges, start, past) - 1


def assemble(
    packed: PackedGraphs, shards: Sequence[NDArray[np.integer[Any]]], limits: ShardLimits
) -> GraphBatch:
    """One batch of padded shards, merged into one big graph.

    Every shard takes `limits.nodes + 1` node rows, `limits.edges` edge rows and `limits.graphs + 1`
    graph rows. Graphs come in the given order; a bond list becomes the edges `[s, r]` followed by
    `[r, s]`; the next graph holds all padding nodes (at least one) and padding edges (zero
    features, from and to the first padding node); further graphs are empty. Node indices count
    through all shards. Unlabelled tasks and padding graphs have target 0 and weight 0.

    Args:
      packed: the split.
      shards: graph indices of every shard, each within `limits`; may be empty (all padding).
      limits: what a shard holds.

    Source: Workload facts, ogbg, input pipeline (to graph, batching, padding, labels, shards).
    """
    num_nodes, num_edges, num_graphs = limits.nodes + 1, limits.edges, limits.graphs + 1
    count = len(shards)
    nodes = np.zeros((count * num_nodes, packed.node_features.shape[1]), np.float32)
    edges = np.zeros((count * num_edges, packed.bond_features.shape[1]), np.float32)
    senders = np.empty(count * num_edges, np.int32)
    receivers = np.empty(count * num_edges, np.int32)
    n_node = np.zeros((count, num_graphs), np.int32)
    n_edge = np.zeros((count, num_graphs), np.int32)
    targets = np.zeros((count * num_graphs, packed.labels.shape[1]), np.float32)
    weights = np.zeros((count * num_graphs, packed.labels.shape[1]), np.float32)
    for number, graphs in enumerate(shards):
        real = len(graphs)
        node_counts, bond_counts = packed.num_nodes[graphs], packed.num_bonds[graphs]
        first_node, first_edge = number * num_nodes, number * num_edges
        node_starts = first_node + starts_of(node_counts)
        padding_node = int(node_starts[-1])
        # `take` gathers rows several times faster than indexing with an array does.
        nodes[first_node:padding_node] = packed.node_features.take(
            ranges(packed.node_starts[graphs], node_counts), axis=0
        )

        # Every bond list stands twice in a row: once forwards, once backwards.
        bond_starts = np.repeat(packed.bond_starts[graphs], 2)
        doubled = np.repeat(bond_counts, 2)
        rows = ranges(bond_starts, doubled)
        end_edge = first_edge + len(rows)
        edges[first_edge:end_edge] = packed.bond_features.take(rows, axis=0)
        # Position of the sender in the flat list of bond end points; the receiver is its neighbour.
        sender_at = 2 * rows + np.repeat(np.tile((0, 1), real), doubled)
        offsets = np.repeat(node_starts[:-1], 2 * bond_counts.astype(np.int64))
        ends = packed.bonds.reshape(-1)
        senders[first_edge:end_edge] = ends[sender_at] + offsets
        receivers[first_edge:end_edge] = ends[sender_at ^ 1] + offsets
        padding_edges = slice(end_edge, first_edge + num_edges)
        senders[padding_edges] = receivers[padding_edges] = padding_node

        n_node[number, :real] = node_counts
        n_node[number, real] = first_node + num_nodes - padding_node
        n_edge[number, :real] = 2 * bond_counts.astype(np.int32)
        n_edge[number, real] = first_edge + num_edges - end_edge
        first_graph = number * num_graphs
        values, known = split_labels(packed.labels.take(graphs, axis=0))
        targets[first_graph : first_graph + real] = values
        weights[first_graph : first_graph + real] = known
    inputs = GraphsTuple(
        nodes=nodes,
        edges=edges,
        receivers=receivers,
        senders=senders,
        globals={},
        n_node=n_node.reshape(-1),
        n_edge=n_edge.reshape(-1),
    )
    return {"inputs": inputs, "targets": targets, "weights": weights}
