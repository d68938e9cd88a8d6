"""A split of graphs in columns: a handful of arrays instead of one object per graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# An unlabelled (graph, task) pair in an integer label column; in a float column it is NaN.
MISSING_LABEL = -1


class GraphSizes(NamedTuple):
    """Sizes of the graphs of a split, int64 [graphs] each; edges are directed (two per bond)."""

    nodes: NDArray[np.int64]
    edges: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PackedGraphs:
    """A split in columns. Arrays may be memory maps; nothing writes to them.

    Attributes:
      node_features: [all nodes, node features]; integers where that is lossless.
      bond_features: [all bonds, bond features]; every bond stands here once.
      bonds: end points of every bond, counted within its graph, integer [all bonds, 2].
      num_nodes: nodes of each graph, integer [graphs].
      num_bonds: bonds of each graph, integer [graphs].
      labels: [graphs, tasks]; int8 with `MISSING_LABEL`, or float32 with NaN.
    """

    node_features: NDArray[Any]
    bond_features: NDArray[Any]
    bonds: NDArray[Any]
    num_nodes: NDArray[Any]
    num_bonds: NDArray[Any]
    labels: NDArray[Any]

    @classmethod
    def column_names(cls) -> tuple[str, ...]:
        """Names of the arrays, in their order on disk and in checksums."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def from_examples(cls, examples: Iterable[Mapping[str, Any]]) -> PackedGraphs:
        """Packs examples with the features of tfds `ogbg_molpcba` (node_feat, edge_feat, ...).

        Columns take the smallest type that keeps every value (see `compact`).

        Raises:
          ValueError: if there is no example, or shapes within an example contradict each other.
        """
        node_feat, edge_feat, edge_index, labels = [], [], [], []
        for position, example in enumerate(examples):
            nodes, edges, index = example["node_feat"], example["edge_feat"], example["edge_index"]
            declared = (int(np.sum(example["num_nodes"])), int(np.sum(example["num_edges"])))
            if declared != (len(nodes), len(edges)) or len(index) != len(edges):
                raise ValueError(
                    f"example {position} declares {declared[0]} nodes and {declared[1]} edges, "
                    f"but has {len(nodes)} node rows, {len(edges)} edge rows and {len(index)} "
                    "index rows"
                )
            node_feat.append(np.asarray(nodes))
            edge_feat.append(np.asarray(edges))
            edge_index.append(np.asarray(index))
            labels.append(np.asarray(example["labels"], np.float32).reshape(-1))
        if not labels:
            raise ValueError("no examples to pack")
        return cls.from_columns(
            node_features=np.concatenate(node_feat),
            bond_features=np.concatenate(edge_feat),
            bonds=np.concatenate(edge_index),
            num_nodes=np.array([len(rows) for rows in node_feat]),
            num_bonds=np.array([len(rows) for rows in edge_feat]),
            labels=np.stack(labels),
        )

    @classmethod
    def from_columns(cls, **columns: NDArray[Any]) -> PackedGraphs:
        """Packs whole columns; checks that they fit each other and stores them compactly.

        Raises:
          ValueError: if rows and counts disagree, or a bond points outside its graph.
        """
        labels = columns.pop("labels")
        if labels.dtype.kind == "f":
            labels = compact_labels(labels)
        packed = cls(labels=labels, **{name: compact(column) for name, column in columns.items()})
        if len(packed.node_features) != packed.node_starts[-1]:
            raise ValueError("the number of node rows is not the sum of num_nodes")
        if not len(packed.bond_features) == len(packed.bonds) == packed.bond_starts[-1]:
            raise ValueError("the number of bond rows is not the sum of num_bonds")
        if not len(packed.num_nodes) == len(packed.num_bonds) == len(packed.labels):
            raise ValueError("num_nodes, num_bonds and labels have different lengths")
        limit = np.repeat(packed.num_nodes, packed.num_bonds)[:, None]
        if np.any(packed.bonds >= limit) or np.any(packed.bonds < 0):
            raise ValueError("a bond points to a node that its graph does not have")
        return packed

    def __len__(self) -> int:
        return len(self.num_nodes)

    @cached_property
    def node_starts(self) -> NDArray[np.int64]:
        """First node row of every graph, and the end: int64 [graphs + 1]."""
        return starts_of(self.num_nodes)

    @cached_property
    def bond_starts(self) -> NDArray[np.int64]:
        """First bond row of every graph, and the end: int64 [graphs + 1]."""
        return starts_of(self.num_bonds)

    @cached_property
    def _sizes(self) -> GraphSizes:
        return GraphSizes(self.num_nodes.astype(np.int64), 2 * self.num_bonds.astype(np.int64))

    def sizes(self) -> GraphSizes:
        """Nodes and directed edges of every graph, as the batching counts them."""
        return self._sizes

    def example(self, index: int) -> dict[str, NDArray[Any]]:
        """Graph `index` with the names, shapes and types of the tfds `ogbg_molpcba` features."""
        nodes = slice(self.node_starts[index], self.node_starts[index + 1])
        bonds = slice(self.bond_starts[index], self.bond_starts[index + 1])
        labels, known = split_labels(self.labels[index])
        return {
            "num_nodes": np.array([self.num_nodes[index]], np.int64),
            "num_edges": np.array([self.num_bonds[index]], np.int64),
            "node_feat": self.node_features[nodes].astype(np.float32),
            "edge_feat": self.bond_features[bonds].astype(np.float32),
            "edge_index": self.bonds[bonds].astype(np.int64),
            "labels": np.where(known, labels, np.nan).astype(np.float32),
        }

    def examples(self) -> Iterator[dict[str, NDArray[Any]]]:
        """All graphs in order, see `example`."""
        return (self.example(index) for index in range(len(self)))

    def take(self, indices: NDArray[np.integer[Any]]) -> PackedGraphs:
        """The graphs `indices`, in that order, as a split of their own (copies)."""
        nodes = ranges(self.node_starts[indices], self.num_nodes[indices])
        bonds = ranges(self.bond_starts[indices], self.num_bonds[indices])
        return PackedGraphs(
            node_features=self.node_features.take(nodes, axis=0),
            bond_features=self.bond_features.take(bonds, axis=0),
            bonds=self.bonds.take(bonds, axis=0),
            num_nodes=self.num_nodes[indices],
            num_bonds=self.num_bonds[indices],
            labels=self.labels[indices],
        )


def compact(column: NDArray[Any]) -> NDArray[Any]:
    """The column in the first of uint8, uint16, int32, float32 that keeps every value."""
    for dtype in (np.uint8, np.uint16, np.int32):
        info = np.iinfo(dtype)
        if column.size == 0 or (
            column.min() >= info.min
            and column.max() <= info.max
            and (column.dtype.kind in "iu" or np.array_equal(column, np.trunc(column)))
        ):
            return column.astype(dtype)
    return column.astype(np.float32)


def compact_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels 0, 1 and NaN as int8 0, 1 and `MISSING_LABEL`; any other labels stay float32."""
    known = ~np.isnan(labels)
    if np.isin(labels[known], (0, 1)).all():
        return np.where(known, labels, MISSING_LABEL).astype(np.int8)
    return labels.astype(np.float32)


def split_labels(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Stored labels as (values with 0 where unknown, in the stored type; which ones are known)."""
    if labels.dtype.kind == "i":
        known = labels != MISSING_LABEL
        return labels * known, known
    return np.nan_to_num(labels, nan=0.0), ~np.isnan(labels)


def ranges(starts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Concatenation of `arange(start, start + length)` for every pair, without a loop."""
    lengths = lengths.astype(np.int64)
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + lengths, lengths) + np.arange(total)


def starts_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Running sums from 0: where every item starts, and the end; int64 [items + 1]."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts
