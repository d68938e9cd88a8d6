"""flax layers of the benchmark's models: each parameter carries its type from where it is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from flax.core import meta

from spec.submission import ParameterType, ShapeTuple

LAYER_NORM_EPSILON = 1e-6
"""flax's default; the PyTorch twins use it too. Source: Workload facts (ogbg), 2."""

LEAKY_RELU_SLOPE = 0.2
"""Not the frameworks' default of 0.01. Source: Workload facts (fastmri), 2."""

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=LEAKY_RELU_SLOPE),
    "tanh": jnp.tanh,
}


class TypedParameter(struct.PyTreeNode, meta.AxisMetadata[Any]):
    """Box in which an initialiser returns a parameter together with its type.

    flax opens the box wherever a layer reads the parameter; :func:`unbox` opens all of a tree.
    """

    value: Any
    parameter_type: ParameterType = struct.field(pytree_node=False)

    def unbox(self) -> Any:
        """Returns the parameter."""
        return self.value

    def replace_boxed(self, val: Any) -> TypedParameter:
        """Returns a box of the same type with another content."""
        return self.replace(value=val)

    def add_axis(self, index: int, params: dict[Any, Any]) -> TypedParameter:
        """Returns the box: a stacked parameter keeps its type."""
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> TypedParameter:
        """Returns the box: a slice of a parameter keeps its type."""
        return self


def typed(initializer: Callable[..., jax.Array], parameter_type: ParameterType) -> Any:
    """Returns ``initializer`` with its result boxed as a parameter of the given type."""

    def initialise(*args: Any, **kwargs: Any) -> TypedParameter:
        return TypedParameter(initializer(*args, **kwargs), parameter_type)

    return initialise


def dense(features: int, name: str, kernel_type: ParameterType = ParameterType.WEIGHT) -> nn.Dense:
    """Returns a dense layer: LeCun-normal kernel (truncated at two sigma), zero bias.

    Args:
      features: output width.
      name: key of the layer in the parameter tree.
      kernel_type: type of the kernel; the bias is of type BIAS.
    """
    return nn.Dense(
        features,
        name=name,
        kernel_init=typed(nn.initializers.lecun_normal(), kernel_type),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.BIAS),
    )


def layer_norm(name: str) -> nn.LayerNorm:
    """Returns a layer norm over the last axis, with flax's fast variance E[x^2] - E[x]^2."""
    return nn.LayerNorm(
        epsilon=LAYER_NORM_EPSILON,
        name=name,
        scale_init=typed(nn.initializers.ones_init(), ParameterType.LAYER_NORM_SCALE),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.LAYER_NORM_BIAS),
    )


def dropout(key: jax.Array, inputs: jax.Array, rate: Any) -> jax.Array:
    """Zeroes each element with probability ``rate`` and scales the others by ``1 / (1 - rate)``.

    Nothing branches on a traced rate. Rate 1 gives zeros with zero gradients.

    Args:
      key: ``uint32[2]`` random key.
      inputs: float array.
      rate: Python float or float scalar array in [0, 1].

    Returns:
      Array like ``inputs``.
    """
    if isinstance(rate, (int, float)) and rate == 0:
        return inputs
    keep = 1.0 - jnp.asarray(rate, inputs.dtype)
    is_kept = jax.random.bernoulli(key, keep, inputs.shape)
    return inputs * jnp.where(is_kept, 1.0 / keep, 0.0)


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    """Returns an activation function; GELU is the tanh approximation, the leaky slope 0.2.

    Raises:
      ValueError: unknown name.
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: choose one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def unbox(boxed: Any) -> Any:
    """Returns a tree of typed parameters without the boxes."""
    return meta.unbox(boxed)


def parameter_types(boxed: Any) -> Any:
    """Returns the types of a tree of typed parameters, in the structure of the parameter tree.

    Raises:
      TypeError: some parameter was made without a type.
    """

    def type_of(path: Any, leaf: Any) -> ParameterType:
        if not isinstance(leaf, TypedParameter):
            raise TypeError(f"parameter {jax.tree_util.keystr(path)} declares no type")
        return leaf.parameter_type

    def is_box(leaf: Any) -> bool:
        return isinstance(leaf, TypedParameter)

    return jax.tree_util.tree_map_with_path(type_of, boxed, is_leaf=is_box)


def parameter_shapes(params: Any) -> Any:
    """Returns the tree of parameters with a ``ShapeTuple`` at every leaf."""
    return jax.tree.map(lambda leaf: ShapeTuple(leaf.shape), params)
