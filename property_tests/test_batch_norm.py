"""Running statistics of batch norm after any sequence of passes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref import frameworks
from algoperf_ref.frameworks.twins import load_twin

CHANNELS = 2
SHAPE = (4, 2, CHANNELS)  # One size, so that JAX compiles each pass once.
MOMENTUM = 0.9
# Quarters, and a power of two of them: mean and mean square are exact in float32. Otherwise JAX's
# variance, the difference of two squares, could be as wrong as the epsilon beside it.
batches = hnp.arrays(np.float32, SHAPE, elements=st.integers(-32, 32).map(lambda n: n / 4))
per_framework = pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)


@functools.cache
def network(framework: str) -> tuple[Any, Any]:
    """A model of nothing but one batch norm, and its backend."""
    backend = frameworks.create(framework)
    layers = load_twin("algoperf_ref.frameworks.{}_norm_layers", framework)
    if framework == "pytorch":
        import torch

        from algoperf_ref.frameworks.torch_model import TorchModel

        torch.set_num_threads(1)

        class TorchNorm(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.norm = layers.BatchNorm(CHANNELS)

            def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
                return self.norm(inputs.movedim(-1, 1)).movedim(1, -1)

        return TorchModel(TorchNorm, backend), backend
    import flax.linen as nn
    import jax.numpy as jnp

    from algoperf_ref.frameworks.jax_model import JaxModel

    class FlaxNorm(nn.Module):
        @nn.compact
        def __call__(self, inputs: Any, training: bool, dropout_rate: Any) -> Any:
            return layers.batch_norm("norm", training=training)(inputs)

    arguments = {"parameters_stream": None, "has_model_state": True}
    return JaxModel(FlaxNorm(), lambda: jnp.zeros(SHAPE), backend, **arguments), backend


@functools.cache
def compiled_pass(framework: str, training: bool, update: bool) -> Any:
    """``(params, state, inputs) -> (outputs, state)``."""
    model, backend = network(framework)
    arguments = {"training": training, "update_batch_norm": update, "dropout_rate": 0.0}
    key = backend.seed_key(0)

    def forward(params: Any, state: Any, inputs: Any) -> Any:
        return model.forward_with_state(params, state, inputs, key=key, **arguments)

    if framework == "jax":
        import jax

        return jax.jit(forward)
    return forward


class Statistics:
    """A new model, and its running statistics as numpy arrays."""

    def __init__(self, framework: str) -> None:
        self._framework = framework
        model, self._backend = network(framework)
        self._params, self._state, *_ = model.initialise(self._backend.seed_key(0))

    def run(self, batch: np.ndarray, training: bool, update: bool) -> np.ndarray:
        """Returns the outputs of a pass."""
        forward = compiled_pass(self._framework, training, update)
        inputs = self._backend.replicate(batch.copy())
        outputs, self._state = forward(self._params, self._state, inputs)
        return np.asarray(outputs.detach() if hasattr(outputs, "detach") else outputs)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns running mean and variance."""
        if self._framework == "jax":
            norm = self._state["batch_stats"]["norm"]
            return np.asarray(norm["mean"]), np.asarray(norm["var"])
        norm = self._params.norm
        return norm.running_mean.numpy().copy(), norm.running_var.numpy().copy()


def of_batch(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = batch.astype(np.float64).reshape(-1, CHANNELS)
    return wide.mean(0), wide.var(0)


@per_framework
@given(sequence=st.lists(batches, min_size=1, max_size=6))
def test_running_statistics_after_n_batches_are_the_closed_form(
    framework: str, sequence: list[np.ndarray]
) -> None:
    model = Statistics(framework)
    for batch in sequence:
        model.run(batch, training=True, update=True)
    count = len(sequence)
    shares = [(1 - MOMENTUM) * MOMENTUM ** (count - 1 - k) for k in range(count)]
    means, variances = zip(*map(of_batch, sequence), strict=True)
    mean, variance = model.read()
    np.testing.assert_allclose(mean, np.dot(shares, means), rtol=0, atol=1e-5)
    expected = MOMENTUM**count + np.dot(shares, variances)
    np.testing.assert_allclose(variance, expected, rtol=1e-5, atol=1e-5)


@per_framework
@given(passes=st.lists(st.tuples(batches, st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_only_training_passes_with_update_change_the_statistics(
    framework: str, passes: list[tuple[np.ndarray, bool, bool]]
) -> None:
    model = Statistics(framework)
    for batch, training, update in passes:
        before = model.read()
        outputs = model.run(batch, training, update)
        after = model.read()
        # Decision 2: a training pass normalises with its batch, whether or not it updates.
        mean, variance = of_batch(batch) if training else before
        expected = (batch - mean) / np.sqrt(variance + 1e-5)
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
        if not (training and update):
            for old, new in zip(before, after, strict=True):
                np.testing.assert_array_equal(new, old)
            continue
        for old, new, found in zip(before, of_batch(batch), after, strict=True):
            np.testing.assert_allclose(found, 0.9 * old + 0.1 * new, rtol=1e-5, atol=1e-5)
