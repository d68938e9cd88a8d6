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
    """A flax module, called as ``module(inputs, training, dropout_rate)``.

    Its model state is the tree of its variables other than parameters, such as ``batch_stats``.

    Args:
      module: the flax module; its layers come from ``jax_layers``, so that parameters have types.
      example_inputs: returns the smallest inputs that the module accepts, for its initialisation.
      backend: places the parameters.
      parameters_stream: which half of the split key the parameters are drawn from, 0 or 1, or None
        for the key as it is: what the official model of the workload uses.
      has_large_parameters: hundreds of millions: drawing them takes longer than compiling.
      has_model_state: whether the module has variables that are no parameters.
    """

    def __init__(
        self,
        module: nn.Module,
        example_inputs: Callable[[], Any],
        backend: JaxBackend,
        parameters_stream: int | None = 1,
        has_large_parameters: bool = False,
        has_model_state: bool = False,
    ) -> None:
        self._module = module
        self.has_model_state = has_model_state
        self._parameters_stream = parameters_stream
        self._example_inputs = example_inputs
        self._backend = backend
        # Optimising code that runs once would take most of the time of a short run's start.
        options = None if has_large_parameters else {"xla_backend_optimization_level": 0}
        self._initialise = jax.jit(self._boxed_variables, compiler_options=options)

    def initialise(self, key: Key) -> InitialModel:
        """Returns new parameters on all devices; see the protocol."""
        stream = self._parameters_stream
        parameters_key = key if stream is None else jax.random.split(key)[stream]
        # Under a caller's trace (jax.eval_shape) a jit with options of its own is not allowed.
        is_traced = isinstance(key, jax.core.Tracer)
        make = self._boxed_variables if is_traced else self._initialise
        new = self._describe(make(parameters_key))
        state = None if new.model_state is None else self._backend.replicate(new.model_state)
        return new._replace(params=self._backend.replicate(new.params), model_state=state)

    def forward(
        self, params: Any, inputs: Any, *, training: bool, key: Key, dropout_rate: Any
    ) -> Any:
        """Returns the module's outputs; see the protocol."""
        streams = {"dropout": key} if training else {}
        return self._module.apply(
            {"params": params}, inputs, training=training, dropout_rate=dropout_rate, rngs=streams
        )

    def forward_with_state(
        self,
        params: Any,
        model_state: Any,
        inputs: Any,
        *,
        training: bool,
        key: Key,
        update_batch_norm: bool,
        dropout_rate: Any,
    ) -> tuple[Any, Any]:
        """Returns the module's outputs and its new state; see the protocol."""
        if not self.has_model_state:
            outputs = self.forward(
                params, inputs, training=training, key=key, dropout_rate=dropout_rate
            )
            return outputs, None
        outputs = self._module.apply(
            {"params": params, **model_state},
            inputs,
            training=training,
            dropout_rate=dropout_rate,
            rngs={"dropout": key} if training else {},
            # A training pass computes new statistics in any case; they may be dropped below.
            mutable=list(model_state) if training else False,
        )
        if not training:
            return outputs, model_state
        outputs, updated = outputs
        return outputs, updated if update_batch_norm else model_state

    def evaluation_step(self, outputs: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles ``outputs``; see the protocol."""
        compiled = self._backend.jit_replicated(outputs)

        def step(*args: Any) -> Any:
            return self._backend.fetch(compiled(*args))

        return step

    def _boxed_variables(self, key: Key) -> Any:
        inputs = self._example_inputs()
        return self._module.init(key, inputs, training=False, dropout_rate=0.0)

    def _describe(self, boxed: Any) -> InitialModel:
        state = {name: tree for name, tree in boxed.items() if name != "params"}
        if bool(state) != self.has_model_state:
            raise TypeError(f"the module has the variables {sorted(boxed)}")
        params = jax_layers.unbox(boxed["params"])
        shapes = jax_layers.parameter_shapes(params)
        types = jax_layers.parameter_types(boxed["params"])
        return InitialModel(params, state or None, shapes, types)
