"""Sizes of the Transformer, read from a workload's row, and its position embedding."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spec.workloads import WorkloadSpec

ACTIVATIONS = ("relu", "tanh")
_LONGEST_PERIOD = 10_000
"""Source: Workload facts (wmt), 2."""


@dataclass(frozen=True)
class WmtSizes:
    """What tells one Transformer from another; the defaults are the benchmark's.

    Attributes:
      vocab_size: number of pieces; the table of their embeddings is also the readout.
      pre_ln: layer norm at the start of each branch and behind the last layer, instead of behind
        each sum.
      attention_temp: factor of all attention logits.
      activation: of the feed-forward blocks, ``relu`` or ``tanh``.
      glu: whether the activated hidden layer is multiplied by a dense layer of the block's input.
      embed_dim: width of a token; even, and a multiple of ``num_heads``.
      num_heads: heads of each attention layer.
      num_layers: layers of the encoder, and of the decoder.
      mlp_dim: hidden width of the feed-forward blocks.
      max_len: longest sentence, with its end; also the length of a translation with its start.

    Raises:
      ValueError: sizes that do not fit each other, or an unknown activation.
    """

    vocab_size: int
    pre_ln: bool = True
    attention_temp: float = 1.0
    activation: str = "relu"
    glu: bool = False
    embed_dim: int = 1024
    num_heads: int = 16
    num_layers: int = 6
    mlp_dim: int = 1024
    max_len: int = 256

    def __post_init__(self) -> None:
        numbers = (self.vocab_size, self.num_heads, self.num_layers, self.mlp_dim, self.max_len)
        if min(numbers) < 1:
            raise ValueError(f"sizes must be positive, got {self}")
        if self.embed_dim < 4 or self.embed_dim % 2 or self.embed_dim % self.num_heads:
            raise ValueError(
                "embed_dim must be even, at least 4, and a multiple of num_heads; got "
                f"embed_dim {self.embed_dim} and num_heads {self.num_heads}"
            )
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"unknown activation {self.activation!r}: choose one of {', '.join(ACTIVATIONS)}"
            )

    @classmethod
    def of(cls, spec: WorkloadSpec) -> WmtSizes:
        """Reads the sizes of a workload; what its row does not say is the benchmark's."""
        config = spec.model_config
        return cls(**{name: config[name] for name in cls.__dataclass_fields__ if name in config})

    @property
    def query_scale(self) -> float:
        """What queries are multiplied by: the temperature over the root of a head's width."""
        return float(self.attention_temp / np.sqrt(self.embed_dim // self.num_heads))


@functools.cache
def position_embedding(length: int, width: int) -> NDArray[np.float32]:
    """Returns the table of positions, float32 ``[length, width]``: sines, then cosines.

    Source: Workload facts (wmt), 2.
    """
    half = width // 2
    rates = np.exp(-np.arange(half) * np.log(_LONGEST_PERIOD) / (half - 1))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
