"""DeepSpeech in PyTorch; twin of ``deepspeech_jax``. Source: Workload facts
(librispeech_deepspeech), 2 and 3.

Dropout acts behind the subsampling and on the output of each feed-forward layer, at the rate that
is passed. The recurrent layers have none.
"""

from __future__ import annotations

import torch
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.librispeech import front_end_torch, layers_torch
from algoperf_ref.workloads.librispeech.deepspeech_sizes import DeepspeechSizes
from algoperf_ref.workloads.librispeech.lstm_torch import BiLstm


class Block(nn.Module):
    """A layer that normalises first; the norm's name says its kind, as officially.

    Args:
      sizes: width, kind of norm, and whether there is a residual connection.
    """

    def __init__(self, sizes: DeepspeechSizes) -> None:
        super().__init__()
        self._is_residual = sizes.enable_residual_connections
        width = sizes.encoder_dim
        if sizes.layernorm_everywhere:
            self.normalization_layer = layers_torch.LayerNorm(width)
        else:
            self.bn_normalization_layer = layers_torch.BatchNorm(
                width, momentum=sizes.batch_norm_momentum
            )

    def _normalise(self, frames: torch.Tensor, paddings: torch.Tensor) -> torch.Tensor:
        if "normalization_layer" in self._modules:
            normalised: torch.Tensor = self.normalization_layer(frames)
        else:
            normalised = self.bn_normalization_layer(frames, paddings)
        return normalised

    def _join(self, frames: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        return frames + hidden if self._is_residual else hidden


class BatchRnn(Block):
    """Norm and bidirectional LSTM, perhaps added to the input.

    Args:
      sizes: width, kind of norm, and whether there is a residual connection.
    """

    def __init__(self, sizes: DeepspeechSizes) -> None:
        super().__init__(sizes)
        self.lstm = BiLstm(sizes.encoder_dim, sizes.encoder_dim // 2)

    def forward(
        self, frames: torch.Tensor, paddings: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        return self._join(frames, self.lstm(self._normalise(frames, paddings), lengths))


class FeedForward(Block):
    """Norm, dense layer, activation and dropout, perhaps added to the input.

    Args:
      sizes: width, kind of norm, activation, and whether there is a residual connection.
    """

    def __init__(self, sizes: DeepspeechSizes) -> None:
        super().__init__(sizes)
        self._activation = torch_layers.activation(sizes.activation)
        self.lin = layers_torch.Dense(sizes.encoder_dim, sizes.encoder_dim)

    def forward(
        self, frames: torch.Tensor, paddings: torch.Tensor, dropout_rate: float
    ) -> torch.Tensor:
        """Maps ``[batch, frames, encoder_dim]`` to the same shape."""
        hidden = self._activation(self.lin(self._normalise(frames, paddings)))
        hidden = hidden * (1 - paddings)[..., None]
        return self._join(frames, torch_layers.dropout(hidden, dropout_rate, self.training))


class Deepspeech(nn.Module):
    """Features, subsampling, LSTMs, feed-forward layers, output layer.

    Args:
      sizes: widths, depth, variant and masks.
    """

    def __init__(self, sizes: DeepspeechSizes) -> None:
        super().__init__()
        self._spec_augment = sizes.spec_augment
        self.preprocessor = front_end_torch.LogMel()
        self.subsample = layers_torch.Subsample(
            sizes.encoder_dim, channels=sizes.subsampling_channels, activation=sizes.activation
        )
        self.lstms = nn.ModuleList(BatchRnn(sizes) for _ in range(sizes.num_lstm_layers))
        self.ffns = nn.ModuleList(FeedForward(sizes) for _ in range(sizes.num_ffn_layers))
        has_norm = sizes.enable_decoder_layer_norm
        self.ln = layers_torch.LayerNorm(sizes.encoder_dim) if has_norm else nn.Identity()
        self.lin = layers_torch.Dense(sizes.encoder_dim, sizes.num_outputs)

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
        lengths = (1 - paddings).sum(1).long()
        for layer in self.lstms:
            frames = layer(frames, paddings, lengths)
        for layer in self.ffns:
            frames = layer(frames, paddings, dropout_rate)
        return self.lin(self.ln(frames)), paddings


def build(sizes: DeepspeechSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: Deepspeech(sizes), backend)


def output_parameters(sizes: DeepspeechSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters."""
    return frozenset({"lin.weight", "lin.bias"})
