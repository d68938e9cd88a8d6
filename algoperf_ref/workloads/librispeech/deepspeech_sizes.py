"""Sizes of DeepSpeech, read from a workload's row."""

from __future__ import annotations

from dataclasses import dataclass, field

from algoperf_ref.workloads.librispeech.features import SpecAugment
from spec.workloads import WorkloadSpec

_OPTIONAL = (
    "encoder_dim",
    "num_lstm_layers",
    "num_ffn_layers",
    "subsampling_channels",
    "batch_norm_momentum",
)


@dataclass(frozen=True)
class DeepspeechSizes:
    """What tells one DeepSpeech from another; the defaults are those of the full size.

    Attributes:
      num_outputs: classes, of which the first is the blank.
      use_tanh: tanh in place of ReLU.
      enable_residual_connections: whether a layer is added to its input.
      enable_decoder_layer_norm: whether there is a layer norm before the output layer.
      layernorm_everywhere: layer norms in place of batch norms.
      encoder_dim: width of a frame; a direction of an LSTM has half of it.
      num_lstm_layers: bidirectional LSTMs.
      num_ffn_layers: feed-forward layers behind them.
      subsampling_channels: of the two convolutions.
      batch_norm_momentum: weight of the old running statistics.
      spec_augment: the masks of training, or None.

    Raises:
      ValueError: sizes that make no network.
      Source: Workload facts (librispeech_deepspeech), 1 and 2.
    """

    num_outputs: int
    use_tanh: bool = False
    enable_residual_connections: bool = True
    enable_decoder_layer_norm: bool = True
    layernorm_everywhere: bool = False
    encoder_dim: int = 512
    num_lstm_layers: int = 6
    num_ffn_layers: int = 3
    subsampling_channels: int = 512
    batch_norm_momentum: float = 0.999
    spec_augment: SpecAugment | None = field(default_factory=SpecAugment)

    def __post_init__(self) -> None:
        layers = (self.num_lstm_layers, self.num_ffn_layers)
        if min(self.encoder_dim, self.subsampling_channels, *layers) < 1:
            raise ValueError(f"sizes must be positive, got {self}")
        if self.num_outputs < 2:
            raise ValueError(
                f"num_outputs must be at least 2, a blank and a piece; got {self.num_outputs}"
            )
        if self.encoder_dim % 2:
            raise ValueError(f"encoder_dim must be even, got {self.encoder_dim}")
        if not 0 <= self.batch_norm_momentum < 1:
            raise ValueError(
                f"batch_norm_momentum must be in [0, 1), got {self.batch_norm_momentum}"
            )

    @classmethod
    def of(cls, spec: WorkloadSpec) -> DeepspeechSizes:
        """Reads the sizes of a workload; what its row does not say is that of the full size."""
        config = spec.model_config
        return cls(
            num_outputs=config["num_outputs"],
            use_tanh=config["use_tanh"],
            enable_residual_connections=config["enable_residual_connections"],
            enable_decoder_layer_norm=config["enable_decoder_layer_norm"],
            layernorm_everywhere=config["layernorm_everywhere"],
            spec_augment=SpecAugment.of(config),
            **{name: config[name] for name in _OPTIONAL if name in config},
        )

    @property
    def activation(self) -> str:
        """Name of the activation function."""
        return "tanh" if self.use_tanh else "relu"
