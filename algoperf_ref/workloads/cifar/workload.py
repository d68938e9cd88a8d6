"""The development workload cifar, for both frameworks; there is a full tier only."""

from __future__ import annotations

from algoperf_ref.data.cifar import split as images
from algoperf_ref.workloads.base import Path
from algoperf_ref.workloads.cifar.sizes import CifarSizes
from algoperf_ref.workloads.classification import ClassificationWorkload


class CifarWorkload(ClassificationWorkload):
    """Small photographs and ResNet-18. Source: Workload facts (dev_workloads).

    The network is that of ``imagenet_resnet`` with other blocks and another first layer. The
    official JAX workload gives the parameters as the model state and cannot be evaluated; here the
    state is the running statistics.
    """

    twins = "algoperf_ref.workloads.imagenet.resnet_{}"
    sizes = CifarSizes

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        size: int = self.spec.model_config["crop_size"]
        return (size, size, 3)

    def _open_split(self, data_dir: Path, split: str, expected_examples: int) -> images.CifarSplit:
        """Reads the images of a split; see ``BaseWorkload``."""
        return images.open_split(
            data_dir, self.tier.value, split, expected_examples=expected_examples
        )
