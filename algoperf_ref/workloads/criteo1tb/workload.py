"""The click prediction workload and its variants, for both frameworks and both tiers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from algoperf_ref.data.criteo1tb.streams import CriteoSplit, open_split
from algoperf_ref.frameworks.base import Key
from algoperf_ref.workloads.base import BaseWorkload, Path
from algoperf_ref.workloads.criteo1tb.sizes import NUM_CATEGORICAL_FEATURES, DlrmSizes
from algoperf_ref.workloads.means import weighted_means


class CriteoWorkload(BaseWorkload):
    """Clicks on advertisements: 13 numbers and 26 categories each; an embedding model.

    A batch has ``inputs`` ``[rows, 39]``, ``targets`` ``[rows]`` and ``weights`` ``[rows]``, which
    are 0 for padding and for damaged lines. Source: Workload facts (criteo1tb).
    """

    twins = "algoperf_ref.workloads.criteo1tb.dlrm_{}"
    sizes = DlrmSizes
    torch_compile_model = False

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Sigmoid cross-entropy; ``per_example`` is ``[rows]``. There is no label smoothing.

        Raises:
          ValueError: shapes that differ.
        """
        result: dict[str, Any] = self._losses.sigmoid_cross_entropy(
            label_batch, logits_batch, mask_batch, label_smoothing
        )
        return result

    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Returns the losses and weights of a batch."""
        logits = self._eval_logits(params, batch, model_state, rng)
        loss = self.loss_fn(batch["targets"], logits)["per_example"]
        return {"loss": loss, "weights": batch["weights"]}

    def synthetic_batch(self, global_batch_size: int, seed: int = 0) -> dict[str, Any]:
        """Random numbers, and categories that are drawn from the whole table."""
        random = np.random.RandomState(seed)
        rows, sizes = global_batch_size, self._sizes
        numbers = np.log1p(random.poisson(3.0, (rows, sizes.num_dense_features)))
        categories = random.randint(0, sizes.vocab_size, (rows, NUM_CATEGORICAL_FEATURES))
        return {
            "inputs": np.concatenate([numbers, categories], axis=1).astype(np.float32),
            "targets": (random.rand(rows) < 0.25).astype(np.float32),
            "weights": np.ones(rows, np.float32),
        }

    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        return weighted_means(outputs)

    def _open_split(self, data_dir: Path, split: str, expected_examples: int) -> CriteoSplit:
        """Reads the index of a split; see ``BaseWorkload``."""
        return open_split(data_dir, self.tier.value, split, expected_examples=expected_examples)

    def _numpy_batches(
        self, data_seed: int, split: str, data_dir: Path, global_batch_size: int, start_step: int
    ) -> Iterator[Any]:
        lines: CriteoSplit = self._split(data_dir, split)
        if split == "train":
            return lines.training_batches(
                data_seed=data_seed,
                global_batch_size=global_batch_size,
                part=self._part(),
                start_step=start_step,
            )
        return lines.evaluation_batches(
            global_batch_size=global_batch_size,
            part=self._part(),
            num_examples=self.num_eval_train_examples if split == "eval_train" else None,
        )
