"""Sizes of the CIFAR-10 development workload's ResNet; its modules are those of ImageNet's."""

from __future__ import annotations

from algoperf_ref.workloads.imagenet.resnet_sizes import ResNetSizes, activation_name
from spec.workloads import WorkloadSpec


class CifarSizes:
    """Reads the sizes from a workload's row; beside it the twins need nothing of their own.

    On images of 32 x 32 pixels, the mean over all pixels is the official average over 4 x 4.
    """

    @staticmethod
    def of(spec: WorkloadSpec) -> ResNetSizes:
        """Reads the sizes of a workload; where its row does not say, ResNet-18's.

        Source: Workload facts (development workloads).

        Raises:
          ValueError: both ``use_silu`` and ``use_gelu`` are set.
        """
        config = spec.model_config
        return ResNetSizes(
            stage_sizes=tuple(config.get("stage_sizes", (2, 2, 2, 2))),
            num_filters=config.get("num_filters", 64),
            num_classes=config.get("num_classes", 10),
            activation=activation_name(
                config.get("use_silu", False), config.get("use_gelu", False)
            ),
            bn_init_scale=config.get("bn_init_scale", 0.0),
            is_bottleneck=False,
            has_small_stem=True,
        )
