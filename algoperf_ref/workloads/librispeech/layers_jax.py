"""flax layers that both speech models are made of; twin of ``layers_torch``.

Source: Workload facts (librispeech_conformer), 2.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_layers import LAYER_NORM_EPSILON, typed
from algoperf_ref.workloads.librispeech.features import inverse_timescales
from spec.submission import ParameterType

BATCH_NORM_EPSILON = 1e-3
"""Source: Workload facts (librispeech_conformer), 2."""


class LayerNorm(nn.Module):
    """Layer norm over the last axis whose scale is one more than its parameter, which starts at 0.

    The bias starts at 0, too.
    """

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalises ``[..., features]``."""
        scale_type, bias_type = ParameterType.LAYER_NORM_SCALE, ParameterType.LAYER_NORM_BIAS
        scale, bias = _scale_and_bias(self, inputs.shape[-1], scale_type, bias_type)
        mean = inputs.mean(-1, keepdims=True)
        centred = inputs - mean
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON) * (1 + scale) + bias


class BatchNorm(nn.Module):
    """Batch norm over the frames that are not padding; padded ones become 0.

    A training pass normalises with the mean and the biased variance of all such frames of the
    global batch, on all devices (Decisions, 1), and puts both into the running statistics ``mean``
    and ``var`` of the collection ``batch_stats``: old * momentum + new * (1 - momentum). An
    evaluation pass normalises with the running statistics. Whether a training pass keeps the new
    ones is up to the caller of the model (Decisions, 2). A batch of nothing but padding has mean
    and variance 0.

    The scale is one more than its parameter; that and the bias start at 0.

    Attributes:
      momentum: weight of the old running statistics.
    """

    momentum: float

    @nn.compact
    def __call__(self, inputs: jax.Array, paddings: jax.Array, training: bool) -> jax.Array:
        """Normalises ``[batch, frames, channels]``.

        Args:
          inputs: what to normalise.
          paddings: ``[batch, frames]``, 1 for padding.
          training: whether to normalise with the statistics of the batch.
        """
        channels = inputs.shape[-1]
        scale_type, bias_type = ParameterType.BATCH_NORM_SCALE, ParameterType.BATCH_NORM_BIAS
        scale, bias = _scale_and_bias(self, channels, scale_type, bias_type)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_variance = self.variable("batch_stats", "var", jnp.ones, channels)
        mask = (1 - paddings)[..., None]
        if training:
            count = jnp.maximum(mask.sum(), 1.0)
            mean = (inputs * mask).sum((0, 1)) / count
            variance = (jnp.square(inputs - mean) * mask).sum((0, 1)) / count
            for running, new in ((running_mean, mean), (running_variance, variance)):
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        else:
            mean, variance = running_mean.value, running_variance.value
        factor = (1 + scale) * jax.lax.rsqrt(variance + BATCH_NORM_EPSILON)
        return ((inputs - mean) * factor + bias) * mask


class Subsample(nn.Module):
    """Makes a frame of four, by two strided convolutions over time and frequency.

    Attributes:
      encoder_dim: width of the new frames.
      channels: of the convolutions.
      activation: name of the function behind each convolution.
      has_positions: whether sines and cosines of the frames' places are added.
    """

    encoder_dim: int
    channels: int
    activation: str = "relu"
    has_positions: bool = False

    @nn.compact
    def __call__(
        self, features: jax.Array, paddings: jax.Array, training: bool, dropout_rate: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Returns float ``[batch, frames / 4, encoder_dim]`` and paddings ``[batch, frames / 4]``.

        Both are rounded up, twice. A new frame is padding if its first old one is.

        Args:
          features: float ``[batch, frames, bins]``.
          paddings: ``[batch, frames]``, 1 for padding.
          training: whether dropout is on.
          dropout_rate: of the new frames.
        """
        images = features[..., None]
        for number in range(2):
            images = nn.Conv(
                self.channels,
                (3, 3),
                strides=(2, 2),
                padding="SAME",
                name=f"Conv2dSubsampling_{number}",
                kernel_init=typed(nn.initializers.xavier_uniform(), ParameterType.CONV_WEIGHT),
                bias_init=typed(nn.initializers.zeros_init(), ParameterType.BIAS),
            )(images)
            paddings = paddings[:, ::2]
            images = jax_layers.activation(self.activation)(images)
            images = images * (1 - paddings)[..., None, None]
        batch, length = paddings.shape
        frames = dense(self.encoder_dim, "Dense_0")(images.reshape(batch, length, -1))
        if self.has_positions:
            frames = frames + position_embedding(length, self.encoder_dim)
        if training:
            frames = jax_layers.dropout(self.make_rng("dropout"), frames, dropout_rate)
        return frames, paddings


def dense(features: int, name: str) -> nn.Dense:
    """Returns a dense layer: Xavier-uniform kernel, zero bias.

    Args:
      features: output width.
      name: key of the layer in the parameter tree.
    """
    return nn.Dense(
        features,
        name=name,
        kernel_init=typed(nn.initializers.xavier_uniform(), ParameterType.WEIGHT),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.BIAS),
    )


def position_embedding(frames: int, width: int) -> jax.Array:
    """Returns sines and then cosines of the frames' places, float32 ``[frames, width]``.

    An odd width ends in a column of zeros.
    """
    angles = jnp.arange(frames, dtype=jnp.float32)[:, None] * inverse_timescales(width)
    embedding = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], 1)
    return jnp.pad(embedding, ((0, 0), (0, width % 2)))


def _scale_and_bias(
    module: nn.Module, features: int, scale_type: ParameterType, bias_type: ParameterType
) -> tuple[jax.Array, jax.Array]:
    """Parameters that start at 0; call it inside a compact module."""
    scale = module.param("scale", typed(nn.initializers.zeros_init(), scale_type), (features,))
    bias = module.param("bias", typed(nn.initializers.zeros_init(), bias_type), (features,))
    return scale, bias
