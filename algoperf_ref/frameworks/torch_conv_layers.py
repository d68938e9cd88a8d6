"""torch layers of convolutional networks, channels first; twin of ``jax_conv_layers``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks.torch_layers import LAYER_NORM_EPSILON, TypedLayer, lecun_normal_
from spec.submission import ParameterType

INSTANCE_NORM_EPSILON = 1e-5
"""Source: Workload facts (fastmri), 2."""


class Conv(TypedLayer):
    """Convolution (zeros outside the image).

    The weight ``[out, in, size, size]`` is LeCun-normal, with fan-in size * size * in; the bias
    ``[out]`` is zero.

    Args:
      in_channels: number of input channels.
      out_channels: number of output channels.
      size: height and width of the kernel.
      use_bias: whether the layer has a bias.
      stride: step in both directions, in pixels.
      padding: rows and columns of zeros on each side; None divides height and width by the stride,
        rounded up: if the number of zeros is odd, there is one more below and to the right, as in
        JAX (Decisions, 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        use_bias: bool,
        stride: int = 1,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self._stride = stride
        self._padding = padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if use_bias else None
        self.parameter_types = {"weight": ParameterType.CONV_WEIGHT}
        if use_bias:
            self.parameter_types["bias"] = ParameterType.BIAS

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        lecun_normal_(self.weight, self.weight[0].numel(), generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, in, height, width]`` to ``[batch, out, height', width']``."""
        inputs, padding = self._pad(inputs)
        return F.conv2d(inputs, self.weight, self.bias, self._stride, padding)

    def _pad(self, inputs: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Returns the inputs and how far the convolution itself has to pad them."""
        if self._padding is not None:
            return inputs, (self._padding, self._padding)
        size = self.weight.shape[-1]
        top, bottom = _same_padding(inputs.shape[2], size, self._stride)
        left, right = _same_padding(inputs.shape[3], size, self._stride)
        if (top, left) == (bottom, right):
            return inputs, (top, left)
        return F.pad(inputs, (left, right, top, bottom)), (0, 0)


class ConvTranspose(TypedLayer):
    """Transposed convolution without bias whose stride is its kernel size.

    The weight ``[in, out, size, size]`` is LeCun-normal with fan-in size * size * in: one scale
    for both frameworks, where the official PyTorch twin counts outputs and starts larger by
    sqrt(in / out) (Decisions, 1 and 23). It is flipped in height and width against flax.

    Args:
      in_channels: number of input channels.
      out_channels: number of output channels.
      size: height and width of the kernel, and the factor by which the image grows.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self._size = size
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, size, size))
        self.parameter_types = {"weight": ParameterType.CONV_WEIGHT}

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        lecun_normal_(self.weight, self.weight[:, 0].numel(), generator)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, in, height, width]`` to ``[batch, out, size * height, size * width]``."""
        return F.conv_transpose2d(inputs, self.weight, stride=self._size)


class ImageLayerNorm(TypedLayer):
    """Layer norm over channels, height and width, with scale and bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.parameter_types = {
            "weight": ParameterType.LAYER_NORM_SCALE,
            "bias": ParameterType.LAYER_NORM_BIAS,
        }

    def initialise(self, generator: torch.Generator) -> None:
        """Sets scale 1 and bias 0; see :class:`TypedLayer`."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalises ``[batch, channels, height, width]``."""
        return F.group_norm(inputs, 1, self.weight, self.bias, LAYER_NORM_EPSILON)


def instance_norm(inputs: torch.Tensor) -> torch.Tensor:
    """Normalises each channel of each image over height and width; there are no parameters.

    Args:
      inputs: float ``[batch, channels, height, width]``.

    Returns:
      Tensor like ``inputs``; the variance is the biased one. Source: Workload facts (fastmri), 2.
    """
    # One group per channel: the same function as F.instance_norm, and quicker on a CPU.
    return F.group_norm(inputs, inputs.shape[1], eps=INSTANCE_NORM_EPSILON)


def channel_dropout(inputs: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Zeroes whole channels of single images with probability ``rate`` and scales the others.

    The mask comes from torch's global generator. Nothing is drawn at rate 0 or outside training.

    Args:
      inputs: float ``[batch, channels, height, width]``.
      rate: Python float in [0, 1].
      training: False returns the inputs.

    Returns:
      Tensor like ``inputs``.
    """
    return F.dropout2d(inputs, rate, training=True) if training and rate != 0 else inputs


def _same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """Returns the zeros before and after an axis; see :class:`Conv`."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2
