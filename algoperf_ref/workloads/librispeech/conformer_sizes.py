"""Sizes of the Conformer, read from a workload's row."""

from __future__ import annotations

from dataclasses import dataclass, field

from algoperf_ref.workloads.librispeech.features import SpecAugment
from spec.workloads import WorkloadSpec

QUERY_SCALE = 1.442695041
"""Makes the factors of queries 1 where their parameters are 0: it is 1 / softplus(0)."""

_OPTIONAL = (
    "encoder_dim",
    "num_attention_heads",
    "num_encoder_layers",
    "feed_forward_expansion_factor",
    "convolution_kernel_size",
    "subsampling_channels",
    "batch_norm_momentum",
)


@dataclass(frozen=True)
class ConformerSizes:
    """What tells one Conformer from another; the defaults are those of the full size.

    Source: Workload facts (librispeech_conformer), 1 and 2.

    Attributes:
      num_outputs: classes, of which the first is the blank.
      use_post_layer_norm: whether each block ends in a layer norm. The one before the output layer
        is always there.
      use_gelu: GELU in place of swish in the blocks; the subsampling has ReLU in any case.
      attention_temperature: factor of what the attention makes of the values.
      encoder_dim: width of a frame; a multiple of ``num_attention_heads``.
      num_attention_heads: heads of each attention layer.
      num_encoder_layers: number of blocks.
      feed_forward_expansion_factor: hidden width of a feed-forward module, in widths of a frame.
      convolution_kernel_size: frames that the convolution of a block sees.
      subsampling_channels: of the two convolutions before the blocks.
      batch_norm_momentum: weight of the old running statistics.
      spec_augment: the masks of training, or None.

    Raises:
      ValueError: sizes that make no network.
    """

    num_outputs: int
    use_post_layer_norm: bool = True
    use_gelu: bool = False
    attention_temperature: float = 1.0
    encoder_dim: int = 512
    num_attention_heads: int = 8
    num_encoder_layers: int = 4
    feed_forward_expansion_factor: int = 4
    convolution_kernel_size: int = 5
    subsampling_channels: int = 512
    batch_norm_momentum: float = 0.999
    spec_augment: SpecAugment | None = field(default_factory=SpecAugment)

    def __post_init__(self) -> None:
        counts = (
            self.encoder_dim,
            self.num_attention_heads,
            self.num_encoder_layers,
            self.feed_forward_expansion_factor,
            self.convolution_kernel_size,
            self.subsampling_channels,
        )
        if min(counts) < 1:
            raise ValueError(f"sizes must be positive, got {self}")
        if self.num_outputs < 2:
            raise ValueError(
                f"num_outputs must be at least 2, a blank and a piece; got {self.num_outputs}"
            )
        if self.encoder_dim % self.num_attention_heads:
            raise ValueError(
                f"encoder_dim must be a multiple of num_attention_heads; got {self.encoder_dim} "
                f"and {self.num_attention_heads}"
            )
        if not 0 <= self.batch_norm_momentum < 1:
            raise ValueError(
                f"batch_norm_momentum must be in [0, 1), got {self.batch_norm_momentum}"
            )

    @classmethod
    def of(cls, spec: WorkloadSpec) -> ConformerSizes:
        """Reads the sizes of a workload; what its row does not say is that of the full size."""
        config = spec.model_config
        return cls(
            num_outputs=config["num_outputs"],
            use_post_layer_norm=config["use_post_layer_norm"],
            use_gelu=config["use_gelu"],
            attention_temperature=config["attention_temperature"],
            spec_augment=SpecAugment.of(config),
            **{name: config[name] for name in _OPTIONAL if name in config},
        )

    @property
    def activation(self) -> str:
        """Name of the activation function of the blocks."""
        return "gelu" if self.use_gelu else "silu"

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.encoder_dim // self.num_attention_heads

    @property
    def feed_forward_dim(self) -> int:
        """Hidden width of a feed-forward module."""
        return self.feed_forward_expansion_factor * self.encoder_dim
