"""flax layers of convolutional networks, channels last; twin of ``torch_conv_layers``."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_layers import LAYER_NORM_EPSILON, typed
from spec.submission import ParameterType

INSTANCE_NORM_EPSILON = 1e-5
"""Source: Workload facts (fastmri), 2."""


def conv(
    features: int,
    kernel_size: tuple[int, int],
    name: str,
    *,
    use_bias: bool,
    stride: int = 1,
    padding: int | None = None,
) -> nn.Conv:
    """Returns a convolution (zeros outside the image).

    The kernel ``[height, width, in, out]`` is LeCun-normal, with fan-in height * width * in; the
    bias is zero.

    Args:
      features: number of output channels.
      kernel_size: height and width of the kernel.
      name: key of the layer in the parameter tree.
      use_bias: whether the layer has a bias.
      stride: step in both directions, in pixels.
      padding: rows and columns of zeros on each side; None divides height and width by the stride,
        rounded up: if the number of zeros is odd, there is one more below and to the right.
    """
    return nn.Conv(
        features,
        kernel_size,
        strides=(stride, stride),
        padding="SAME" if padding is None else padding,
        use_bias=use_bias,
        name=name,
        kernel_init=typed(nn.initializers.lecun_normal(), ParameterType.CONV_WEIGHT),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.BIAS),
    )


def conv_transpose(features: int, size: int, name: str) -> nn.ConvTranspose:
    """Returns a transposed convolution without bias whose stride is its kernel size.

    The kernel ``[size, size, in, out]`` is LeCun-normal with fan-in size * size * in: one scale
    for both frameworks, where the official PyTorch twin counts outputs (Decisions, 1 and 23).

    Args:
      features: number of output channels.
      size: height and width of the kernel, and the factor by which the image grows.
      name: key of the layer in the parameter tree.
    """
    return nn.ConvTranspose(
        features,
        (size, size),
        strides=(size, size),
        padding="VALID",
        use_bias=False,
        name=name,
        kernel_init=typed(nn.initializers.lecun_normal(), ParameterType.CONV_WEIGHT),
    )


def image_layer_norm(name: str) -> nn.LayerNorm:
    """Returns a layer norm over height, width and channels, with scale and bias per channel."""
    return nn.LayerNorm(
        epsilon=LAYER_NORM_EPSILON,
        reduction_axes=(1, 2, 3),
        feature_axes=-1,
        name=name,
        scale_init=typed(nn.initializers.ones_init(), ParameterType.LAYER_NORM_SCALE),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.LAYER_NORM_BIAS),
    )


def instance_norm(inputs: jax.Array) -> jax.Array:
    """Normalises each channel of each image over height and width; there are no parameters.

    Args:
      inputs: float ``[batch, height, width, channels]``.

    Returns:
      Array like ``inputs``. Statistics are of at least float32; the variance is the biased one,
      E[x^2] - E[x]^2, and at least 0. Source: Workload facts (fastmri), 2.
    """
    wide = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
    mean = wide.mean((1, 2), keepdims=True)
    variance = jnp.square(wide).mean((1, 2), keepdims=True) - jnp.square(mean)
    scale = jax.lax.rsqrt(jnp.maximum(variance, 0.0) + INSTANCE_NORM_EPSILON)
    return ((wide - mean) * scale).astype(inputs.dtype)


def average_pool(inputs: jax.Array, size: int) -> jax.Array:
    """Averages blocks of ``size`` times ``size`` pixels; what is left over at the end is dropped.

    Args:
      inputs: float ``[batch, height, width, channels]``.
      size: side of a block in pixels.

    Returns:
      Float ``[batch, height // size, width // size, channels]``.
    """
    return nn.avg_pool(inputs, (size, size), strides=(size, size), padding="VALID")


def channel_dropout(key: jax.Array, inputs: jax.Array, rate: Any) -> jax.Array:
    """Zeroes whole channels of single images with probability ``rate`` and scales the others.

    Args:
      key: ``uint32[2]`` random key.
      inputs: float ``[batch, height, width, channels]``.
      rate: Python float or float scalar array in [0, 1], may be traced.

    Returns:
      Array like ``inputs``.
    """
    batch, _, _, channels = inputs.shape
    # The factors of the maps, so that few random numbers are drawn and nothing branches on a rate.
    factors = jax_layers.dropout(key, jnp.ones((batch, 1, 1, channels), inputs.dtype), rate)
    return inputs * factors
