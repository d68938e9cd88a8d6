"""A flax module behind the :class:`algoperf_ref.frameworks.model.Model` protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.model import InitialModel


class JaxModel:
    """A flax module without model state, called as ``module(inputs, training, dropout_rate)``.

    Args:
      module: the flax module; its layers come from ``jax_layers``, so that parameters have types.
      example_inputs: returns the smallest inputs that the module accepts, for its initialisation.
      backend: places the parameters.
      parameters_stream: which half of the split key the parameters are drawn from, 0 or 1: the
        half that the official model of the workload uses.
    """

    def __init__(
        self,
        module: nn.Module,
        example_inputs: Callable[[], Any],
        backend: JaxBackend,
        parameters_stream: int = 1,
    ) -> None:
        self._module = module
        self._parameters_stream = parameters_stream
        self._example_inputs = example_inputs
        self._backend = backend
        # Optimising code that runs once would take most of the time of a short run's start.
        options = {"xla_backend_optimization_level": 0}
        self._initialise = jax.jit(self._boxed_parameters, compiler_options=options)

    def initialise(self, key: Key) -> InitialModel:
        """Returns new parameters on all devices; see the protocol."""
        parameters_key = jax.random.split(key)[self._parameters_stream]
        # Under a caller's trace (jax.eval_shape) a jit with options of its own is not allowed.
        is_traced = isinstance(key, jax.core.Tracer)
        make = self._boxed_parameters if is_traced else self._initialise
        new = self._describe(make(parameters_key))
        return new._replace(params=self._backend.replicate(new.params))

    def forward(
        self, params: Any, inputs: Any, *, training: bool, key: Key, dropout_rate: Any
    ) -> Any:
        """Returns the module's outputs; see the protocol."""
        streams = {"dropout": key} if training else {}
        return self._module.apply(
            {"params": params}, inputs, training=training, dropout_rate=dropout_rate, rngs=streams
        )

    def evaluation_step(self, outputs: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``outputs``; see the protocol."""
        compiled = self._backend.jit_replicated(outputs)

        def step(*args: Any) -> Any:
            return self._backend.fetch(compiled(*args))

        return step

    def _boxed_parameters(self, key: Key) -> Any:
        inputs = self._example_inputs()
        variables = self._module.init(key, inputs, training=False, dropout_rate=0.0)
        return variables["params"]

    @staticmethod
    def _describe(boxed: Any) -> InitialModel:
        params = jax_layers.unbox(boxed)
        shapes = jax_layers.parameter_shapes(params)
        return InitialModel(params, None, shapes, jax_layers.parameter_types(boxed))
