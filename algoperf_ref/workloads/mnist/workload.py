"""The development workload mnist, for both frameworks and both tiers."""

from __future__ import annotations

from algoperf_ref.data.digits import SIDE
from algoperf_ref.data.mnist import split as digits
from algoperf_ref.workloads.base import Path
from algoperf_ref.workloads.classification import ClassificationWorkload
from algoperf_ref.workloads.mnist.sizes import PerceptronSizes


class MnistWorkload(ClassificationWorkload):
    """Handwritten digits and a perceptron. Source: Workload facts (dev_workloads)."""

    twins = "algoperf_ref.workloads.mnist.perceptron_{}"
    sizes = PerceptronSizes

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        return (SIDE, SIDE, 1)

    def _open_split(self, data_dir: Path, split: str, expected_examples: int) -> digits.MnistSplit:
        """Reads the digits of a split; see ``BaseWorkload``."""
        return digits.open_split(
            data_dir, self.tier.value, split, expected_examples=expected_examples
        )
