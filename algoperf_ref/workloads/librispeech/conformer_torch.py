"""The Conformer in PyTorch; twin of ``conformer_jax``. Source: Workload facts
(librispeech_conformer), 2 and 3.

Dropout acts behind the subsampling, on the output of each attention layer and on that of each
feed-forward module. The official models also drop out on the output of the convolution module, and
the JAX one inside the feed-forward module; the rules name the three places (Decisions, 1 and 21).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_attention_layers import Projection, xavier_uniform_
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_layers import TypedLayer
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.librispeech import front_end_torch, layers_torch
from algoperf_ref.workloads.librispeech.conformer_sizes import QUERY_SCALE, ConformerSizes
from algoperf_ref.workloads.librispeech.layers_torch import Dense, LayerNorm, Subsample
from spec.submission import ParameterType

_MASKED = -1e30
"""A logit that weighs nothing, and is far from where a kernel that scales logits overflows."""


class FeedForward(nn.Module):
    """Layer norm, dense layer, activation, dense layer, dropout.

    Args:
      sizes: widths and activation.
    """

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        self._activation = torch_layers.activation(sizes.activation)
        self.ln = LayerNorm(sizes.encoder_dim)
        self.linear1 = Dense(sizes.encoder_dim, sizes.feed_forward_dim)
        self.linear2 = Dense(sizes.feed_forward_dim, sizes.encoder_dim)

    def forward(
        self, frames: torch.Tensor, paddings: torch.Tensor, dropout_rate: float
    ) -> torch.Tensor:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape; padded frames become 0."""
        mask = (1 - paddings)[..., None]
        hidden = self._activation(self.linear1(self.ln(frames))) * mask
        return torch_layers.dropout(self.linear2(hidden) * mask, dropout_rate, self.training)


class QueryScaler(TypedLayer):
    """Learned factors of the dimensions of a head, the same for all heads; they start at 1.

    Args:
      head_dim: width of a head.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(head_dim))
        self.parameter_types = {"scale": ParameterType.WEIGHT}

    def initialise(self, generator: torch.Generator) -> None:
        """Sets the parameter to 0; see :class:`TypedLayer`."""
        nn.init.zeros_(self.scale)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        """Scales ``[..., head_dim]``."""
        return queries * (QUERY_SCALE * F.softplus(self.scale))


class Attention(nn.Module):
    """Attention of several heads of the frames to the ones that are not padding.

    Padded frames attend to all frames alike (Decisions, 1). Attention weights have no dropout. Rows
    of ``in_proj`` are those of queries, keys and values, each with the scale of a weight of its own
    (Decisions, 23).

    Args:
      sizes: width, heads and the factor of what comes out.
    """

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        self._num_heads = sizes.num_attention_heads
        self._temperature = sizes.attention_temperature
        width = sizes.encoder_dim
        self.in_proj = Projection(width, 3 * width, ParameterType.ATTENTION_QKV, num_fused=3)
        self.out_proj = Projection(width, width, ParameterType.ATTENTION_OUT)
        self.qs = QueryScaler(sizes.head_dim)

    def forward(self, frames: torch.Tensor, paddings: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        query, key, value = (
            part.unflatten(-1, (self._num_heads, -1)).transpose(1, 2)
            for part in self.in_proj(frames).chunk(3, -1)
        )
        is_real = (paddings == 0)[:, None]
        mask = torch.zeros_like(paddings)[:, None, None].masked_fill(~is_real[:, None], _MASKED)
        mixed = F.scaled_dot_product_attention(self.qs(query), key, value, attn_mask=mask)
        mixed = torch.where(is_real[..., None], mixed, value.mean(2, keepdim=True))
        joined = mixed.transpose(1, 2).flatten(2) * self._temperature
        outputs: torch.Tensor = self.out_proj(joined)
        return outputs


class SelfAttention(nn.Module):
    """Layer norm, attention, dropout.

    Args:
      sizes: width and heads.
    """

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        self.ln = LayerNorm(sizes.encoder_dim)
        self.self_attention = Attention(sizes)

    def forward(
        self, frames: torch.Tensor, paddings: torch.Tensor, dropout_rate: float
    ) -> torch.Tensor:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        mixed = self.self_attention(self.ln(frames), paddings)
        return torch_layers.dropout(mixed, dropout_rate, self.training)


class DepthwiseConvolution(TypedLayer):
    """Convolution over time, of each channel by itself and without bias, with zeros outside.

    The weight ``[channels, 1, size]`` is Xavier-uniform, its fans being ``size`` and ``size *
    channels``.

    Args:
      channels: size of the last axis.
      size: frames that it sees.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, size))
        self.parameter_types = {"weight": ParameterType.CONV_WEIGHT}

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        channels, _, size = self.weight.shape
        xavier_uniform_(self.weight, size * (1 + channels), generator)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, frames, channels]`` to the same shape."""
        channels, _, size = self.weight.shape
        before = (size - 1) // 2
        padded = F.pad(frames.transpose(1, 2), (before, size - 1 - before))
        return F.conv1d(padded, self.weight, groups=channels).transpose(1, 2)


class BatchNorm(layers_torch.BatchNorm):
    """Batch norm with the names of the official Conformer's.

    Args:
      channels: size of the last axis.
      momentum: weight of the old running statistics.
    """

    dim: torch.Tensor

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__(channels, momentum=momentum, scale_name="scale")
        # Officially the number of channels is a buffer, too.
        self.register_buffer("dim", torch.tensor([channels]))


class Convolution(nn.Module):
    """Layer norm, gate, convolution, batch norm, activation, dense layer; there is no dropout.

    Args:
      sizes: width, kernel, activation and momentum.
    """

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        width = sizes.encoder_dim
        self._activation = torch_layers.activation(sizes.activation)
        self.ln = LayerNorm(width)
        self.lin1 = Dense(width, width)
        self.lin2 = Dense(width, width)
        self.conv1 = DepthwiseConvolution(width, sizes.convolution_kernel_size)
        self.bn = BatchNorm(width, sizes.batch_norm_momentum)
        self.lin3 = Dense(width, width)

    def forward(self, frames: torch.Tensor, paddings: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        hidden = self.ln(frames)
        hidden = self.lin1(hidden) * self.lin2(hidden).sigmoid() * (1 - paddings)[..., None]
        outputs: torch.Tensor = self.lin3(self._activation(self.bn(self.conv1(hidden), paddings)))
        return outputs


class Block(nn.Module):
    """Half a feed-forward module, attention, convolution and the other half, each added.

    Args:
      sizes: everything about the block.
    """

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        self.ff1 = FeedForward(sizes)
        self.mhsa = SelfAttention(sizes)
        self.conv = Convolution(sizes)
        self.ff2 = FeedForward(sizes)
        self.ln: nn.Module | None = None
        if sizes.use_post_layer_norm:
            self.ln = LayerNorm(sizes.encoder_dim)

    def forward(
        self, frames: torch.Tensor, paddings: torch.Tensor, dropout_rate: float
    ) -> torch.Tensor:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        frames = frames + 0.5 * self.ff1(frames, paddings, dropout_rate)
        frames = frames + self.mhsa(frames, paddings, dropout_rate)
        frames = frames + self.conv(frames, paddings)
        frames = frames + 0.5 * self.ff2(frames, paddings, dropout_rate)
        return frames if self.ln is None else self.ln(frames)


class Conformer(nn.Module):
    """Features, subsampling, blocks, layer norm, output layer.

    Args:
      sizes: widths, depth, variant and masks.
    """

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        self._spec_augment = sizes.spec_augment
        width = sizes.encoder_dim
        self.preprocessor = front_end_torch.LogMel()
        self.subsample = Subsample(width, channels=sizes.subsampling_channels, has_positions=True)
        self.conformers = nn.ModuleList(Block(sizes) for _ in range(sizes.num_encoder_layers))
        self.ln = LayerNorm(width)
        self.lin = Dense(width, sizes.num_outputs)

    def forward(
        self, inputs: tuple[torch.Tensor, torch.Tensor], dropout_rate: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns logits, float ``[batch, frames, num_outputs]``, and paddings ``[batch, frames]``.

        A frame of logits is four of features. Masks are drawn from torch's global generator.

        Args:
          inputs: audio, float ``[batch, samples]``, and its paddings, likewise, 1 behind the end.
          dropout_rate: rate of all dropout layers.
        """
        features, paddings = self.preprocessor(*inputs)
        if self.training and self._spec_augment is not None:
            features = front_end_torch.spec_augment(features, paddings, self._spec_augment)
        frames, paddings = self.subsample(features, paddings, dropout_rate)
        for block in self.conformers:
            frames = block(frames, paddings, dropout_rate)
        return self.lin(self.ln(frames)), paddings


def build(sizes: ConformerSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: Conformer(sizes), backend)


def output_parameters(sizes: ConformerSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters."""
    return frozenset({"lin.weight", "lin.bias"})
