"""Random graphs in the form of the molecules, for checks that need no data."""

from __future__ import annotations

import numpy as np

from algoperf_ref.data.packed import PackedGraphs
from algoperf_ref.workloads.ogbg.sizes import EDGE_FEATURES, NODE_FEATURES

_MOST_NODES = 12


def random_graphs(count: int, num_tasks: int = 128, seed: int = 0) -> PackedGraphs:
    """Makes random graphs of 3 to 12 nodes; half of their labels are unknown.

    Args:
      count: number of graphs.
      num_tasks: number of labels of each graph.
      seed: not negative.
    """
    random = np.random.RandomState(seed)
    num_nodes = random.randint(3, _MOST_NODES + 1, count)
    num_bonds = num_nodes + random.randint(-1, 3, count)
    ends = [random.randint(0, n, (b, 2)) for n, b in zip(num_nodes, num_bonds, strict=True)]
    labels = (random.rand(count, num_tasks) < 0.3).astype(np.float32)
    labels[random.rand(count, num_tasks) < 0.5] = np.nan
    return PackedGraphs.from_columns(
        node_features=random.randint(0, 9, (num_nodes.sum(), NODE_FEATURES)),
        bond_features=random.randint(0, 4, (num_bonds.sum(), EDGE_FEATURES)),
        bonds=np.concatenate(ends),
        num_nodes=num_nodes,
        num_bonds=num_bonds,
        labels=labels,
    )
