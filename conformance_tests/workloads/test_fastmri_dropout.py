"""Dropout of the U-Net: whole channels, two places in each block, an argument of every call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import fastmri_samples as samples
from conformance_tests.workloads.fastmri_samples import TINY
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


class Runner:
    """A tiny network with parameters and images; outputs as numpy. JAX rates are traced."""

    def __init__(self, framework: str) -> None:
        self.framework, self.backend = framework, backend(framework)
        self.model = samples.build(framework, TINY)
        self.jax_params = samples.random_params(TINY)
        self.params = samples.load_weights(framework, TINY, self.jax_params)
        self.images = samples.place(framework, samples.images(3, 16, 12))
        self._compiled = self._run
        if framework == "jax":
            self._compiled = fast_jit(self._run, static_argnums=0)

    def _run(self, training: bool, key: Any, rate: Any) -> Any:
        return self.model.forward(
            self.params, self.images, training=training, key=key, dropout_rate=rate
        )

    def outputs(self, training: bool, seed: int, rate: float) -> np.ndarray:
        key = self.backend.seed_key(seed)
        self.backend.seed_global_generators(key)
        return to_numpy(self._compiled(training, key, rate))


@pytest.fixture(scope="module", params=FRAMEWORKS)
def runner(request: pytest.FixtureRequest) -> Runner:
    return Runner(request.param)


@pytest.mark.clause("DROP-5")
def test_dropout_is_off_in_evaluation_and_at_rate_zero(runner: Runner) -> None:
    expected = runner.outputs(False, 0, 0.5)
    np.testing.assert_array_equal(runner.outputs(False, 1, 0.0), expected)
    np.testing.assert_allclose(runner.outputs(True, 2, 0.0), expected, rtol=0, atol=1e-5)


@pytest.mark.clause("DROP-5")
def test_a_rate_changes_the_training_pass_reproducibly(runner: Runner) -> None:
    first = runner.outputs(True, 2, 0.3)
    np.testing.assert_array_equal(runner.outputs(True, 2, 0.3), first)
    assert not np.allclose(runner.outputs(True, 3, 0.3), first)
    assert not np.allclose(runner.outputs(True, 2, 0.6), first)


@pytest.mark.clause("DROP-5")
def test_rate_one_leaves_only_the_bias_of_the_last_layer(runner: Runner) -> None:
    """So no dropout stands behind that layer."""
    bias = runner.jax_params["Conv_0"]["bias"]
    assert bias != 0
    np.testing.assert_array_equal(runner.outputs(True, 0, 1.0), bias[0])


def drop(framework: str, shape: tuple[int, int, int, int], rate: Any, seed: int = 3) -> np.ndarray:
    """Ones with dropped channels, as ``[batch, channels, height, width]``."""
    layers = load_twin("algoperf_ref.frameworks.{}_conv_layers", framework)
    batch, channels, height, width = shape
    if framework == "jax":
        import jax

        ones = np.ones((batch, height, width, channels), np.float32)
        dropped = np.asarray(layers.channel_dropout(jax.random.PRNGKey(seed), ones, rate))
        return dropped.transpose(0, 3, 1, 2)
    import torch

    torch.manual_seed(seed)
    return to_numpy(layers.channel_dropout(torch.ones(shape), rate, training=True))


@per_framework
def test_whole_channels_are_dropped_and_the_others_scaled(framework: str) -> None:
    values = drop(framework, (200, 50, 3, 2), 0.3)
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :, :1, :1], values.shape))
    np.testing.assert_allclose(np.unique(values), [0.0, 1 / 0.7], rtol=1e-6)
    # Five standard errors of a share of 0.3 among 10,000 channels; so the mean is kept too.
    is_zero = values[:, :, 0, 0] == 0
    assert abs(is_zero.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / is_zero.size)
    # Each image and each channel has draws of its own.
    assert 0 < is_zero.mean(0).min() <= is_zero.mean(0).max() < 1
    assert 0 < is_zero.mean(1).min() <= is_zero.mean(1).max() < 1


@per_framework
@pytest.mark.parametrize(("rate", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_rates_zero_and_one(framework: str, rate: float, expected: float) -> None:
    np.testing.assert_array_equal(drop(framework, (2, 3, 2, 2), rate), expected)


def test_jax_rates_may_be_traced_and_rate_one_has_zero_gradients() -> None:
    import jax
    import jax.numpy as jnp

    from algoperf_ref.frameworks.jax_conv_layers import channel_dropout

    key, inputs = jax.random.PRNGKey(0), samples.images(2, 3, 4)[..., None] * np.ones(5, np.float32)
    compiled = fast_jit(lambda rate: channel_dropout(key, inputs, rate))
    np.testing.assert_array_equal(compiled(0.0), inputs)
    np.testing.assert_allclose(compiled(0.4), channel_dropout(key, inputs, 0.4), rtol=1e-6)
    gradient = jax.grad(lambda x: channel_dropout(key, x, jnp.float32(1)).sum())(inputs)
    np.testing.assert_array_equal(gradient, 0.0)


@per_framework
def test_there_are_two_places_in_each_convolution_block_and_none_elsewhere(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = load_twin("algoperf_ref.frameworks.{}_conv_layers", framework)
    channels: list[int] = []

    def note(*arguments: Any, **_: Any) -> Any:
        inputs = arguments[1] if framework == "jax" else arguments[0]
        channels.append(inputs.shape[-1 if framework == "jax" else 1])
        return inputs

    monkeypatch.setattr(layers, "channel_dropout", note)
    runner = Runner(framework)
    if framework == "jax":
        import jax

        jax.eval_shape(lambda key: runner._run(True, key, 0.5), jax.random.PRNGKey(0))
    else:
        runner._run(True, None, 0.5)
    assert channels == [4, 4, 8, 8, 16, 16, 8, 8, 4, 4]


def test_pytorch_switches_between_training_and_evaluation_mode() -> None:
    runner = Runner("pytorch")
    outputs = runner._run(True, None, 0.0)
    assert runner.params.training
    assert outputs.requires_grad
    outputs = runner._run(False, None, 0.0)
    assert not runner.params.training
    assert not outputs.requires_grad
