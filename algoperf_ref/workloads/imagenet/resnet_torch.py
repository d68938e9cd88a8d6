"""ResNets in PyTorch; twin of ``resnet_jax``. Source: Workload facts (imagenet_resnet), 2."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_conv_layers import Conv
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.frameworks.torch_norm_layers import BatchNorm
from algoperf_ref.workloads.imagenet.resnet_sizes import (
    IMAGE_CHANNELS,
    OUTPUT_KERNEL_STDDEV,
    STEM_POOL_PADDING,
    STEM_POOL_SIZE,
    STEM_POOL_STRIDE,
    Block,
    Convolution,
    ResNetSizes,
)


class ResidualBlock(nn.Module):
    """Convolutions and batch norms, added to the input or to a projection of it.

    Args:
      block: its convolutions.
      sizes: activation and initial scale.
    """

    def __init__(self, block: Block, sizes: ResNetSizes) -> None:
        super().__init__()
        self._activation = torch_layers.activation(sizes.activation)
        self._count = len(block.convolutions)
        channels = block.in_channels
        for number, convolution in enumerate(block.convolutions, 1):
            scale = sizes.bn_init_scale if number == self._count else 1.0
            self.add_module(f"conv{number}", _conv(channels, convolution))
            self.add_module(f"bn{number}", BatchNorm(convolution.features, scale))
            channels = convolution.features
        self.downsample: nn.Module | None = None
        if block.projection is not None:
            conv = _conv(block.in_channels, block.projection)
            norm = BatchNorm(block.projection.features)
            self.downsample = nn.Sequential(OrderedDict(conv=conv, bn=norm))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, in, height, width]`` to ``[batch, out, height', width']``."""
        shortcut = images if self.downsample is None else self.downsample(images)
        for number in range(1, self._count + 1):
            conv, norm = getattr(self, f"conv{number}"), getattr(self, f"bn{number}")
            images = norm(conv(images))
            if number < self._count:
                images = self._activation(images)
        return self._activation(shortcut + images)


class OutputLayer(torch_layers.Dense):
    """Affine map with a normal weight of small standard deviation, and zero bias."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see ``TypedLayer``."""
        nn.init.normal_(self.weight, std=OUTPUT_KERNEL_STDDEV, generator=generator)
        nn.init.zeros_(self.bias)


class ResNet(nn.Module):
    """Maps images to logits: stem, residual blocks, mean over all pixels, output layer.

    Args:
      sizes: depth, widths, activation, kind of blocks and stem.
    """

    def __init__(self, sizes: ResNetSizes) -> None:
        super().__init__()
        self._sizes = sizes
        self._activation = torch_layers.activation(sizes.activation)
        self.conv1 = _conv(IMAGE_CHANNELS, sizes.stem, padding=sizes.stem.size // 2)
        self.bn1 = BatchNorm(sizes.num_filters)
        self._stages = [f"layer{stage + 1}" for stage in range(len(sizes.stage_sizes))]
        for stage, name in enumerate(self._stages):
            blocks = [ResidualBlock(b, sizes) for b in sizes.blocks if b.stage == stage]
            self.add_module(name, nn.Sequential(*blocks))
        self.fc = OutputLayer(sizes.out_channels, sizes.num_classes)

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Returns float ``[batch, num_classes]``.

        Args:
          inputs: float ``[batch, 3, height, width]``; see ``ResNetSizes.check_images``.
          dropout_rate: not used: the network has no dropout.

        Raises:
          ValueError: images of another shape.
        """
        del dropout_rate
        if inputs.ndim != 4:
            raise ValueError(f"inputs must be [batch, 3, height, width], got {(*inputs.shape,)}")
        batch, channels, height, width = inputs.shape
        self._sizes.check_images(batch, height, width, channels, training=self.training)
        # Not channels-last, though a CPU is quicker with it: on few channels torch 2.13's
        # convolutions then write outside their memory.
        images = self._activation(self.bn1(self.conv1(inputs)))
        if not self._sizes.has_small_stem:
            images = F.max_pool2d(images, STEM_POOL_SIZE, STEM_POOL_STRIDE, STEM_POOL_PADDING)
        for name in self._stages:
            images = getattr(self, name)(images)
        logits: torch.Tensor = self.fc(images.mean((2, 3)))
        return logits


def build(sizes: ResNetSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: ResNet(sizes), backend)


def output_parameters(sizes: ResNetSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters."""
    return frozenset({"fc.weight", "fc.bias"})


def _conv(in_channels: int, convolution: Convolution, padding: int | None = None) -> Conv:
    features, size, stride = convolution
    return Conv(in_channels, features, size, use_bias=False, stride=stride, padding=padding)
