"""The perceptron in flax linen; twin of ``perceptron_torch``. Source: Workload facts
(dev_workloads), mnist.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.mnist.sizes import PerceptronSizes

_HEAD = "Dense_1"


class Perceptron(nn.Module):
    """Dense layer, sigmoid, dense layer.

    Attributes:
      sizes: widths.
    """

    sizes: PerceptronSizes

    @nn.compact
    def __call__(self, inputs: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Returns logits, float ``[batch, num_classes]``.

        Args:
          inputs: float ``[batch, ...]``, officially ``[batch, 28, 28, 1]``.
          training, dropout_rate: not used: there is no dropout.

        Raises:
          ValueError: images of another size.
        """
        self.sizes.check_images(inputs.shape)
        hidden = jax_layers.dense(self.sizes.hidden_dim, "Dense_0")(inputs.reshape(len(inputs), -1))
        return jax_layers.dense(self.sizes.num_classes, _HEAD)(nn.sigmoid(hidden))


def build(sizes: PerceptronSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""

    def one_image() -> jax.Array:
        return jnp.zeros((1, sizes.num_pixels))

    return JaxModel(Perceptron(sizes), one_image, backend, parameters_stream=None)


def output_parameters(sizes: PerceptronSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({_HEAD})
