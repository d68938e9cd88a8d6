"""torch layers of networks with attention; twin of ``jax_attention_layers``."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks.torch_layers import Dense
from spec.submission import ParameterType

FEED_FORWARD_BIAS_STD = 1e-6
"""Source: Workload facts (imagenet_vit), 2."""


class XavierDense(Dense):
    """Dense layer of a feed-forward block: Xavier-uniform weight, nearly zero bias."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draws weight and bias; see :class:`TypedLayer`."""
        xavier_uniform_(self.weight, sum(self.weight.shape), generator)
        nn.init.normal_(self.bias, std=FEED_FORWARD_BIAS_STD, generator=generator)


class Projection(Dense):
    """One or several projections of an attention layer, side by side in one weight.

    Each of them is Xavier-uniform by itself: fused projections start at the scale of separate ones,
    which is the JAX twin's. The official layer takes the fans of the whole weight and starts
    smaller (Decisions, 1 and 23). The bias is zero.

    Args:
      in_features: width of the inputs.
      out_features: width of the outputs of all projections together.
      weight_type: type of the weight; the bias is of type ATTENTION_BIAS.
      num_fused: number of projections.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_type: ParameterType,
        num_fused: int = 1,
    ) -> None:
        super().__init__(in_features, out_features)
        self._num_fused = num_fused
        self.parameter_types = {"weight": weight_type, "bias": ParameterType.ATTENTION_BIAS}

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        out_features, in_features = self.weight.shape
        xavier_uniform_(self.weight, in_features + out_features // self._num_fused, generator)
        nn.init.zeros_(self.bias)


class MultiHeadAttention(nn.Module):
    """Dot-product attention of several heads, with biases and without dropout.

    Args:
      width: width of inputs and outputs.
      num_heads: number of heads; divides the width.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.query = Projection(width, width, ParameterType.ATTENTION_Q)
        self.key = Projection(width, width, ParameterType.ATTENTION_K)
        self.value = Projection(width, width, ParameterType.ATTENTION_V)
        self.out = Projection(width, width, ParameterType.ATTENTION_OUT)

    def forward(self, queries: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Mixes ``others`` as ``queries`` ask for.

        Args:
          queries: float ``[batch, queries, width]``.
          others: float ``[batch, others, width]``; keys and values are made of them.

        Returns:
          Float ``[batch, queries, width]``.
        """
        mixed = attend(self.query(queries), self.key(others), self.value(others), self._num_heads)
        outputs: torch.Tensor = self.out(mixed)
        return outputs


class FusedMultiHeadAttention(nn.Module):
    """The same function as :class:`MultiHeadAttention`; keys and values have one weight.

    Rows of ``kv_proj`` are first those of the keys, then those of the values.

    Args:
      width: width of inputs and outputs.
      num_heads: number of heads; divides the width.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self._num_heads = num_heads
        self.q_proj = Projection(width, width, ParameterType.ATTENTION_Q)
        self.kv_proj = Projection(width, 2 * width, ParameterType.ATTENTION_KV, num_fused=2)
        self.out_proj = Projection(width, width, ParameterType.ATTENTION_OUT)

    def forward(self, queries: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Mixes ``others`` as ``queries`` ask for; see :class:`MultiHeadAttention`."""
        keys, values = self.kv_proj(others).chunk(2, dim=-1)
        outputs: torch.Tensor = self.out_proj(
            attend(self.q_proj(queries), keys, values, self._num_heads)
        )
        return outputs


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, num_heads: int
) -> torch.Tensor:
    """Scaled dot-product attention; each head has its own slice of the last axis.

    Args:
      queries: float ``[batch, queries, width]``.
      keys, values: float ``[batch, others, width]``.
      num_heads: number of heads; divides the width.

    Returns:
      Float ``[batch, queries, width]``. Logits are divided by the root of a head's width.
    """
    heads = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (queries, keys, values))
    return F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def xavier_uniform_(weight: torch.Tensor, fans: int, generator: torch.Generator) -> None:
    """Fills ``weight`` uniformly, with variance ``2 / fans``; ``fans`` is fan-in plus fan-out."""
    limit = math.sqrt(6 / fans)
    nn.init.uniform_(weight, -limit, limit, generator=generator)
