"""The U-Net in flax linen; twin of ``unet_torch``. Source: Workload facts (fastmri), 2."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_conv_layers as layers
from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.fastmri.sizes import (
    KERNEL_SIZE,
    LAYERS_PER_BLOCK,
    POOL_SIZE,
    UnetSizes,
)

_HEAD = "Conv_0"


class ConvBlock(nn.Module):
    """Twice: convolution without bias, norm, activation, dropout of whole channels.

    Attributes:
      features: number of output channels.
      sizes: activation and norm.
    """

    features: int
    sizes: UnetSizes

    @nn.compact
    def __call__(self, images: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Maps ``[batch, height, width, in]`` to ``[batch, height, width, features]``."""
        activation = jax_layers.activation(self.sizes.activation)
        kernel = (KERNEL_SIZE, KERNEL_SIZE)
        for number in range(LAYERS_PER_BLOCK):
            images = layers.conv(self.features, kernel, f"Conv_{number}", use_bias=False)(images)
            if self.sizes.use_layer_norm:
                images = layers.image_layer_norm(f"LayerNorm_{number}")(images)
            else:
                images = layers.instance_norm(images)
            images = activation(images)
            if training:
                images = layers.channel_dropout(self.make_rng("dropout"), images, dropout_rate)
        return images


class TransposeConvBlock(nn.Module):
    """Doubles height and width: transposed convolution, instance norm, activation.

    Attributes:
      features: number of output channels.
      sizes: activation.
    """

    features: int
    sizes: UnetSizes

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps ``[batch, height, width, in]`` to ``[batch, 2 height, 2 width, features]``."""
        images = layers.conv_transpose(self.features, POOL_SIZE, "ConvTranspose_0")(images)
        return jax_layers.activation(self.sizes.activation)(layers.instance_norm(images))


class Unet(nn.Module):
    """Maps images to images: blocks on the way down, their outputs joined in on the way up.

    Attributes:
      sizes: widths, depth, activation and norm.
    """

    sizes: UnetSizes

    @nn.compact
    def __call__(self, inputs: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Returns float ``[batch, height, width]``.

        Args:
          inputs: float ``[batch, height, width]``; see ``UnetSizes.check_images``.
          training: whether dropout is on.
          dropout_rate: rate of the channels' dropout in every convolution block.

        Raises:
          ValueError: images that are too small.
        """
        sizes = self.sizes
        sizes.check_images(inputs.shape)
        *widths, bottom = sizes.widths
        images, skipped = inputs[..., None], []
        for number, width in enumerate(widths):
            block = ConvBlock(width, sizes, name=f"ConvBlock_{number}")
            images = block(images, training, dropout_rate)
            skipped.append(images)
            images = layers.average_pool(images, POOL_SIZE)
        block = ConvBlock(bottom, sizes, name=f"ConvBlock_{len(widths)}")
        images = block(images, training, dropout_rate)
        for number, width in enumerate(reversed(widths)):
            skip = skipped.pop()
            images = TransposeConvBlock(width, sizes, name=f"TransposeConvBlock_{number}")(images)
            images = jnp.concatenate([_pad_to(images, skip), skip], axis=-1)
            block = ConvBlock(width, sizes, name=f"ConvBlock_{len(widths) + 1 + number}")
            images = block(images, training, dropout_rate)
        return layers.conv(1, (1, 1), _HEAD, use_bias=True)(images)[..., 0]


def build(sizes: UnetSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""

    def smallest_inputs() -> jax.Array:
        return jnp.zeros((1, sizes.smallest_image, sizes.smallest_image))

    return JaxModel(Unet(sizes), smallest_inputs, backend, parameters_stream=0)


def output_parameters(sizes: UnetSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({_HEAD})


def _pad_to(images: jax.Array, target: jax.Array) -> jax.Array:
    """Mirrors the last but one row and column of images that came from an odd height or width."""
    missing = [(0, target.shape[axis] - images.shape[axis]) for axis in (1, 2)]
    return jnp.pad(images, ((0, 0), *missing, (0, 0)), mode="reflect")
