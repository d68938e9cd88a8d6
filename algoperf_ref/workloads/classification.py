"""Workloads that tell what an image shows: loss, metrics and layout of the images."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Make
from algoperf_ref.frameworks.base import Key
from algoperf_ref.workloads.indexed import IndexedWorkload
from algoperf_ref.workloads.means import weighted_means


class ClassificationWorkload(IndexedWorkload):
    """Images of one thing each.

    A batch has ``inputs``, normalised, ``[rows, height, width, channels]`` in JAX and ``[rows,
    channels, height, width]`` in PyTorch, and ``targets``: labels ``[rows]`` or probabilities
    ``[rows, classes]``; evaluation batches have ``weights`` ``[rows]`` too. Source: Workload facts
    (imagenet_resnet, dev_workloads).
    """

    @property
    @abc.abstractmethod
    def _image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""

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
        classes = self._sizes.num_classes
        labels = random.randint(0, classes, global_batch_size).astype(np.int32)
        noise = random.randn(global_batch_size, *self._image_shape)
        inputs = noise + (labels / classes - 0.5)[:, None, None, None]
        return {
            "inputs": self._layout(inputs.astype(np.float32)),
            "targets": labels,
            "weights": np.ones(global_batch_size, np.float32),
        }

    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        return weighted_means(outputs)

    def _make(self, examples: Any, data_seed: int, global_batch_size: int) -> Make:
        make = self._make_images(examples, data_seed, global_batch_size)

        def in_layout(numbers: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
            batch = make(numbers, positions)
            return batch | {"inputs": self._layout(batch["inputs"])}

        return in_layout

    def _make_images(self, examples: Any, data_seed: int, global_batch_size: int) -> Make:
        """Returns what makes the rows of a batch, with the channels on the last axis."""
        return super()._make(examples, data_seed, global_batch_size)

    def _layout(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Returns images with the channels where the framework's models expect them."""
        if self.framework == "jax":
            return inputs
        return np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
