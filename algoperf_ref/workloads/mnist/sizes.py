"""Sizes of the perceptron, read from a workload's row of the specification."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spec.workloads import WorkloadSpec


@dataclass(frozen=True)
class PerceptronSizes:
    """What tells one perceptron from another. Source: Workload facts (dev_workloads), mnist.

    Attributes:
      num_pixels: numbers of an image, over all axes.
      hidden_dim: width of the hidden layer.
      num_classes: width of the outputs.
    """

    num_pixels: int = 784
    hidden_dim: int = 128
    num_classes: int = 10

    @classmethod
    def of(cls, spec: WorkloadSpec) -> PerceptronSizes:
        """Reads the sizes of a workload; what its row does not say is the official size."""
        names = ("num_pixels", "hidden_dim", "num_classes")
        return cls(**{name: spec.model_config[name] for name in names if name in spec.model_config})

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Refuses inputs of another size.

        Args:
          shape: of a batch of images; its first axis is the batch.

        Raises:
          ValueError: images that do not have ``num_pixels`` numbers.
        """
        if len(shape) < 2 or math.prod(shape[1:]) != self.num_pixels:
            raise ValueError(
                f"inputs must be a batch of images of {self.num_pixels} numbers, got shape {shape}"
            )
