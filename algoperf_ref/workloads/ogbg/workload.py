"""The graph workload and its variants, for both frameworks and both tiers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from algoperf_ref.data.graphs import GraphBatch, PackedGraphs, ShardLimits
from algoperf_ref.frameworks.base import Key
from algoperf_ref.workloads.base import BaseWorkload, Path
from algoperf_ref.workloads.ogbg import data, metrics
from algoperf_ref.workloads.ogbg.division import Division
from algoperf_ref.workloads.ogbg.sizes import GraphNetworkSizes
from algoperf_ref.workloads.ogbg.synthetic import random_graphs
from spec.data_order import eval_train_order


class OgbgWorkload(BaseWorkload):
    """Molecules with 128 binary labels each, most of them unknown; a graph network.

    A batch holds up to ``global_batch_size`` graphs, padded to fixed numbers of nodes, edges and
    graphs; its ``weights`` mark the labelled tasks of real graphs. Source: Workload facts (ogbg).
    """

    twins = "algoperf_ref.workloads.ogbg.gnn_{}"
    sizes = GraphNetworkSizes
    has_rows = False  # one graph of all graphs
    torch_compile_model = False
    torch_compile_loss = True

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Sigmoid cross-entropy of the labelled tasks; ``per_example`` is ``[graphs, 128]``.

        ``n_valid_examples`` counts valid pairs of graph and task. The mask is mandatory.

        Raises:
          ValueError: no mask, or shapes that differ.
        """
        result: dict[str, Any] = self._losses.masked_sigmoid_cross_entropy(
            label_batch, logits_batch, mask_batch, label_smoothing
        )
        return result

    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Returns labels, logits and weights of a batch."""
        logits = self._eval_logits(params, batch, model_state, rng)
        return {"labels": batch["targets"], "logits": logits, "weights": batch["weights"]}

    def synthetic_batch(self, global_batch_size: int, seed: int = 0) -> GraphBatch:
        """Random graphs of a few nodes; half of the labels are unknown."""
        graphs = random_graphs(global_batch_size, self._sizes.num_outputs, seed)
        limits = ShardLimits.of_batch(global_batch_size, 1)
        return Division.of(self.backend).assemble(graphs, np.arange(len(graphs)), limits)

    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        collected = list(outputs)
        return metrics.evaluation_metrics(
            **{name: np.concatenate([batch[name] for batch in collected]) for name in collected[0]}
        )

    def _numpy_batches(
        self, data_seed: int, split: str, data_dir: Path, global_batch_size: int, start_step: int
    ) -> Iterator[Any]:
        packed = self._split(data_dir, split)
        division = Division.of(self.backend)
        if split == "train":
            return data.training_batches(
                packed,
                data_seed=data_seed,
                global_batch_size=global_batch_size,
                division=division,
                start_step=start_step,
            )
        order = None
        if split == "eval_train":
            order = eval_train_order(len(packed), self.num_eval_train_examples)
        return data.evaluation_batches(
            packed, global_batch_size=global_batch_size, division=division, order=order
        )

    def _open_split(self, data_dir: Path, split: str, expected_examples: int) -> PackedGraphs:
        """Maps the columns of a split into memory; see ``BaseWorkload``."""
        return data.load_split(
            data_dir, self.tier.value, split, expected_examples=expected_examples
        )
