"""The image classification workloads and their variants, for both frameworks and both tiers."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Make
from algoperf_ref.data.imagenet import split as images
from algoperf_ref.data.imagenet.cache import ImageCache
from algoperf_ref.frameworks.base import Key
from algoperf_ref.workloads.base import Path
from algoperf_ref.workloads.imagenet.resnet_sizes import ResNetSizes
from algoperf_ref.workloads.indexed import IndexedWorkload
from algoperf_ref.workloads.means import weighted_means
from spec.tiers import Tier


class ImagenetWorkload(IndexedWorkload):
    """Photographs of one thing each; what the two models have in common.

    A batch has ``inputs``, normalised, ``[rows, height, width, 3]`` in JAX and ``[rows, 3, height,
    width]`` in PyTorch, and ``targets``: labels ``[rows]`` or, with mixup, probabilities ``[rows,
    classes]``; evaluation batches have ``weights`` ``[rows]`` too. Source: Workload facts
    (imagenet_resnet).

    Attributes:
      augmentation: of training images in the full tier.
    """

    augmentation: ClassVar[images.Augmentation]

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Softmax cross-entropy; ``per_example`` is ``[rows]``.

        Raises:
          ValueError: shapes that do not fit.
        """
        result: dict[str, Any] = self._losses.softmax_cross_entropy(
            label_batch, logits_batch, mask_batch, label_smoothing
        )
        return result

    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Returns hits, losses and weights of a batch."""
        logits = self._eval_logits(params, batch, model_state, rng)
        return {
            "accuracy": self._losses.accuracy(batch["targets"], logits),
            "loss": self.loss_fn(batch["targets"], logits)["per_example"],
            "weights": batch["weights"],
        }

    def synthetic_batch(self, global_batch_size: int, seed: int = 0) -> dict[str, Any]:
        """Noise, brighter the higher the label."""
        random = np.random.RandomState(seed)
        classes = self.spec.model_config["num_classes"]
        labels = random.randint(0, classes, global_batch_size).astype(np.int32)
        size = self._image_size
        noise = random.randn(global_batch_size, size, size, 3)
        inputs = noise + (labels / classes - 0.5)[:, None, None, None]
        return {
            "inputs": self._layout(inputs.astype(np.float32)),
            "targets": labels,
            "weights": np.ones(global_batch_size, np.float32),
        }

    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        return weighted_means(outputs)

    def _open_split(
        self, data_dir: Path, split: str, expected_examples: int
    ) -> images.ImagenetSplit:
        """Reads the list of the images of a split; see ``BaseWorkload``."""
        return images.open_split(
            data_dir,
            self.tier.value,
            split,
            expected_examples=expected_examples,
            image_size=self._image_size,
            augmentation=dataclasses.replace(
                self.augmentation, min_area=self.spec.model_config["scale_ratio_range"][0]
            ),
            cache=self._decoded,
        )

    def _make(self, examples: Any, data_seed: int, global_batch_size: int) -> Make:
        # The rows of a large batch are shared by all cores; batches are then made one at a time.
        threads = 0 if self.tier is Tier.MINI else os.cpu_count() or 1
        make = examples.make(data_seed, global_batch_size=global_batch_size, threads=threads)

        def in_layout(numbers: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
            batch: Batch = make(numbers, positions)
            return batch | {"inputs": self._layout(batch["inputs"])}

        return in_layout

    def _layout(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Returns images with the channels where the framework's models expect them."""
        if self.framework == "jax":
            return inputs
        return np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))

    @property
    def _image_size(self) -> int:
        size: int = self.spec.model_config["center_crop_size"]
        return size

    @property
    def loader_threads(self) -> int:
        """Batches that are made at a time; one of the full tier takes 600 MB."""
        return 2 if self.tier is Tier.MINI else 1

    @functools.cached_property
    def _decoded(self) -> ImageCache | None:
        """Decoded images of all splits, where they fit into the memory."""
        return ImageCache() if self.tier is Tier.MINI else None


class ImagenetResNetWorkload(ImagenetWorkload):
    """ResNet-50 and its variants. Source: Workload facts (imagenet_resnet)."""

    twins = "algoperf_ref.workloads.imagenet.resnet_{}"
    sizes = ResNetSizes
    augmentation = images.RESNET
