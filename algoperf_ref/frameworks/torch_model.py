"""A torch module behind the :class:`algoperf_ref.frameworks.model.Model` protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.model import InitialModel
from algoperf_ref.frameworks.torch_backend import TorchBackend


class TorchModel:
    """A torch module, called as ``module(inputs, dropout_rate)``; it keeps its own statistics.

    Dropout masks come from torch's global generator, as in the benchmark: whoever wants them
    reproducible seeds it. The initial parameters do not touch it.

    Args:
      build: returns a new module; its layers come from ``torch_layers``, so that parameters have
        types.
      backend: knows the device.
    """

    has_model_state = False

    def __init__(self, build: Callable[[], nn.Module], backend: TorchBackend) -> None:
        self._build = build
        self._backend = backend

    def initialise(self, key: Key) -> InitialModel:
        """Returns a new module on the device(s); see the protocol."""
        module = self._build()
        generator = torch.Generator().manual_seed(self._backend.key_to_seed(key))
        torch_layers.initialise(module, generator)
        shapes = torch_layers.parameter_shapes(module)
        types = torch_layers.parameter_types(module)
        return InitialModel(self._backend.distribute(module), None, shapes, types)

    def forward(
        self, params: Any, inputs: Any, *, training: bool, key: Key, dropout_rate: Any
    ) -> Any:
        """Returns the module's outputs; see the protocol."""
        if training:
            params.train()
            return params(inputs, float(dropout_rate))
        params.eval()
        with torch.no_grad():
            return params(inputs, 0.0)

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
    ) -> tuple[Any, None]:
        """Returns the module's outputs and None; see the protocol."""
        if training:
            torch_layers.set_statistics_updates(params, update_batch_norm)
        outputs = self.forward(
            params, inputs, training=training, key=key, dropout_rate=dropout_rate
        )
        return outputs, None

    def evaluation_step(self, outputs: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps ``outputs`` without gradients; see the protocol."""

        backend = self._backend

        @torch.no_grad()
        def step(*args: Any) -> Any:
            if backend.process_count == 1:
                return backend.fetch(outputs(*args))
            try:
                computed, problem = outputs(*args), None
            except (RuntimeError, MemoryError) as error:
                computed, problem = None, error
            # All processes fail or none does: the others would wait for this one's outputs.
            if backend.agree([float(problem is not None)])[0]:
                raise problem or RuntimeError("the evaluation failed on another process")
            return backend.fetch(computed)

        return step
