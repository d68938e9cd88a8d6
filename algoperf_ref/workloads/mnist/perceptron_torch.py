"""The perceptron in PyTorch; twin of ``perceptron_jax``. Source: Workload facts (dev_workloads),
mnist.

Initial values have the distribution of the JAX twin: the official PyTorch model starts with torch's
own, and with another one after a second initialisation (Decisions, 1).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_layers import Dense
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.mnist.sizes import PerceptronSizes


class Perceptron(nn.Module):
    """Dense layer, sigmoid, dense layer.

    Args:
      sizes: widths.
    """

    def __init__(self, sizes: PerceptronSizes) -> None:
        super().__init__()
        self._sizes = sizes
        self.net = nn.Sequential(
            OrderedDict(
                layer1=Dense(sizes.num_pixels, sizes.hidden_dim),
                activation=nn.Sigmoid(),
                layer2=Dense(sizes.hidden_dim, sizes.num_classes),
            )
        )

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Returns logits, float ``[batch, num_classes]``.

        Args:
          inputs: float ``[batch, ...]``, officially ``[batch, 1, 28, 28]``.
          dropout_rate: not used: there is no dropout.

        Raises:
          ValueError: images of another size.
        """
        self._sizes.check_images(tuple(inputs.shape))
        logits: torch.Tensor = self.net(inputs.flatten(1))
        return logits


def build(sizes: PerceptronSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: Perceptron(sizes), backend)


def output_parameters(sizes: PerceptronSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters.

    The official implementation mistypes the second one (Decisions, 21).
    """
    return frozenset({"net.layer2.weight", "net.layer2.bias"})
