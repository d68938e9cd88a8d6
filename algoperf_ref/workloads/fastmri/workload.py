"""The magnetic resonance workload and its variants, for both frameworks and both tiers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from algoperf_ref.data.fastmri.cache import SliceCache, default_cache_bytes
from algoperf_ref.data.fastmri.split import FastmriSplit, open_split
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.base import Path
from algoperf_ref.workloads.fastmri.sizes import UnetSizes
from algoperf_ref.workloads.indexed import IndexedWorkload
from algoperf_ref.workloads.means import weighted_means

IMAGE_SIZE = {"full": 320, "mini": 64}
"""Height and width of the images by tier."""


class FastmriWorkload(IndexedWorkload):
    """Images of knees from a quarter of the measured frequencies; a U-Net.

    A batch has ``inputs`` and ``targets`` ``[rows, height, width]`` in units of each slice's
    ``std`` around its ``mean``, which are ``[rows]`` like ``volume_max``; evaluation batches have
    ``weights`` ``[rows]`` too. Source: Workload facts (fastmri).
    """

    twins = "algoperf_ref.workloads.fastmri.unet_{}"
    sizes = UnetSizes
    torch_compile_loss = True

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Mean absolute error of each slice, ``[rows]``. There is no label smoothing.

        Raises:
          ValueError: shapes that differ.
        """
        result: dict[str, Any] = self._losses.mean_absolute_error(
            label_batch, logits_batch, mask_batch, label_smoothing
        )
        return result

    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Returns the structural similarities, losses and weights of a batch."""
        images = self._eval_logits(params, batch, model_state, rng)
        similarity = load_twin("algoperf_ref.workloads.fastmri.ssim_{}", self.framework)
        scale = (batch["mean"], batch["std"], batch["volume_max"])
        return {
            "ssim": similarity.ssim(images, batch["targets"], *scale),
            "loss": self.loss_fn(batch["targets"], images)["per_example"],
            "weights": batch["weights"],
        }

    def synthetic_batch(self, global_batch_size: int, seed: int = 0) -> dict[str, Any]:
        """Noise around a bright disc."""
        random = np.random.RandomState(seed)
        size = IMAGE_SIZE[self.tier.value]
        place = np.linspace(-1.0, 1.0, size)
        disc = (place[:, None] ** 2 + place[None, :] ** 2 < 0.5) * 2.0 - 0.8

        def images() -> np.ndarray:
            noise = random.randn(global_batch_size, size, size)
            return (disc + 0.2 * noise).astype(np.float32)

        return {
            "inputs": images(),
            "targets": images(),
            "mean": random.uniform(0.1, 0.3, global_batch_size).astype(np.float32),
            "std": random.uniform(0.1, 0.3, global_batch_size).astype(np.float32),
            "volume_max": random.uniform(1.0, 2.0, global_batch_size).astype(np.float32),
            "weights": np.ones(global_batch_size, np.float32),
        }

    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        return weighted_means(outputs)

    def _open_split(self, data_dir: Path, split: str, expected_examples: int) -> FastmriSplit:
        """Reads the index of a split; see ``BaseWorkload``."""
        return open_split(
            data_dir,
            self.tier.value,
            split,
            expected_examples=expected_examples,
            cache=self._finished,
        )

    @functools.cached_property
    def _finished(self) -> SliceCache:
        """Finished slices of all splits: a slice is the same in every epoch and evaluation."""
        # As if all processes were on this host, so that they share its memory.
        return SliceCache(default_cache_bytes(self.backend.process_count))
