"""The U-Net in PyTorch; twin of ``unet_jax``. Source: Workload facts (fastmri), 2.

Images are contiguous ``[batch, channels, height, width]``: with channels last, a training step on a
CPU took 1.3 times as long.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks import torch_conv_layers as layers
from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.fastmri.sizes import (
    KERNEL_SIZE,
    LAYERS_PER_BLOCK,
    POOL_SIZE,
    UnetSizes,
)

# Official parameter names count the places of activation and dropout too, which own nothing.
_PLACES_PER_LAYER = 4


class ConvBlock(nn.Module):
    """Twice: convolution without bias, norm, activation, dropout of whole channels.

    Args:
      in_channels: number of input channels.
      out_channels: number of output channels.
      sizes: activation and norm.
    """

    def __init__(self, in_channels: int, out_channels: int, sizes: UnetSizes) -> None:
        super().__init__()
        self._activation = torch_layers.activation(sizes.activation)
        self._use_layer_norm = sizes.use_layer_norm
        self.conv_layers = nn.ModuleDict()
        for number in range(LAYERS_PER_BLOCK):
            place = _PLACES_PER_LAYER * number
            conv = layers.Conv(in_channels, out_channels, KERNEL_SIZE, use_bias=False)
            self.conv_layers[str(place)] = conv
            if sizes.use_layer_norm:
                self.conv_layers[str(place + 1)] = layers.ImageLayerNorm(out_channels)
            in_channels = out_channels

    def forward(self, images: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[batch, in, height, width]`` to ``[batch, out, height, width]``."""
        for number in range(LAYERS_PER_BLOCK):
            place = _PLACES_PER_LAYER * number
            images = self.conv_layers[str(place)](images)
            if self._use_layer_norm:
                images = self.conv_layers[str(place + 1)](images)
            else:
                images = layers.instance_norm(images)
            images = self._activation(images)
            images = layers.channel_dropout(images, dropout_rate, self.training)
        return images


class TransposeConvBlock(nn.Module):
    """Doubles height and width: transposed convolution, instance norm, activation.

    Args:
      in_channels: number of input channels.
      out_channels: number of output channels.
      sizes: activation.
    """

    def __init__(self, in_channels: int, out_channels: int, sizes: UnetSizes) -> None:
        super().__init__()
        self._activation = torch_layers.activation(sizes.activation)
        self.layers = nn.ModuleList([layers.ConvTranspose(in_channels, out_channels, POOL_SIZE)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, in, height, width]`` to ``[batch, out, 2 height, 2 width]``."""
        return self._activation(layers.instance_norm(self.layers[0](images)))


class BlockWithHead(nn.ModuleList):
    """The last block and the output layer, which stand together in the official names.

    Args:
      in_channels: number of input channels.
      out_channels: number of channels between block and output layer.
      sizes: activation and norm.
    """

    def __init__(self, in_channels: int, out_channels: int, sizes: UnetSizes) -> None:
        block = ConvBlock(in_channels, out_channels, sizes)
        super().__init__([block, layers.Conv(out_channels, 1, 1, use_bias=True)])

    def forward(self, images: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[batch, in, height, width]`` to ``[batch, 1, height, width]``."""
        block, head = self
        outputs: torch.Tensor = head(block(images, dropout_rate))
        return outputs


class Unet(nn.Module):
    """Maps images to images: blocks on the way down, their outputs joined in on the way up.

    Args:
      sizes: widths, depth, activation and norm.
    """

    def __init__(self, sizes: UnetSizes) -> None:
        super().__init__()
        self._sizes = sizes
        *widths, bottom = sizes.widths
        self.down_sample_layers = nn.ModuleList(
            ConvBlock(width // 2 if level else 1, width, sizes)
            for level, width in enumerate(widths)
        )
        self.conv = ConvBlock(bottom // 2, bottom, sizes)
        self.up_conv = nn.ModuleList(
            (ConvBlock if level else BlockWithHead)(2 * widths[level], widths[level], sizes)
            for level in reversed(range(len(widths)))
        )
        self.up_transpose_conv = nn.ModuleList(
            TransposeConvBlock(2 * width, width, sizes) for width in reversed(widths)
        )

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Returns float ``[batch, height, width]``.

        Args:
          inputs: float ``[batch, height, width]``; see ``UnetSizes.check_images``.
          dropout_rate: rate of the channels' dropout in every convolution block.

        Raises:
          ValueError: images that are too small.
        """
        self._sizes.check_images(tuple(inputs.shape))
        images, skipped = inputs.unsqueeze(1), []
        for block in self.down_sample_layers:
            images = block(images, dropout_rate)
            skipped.append(images)
            images = F.avg_pool2d(images, POOL_SIZE)
        images = self.conv(images, dropout_rate)
        for transpose, block in zip(self.up_transpose_conv, self.up_conv, strict=True):
            skip = skipped.pop()
            images = torch.cat([_pad_to(transpose(images), skip), skip], 1)
            images = block(images, dropout_rate)
        return images.squeeze(1)


def build(sizes: UnetSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: Unet(sizes), backend)


def output_parameters(sizes: UnetSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters, in every variant.

    The official implementation asks for ``up_conv.3.1`` also where there is none (Decisions, 21).
    """
    head = f"up_conv.{sizes.num_pool_layers - 1}.1"
    return frozenset({f"{head}.weight", f"{head}.bias"})


def _pad_to(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mirrors the last but one row and column of images that came from an odd height or width."""
    bottom, right = target.shape[2] - images.shape[2], target.shape[3] - images.shape[3]
    return F.pad(images, (0, right, 0, bottom), mode="reflect") if bottom or right else images
