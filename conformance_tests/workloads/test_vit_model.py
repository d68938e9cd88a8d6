"""The vision transformer computes the official function, and the twins compute the same one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads.imagenet.vit_sizes import VitSizes, position_embedding
from conformance_tests.workloads import vit_samples as samples
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    backend,
    fast_jit,
    golden_arrays,
    nested,
)
from conformance_tests.workloads.vit_samples import CASES, TINY, logits_of

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_case = pytest.mark.parametrize("case", CASES)


def golden(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays of a forward vector, and its JAX parameters."""
    arrays = golden_arrays(f"forward/vit_{case}.npz")
    prefix = "jax/w/"
    flat = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return arrays, nested(flat)


@per_framework
@per_case
def test_logits_are_the_official_ones(case: str, framework: str) -> None:
    """The official JAX post-norm model does not run; its vector is of the repaired one."""
    arrays, jax_params = golden(case)
    params = samples.load_weights(framework, CASES[case], jax_params)
    logits = logits_of(framework, CASES[case], params, arrays["in/x_nhwc"])
    np.testing.assert_allclose(logits, arrays[f"out/{framework}/logits"], rtol=0, atol=2e-5)


@per_case
def test_the_name_mapping_of_the_twins_is_the_official_one(case: str) -> None:
    arrays, jax_params = golden(case)
    moved = samples.transplant(jax_params, use_glu=CASES[case].use_glu)
    for name, value in moved.items():
        np.testing.assert_array_equal(value, arrays[f"pytorch/w/{name}"], err_msg=name)
    assert len(moved) == sum(name.startswith("pytorch/w/") for name in arrays)


@per_framework
def test_the_position_embedding_is_the_official_one(framework: str) -> None:
    expected = golden("base")[0][f"out/{framework}/posemb_4x5x16"]
    np.testing.assert_allclose(position_embedding(4, 5, 16)[None], expected, rtol=0, atol=5e-7)


def test_numbers_of_the_position_embedding_of_the_full_size() -> None:
    """Token 17 is at y = 1, x = 3. Source: Workload facts (imagenet_vit), 2."""
    embedding = position_embedding(14, 14, 384)
    assert embedding.shape == (196, 384)
    assert embedding.dtype == np.float32
    places = [0, 1, 95, 96, 192, 191, 288, 383]
    expected = [0.14112, 0.406656, 0.0003, -0.989993, 0.841471, 1, 0.540302, 1]
    np.testing.assert_allclose(embedding[17, places], expected, rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match="read-only"):
        embedding[0, 0] = 1


@per_case
def test_twins_agree_on_logits_loss_and_gradients(case: str) -> None:
    """Decision 1: float32, 1e-4 relative. Labels are soft, as mixup makes them."""
    import jax
    import torch

    sizes = CASES[case]
    inputs = samples.images(3, 12, 8)
    labels = np.random.RandomState(1).dirichlet(np.ones(10), 3).astype(np.float32)
    jax_params = samples.random_params(sizes)
    module = samples.load_weights("pytorch", sizes, jax_params)
    key = backend("jax").seed_key(7)

    def loss(params: Any, framework: str) -> Any:
        placed = samples.place(framework, inputs)
        arguments = {"training": True, "key": key, "dropout_rate": 0.0}
        logits = samples.build(framework, sizes).forward(params, placed, **arguments)
        if framework == "jax":
            return -(labels * jax.nn.log_softmax(logits)).sum(-1).mean(), logits
        return -(torch.tensor(labels) * torch.log_softmax(logits, -1)).sum(-1).mean(), logits

    value_and_grad = fast_jit(jax.value_and_grad(lambda p: loss(p, "jax"), has_aux=True))
    (jax_loss, jax_logits), jax_gradients = value_and_grad(jax_params)
    torch_loss, torch_logits = loss(module, "pytorch")
    torch_loss.backward()

    difference = np.abs(np.asarray(jax_logits) - torch_logits.detach().numpy())
    assert difference.max() < 1e-4 * np.abs(jax_logits).max()
    np.testing.assert_allclose(torch_loss.item(), jax_loss, rtol=1e-5)
    expected = samples.transplant(jax_gradients, use_glu=sizes.use_glu)
    size = np.sqrt(sum(np.square(gradient).sum() for gradient in expected.values()))
    for name, parameter in module.named_parameters():
        gradient = parameter.grad.numpy()
        if name.endswith("key.bias"):  # Adds the same to all logits of a query: no effect.
            assert max(np.linalg.norm(gradient), np.linalg.norm(expected[name])) < 1e-6 * size
            continue
        error = np.linalg.norm(gradient - expected[name])
        assert error <= 1e-4 * np.linalg.norm(expected[name]), name


@per_framework
@per_case
def test_images_of_a_batch_do_not_influence_each_other(framework: str, case: str) -> None:
    """Padding of zeros is harmless and gives no NaN."""
    sizes = CASES[case]
    params = samples.load_weights(framework, sizes, samples.random_params(sizes))
    inputs = samples.images(2, 16, 20)
    expected = logits_of(framework, sizes, params, inputs)
    inputs[1] = 0.0
    logits = logits_of(framework, sizes, params, inputs)
    np.testing.assert_allclose(logits[0], expected[0], rtol=0, atol=1e-6)
    assert np.isfinite(logits).all()


def abstract_logits(framework: str, sizes: VitSizes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the logits of zero images ``shape`` (channels last); nothing is computed."""
    if framework == "jax":
        import jax

        model = samples.build("jax", sizes)

        def forward(key: Any, images: Any) -> Any:
            params = model.initialise(key).params
            return model.forward(params, images, training=False, key=None, dropout_rate=0.0)

        images = np.zeros(shape, np.float32)
        return tuple(jax.eval_shape(forward, jax.random.PRNGKey(0), images).shape)
    import torch

    if len(shape) == 4:
        shape = (shape[0], shape[3], shape[1], shape[2])
    with torch.device("meta"):
        return tuple(samples.twin("pytorch").Vit(sizes)(torch.zeros(shape), 0.0).shape)


@per_framework
def test_the_full_size_maps_its_images_to_a_thousand_logits(framework: str) -> None:
    assert abstract_logits(framework, VitSizes(1000), (4, 224, 224, 3)) == (4, 1000)


@per_framework
@pytest.mark.parametrize("pixels", [(4, 4), (8, 12), (40, 4)])
@pytest.mark.parametrize("case", ["base", "map"])
def test_any_multiple_of_the_patch_size_is_an_image(
    framework: str, case: str, pixels: tuple[int, int]
) -> None:
    assert abstract_logits(framework, CASES[case], (2, *pixels, 3)) == (2, 10)


@per_framework
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 8, 10, 3), "images of 8 x 10 pixels cannot be cut into patches of 4 x 4"),
        ((1, 3, 8, 3), "images of 3 x 8 pixels cannot be cut"),
        ((1, 0, 8, 3), "images of 0 x 8 pixels cannot be cut"),
        ((1, 8, 8, 1), r"images with 3 channels; .* \(8, 8, 1\)"),
        ((8, 8, 3), "must be a batch of images with 3 channels"),
    ],
)
def test_images_that_cannot_be_cut_into_patches_are_refused(
    framework: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        abstract_logits(framework, TINY, shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 18, "num_heads": 3}, "width must be a multiple of 4"),
        ({"width": 4, "num_heads": 1}, "at least 8"),
        ({"num_heads": 3}, "width 16 and num_heads 3"),
        ({"depth": 0}, "sizes must be positive"),
        ({"patch_size": 0}, "sizes must be positive"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


@per_framework
def test_the_first_logits_are_zero(framework: str) -> None:
    """The output layer starts at zero, so the first loss is the logarithm of the classes."""
    params = samples.build(framework, TINY).initialise(backend(framework).seed_key(1)).params
    np.testing.assert_array_equal(
        logits_of(framework, TINY, params, samples.images(2, 16, 20)), np.zeros((2, 10))
    )
