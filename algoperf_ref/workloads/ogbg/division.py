"""Which part of a global batch of graphs a process gets; the batch is the same on any devices.

The graphs of a batch are chosen for all devices at once, so that a run computes the same numbers
on one device as on many. (The benchmark's own pipeline fills each device's share by itself, and
trains on other batches with every number of devices.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.graphs import GraphBatch, PackedGraphs, ShardLimits, assemble
from algoperf_ref.frameworks.base import Backend
from spec.data_order import shard_of

# How finely the space of a share that is fuller than usual grows: few shapes, little padding.
_GROWTH = 8


@dataclass(frozen=True)
class Division:
    """How a global batch is divided.

    Attributes:
      num_devices: of all processes; the rows of a global batch are a multiple of it.
      num_processes: number of processes.
      process: number of the process that asks.
      is_global: True: one graph of all graphs, whose rows are divided (JAX). False: every process
        gets whole graphs (PyTorch).
    """

    num_devices: int = 1
    num_processes: int = 1
    process: int = 0
    is_global: bool = True

    @classmethod
    def of(cls, backend: Backend) -> Division:
        """Returns the division among the devices of a run."""
        return cls(
            backend.num_devices,
            backend.process_count,
            backend.process_index,
            backend.batches_are_global,
        )

    def assemble(
        self, packed: PackedGraphs, graphs: NDArray[np.integer], limits: ShardLimits
    ) -> GraphBatch:
        """Builds this process's part of a batch.

        Args:
          packed: the split.
          graphs: graphs of the global batch, in order; within the limits.
          limits: what the global batch holds.

        Returns:
          A batch as :func:`algoperf_ref.data.graphs.assemble` makes them; the shapes are the same
          for all batches, except that a share of many large graphs has more nodes and edges.
        """
        return (
            self._rows(packed, graphs, limits)
            if self.is_global
            else self._share(packed, graphs, limits)
        )

    def _rows(
        self, packed: PackedGraphs, graphs: NDArray[np.integer], limits: ShardLimits
    ) -> GraphBatch:
        def up(rows: int) -> int:
            return -(-rows // self.num_devices) * self.num_devices

        # The padding graph takes one node row and one graph row.
        wide = ShardLimits(up(limits.nodes + 1) - 1, up(limits.edges), up(limits.graphs + 1) - 1)
        batch = assemble(packed, [graphs], wide)
        if self.num_processes == 1:
            return batch

        def part(rows: NDArray[np.generic]) -> NDArray[np.generic]:
            mine = shard_of(len(rows), self.process, self.num_processes)
            return rows[mine.start : mine.stop]

        inputs = batch["inputs"]
        return {
            "inputs": inputs._replace(
                **{
                    name: part(rows)
                    for name, rows in inputs._asdict().items()
                    if name != "globals"  # nothing in it
                }
            ),
            "targets": part(batch["targets"]),
            "weights": part(batch["weights"]),
        }

    def _share(
        self, packed: PackedGraphs, graphs: NDArray[np.integer], limits: ShardLimits
    ) -> GraphBatch:
        if self.num_processes == 1:
            return assemble(packed, [graphs], limits)
        slots = shard_of(limits.graphs, self.process, self.num_processes)
        mine = graphs[slots.start : slots.stop]
        sizes = packed.sizes()
        usual = ShardLimits.of_batch(limits.graphs, self.num_processes)
        roomy = ShardLimits(
            _room(int(sizes.nodes[mine].sum()), usual.nodes),
            _room(int(sizes.edges[mine].sum()), usual.edges),
            usual.graphs,
        )
        return assemble(packed, [mine], roomy)


def _room(needed: int, usual: int) -> int:
    """Returns the usual room, or the next larger one that suffices."""
    step = max(1, usual // _GROWTH)
    return usual + step * max(0, -(-(needed - usual) // step))
