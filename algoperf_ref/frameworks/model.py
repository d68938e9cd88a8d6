"""A model as a workload sees it: the same few calls for a flax and for a torch module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from algoperf_ref.frameworks.base import Key


class InitialModel(NamedTuple):
    """A freshly initialised model.

    Attributes:
      params: JAX: nested dict of float32 arrays, replicated on all devices; PyTorch: the module.
      model_state: running statistics and the like, None for models without.
      shapes: the parameter tree with a ``ShapeTuple`` at every leaf (PyTorch: flat dict by name).
      types: the same structure with a ``ParameterType`` at every leaf.
    """

    params: Any
    model_state: Any
    shapes: Any
    types: Any


class Model(Protocol):
    """One framework's module behind the calls that a workload needs.

    Attributes:
      has_model_state: whether the model state is a tree that travels beside the parameters (JAX
        models with running statistics) or None (models without, and PyTorch modules, which keep
        their statistics themselves).
    """

    has_model_state: bool

    def initialise(self, key: Key) -> InitialModel:
        """Returns new parameters, a pure function of ``key``."""
        ...

    def forward(
        self, params: Any, inputs: Any, *, training: bool, key: Key, dropout_rate: Any
    ) -> Any:
        """Returns the module's outputs for one batch of inputs.

        Args:
          params: parameters as :meth:`initialise` returned them.
          inputs: the module's positional argument, on the device.
          training: True switches dropout on and, in PyTorch, keeps the graph for gradients.
          key: random key of this call; PyTorch draws from its global generator instead.
          dropout_rate: Python float or scalar array, may be traced by JAX.
        """
        ...

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
        """Runs a model that has running statistics, or none.

        A training pass normalises with the statistics of its batch, whether or not they go into
        the running ones; an evaluation pass uses the running ones and leaves them alone
        (Decisions, 2).

        Args:
          params, inputs, training, key, dropout_rate: as for :meth:`forward`.
          model_state: as :meth:`initialise` returned it, or its update.
          update_batch_norm: whether a training pass updates the running statistics.

        Returns:
          ``(outputs, new_model_state)``.
        """
        ...

    def evaluation_step(self, outputs: Callable[..., Any]) -> Callable[..., Any]:
        """Makes a step that is run many times on batches of equal shape, without gradients.

        Args:
          outputs: function of device values that returns a dict of device arrays.

        Returns:
          A function of the same arguments that returns a dict of numpy arrays. In JAX it is
          compiled once for every combination of input shapes.
        """
        ...
