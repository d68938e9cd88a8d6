"""torch layers of the benchmark's models: each layer declares the types of its own parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from spec.submission import ParameterType, ShapeTuple

LAYER_NORM_EPSILON = 1e-6
"""flax's default instead of torch's 1e-5. Source: Workload facts (ogbg), 2."""

LEAKY_RELU_SLOPE = 0.2
"""Not the frameworks' default of 0.01. Source: Workload facts (fastmri), 2."""

_TRUNCATED_NORMAL_STD = 0.87962566103423978
"""Standard deviation of the standard normal distribution cut at plus and minus 2."""

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "gelu": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=LEAKY_RELU_SLOPE),
    "tanh": torch.tanh,
}


class TypedLayer(nn.Module):
    """A layer that knows the types of its own parameters and how to initialise them.

    Attributes:
      parameter_types: type of every parameter that this layer itself owns, by attribute name.
    """

    parameter_types: Mapping[str, ParameterType]

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the layer's parameters from ``generator``."""
        raise NotImplementedError


class Dense(TypedLayer):
    """Affine map; LeCun-normal weight ``[out, in]`` (cut at two sigma), zero bias ``[out]``."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_type: ParameterType = ParameterType.WEIGHT,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.parameter_types = {"weight": weight_type, "bias": ParameterType.BIAS}

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        lecun_normal_(self.weight, self.weight.shape[1], generator)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps ``[..., in]`` to ``[..., out]``."""
        return F.linear(inputs, self.weight, self.bias)


class LayerNorm(TypedLayer):
    """Layer norm over the last axis of width ``features``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features))
        self.parameter_types = {
            "weight": ParameterType.LAYER_NORM_SCALE,
            "bias": ParameterType.LAYER_NORM_BIAS,
        }

    def initialise(self, generator: torch.Generator) -> None:
        """Sets scale 1 and bias 0; see :class:`TypedLayer`."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalises ``[..., features]``."""
        return F.layer_norm(inputs, self.weight.shape, self.weight, self.bias, LAYER_NORM_EPSILON)


def lecun_normal_(weight: torch.Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Fills ``weight`` from a normal distribution cut at two sigma, with variance ``1 / fan_in``.

    This is flax's ``lecun_normal``: the sigma before the cut is corrected for the cut.
    """
    sigma = math.sqrt(1.0 / fan_in) / _TRUNCATED_NORMAL_STD
    bound = math.erf(2 / math.sqrt(2))
    with torch.no_grad():  # Inverse of the cumulative distribution at a uniform variable.
        weight.uniform_(-bound, bound, generator=generator).erfinv_().mul_(math.sqrt(2) * sigma)
        weight.clamp_(-2 * sigma, 2 * sigma)


def dropout(inputs: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Zeroes each element with probability ``rate`` and scales the others by ``1 / (1 - rate)``.

    The mask comes from torch's global generator. Nothing is drawn at rate 0 or outside training.

    Args:
      inputs: float tensor.
      rate: Python float in [0, 1].
      training: False returns the inputs.

    Returns:
      Tensor like ``inputs``.
    """
    return F.dropout(inputs, rate, training=True) if training and rate != 0 else inputs


def activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns an activation function; GELU is the tanh approximation, the leaky slope 0.2.

    Raises:
      ValueError: unknown name.
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: choose one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


class StatisticsLayer(TypedLayer):
    """A layer with running statistics, in buffers of its own.

    Attributes:
      updates_statistics: whether a training pass changes them. It normalises with the statistics
        of its batch in any case (Decisions, 2).
    """

    updates_statistics = True


def set_statistics_updates(module: nn.Module, update: bool) -> None:
    """Tells all layers with running statistics whether training passes update them."""
    for layer in module.modules():
        if isinstance(layer, StatisticsLayer):
            layer.updates_statistics = update


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Initialises every layer of a module, in the order of ``module.modules()``."""
    for layer in module.modules():
        if isinstance(layer, TypedLayer):
            layer.initialise(generator)


def parameter_types(module: nn.Module) -> dict[str, ParameterType]:
    """Returns the type of every parameter by name, in the order of ``named_parameters``.

    Raises:
      TypeError: the layer that owns some parameter declares no type for it.
    """
    declared = {
        f"{prefix}.{name}" if prefix else name: parameter_type
        for prefix, layer in module.named_modules()
        if isinstance(layer, TypedLayer)
        for name, parameter_type in layer.parameter_types.items()
    }
    names = [name for name, _ in module.named_parameters()]
    for name in names:
        if name not in declared:
            raise TypeError(f"parameter {name} declares no type")
    return {name: declared[name] for name in names}


def parameter_shapes(module: nn.Module) -> dict[str, ShapeTuple]:
    """Returns the shape of every parameter by name."""
    return {name: ShapeTuple(tuple(p.shape)) for name, p in module.named_parameters()}
