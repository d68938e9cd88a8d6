"""The vision transformer in flax linen; twin of ``vit_torch``. Source: Workload facts
(imagenet_vit), 2 and 3.

Dropout acts behind the position embedding, behind each attention layer, inside each encoder
feed-forward block and behind it; not on attention weights and not in the pooling head. The official
PyTorch model drops out there too; the rules are silent, so the JAX side is taken (Decisions, 1).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_attention_layers import MultiHeadAttention, xavier_dense
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_layers import typed
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.imagenet.vit_sizes import NUM_COLOURS, VitSizes, position_embedding
from spec.submission import ParameterType

_HEAD = "head"


class MlpBlock(nn.Module):
    """Feed-forward block: dense, GELU, perhaps a gate, dropout, dense.

    Attributes:
      sizes: hidden width.
      use_glu: whether the activated hidden layer is multiplied by a dense layer of itself.
    """

    sizes: VitSizes
    use_glu: bool

    @nn.compact
    def __call__(self, tokens: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Maps ``[batch, tokens, width]`` to the same shape."""
        hidden = xavier_dense(self.sizes.mlp_dim, "Dense_0")(tokens)
        hidden = jax_layers.activation("gelu")(hidden)
        if self.use_glu:
            hidden = hidden * xavier_dense(self.sizes.mlp_dim, "Dense_1")(hidden)
        hidden = _drop(self, hidden, training, dropout_rate)
        return xavier_dense(self.sizes.width, "Dense_2" if self.use_glu else "Dense_1")(hidden)


class EncoderBlock(nn.Module):
    """Attention and feed-forward block, each added to its input.

    Attributes:
      sizes: widths, gate and place of the layer norms.
    """

    sizes: VitSizes

    @nn.compact
    def __call__(self, tokens: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Maps ``[batch, tokens, width]`` to the same shape."""
        sizes = self.sizes
        attention = MultiHeadAttention(sizes.num_heads, name="MultiHeadDotProductAttention_1")
        mlp = MlpBlock(sizes, sizes.use_glu, name="MlpBlock_3")
        norms = [jax_layers.layer_norm("LayerNorm_0"), jax_layers.layer_norm("LayerNorm_2")]
        branches = [
            lambda inputs: attention(inputs, inputs),
            lambda inputs: mlp(inputs, training, dropout_rate),
        ]
        for norm, branch in zip(norms, branches, strict=True):
            outputs = branch(tokens if sizes.use_post_layer_norm else norm(tokens))
            tokens = tokens + _drop(self, outputs, training, dropout_rate)
            if sizes.use_post_layer_norm:
                tokens = norm(tokens)
        return tokens


class Encoder(nn.Module):
    """Dropout, the blocks, and a last layer norm unless the blocks end in one.

    Attributes:
      sizes: everything about the blocks.
    """

    sizes: VitSizes

    @nn.compact
    def __call__(self, tokens: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Maps ``[batch, tokens, width]`` to the same shape."""
        tokens = _drop(self, tokens, training, dropout_rate)
        for number in range(self.sizes.depth):
            block = EncoderBlock(self.sizes, name=f"encoderblock_{number}")
            tokens = block(tokens, training, dropout_rate)
        if self.sizes.use_post_layer_norm:
            return tokens
        return jax_layers.layer_norm("encoder_layernorm")(tokens)


class MapHead(nn.Module):
    """Pools tokens by the attention of one learned query; then a feed-forward block.

    It has no dropout and no gate.

    Attributes:
      sizes: widths and heads.
    """

    sizes: VitSizes

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps ``[batch, tokens, width]`` to ``[batch, width]``."""
        sizes = self.sizes
        # As a matrix [1, width]: the limit is sqrt(6 / (1 + width)).
        probe_init = typed(nn.initializers.xavier_uniform(), ParameterType.WEIGHT)
        probe = self.param("probe", probe_init, (1, 1, sizes.width), jnp.float32)
        probe = jnp.broadcast_to(probe, (tokens.shape[0], 1, sizes.width))
        attention = MultiHeadAttention(sizes.num_heads, name="MultiHeadDotProductAttention_0")
        pooled = attention(probe, tokens)
        mlp = MlpBlock(sizes, use_glu=False, name="MlpBlock_0")
        hidden = jax_layers.layer_norm("LayerNorm_0")(pooled)
        pooled = pooled + mlp(hidden, training=False, dropout_rate=0.0)
        return pooled[:, 0]


class Vit(nn.Module):
    """Cuts images into patches, mixes them by an encoder, pools them and classifies.

    Attributes:
      sizes: widths, depth and variant.
    """

    sizes: VitSizes

    @nn.compact
    def __call__(self, inputs: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Returns logits, float ``[batch, num_classes]``; at first they are 0.

        Args:
          inputs: float ``[batch, height, width, 3]``; any multiple of the patch size.
          training: whether dropout is on.
          dropout_rate: rate of all dropout layers.

        Raises:
          ValueError: images that cannot be cut into patches.
        """
        sizes = self.sizes
        batch, *pixels = inputs.shape
        grid = sizes.grid(*pixels)
        patches = nn.Conv(
            sizes.width,
            (sizes.patch_size, sizes.patch_size),
            strides=(sizes.patch_size, sizes.patch_size),
            padding="VALID",
            name="conv_patch_extract",
            kernel_init=typed(nn.initializers.lecun_normal(), ParameterType.CONV_WEIGHT),
            bias_init=typed(nn.initializers.zeros_init(), ParameterType.BIAS),
        )(inputs)
        tokens = patches.reshape(batch, -1, sizes.width)
        tokens = tokens + position_embedding(*grid, sizes.width).astype(tokens.dtype)
        tokens = Encoder(sizes, name="Transformer")(tokens, training, dropout_rate)
        pooled = MapHead(sizes, name="MAPHead_0")(tokens) if sizes.use_map else tokens.mean(1)
        hidden = jnp.tanh(jax_layers.dense(sizes.width, "pre_logits")(pooled))
        return nn.Dense(
            sizes.num_classes,
            name=_HEAD,
            kernel_init=typed(nn.initializers.zeros_init(), ParameterType.WEIGHT),
            bias_init=typed(nn.initializers.zeros_init(), ParameterType.BIAS),
        )(hidden)


def build(sizes: VitSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""

    def one_patch() -> jax.Array:
        return jnp.zeros((1, sizes.patch_size, sizes.patch_size, NUM_COLOURS))

    return JaxModel(Vit(sizes), one_patch, backend, parameters_stream=0)


def output_parameters(sizes: VitSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({_HEAD})


def _drop(module: nn.Module, inputs: jax.Array, training: bool, rate: Any) -> jax.Array:
    """Drops out with a key of the module's own stream."""
    return jax_layers.dropout(module.make_rng("dropout"), inputs, rate) if training else inputs
