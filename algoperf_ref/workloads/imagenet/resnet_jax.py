"""ResNets in flax linen; twin of ``resnet_torch``. Source: Workload facts (imagenet_resnet), 2."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_conv_layers as layers
from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_layers import typed
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.frameworks.jax_norm_layers import batch_norm
from algoperf_ref.workloads.imagenet.resnet_sizes import (
    IMAGE_CHANNELS,
    OUTPUT_KERNEL_STDDEV,
    STEM_POOL_PADDING,
    STEM_POOL_SIZE,
    STEM_POOL_STRIDE,
    Block,
    Convolution,
    ResNetSizes,
)
from spec.submission import ParameterType

_HEAD = "Dense_0"


class ResidualBlock(nn.Module):
    """Convolutions and batch norms, added to the input or to a projection of it.

    Attributes:
      block: its convolutions.
      sizes: activation and initial scale.
    """

    block: Block
    sizes: ResNetSizes

    @nn.compact
    def __call__(self, images: jax.Array, training: bool) -> jax.Array:
        """Maps ``[batch, height, width, in]`` to ``[batch, height', width', out]``."""
        activation = jax_layers.activation(self.sizes.activation)
        shortcut, last = images, len(self.block.convolutions) - 1
        for number, convolution in enumerate(self.block.convolutions):
            images = _conv(convolution, f"Conv_{number}")(images)
            scale = self.sizes.bn_init_scale if number == last else 1.0
            norm = batch_norm(f"BatchNorm_{number}", training=training, initial_scale=scale)
            images = norm(images)
            if number < last:
                images = activation(images)
        if self.block.projection is not None:
            shortcut = _conv(self.block.projection, "Conv_proj")(shortcut)
            shortcut = batch_norm("BatchNorm_proj", training=training)(shortcut)
        return activation(shortcut + images)


class ResNet(nn.Module):
    """Maps images to logits: stem, residual blocks, mean over all pixels, output layer.

    Attributes:
      sizes: depth, widths, activation, kind of blocks and stem.
    """

    sizes: ResNetSizes

    @nn.compact
    def __call__(self, inputs: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Returns float ``[batch, num_classes]``.

        Args:
          inputs: float ``[batch, height, width, 3]``; see ``ResNetSizes.check_images``.
          training: whether to normalise with the statistics of the batch.
          dropout_rate: not used: the network has no dropout.

        Raises:
          ValueError: images of another shape.
        """
        del dropout_rate
        sizes = self.sizes
        if inputs.ndim != 4:
            raise ValueError(f"inputs must be [batch, height, width, 3], got {inputs.shape}")
        sizes.check_images(*inputs.shape, training=training)
        images = _conv(sizes.stem, "Conv_init", padding=sizes.stem.size // 2)(inputs)
        images = batch_norm("BatchNorm_init", training=training)(images)
        images = jax_layers.activation(sizes.activation)(images)
        if not sizes.has_small_stem:
            images = nn.max_pool(
                images,
                (STEM_POOL_SIZE, STEM_POOL_SIZE),
                strides=(STEM_POOL_STRIDE, STEM_POOL_STRIDE),
                padding=((STEM_POOL_PADDING, STEM_POOL_PADDING),) * 2,
            )
        kind = "BottleneckResNetBlock" if sizes.is_bottleneck else "ResNetBlock"
        for number, block in enumerate(sizes.blocks):
            images = ResidualBlock(block, sizes, name=f"{kind}_{number}")(images, training)
        head = nn.Dense(
            sizes.num_classes,
            name=_HEAD,
            kernel_init=typed(nn.initializers.normal(OUTPUT_KERNEL_STDDEV), ParameterType.WEIGHT),
            bias_init=typed(nn.initializers.zeros_init(), ParameterType.BIAS),
        )
        return head(images.mean((1, 2)))


def build(sizes: ResNetSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""

    def smallest_inputs() -> jax.Array:
        return jnp.zeros((1, 1, 1, IMAGE_CHANNELS))

    return JaxModel(
        ResNet(sizes), smallest_inputs, backend, parameters_stream=None, has_model_state=True
    )


def output_parameters(sizes: ResNetSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({_HEAD})


def _conv(convolution: Convolution, name: str, padding: int | None = None) -> nn.Conv:
    features, size, stride = convolution
    return layers.conv(features, (size, size), name, use_bias=False, stride=stride, padding=padding)
