"""DeepSpeech in flax linen; twin of ``deepspeech_torch``. Source: Workload facts
(librispeech_deepspeech), 2 and 3.

Dropout acts behind the subsampling and on the output of each feed-forward layer, at the rate that
is passed; the official JAX model ignores it in the latter (Decisions, 12 and 21). The recurrent
layers have none.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.librispeech import front_end_jax, layers_jax
from algoperf_ref.workloads.librispeech.deepspeech_sizes import DeepspeechSizes
from algoperf_ref.workloads.librispeech.features import FRAME_LENGTH
from algoperf_ref.workloads.librispeech.lstm_jax import BiLstm

_HEAD = "Dense_0"


class BatchRnn(nn.Module):
    """Norm and bidirectional LSTM, perhaps added to the input.

    Attributes:
      sizes: widths, kind of norm, and whether there is a residual connection.
    """

    sizes: DeepspeechSizes

    @nn.compact
    def __call__(self, frames: jax.Array, paddings: jax.Array, training: bool) -> jax.Array:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        hidden = _normalise(self.sizes, frames, paddings, training)
        lengths = (1 - paddings).sum(1).astype(jnp.int32)
        hidden = BiLstm(self.sizes.encoder_dim // 2, name="LSTM_0")(hidden, lengths)
        return frames + hidden if self.sizes.enable_residual_connections else hidden


class FeedForward(nn.Module):
    """Norm, dense layer, activation and dropout, perhaps added to the input.

    Attributes:
      sizes: widths, kind of norm, activation, and whether there is a residual connection.
    """

    sizes: DeepspeechSizes

    @nn.compact
    def __call__(
        self, frames: jax.Array, paddings: jax.Array, training: bool, dropout_rate: Any
    ) -> jax.Array:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        sizes = self.sizes
        hidden = _normalise(sizes, frames, paddings, training)
        hidden = layers_jax.dense(sizes.encoder_dim, "Dense_0")(hidden)
        hidden = jax_layers.activation(sizes.activation)(hidden)
        hidden = hidden * (1 - paddings)[..., None]
        if training:
            hidden = jax_layers.dropout(self.make_rng("dropout"), hidden, dropout_rate)
        return frames + hidden if sizes.enable_residual_connections else hidden


class Deepspeech(nn.Module):
    """Features, subsampling, LSTMs, feed-forward layers, output layer.

    Attributes:
      sizes: widths, depth, variant and masks.
    """

    sizes: DeepspeechSizes

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
            activation=sizes.activation,
            name="Subsample_0",
        )(features, paddings, training, dropout_rate)
        for number in range(sizes.num_lstm_layers):
            frames = BatchRnn(sizes, name=f"BatchRNN_{number}")(frames, paddings, training)
        for number in range(sizes.num_ffn_layers):
            layer = FeedForward(sizes, name=f"FeedForwardModule_{number}")
            frames = layer(frames, paddings, training, dropout_rate)
        if sizes.enable_decoder_layer_norm:
            frames = layers_jax.LayerNorm(name="LayerNorm_0")(frames)
        return layers_jax.dense(sizes.num_outputs, _HEAD)(frames), paddings


def build(sizes: DeepspeechSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""

    def one_frame() -> tuple[jax.Array, jax.Array]:
        return jnp.zeros((1, FRAME_LENGTH)), jnp.zeros((1, FRAME_LENGTH))

    return JaxModel(
        Deepspeech(sizes),
        one_frame,
        backend,
        parameters_stream=0,
        has_model_state=not sizes.layernorm_everywhere,
    )


def output_parameters(sizes: DeepspeechSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({_HEAD})


def _normalise(
    sizes: DeepspeechSizes, frames: jax.Array, paddings: jax.Array, training: bool
) -> jax.Array:
    """The norm of a layer; call it inside a compact module."""
    if sizes.layernorm_everywhere:
        normalised: jax.Array = layers_jax.LayerNorm(name="LayerNorm_0")(frames)
        return normalised
    norm = layers_jax.BatchNorm(momentum=sizes.batch_norm_momentum, name="BatchNorm_0")
    normalised = norm(frames, paddings, training)
    return normalised
