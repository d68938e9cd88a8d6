"""The graph workload and its variants, for both frameworks and both tiers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from algoperf_ref.data.graphs import PackedGraphs
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.model import Model
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.base import BaseWorkload, Path
from algoperf_ref.workloads.ogbg import data, metrics
from algoperf_ref.workloads.ogbg.division import Division
from algoperf_ref.workloads.ogbg.sizes import GraphNetworkSizes
from spec.data_order import eval_train_order
from spec.submission import ForwardPassMode


class OgbgWorkload(BaseWorkload):
    """Molecules with 128 binary labels each, most of them unknown; a graph network.

    A batch holds up to ``global_batch_size`` graphs, padded to fixed numbers of nodes, edges and
    graphs; its ``weights`` mark the labelled tasks of real graphs. Source: Workload facts (ogbg).
    """

    torch_compile_model = False
    torch_compile_loss = True

    def _build_model(self) -> Model:
        self._sizes = GraphNetworkSizes.of(self.spec)
        self._twin = load_twin("algoperf_ref.workloads.ogbg.gnn_{}", self.framework)
        self._losses = load_twin("algoperf_ref.frameworks.{}_losses", self.framework)
        self._packed: dict[tuple[str, str], PackedGraphs] = {}
        model: Model = self._twin.build(self._sizes, self.backend)
        return model

    def model_fn(
        self,
        params: Any,
        augmented_and_preprocessed_input_batch: Any,
        model_state: Any,
        mode: ForwardPassMode,
        rng: Key,
        update_batch_norm: bool,
        dropout_rate: Any = None,
    ) -> tuple[Any, None]:
        """Predicts the tasks of every graph: logits ``[graphs, 128]``; see ``BaseWorkload``.

        Raises:
          ValueError: a model state is given; this model has none.
        """
        del update_batch_norm  # There are no running statistics.
        if model_state is not None:
            raise ValueError(f"{self.name} has no model state: model_state must be None")
        logits = self._model.forward(
            params,
            augmented_and_preprocessed_input_batch["inputs"],
            training=mode == ForwardPassMode.TRAIN,
            key=rng,
            dropout_rate=self._dropout_rate(dropout_rate),
        )
        return logits, None

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

    def is_output_params(self, param_key: str) -> bool:
        """Tells whether a key belongs to the decoder."""
        return param_key in self._twin.output_parameters(self._sizes)

    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Returns labels, logits and weights of a batch."""
        logits, _ = self.model_fn(params, batch, model_state, ForwardPassMode.EVAL, rng, False)
        return {"labels": batch["targets"], "logits": logits, "weights": batch["weights"]}

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

    def check_data(self, data_dir: Path) -> None:
        """Opens the three splits; see ``BaseWorkload``."""
        for split in ("train", "validation", "test"):
            self._split(data_dir, split)

    def _split(self, data_dir: Path, split: str) -> PackedGraphs:
        """Returns a split's columns; they are opened once, and are memory-mapped."""
        key = (str(data_dir), split)
        if key not in self._packed:
            sizes = {
                "train": self.num_train_examples,
                "eval_train": self.num_train_examples,
                "validation": self.num_validation_examples,
                "test": self.num_test_examples,
            }
            if split not in sizes:
                raise ValueError(f"unknown split {split!r}: choose one of {', '.join(sizes)}")
            self._packed[key] = data.load_split(
                data_dir, self.tier.value, split, expected_examples=sizes[split]
            )
        return self._packed[key]
