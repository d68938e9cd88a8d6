"""The Conformer in flax linen; twin of ``conformer_torch``. Source: Workload facts
(librispeech_conformer), 2 and 3.

Dropout acts behind the subsampling, on the output of each attention layer and on that of each
feed-forward module. The official models also drop out on the output of the convolution module, and
the JAX one inside the feed-forward module; the rules name the three places (Decisions, 1 and 21).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_layers import typed
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.librispeech import front_end_jax, layers_jax
from algoperf_ref.workloads.librispeech.conformer_sizes import QUERY_SCALE, ConformerSizes
from algoperf_ref.workloads.librispeech.features import FRAME_LENGTH
from spec.submission import ParameterType

_HEAD = "Dense_0"


class FeedForward(nn.Module):
    """Layer norm, dense layer, activation, dense layer, dropout.

    Attributes:
      sizes: widths and activation.
    """

    sizes: ConformerSizes

    @nn.compact
    def __call__(
        self, frames: jax.Array, paddings: jax.Array, training: bool, dropout_rate: Any
    ) -> jax.Array:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape; padded frames become 0."""
        mask = (1 - paddings)[..., None]
        hidden = layers_jax.LayerNorm(name="LayerNorm_0")(frames)
        hidden = layers_jax.dense(self.sizes.feed_forward_dim, "Dense_0")(hidden)
        hidden = jax_layers.activation(self.sizes.activation)(hidden) * mask
        hidden = layers_jax.dense(self.sizes.encoder_dim, "Dense_1")(hidden) * mask
        return _drop(self, hidden, training, dropout_rate)


class QueryScaler(nn.Module):
    """Learned factors of the dimensions of a head, the same for all heads; they start at 1."""

    @nn.compact
    def __call__(self, queries: jax.Array) -> jax.Array:
        """Scales ``[..., head_dim]``."""
        scale_init = typed(nn.initializers.zeros_init(), ParameterType.WEIGHT)
        scale = self.param("scale", scale_init, queries.shape[-1:])
        return queries * (QUERY_SCALE * jax.nn.softplus(scale))


class Attention(nn.Module):
    """Attention of several heads of the frames to the ones that are not padding.

    Padded frames attend to all frames alike. Attention weights have no dropout.

    Attributes:
      sizes: width, heads and the factor of what comes out.
    """

    sizes: ConformerSizes

    @nn.compact
    def __call__(self, frames: jax.Array, paddings: jax.Array) -> jax.Array:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        heads = (self.sizes.num_attention_heads, self.sizes.head_dim)
        query = _projection(heads, "query", ParameterType.ATTENTION_Q)(frames)
        key = _projection(heads, "key", ParameterType.ATTENTION_K)(frames)
        value = _projection(heads, "value", ParameterType.ATTENTION_V)(frames)
        query = QueryScaler(name="QueryScaler_0")(query)
        is_real = paddings == 0
        # What is masked has the smallest of all floats, also in rows where everything is.
        mixed = nn.dot_product_attention(
            query, key, value, mask=nn.make_attention_mask(is_real, is_real)
        )
        out = _projection((self.sizes.encoder_dim,), "out", ParameterType.ATTENTION_OUT, (-2, -1))
        return out(mixed * self.sizes.attention_temperature)


class SelfAttention(nn.Module):
    """Layer norm, attention, dropout.

    Attributes:
      sizes: width and heads.
    """

    sizes: ConformerSizes

    @nn.compact
    def __call__(
        self, frames: jax.Array, paddings: jax.Array, training: bool, dropout_rate: Any
    ) -> jax.Array:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        hidden = layers_jax.LayerNorm(name="LayerNorm_0")(frames)
        attention = Attention(self.sizes, name="MultiHeadDotProductAttention_0")
        return _drop(self, attention(hidden, paddings), training, dropout_rate)


class DepthwiseConvolution(nn.Module):
    """Convolution over time, of each channel by itself and without bias, with zeros outside.

    Attributes:
      size: frames that it sees.
    """

    size: int

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps ``[batch, frames, channels]`` to the same shape."""
        _, length, channels = frames.shape
        kernel_init = typed(nn.initializers.xavier_uniform(), ParameterType.CONV_WEIGHT)
        kernel = self.param("kernel", kernel_init, (self.size, 1, channels))
        before = (self.size - 1) // 2
        padded = jnp.pad(frames, ((0, 0), (before, self.size - 1 - before), (0, 0)))
        # A sum of shifts, which XLA makes one loop of: on a CPU ten times as fast as its grouped
        # convolution.
        outputs = jnp.zeros_like(frames)
        for shift in range(self.size):
            outputs += padded[:, shift : shift + length] * kernel[shift, 0]
        return outputs


class Convolution(nn.Module):
    """Layer norm, gate, convolution, batch norm, activation, dense layer; there is no dropout.

    Attributes:
      sizes: width, kernel, activation and momentum.
    """

    sizes: ConformerSizes

    @nn.compact
    def __call__(self, frames: jax.Array, paddings: jax.Array, training: bool) -> jax.Array:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        sizes = self.sizes
        hidden = layers_jax.LayerNorm(name="LayerNorm_0")(frames)
        values = layers_jax.dense(sizes.encoder_dim, "Dense_0")(hidden)
        gates = layers_jax.dense(sizes.encoder_dim, "Dense_1")(hidden)
        hidden = values * nn.sigmoid(gates) * (1 - paddings)[..., None]
        hidden = DepthwiseConvolution(sizes.convolution_kernel_size, name="Conv_0")(hidden)
        norm = layers_jax.BatchNorm(momentum=sizes.batch_norm_momentum, name="BatchNorm_0")
        hidden = jax_layers.activation(sizes.activation)(norm(hidden, paddings, training))
        return layers_jax.dense(sizes.encoder_dim, "Dense_2")(hidden)


class Block(nn.Module):
    """Half a feed-forward module, attention, convolution and the other half, each added.

    Attributes:
      sizes: everything about the block.
    """

    sizes: ConformerSizes

    @nn.compact
    def __call__(
        self, frames: jax.Array, paddings: jax.Array, training: bool, dropout_rate: Any
    ) -> jax.Array:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        sizes = self.sizes
        first, second = (FeedForward(sizes, name=f"FeedForwardModule_{n}") for n in range(2))
        attention = SelfAttention(sizes, name="MultiHeadedSelfAttention_0")
        frames = frames + 0.5 * first(frames, paddings, training, dropout_rate)
        frames = frames + attention(frames, paddings, training, dropout_rate)
        frames = frames + Convolution(sizes, name="ConvolutionBlock_0")(frames, paddings, training)
        frames = frames + 0.5 * second(frames, paddings, training, dropout_rate)
        if sizes.use_post_layer_norm:
            frames = layers_jax.LayerNorm(name="LayerNorm_0")(frames)
        return frames


class Conformer(nn.Module):
    """Features, subsampling, blocks, layer norm, output layer.

    Attributes:
      sizes: widths, depth, variant and masks.
    """

    sizes: ConformerSizes

    @nn.compact
    def __call__(
        self, inputs: tuple[jax.Array, jax.Array], training: bool, dropout_rate: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Returns logits, float ``[batch, frames, num_outputs]``, and paddings ``[batch, frames]``.

        A frame of logits is four of features.

        Args:
          inputs: audio, float ``[batch, samples]``, and its paddings, likewise, 1 behind the end.
          training: whether masks and dropout are on and batch norms take the batch's statistics.
          dropout_rate: rate of all dropout layers.
        """
        sizes = self.sizes
        features, paddings = front_end_jax.log_mel(*inputs)
        if training and sizes.spec_augment is not None:
            key = self.make_rng("dropout")
            features = front_end_jax.spec_augment(features, paddings, sizes.spec_augment, key)
        frames, paddings = layers_jax.Subsample(
            sizes.encoder_dim,
            channels=sizes.subsampling_channels,
            has_positions=True,
            name="Subsample_0",
        )(features, paddings, training, dropout_rate)
        for number in range(sizes.num_encoder_layers):
            block = Block(sizes, name=f"ConformerBlock_{number}")
            frames = block(frames, paddings, training, dropout_rate)
        frames = layers_jax.LayerNorm(name="LayerNorm_0")(frames)
        return layers_jax.dense(sizes.num_outputs, _HEAD)(frames), paddings


def build(sizes: ConformerSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""

    def one_frame() -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((1, FRAME_LENGTH)), jnp.zeros((1, FRAME_LENGTH))

    return JaxModel(Conformer(sizes), one_frame, backend, parameters_stream=0, has_model_state=True)


def output_parameters(sizes: ConformerSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({_HEAD})


def _projection(
    features: tuple[int, ...], name: str, kernel_type: ParameterType, axis: tuple[int, ...] = (-1,)
) -> nn.DenseGeneral:
    """Maps the axes ``axis`` to the axes ``features``; Xavier-uniform as one matrix."""
    return nn.DenseGeneral(
        features,
        axis=axis,
        name=name,
        kernel_init=typed(nn.initializers.xavier_uniform(), kernel_type),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.ATTENTION_BIAS),
    )


def _drop(module: nn.Module, inputs: jax.Array, training: bool, rate: Any) -> jax.Array:
    """Drops out with a key of the module's own stream."""
    return jax_layers.dropout(module.make_rng("dropout"), inputs, rate) if training else inputs
