"""The image classification workloads and their variants, for both frameworks and both tiers."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any, ClassVar

from algoperf_ref.data.batches import Make
from algoperf_ref.data.imagenet import split as images
from algoperf_ref.data.imagenet.cache import ImageCache
from algoperf_ref.workloads.base import Path
from algoperf_ref.workloads.classification import ClassificationWorkload
from algoperf_ref.workloads.imagenet.resnet_sizes import ResNetSizes
from algoperf_ref.workloads.imagenet.vit_sizes import VitSizes
from spec.tiers import Tier

_AUGMENTATION = ("randaugment_layers",)
"""What a row may say about the augmentation, apart from the range of areas."""


class ImagenetWorkload(ClassificationWorkload):
    """Photographs; what the two models have in common. With mixup, targets are probabilities.

    Source: Workload facts (imagenet_resnet).

    Attributes:
      augmentation: of training images in the full tier.
    """

    augmentation: ClassVar[images.Augmentation]

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
            augmentation=self._augmentation,
            cache=self._decoded,
        )

    def _make_images(self, examples: Any, data_seed: int, global_batch_size: int) -> Make:
        # The rows of a large batch are shared by all cores; batches are then made one at a time.
        threads = 0 if self.tier is Tier.MINI else os.cpu_count() or 1
        make: Make = examples.make(data_seed, global_batch_size=global_batch_size, threads=threads)
        return make

    @property
    def _augmentation(self) -> images.Augmentation:
        """The augmentation with what the workload's row says of it."""
        config = self.spec.model_config
        own = {name: config[name] for name in _AUGMENTATION if name in config}
        return dataclasses.replace(
            self.augmentation, min_area=config["scale_ratio_range"][0], **own
        )

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        return (self._image_size, self._image_size, 3)

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


class ImagenetVitWorkload(ImagenetWorkload):
    """ViT-S/16 and its variants. Source: Workload facts (imagenet_vit).

    Training targets are probabilities, since mixup mixes the labels of two images.
    """

    twins = "algoperf_ref.workloads.imagenet.vit_{}"
    sizes = VitSizes
    augmentation = images.VIT
    torch_compile_model = False
