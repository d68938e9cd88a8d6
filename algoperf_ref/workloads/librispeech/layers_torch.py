"""torch layers that both speech models are made of; twin of ``layers_jax``.

Source: Workload facts (librispeech_conformer), 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_attention_layers import xavier_uniform_
from algoperf_ref.frameworks.torch_layers import LAYER_NORM_EPSILON, StatisticsLayer, TypedLayer
from algoperf_ref.frameworks.torch_norm_layers import sum_over_processes
from algoperf_ref.workloads.librispeech.features import (
    NUM_BINS,
    inverse_timescales,
    same_padding,
    subsampled,
)
from spec.submission import ParameterType

BATCH_NORM_EPSILON = 1e-3
"""Source: Workload facts (librispeech_conformer), 2."""


class Dense(torch_layers.Dense):
    """Affine map with a Xavier-uniform weight ``[out, in]`` and a zero bias ``[out]``."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        xavier_uniform_(self.weight, sum(self.weight.shape), generator)
        nn.init.zeros_(self.bias)


class LayerNorm(TypedLayer):
    """Layer norm over the last axis whose scale is one more than its parameter, which starts at 0.

    The bias starts at 0, too.

    Args:
      features: size of the last axis.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features))
        self.parameter_types = {
            "scale": ParameterType.LAYER_NORM_SCALE,
            "bias": ParameterType.LAYER_NORM_BIAS,
        }

    def initialise(self, generator: torch.Generator) -> None:
        """Sets both parameters to 0; see :class:`TypedLayer`."""
        nn.init.zeros_(self.scale)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalises ``[..., features]``."""
        return F.layer_norm(inputs, self.bias.shape, 1 + self.scale, self.bias, LAYER_NORM_EPSILON)


class BatchNorm(StatisticsLayer):
    """Batch norm over the frames that are not padding; padded ones become 0.

    A training pass normalises with the mean and the biased variance of all such frames of the
    global batch, over all processes (Decisions, 1). If ``updates_statistics`` is set, it puts both
    into the running statistics: old * momentum + new * (1 - momentum). An evaluation pass
    normalises with the running statistics. A batch of nothing but padding has mean and variance 0.

    The scale is one more than its parameter; that and the bias start at 0.

    Args:
      channels: size of the last axis.
      momentum: weight of the old running statistics.
      scale_name: name of the parameter behind the scale.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int, *, momentum: float, scale_name: str = "weight") -> None:
        super().__init__()
        self._momentum = momentum
        self._scale_name = scale_name
        self.register_parameter(scale_name, nn.Parameter(torch.empty(channels)))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.parameter_types = {
            scale_name: ParameterType.BATCH_NORM_SCALE,
            "bias": ParameterType.BATCH_NORM_BIAS,
        }

    def initialise(self, generator: torch.Generator) -> None:
        """Sets the parameters and the running statistics; see :class:`TypedLayer`."""
        nn.init.zeros_(getattr(self, self._scale_name))
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_var.fill_(1.0)

    def forward(self, inputs: torch.Tensor, paddings: torch.Tensor) -> torch.Tensor:
        """Normalises ``[batch, frames, channels]``.

        Args:
          inputs: what to normalise.
          paddings: ``[batch, frames]``, 1 for padding.
        """
        mask = (1 - paddings)[..., None]
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = _statistics(inputs, mask)
            if self.updates_statistics:
                self._update(mean, variance)
        factor = (1 + getattr(self, self._scale_name)) * torch.rsqrt(variance + BATCH_NORM_EPSILON)
        outputs: torch.Tensor = ((inputs - mean) * factor + self.bias) * mask
        return outputs

    @torch.no_grad()
    def _update(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        new_weight = 1.0 - self._momentum
        self.running_mean.mul_(self._momentum).add_(mean, alpha=new_weight)
        self.running_var.mul_(self._momentum).add_(variance, alpha=new_weight)


def _statistics(inputs: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance over the frames of all processes, each ``[channels]``."""
    # One message for the sums and the count.
    sums = sum_over_processes(torch.cat([(inputs * mask).sum((0, 1)), mask.sum().reshape(1)]))
    count = sums[-1].clamp_min(1.0)
    mean = sums[:-1] / count
    variance = sum_over_processes(((inputs - mean).square() * mask).sum((0, 1))) / count
    return mean, variance


class Convolution(TypedLayer):
    """A convolution that halves both axes, with zeros outside as JAX has them.

    The kernel ``[out, in, 3, 3]`` is Xavier-uniform, its fans counting all nine places; the bias
    ``[out]`` is zero.

    Args:
      in_channels: number of input channels.
      out_channels: number of output channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.parameter_types = {
            "kernel": ParameterType.CONV_WEIGHT,
            "bias": ParameterType.BIAS,
        }

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the kernel; see :class:`TypedLayer`."""
        fans = sum(self.kernel.shape[:2]) * self.kernel[0, 0].numel()
        xavier_uniform_(self.kernel, fans, generator)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, in, height, width]`` to ``[batch, out, height / 2, width / 2]``."""
        top, bottom = same_padding(inputs.shape[2])
        left, right = same_padding(inputs.shape[3])
        padded = F.pad(inputs, (left, right, top, bottom))
        return F.conv2d(padded, self.kernel, self.bias, stride=2)


class Positions(nn.Module):
    """Sines and cosines of the frames' places.

    Args:
      width: of a frame.
    """

    inv_timescales: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width
        self.register_buffer("inv_timescales", torch.tensor(inverse_timescales(width))[None, None])

    def forward(self, frames: int) -> torch.Tensor:
        """Returns sines and then cosines, ``[1, frames, width]``; an odd width ends in zeros."""
        timescales = self.inv_timescales
        places = torch.arange(frames, dtype=timescales.dtype, device=timescales.device)
        angles = places[:, None] * timescales
        return F.pad(torch.cat([angles.sin(), angles.cos()], -1), (0, self._width % 2))


class Subsample(nn.Module):
    """Makes a frame of four, by two strided convolutions over time and frequency.

    Args:
      encoder_dim: width of the new frames.
      channels: of the convolutions.
      activation: name of the function behind each convolution.
      has_positions: whether sines and cosines of the frames' places are added. The official module
        that does so, the Conformer's, has another name for its dense layer, and buffers.
    """

    def __init__(
        self,
        encoder_dim: int,
        *,
        channels: int,
        activation: str = "relu",
        has_positions: bool = False,
    ) -> None:
        super().__init__()
        self._activation = torch_layers.activation(activation)
        self._dense_name = "linear" if has_positions else "lin"
        self.conv1 = Convolution(1, channels)
        self.conv2 = Convolution(channels, channels)
        dense = Dense(subsampled(NUM_BINS) * channels, encoder_dim)
        self.add_module(self._dense_name, dense)
        self.pos_encode: nn.Module | None = None
        if has_positions:
            self.pos_encode = Positions(encoder_dim)
            for convolution in (self.conv1, self.conv2):
                # What paddings are convolved with officially. Here they are sliced.
                convolution.register_buffer("paddings_kernel", torch.ones(1, 1, 1))

    def forward(
        self, features: torch.Tensor, paddings: torch.Tensor, dropout_rate: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns float ``[batch, frames / 4, encoder_dim]`` and paddings ``[batch, frames / 4]``.

        Both are rounded up, twice. A new frame is padding if its first old one is.

        Args:
          features: float ``[batch, frames, bins]``.
          paddings: ``[batch, frames]``, 1 for padding.
          dropout_rate: of the new frames.
        """
        images = features[:, None]
        for convolution in (self.conv1, self.conv2):
            paddings = paddings[:, ::2]
            images = self._activation(convolution(images)) * (1 - paddings)[:, None, :, None]
        # Of the columns of a frame, those of a bin are neighbours, as in JAX.
        frames = getattr(self, self._dense_name)(images.permute(0, 2, 3, 1).flatten(2))
        if self.pos_encode is not None:
            frames = frames + self.pos_encode(frames.shape[1])
        return torch_layers.dropout(frames, dropout_rate, self.training), paddings
