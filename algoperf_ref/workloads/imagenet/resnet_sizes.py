"""Sizes of a ResNet, read from a workload's row of the specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from spec.workloads import WorkloadSpec

# The same in all variants. Source: Workload facts (imagenet_resnet), 2.
IMAGE_CHANNELS = 3
STEM_POOL_SIZE = 3
STEM_POOL_STRIDE = 2
STEM_POOL_PADDING = 1
BOTTLENECK_EXPANSION = 4
OUTPUT_KERNEL_STDDEV = 0.01


class Convolution(NamedTuple):
    """A convolution without bias; where nothing else is said, padded as JAX's SAME.

    Attributes:
      features: number of output channels.
      size: height and width of the kernel.
      stride: step in both directions, in pixels.
    """

    features: int
    size: int
    stride: int


class Block(NamedTuple):
    """A residual block.

    Attributes:
      stage: number of its stage, from 0.
      in_channels, out_channels: widths of its input and output.
      convolutions: those of the residual branch, in order.
    """

    stage: int
    in_channels: int
    out_channels: int
    convolutions: tuple[Convolution, ...]

    @property
    def projection(self) -> Convolution | None:
        """Convolution of the shortcut; None where the input fits as it is."""
        stride = max(convolution.stride for convolution in self.convolutions)
        if stride == 1 and self.in_channels == self.out_channels:
            return None
        return Convolution(self.out_channels, 1, stride)


@dataclass(frozen=True)
class ResNetSizes:
    """What tells one ResNet from another.

    Attributes:
      stage_sizes: number of blocks of each stage; each stage but the first halves the image.
      num_filters: channels of the stem and of the first stage; each stage doubles them.
      num_classes: number of outputs.
      activation: ``relu``, ``silu`` or ``gelu`` (the tanh approximation in both frameworks).
      bn_init_scale: initial scale of the last batch norm of every residual branch.
      is_bottleneck: blocks of 1x1, 3x3 (with the stride) and 1x1 convolutions with four times the
        channels at the end, instead of two 3x3 convolutions.
      has_small_stem: a 3x3 convolution, instead of a 7x7 one of stride 2 and max-pooling.
    """

    stage_sizes: tuple[int, ...]
    num_filters: int
    num_classes: int
    activation: str = "relu"
    bn_init_scale: float = 0.0
    is_bottleneck: bool = True
    has_small_stem: bool = False

    @classmethod
    def of(cls, spec: WorkloadSpec) -> ResNetSizes:
        """Reads the sizes of a workload; without ``stage_sizes`` and ``num_filters``, ResNet-50's.

        Raises:
          ValueError: both ``use_silu`` and ``use_gelu`` are set.
        """
        config = spec.model_config
        return cls(
            stage_sizes=tuple(config.get("stage_sizes", (3, 4, 6, 3))),
            num_filters=config.get("num_filters", 64),
            num_classes=config["num_classes"],
            activation=activation_name(config["use_silu"], config["use_gelu"]),
            bn_init_scale=config["bn_init_scale"],
        )

    @property
    def stem(self) -> Convolution:
        """The first convolution; it is padded by half of its size on all sides."""
        return Convolution(self.num_filters, *((3, 1) if self.has_small_stem else (7, 2)))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All residual blocks, in order."""
        blocks: list[Block] = []
        channels = self.num_filters
        for stage, count in enumerate(self.stage_sizes):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                convolutions = self._convolutions(self.num_filters * 2**stage, stride)
                block = Block(stage, channels, convolutions[-1].features, convolutions)
                blocks.append(block)
                channels = block.out_channels
        return tuple(blocks)

    @property
    def out_channels(self) -> int:
        """Width of what the output layer gets."""
        return self.blocks[-1].out_channels

    def check_images(
        self, batch: int, height: int, width: int, channels: int, *, training: bool
    ) -> None:
        """Refuses what the network cannot make something of.

        Raises:
          ValueError: images that have not three channels, or a training batch of which the last
            stage has one value per channel: normalised, it would be 0 whatever the image.
        """
        if channels != IMAGE_CHANNELS:
            raise ValueError(f"images must have {IMAGE_CHANNELS} channels, got {channels}")
        halvings = len(self.stage_sizes) - 1 + (0 if self.has_small_stem else 2)
        rows, columns = -(-height // 2**halvings), -(-width // 2**halvings)
        if training and batch * rows * columns < 2:
            raise ValueError(
                f"a training batch of one image of {height} x {width} pixels is too small: after "
                f"{halvings} halvings batch norm has one value per channel left"
            )

    def _convolutions(self, filters: int, stride: int) -> tuple[Convolution, ...]:
        if not self.is_bottleneck:
            return Convolution(filters, 3, stride), Convolution(filters, 3, 1)
        return (
            Convolution(filters, 1, 1),
            Convolution(filters, 3, stride),
            Convolution(BOTTLENECK_EXPANSION * filters, 1, 1),
        )


def activation_name(use_silu: bool, use_gelu: bool) -> str:
    """Returns the name of the activation function.

    Raises:
      ValueError: both are set.
    """
    if use_silu and use_gelu:
        raise ValueError("use_silu and use_gelu exclude each other")
    if use_silu:
        return "silu"
    return "gelu" if use_gelu else "relu"
