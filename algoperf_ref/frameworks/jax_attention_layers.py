"""flax layers of networks with attention; twin of ``torch_attention_layers``."""

from __future__ import annotations

import flax.linen as nn
import jax

from algoperf_ref.frameworks.jax_layers import typed
from spec.submission import ParameterType

FEED_FORWARD_BIAS_STD = 1e-6
"""Source: Workload facts (imagenet_vit), 2."""


def xavier_dense(features: int, name: str) -> nn.Dense:
    """Returns a feed-forward block's dense layer: Xavier-uniform kernel, nearly zero bias.

    Args:
      features: output width.
      name: key of the layer in the parameter tree.
    """
    return nn.Dense(
        features,
        name=name,
        kernel_init=typed(nn.initializers.xavier_uniform(), ParameterType.WEIGHT),
        bias_init=typed(nn.initializers.normal(stddev=FEED_FORWARD_BIAS_STD), ParameterType.BIAS),
    )


class MultiHeadAttention(nn.Module):
    """Dot-product attention of several heads, with biases and without dropout.

    Each kernel is Xavier-uniform as a matrix ``[width, width]`` whose columns (of ``out``: rows)
    are those of all heads; biases are zero. Source: Workload facts (imagenet_vit), 2.

    Attributes:
      num_heads: number of heads; divides the width.
    """

    num_heads: int

    @nn.compact
    def __call__(self, queries: jax.Array, others: jax.Array) -> jax.Array:
        """Mixes ``others`` as ``queries`` ask for.

        Args:
          queries: float ``[batch, queries, width]``.
          others: float ``[batch, others, width]``; keys and values are made of them.

        Returns:
          Float ``[batch, queries, width]``. Logits are divided by the root of a head's width.
        """
        width = queries.shape[-1]
        heads = (self.num_heads, width // self.num_heads)
        query = _projection(heads, "query", ParameterType.ATTENTION_Q)(queries)
        key = _projection(heads, "key", ParameterType.ATTENTION_K)(others)
        value = _projection(heads, "value", ParameterType.ATTENTION_V)(others)
        mixed = nn.dot_product_attention(query, key, value)
        out = _projection((width,), "out", ParameterType.ATTENTION_OUT, axis=(-2, -1))
        return out(mixed)


def _projection(
    features: tuple[int, ...], name: str, kernel_type: ParameterType, axis: tuple[int, ...] = (-1,)
) -> nn.DenseGeneral:
    """Maps the axes ``axis`` to the axes ``features``."""
    return nn.DenseGeneral(
        features,
        axis=axis,
        name=name,
        kernel_init=typed(nn.initializers.xavier_uniform(), kernel_type),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.ATTENTION_BIAS),
    )
