"""The U-Net computes the official function, and the twins compute the same one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.fastmri.sizes import UnetSizes
from conformance_tests.workloads import fastmri_samples as samples
from conformance_tests.workloads.fastmri_samples import GOLDEN_SIZES, TINY
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    backend,
    fast_jit,
    golden_arrays,
    nested,
    to_numpy,
)

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_case = pytest.mark.parametrize("case", GOLDEN_SIZES)


@functools.cache
def evaluation_pass(framework: str, sizes: UnetSizes) -> Callable[..., Any]:
    """Parameters and images -> images; compiled once for all tests of some sizes."""
    model = samples.build(framework, sizes)

    def forward(params: Any, images: Any) -> Any:
        return model.forward(params, images, training=False, key=None, dropout_rate=0.1)

    return fast_jit(forward) if framework == "jax" else forward


def outputs_of(framework: str, sizes: UnetSizes, params: Any, images: np.ndarray) -> np.ndarray:
    placed = samples.place(framework, images)
    return to_numpy(evaluation_pass(framework, sizes)(params, placed))


def golden(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays of a forward vector, and its JAX parameters."""
    arrays = golden_arrays(f"forward/unet_{case}.npz")
    prefix = "jax/w/"
    flat = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return arrays, nested(flat)


@per_framework
@per_case
def test_outputs_are_the_official_ones(case: str, framework: str) -> None:
    arrays, jax_params = golden(case)
    params = samples.load_weights(framework, GOLDEN_SIZES[case], jax_params)
    outputs = outputs_of(framework, GOLDEN_SIZES[case], params, arrays["in/x"])
    np.testing.assert_allclose(outputs, arrays[f"out/{framework}/y"], rtol=0, atol=2e-5)


@per_case
def test_the_name_mapping_of_the_twins_is_the_official_one(case: str) -> None:
    arrays, jax_params = golden(case)
    moved = samples.transplant(jax_params, GOLDEN_SIZES[case])
    for name, value in moved.items():
        np.testing.assert_array_equal(value, arrays[f"pytorch/w/{name}"], err_msg=name)
    assert len(moved) == sum(name.startswith("pytorch/w/") for name in arrays)


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        (TINY, (3, 16, 20)),
        (UnetSizes(2, 4, use_tanh=True, use_layer_norm=False), (3, 16, 20)),
        (UnetSizes(2, 4, use_tanh=False, use_layer_norm=True), (3, 16, 20)),
        (UnetSizes(3, 3, use_tanh=False, use_layer_norm=False), (3, 23, 19)),
    ],
    ids=["base", "tanh", "layernorm", "deeper_odd_size"],
)
def test_twins_agree_on_outputs_loss_and_gradients(
    sizes: UnetSizes, shape: tuple[int, int, int]
) -> None:
    """Decision 1: float32, 1e-4 relative."""
    import jax

    inputs, labels = samples.images(*shape), samples.images(*shape, seed=1)
    mask = np.array([1, 1, 0], np.float32)
    jax_params = samples.random_params(sizes)
    module = samples.load_weights("pytorch", sizes, jax_params)
    key = backend("jax").seed_key(7)

    def loss(params: Any, framework: str) -> Any:
        placed = [samples.place(framework, array) for array in (inputs, labels, mask)]
        arguments = {"training": True, "key": key, "dropout_rate": 0.0}
        outputs = samples.build(framework, sizes).forward(params, placed[0], **arguments)
        losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
        result = losses.mean_absolute_error(placed[1], outputs, placed[2])
        return result["summed"] / result["n_valid_examples"], outputs

    value_and_grad = fast_jit(jax.value_and_grad(lambda p: loss(p, "jax"), has_aux=True))
    (jax_loss, jax_outputs), jax_gradients = value_and_grad(jax_params)
    torch_loss, torch_outputs = loss(module, "pytorch")
    torch_loss.backward()

    difference = np.abs(np.asarray(jax_outputs) - torch_outputs.detach().numpy())
    assert difference.max() < 1e-4 * np.abs(jax_outputs).max()
    np.testing.assert_allclose(torch_loss.item(), jax_loss, rtol=1e-5)
    expected = samples.transplant(jax_gradients, sizes)
    for name, parameter in module.named_parameters():
        error = np.linalg.norm(parameter.grad.numpy() - expected[name])
        assert error <= 1e-4 * np.linalg.norm(expected[name]), name


@per_framework
def test_images_of_a_batch_do_not_influence_each_other(framework: str) -> None:
    """Norms are per image: padding of zeros is harmless and gives no NaN."""
    params = samples.load_weights(framework, TINY, samples.random_params(TINY))
    inputs = samples.images(3, 16, 20)
    expected = outputs_of(framework, TINY, params, inputs)
    padded = inputs.copy()
    padded[2] = 0.0
    outputs = outputs_of(framework, TINY, params, padded)
    np.testing.assert_allclose(outputs[:2], expected[:2], rtol=0, atol=1e-6)
    assert np.isfinite(outputs).all()


@per_framework
@pytest.mark.parametrize("shape", [(8, 4), (9, 13), (11, 8), (5, 31)])
def test_outputs_have_the_size_of_the_inputs(framework: str, shape: tuple[int, int]) -> None:
    """Odd sizes lose a row or column by halving and get it back by mirroring."""
    if framework == "jax":
        import jax

        model, params = samples.build("jax", TINY), samples.random_params(TINY)
        outputs = jax.eval_shape(
            lambda x: model.forward(params, x, training=False, key=None, dropout_rate=0.0),
            np.zeros((2, *shape), np.float32),
        )
    else:
        module = samples.build("pytorch", TINY).initialise(backend("pytorch").seed_key(0)).params
        outputs = evaluation_pass("pytorch", TINY)(
            module, samples.place("pytorch", samples.images(2, *shape))
        )
    assert tuple(outputs.shape) == (2, *shape)


@per_framework
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 40), "images of 3 x 40 pixels are too small to be halved 2 times"),
        ((1, 4, 7), "images of 4 x 7 pixels are too small"),
        ((16, 16), r"inputs must have shape \[batch, height, width\], got \(16, 16\)"),
    ],
)
def test_images_that_cannot_be_halved_are_refused(
    framework: str, shape: tuple[int, ...], message: str
) -> None:
    params = samples.load_weights(framework, TINY, samples.random_params(TINY))
    with pytest.raises(ValueError, match=message):
        outputs_of(framework, TINY, params, np.zeros(shape, np.float32))


@per_framework
def test_instance_norm_takes_statistics_of_each_channel_of_each_image(framework: str) -> None:
    layers = load_twin("algoperf_ref.frameworks.{}_conv_layers", framework)
    values = np.random.RandomState(0).randn(2, 5, 6, 3).astype(np.float32) * 3 + 1
    mean, variance = values.mean((1, 2), keepdims=True), values.var((1, 2), keepdims=True)
    expected = (values - mean) / np.sqrt(variance + 1e-5)
    moved = values if framework == "jax" else values.transpose(0, 3, 1, 2).copy()
    result = to_numpy(layers.instance_norm(samples.place(framework, moved)))
    result = result if framework == "jax" else result.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


def test_jax_instance_norm_of_a_constant_image_is_zero() -> None:
    """E[x^2] - E[x]^2 may come out below zero; its root would be NaN."""
    from algoperf_ref.frameworks.jax_conv_layers import instance_norm

    flat = np.full((1, 37, 41, 1), 1234.567, np.float32)
    np.testing.assert_allclose(instance_norm(flat), 0.0, atol=0.2)


@per_framework
def test_activations_of_the_variants(framework: str) -> None:
    layers = load_twin("algoperf_ref.frameworks.{}_layers", framework)
    values = np.array([-2.0, -0.5, 0.0, 3.0], np.float32)
    placed = samples.place(framework, values)
    leaky = to_numpy(layers.activation("leaky_relu")(placed))
    np.testing.assert_allclose(leaky, [-0.4, -0.1, 0.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(to_numpy(layers.activation("tanh")(placed)), np.tanh(values), 1e-6)


def test_the_layer_norm_variant_keeps_instance_norm_behind_transposed_convolutions() -> None:
    """As the official code, where the paper swaps all norms (Decisions, 22)."""
    sizes = UnetSizes(2, 4, use_tanh=False, use_layer_norm=True)
    names = samples.build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).shapes
    transposed = [name for name in names if name.startswith("up_transpose_conv")]
    assert transposed == [f"up_transpose_conv.{k}.layers.0.weight" for k in range(2)]
