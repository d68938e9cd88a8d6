"""The vision transformer in PyTorch; twin of ``vit_jax``. Source: Workload facts (imagenet_vit),
2 and 3.

Dropout acts behind the position embedding, behind each attention layer, inside each encoder
feed-forward block and behind it; not on attention weights and not in the pooling head. The official
PyTorch model drops out there too; the rules are silent, so the JAX side is taken (Decisions, 1).
Scales of initial values are those of the JAX twin where the official twins differ (Decisions, 23):
the probe, the fused key and value weight and the attention biases of the pooling head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_attention_layers import (
    FusedMultiHeadAttention,
    MultiHeadAttention,
    XavierDense,
    xavier_uniform_,
)
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_layers import Dense, LayerNorm, TypedLayer, lecun_normal_
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.imagenet.vit_sizes import NUM_COLOURS, VitSizes, position_embedding
from spec.submission import ParameterType


class MlpBlock(nn.Module):
    """Feed-forward block: dense, GELU, perhaps a gate, dropout, dense.

    Args:
      sizes: widths.
      use_glu: whether the activated hidden layer is multiplied by a dense layer of itself.
    """

    def __init__(self, sizes: VitSizes, *, use_glu: bool) -> None:
        super().__init__()
        self._activation = torch_layers.activation("gelu")
        self.linear1 = XavierDense(sizes.width, sizes.mlp_dim)
        self.glu_linear = XavierDense(sizes.mlp_dim, sizes.mlp_dim) if use_glu else None
        self.linear2 = XavierDense(sizes.mlp_dim, sizes.width)

    def forward(self, tokens: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[batch, tokens, width]`` to the same shape."""
        hidden = self._activation(self.linear1(tokens))
        if self.glu_linear is not None:
            hidden = hidden * self.glu_linear(hidden)
        hidden = torch_layers.dropout(hidden, dropout_rate, self.training)
        outputs: torch.Tensor = self.linear2(hidden)
        return outputs


class EncoderBlock(nn.Module):
    """Attention and feed-forward block, each added to its input.

    Args:
      sizes: widths, gate and place of the layer norms.
    """

    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        self._is_post_norm = sizes.use_post_layer_norm
        self.layer_norm0 = LayerNorm(sizes.width)
        self.self_attention1 = MultiHeadAttention(sizes.width, sizes.num_heads)
        self.layer_norm2 = LayerNorm(sizes.width)
        self.mlp3 = MlpBlock(sizes, use_glu=sizes.use_glu)

    def forward(self, tokens: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[batch, tokens, width]`` to the same shape."""
        norms = [self.layer_norm0, self.layer_norm2]
        branches = [
            lambda inputs: self.self_attention1(inputs, inputs),
            lambda inputs: self.mlp3(inputs, dropout_rate),
        ]
        for norm, branch in zip(norms, branches, strict=True):
            outputs = branch(tokens if self._is_post_norm else norm(tokens))
            tokens = tokens + torch_layers.dropout(outputs, dropout_rate, self.training)
            if self._is_post_norm:
                tokens = norm(tokens)
        return tokens


class Encoder(nn.Module):
    """Dropout, the blocks, and a last layer norm unless the blocks end in one.

    Args:
      sizes: everything about the blocks.
    """

    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        self.net = nn.ModuleList(EncoderBlock(sizes) for _ in range(sizes.depth))
        self.encoder_norm = None if sizes.use_post_layer_norm else LayerNorm(sizes.width)

    def forward(self, tokens: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[batch, tokens, width]`` to the same shape."""
        tokens = torch_layers.dropout(tokens, dropout_rate, self.training)
        for block in self.net:
            tokens = block(tokens, dropout_rate)
        return tokens if self.encoder_norm is None else self.encoder_norm(tokens)


class MapHead(TypedLayer):
    """Pools tokens by the attention of one learned query; then a feed-forward block.

    It has no dropout and no gate. The probe is Xavier-uniform as a matrix ``[1, width]``.

    Args:
      sizes: widths and heads.
    """

    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, sizes.width))
        self.parameter_types = {"probe": ParameterType.WEIGHT}
        self.mha = FusedMultiHeadAttention(sizes.width, sizes.num_heads)
        self.layer_norm = LayerNorm(sizes.width)
        self.mlp = MlpBlock(sizes, use_glu=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the probe; see :class:`TypedLayer`."""
        xavier_uniform_(self.probe, 1 + self.probe.shape[-1], generator)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, tokens, width]`` to ``[batch, width]``."""
        pooled = self.mha(self.probe.expand(len(tokens), -1, -1), tokens)
        pooled = pooled + self.mlp(self.layer_norm(pooled), 0.0)
        return pooled[:, 0]


class PatchConv(TypedLayer):
    """Convolution whose stride is its kernel size: a dense layer on each patch.

    The weight ``[width, 3, size, size]`` is LeCun-normal, with fan-in 3 * size * size; the bias
    ``[width]`` is zero.

    Args:
      sizes: width of a token and size of a patch.
    """

    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        side = sizes.patch_size
        self.weight = nn.Parameter(torch.empty(sizes.width, NUM_COLOURS, side, side))
        self.bias = nn.Parameter(torch.empty(sizes.width))
        self.parameter_types = {
            "weight": ParameterType.CONV_WEIGHT,
            "bias": ParameterType.BIAS,
        }

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        lecun_normal_(self.weight, self.weight[0].numel(), generator)
        nn.init.zeros_(self.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps ``[batch, 3, height, width]`` to ``[batch, width of a token, rows, columns]``."""
        return F.conv2d(images, self.weight, self.bias, stride=self.weight.shape[-1])


class ZeroDense(Dense):
    """Dense layer whose weight and bias start at zero."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draws nothing; see :class:`TypedLayer`."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Vit(nn.Module):
    """Cuts images into patches, mixes them by an encoder, pools them and classifies.

    Args:
      sizes: widths, depth and variant.
    """

    def __init__(self, sizes: VitSizes) -> None:
        super().__init__()
        self._sizes = sizes
        # No buffers, which the official model does not have: copies on the device, by grid.
        self._positions: dict[tuple[int, int, torch.device], torch.Tensor] = {}
        self.pre_logits = Dense(sizes.width, sizes.width)
        self.conv_patch_extract = PatchConv(sizes)
        self.encoder = Encoder(sizes)
        self.head = ZeroDense(sizes.width, sizes.num_classes)
        self.map = MapHead(sizes) if sizes.use_map else None

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Returns logits, float ``[batch, num_classes]``; at first they are 0.

        Args:
          inputs: float ``[batch, 3, height, width]``; any multiple of the patch size.
          dropout_rate: rate of all dropout layers.

        Raises:
          ValueError: images that cannot be cut into patches.
        """
        _, *colours, height, width = inputs.shape
        grid = self._sizes.grid(height, width, *colours)
        tokens = self.conv_patch_extract(inputs).flatten(2).transpose(1, 2)
        tokens = tokens + self._position_embedding(*grid, tokens.device).to(tokens.dtype)
        tokens = self.encoder(tokens, dropout_rate)
        pooled = tokens.mean(1) if self.map is None else self.map(tokens)
        logits: torch.Tensor = self.head(torch.tanh(self.pre_logits(pooled)))
        return logits

    def _position_embedding(self, rows: int, columns: int, device: torch.device) -> torch.Tensor:
        """Float32 ``[rows * columns, width]``; copied once, since a copy would stall a GPU."""
        key = (rows, columns, device)
        if key not in self._positions:
            embedding = position_embedding(rows, columns, self._sizes.width)
            self._positions[key] = torch.tensor(embedding, device=device)
        return self._positions[key]


def build(sizes: VitSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: Vit(sizes), backend)


def output_parameters(sizes: VitSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters."""
    return frozenset({"head.weight", "head.bias"})
