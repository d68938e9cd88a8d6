"""The recommendation model computes the official function, and the twins the same one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.criteo1tb.sizes import DlrmSizes
from conformance_tests.workloads import criteo_samples, samples
from conformance_tests.workloads.criteo_samples import GOLDEN_SIZES, SMALL_SIZES
from conformance_tests.workloads.samples import FRAMEWORKS

CASES = tuple(GOLDEN_SIZES)


@functools.cache
def evaluation_pass(framework: str, sizes: DlrmSizes) -> Callable[..., Any]:
    """Parameters and inputs -> logits; compiled once for all tests of some sizes."""
    model = criteo_samples.build(framework, sizes)

    def forward(params: Any, inputs: Any) -> Any:
        return model.forward(params, inputs, training=False, key=None, dropout_rate=0.1)

    return samples.fast_jit(forward) if framework == "jax" else forward


def logits_of(framework: str, sizes: DlrmSizes, params: Any, inputs: np.ndarray) -> np.ndarray:
    placed = samples.backend(framework).place_batch(inputs)
    return samples.to_numpy(evaluation_pass(framework, sizes)(params, placed))


def golden(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All arrays of a forward vector, and its JAX parameters."""
    arrays = samples.golden_arrays(f"forward/dlrm_{case}.npz")
    prefix = "jax/w/"
    flat = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return arrays, samples.nested(flat)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_official_ones(case: str, framework: str) -> None:
    arrays, jax_params = golden(case)
    params = criteo_samples.load_weights(framework, GOLDEN_SIZES[case], jax_params)
    logits = logits_of(framework, GOLDEN_SIZES[case], params, arrays["in/x"])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, arrays[f"out/{framework}/logits"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_name_mapping_of_the_twins_is_the_official_one(case: str) -> None:
    arrays, jax_params = golden(case)
    transplanted = criteo_samples.transplant(jax_params, GOLDEN_SIZES[case])
    prefix = "pytorch/w/"
    official = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    assert set(transplanted) == set(official)
    for name, value in transplanted.items():
        np.testing.assert_array_equal(value, official[name], err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_twins_agree_on_logits_loss_and_gradients(case: str) -> None:
    """Decision 1: float32, 1e-4 relative."""
    import jax

    sizes = SMALL_SIZES[case]
    inputs, labels = criteo_samples.inputs(16), criteo_samples.labels(16)
    weights = np.where(np.arange(16) < 13, 1.0, 0.0).astype(np.float32)
    key = samples.backend("jax").seed_key(7)
    jax_params = criteo_samples.random_params(sizes)
    module = criteo_samples.load_weights("pytorch", sizes, jax_params)

    def loss(params: Any, framework: str) -> Any:
        placed = samples.backend(framework).place_batch((inputs, labels, weights))
        arguments = {"training": True, "key": key, "dropout_rate": 0.0}
        model = criteo_samples.build(framework, sizes)
        logits = model.forward(params, placed[0], **arguments)
        losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
        result = losses.sigmoid_cross_entropy(placed[1], logits, placed[2])
        return result["summed"] / result["n_valid_examples"], logits

    value_and_grad = samples.fast_jit(jax.value_and_grad(lambda p: loss(p, "jax"), has_aux=True))
    (jax_loss, jax_logits), jax_gradients = value_and_grad(jax_params)
    torch_loss, torch_logits = loss(module, "pytorch")
    torch_loss.backward()

    assert jax_logits.shape == (16, 1)
    scale = np.abs(jax_logits).max()
    assert np.abs(np.asarray(jax_logits) - samples.to_numpy(torch_logits)).max() < 1e-4 * scale
    np.testing.assert_allclose(torch_loss.item(), jax_loss, rtol=1e-5)
    expected = criteo_samples.transplant(jax_gradients, sizes)
    for name, parameter in module.named_parameters():
        norm = np.linalg.norm(expected[name])
        assert norm > 0, name
        error = np.linalg.norm(parameter.grad.numpy() - expected[name])
        assert error <= 1e-4 * norm, name


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", CASES)
def test_ids_count_modulo_the_vocabulary(case: str, framework: str) -> None:
    """Also above 2^24, where float32 no longer holds every integer."""
    sizes = SMALL_SIZES[case]
    inputs = criteo_samples.inputs(6)
    inputs[:, 13] = 39_884_404
    reduced = inputs.copy()
    reduced[:, 13:] = inputs[:, 13:].astype(np.int64) % sizes.vocab_size
    assert (reduced[:, 13] == 404).all()
    params = criteo_samples.random_params(sizes)
    params = criteo_samples.load_weights(framework, sizes, params)
    expected = logits_of(framework, sizes, params, reduced)
    np.testing.assert_array_equal(logits_of(framework, sizes, params, inputs), expected)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_row_does_not_depend_on_the_others_of_its_batch(framework: str) -> None:
    sizes = SMALL_SIZES["layernorm"]
    inputs = criteo_samples.inputs(6)
    params = criteo_samples.random_params(sizes)
    params = criteo_samples.load_weights(framework, sizes, params)
    expected = logits_of(framework, sizes, params, inputs)
    reversed_rows = logits_of(framework, sizes, params, inputs[::-1].copy())
    np.testing.assert_allclose(reversed_rows[::-1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_chunk_without_ids_has_a_gradient_of_zero(case: str) -> None:
    """It is not missing: optimizers and gradient buckets read every parameter's gradient."""
    import torch

    sizes = SMALL_SIZES[case]
    params = criteo_samples.random_params(sizes)
    module = criteo_samples.load_weights("pytorch", sizes, params)
    inputs = criteo_samples.inputs(4)
    inputs[:, 13:] %= sizes.vocab_size // 4
    module(torch.from_numpy(inputs), 0.0).sum().backward()
    assert module.embedding_chunk_0.grad.count_nonzero() > 0
    for number in (1, 2, 3):
        assert module.get_parameter(f"embedding_chunk_{number}").grad.count_nonzero() == 0


def test_a_pytorch_forward_pass_makes_nothing_of_the_size_of_a_chunk() -> None:
    """In particular it does not put the chunks of the table together."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = replace(SMALL_SIZES["base"], vocab_size=40_000)
    sizes_made: list[int] = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                sizes_made.append(result.numel())
            return result

    module = criteo_samples.twin("pytorch").create_module(sizes)
    with Record():
        module(torch.from_numpy(criteo_samples.inputs(4)), 0.0)
    assert max(sizes_made) < sizes.vocab_size // 4 * sizes.embed_dim


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocab_size": 1002}, "vocab_size must be a multiple of 4, got 1002"),
        ({"mlp_bottom_dims": (16, 12)}, r"must be embed_dim, 8: .* got \(16, 12\)"),
        ({"mlp_top_dims": (1,)}, r"mlp_top_dims two or more, got \(16, 12, 8\) and \(1,\)"),
        ({"use_resnet": True}, r"needs one width in mlp_bottom_dims .* got \(16, 12, 8\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL_SIZES["base"], **changed)
