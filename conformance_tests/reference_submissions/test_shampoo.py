"""Distributed Shampoo against a plain one in float64, and the rules of its blocks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance_tests.reference_submissions import shampoo_reference
from conformance_tests.reference_submissions.training import Training
from reference_submissions._common import shampoo_blocks, shampoo_jax, shampoo_torch

_jax_root = jax.jit(shampoo_jax.inverse_root, static_argnums=1)
BETAS, EPSILON, STEPS = (0.9, 0.99), 1e-8, 7
SHAPES = [(), (5,), (4, 3), (9, 7), (2, 3, 4), (3, 3, 4, 8), (1, 1, 6, 8)]


def _gradients(shape: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    random = np.random.RandomState(seed)
    return [np.asarray(random.standard_normal(shape), np.float32) for _ in range(STEPS)]


def _jax_updates(grads: list[np.ndarray], block_size: int, interval: int) -> list[np.ndarray]:
    rule = shampoo_jax.scale_by_shampoo(*BETAS, EPSILON, block_size, interval)
    state, update = rule.init({"p": jnp.zeros_like(grads[0])}), jax.jit(rule.update)
    updates = []
    for grad in grads:
        direction, state = update({"p": jnp.asarray(grad)}, state)
        updates.append(np.asarray(direction["p"]))
    return updates


def _torch_updates(grads: list[np.ndarray], block_size: int, interval: int) -> list[np.ndarray]:
    parameter = torch.nn.Parameter(torch.zeros(grads[0].shape))
    optimizer = shampoo_torch.Shampoo([parameter], 1.0, BETAS, EPSILON, 0.0, block_size, interval)
    updates = []
    for grad in grads:
        parameter.data.zero_()
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        updates.append(-parameter.detach().numpy().copy())
    return updates


UPDATES: dict[str, Any] = {"jax": _jax_updates, "pytorch": _torch_updates}


@pytest.mark.parametrize("framework", UPDATES)
@pytest.mark.parametrize(("block_size", "interval"), [(128, 1), (4, 3)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_updates_are_those_of_a_plain_shampoo_in_float64(
    shape, block_size, interval, framework
):
    grads = _gradients(shape)
    plain = shampoo_reference.Shampoo(*BETAS, EPSILON, block_size, interval)
    for ours, grad in zip(UPDATES[framework](grads, block_size, interval), grads, strict=True):
        expected = plain.update(grad)
        # The ridge lifts eigenvalues of 0, and float32 knows those to 1e-7 of the largest only.
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("framework", UPDATES)
def test_until_the_first_preconditioner_the_updates_are_those_of_adam(framework):
    grads = _gradients((4, 3))
    never, third = (UPDATES[framework](grads, 128, interval) for interval in (100, 3))
    for step, (adam, ours) in enumerate(zip(never, third, strict=True), start=1):
        if step < 3:
            np.testing.assert_array_equal(ours, adam)
        else:
            assert np.abs(ours - adam).max() > 0.01
            # Grafting: another direction, the same length.
            np.testing.assert_allclose(np.linalg.norm(ours), np.linalg.norm(adam), rtol=1e-5)


@pytest.mark.parametrize("framework", UPDATES)
@pytest.mark.parametrize("order", [(3, 2, 0, 1), (2, 3, 1, 0)])
def test_the_order_of_the_axes_makes_no_difference(framework, order):
    """A convolution is (height, width, in, out) in JAX, (out, in, height, width) in PyTorch."""
    grads = _gradients((3, 3, 4, 8))
    straight = UPDATES[framework](grads, 128, 1)
    turned = UPDATES[framework]([grad.transpose(order) for grad in grads], 128, 1)
    for ours, theirs in zip(straight, turned, strict=True):
        scale = np.abs(ours).max()
        np.testing.assert_allclose(ours.transpose(order), theirs, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("framework", UPDATES)
def test_a_tensor_without_any_gradient_stays(framework):
    for update in UPDATES[framework]([np.zeros((4, 3), np.float32)] * 3, 128, 1):
        np.testing.assert_array_equal(update, 0.0)


@pytest.mark.parametrize("framework", UPDATES)
def test_an_inverse_root_undoes_the_power(framework):
    random = np.random.RandomState(1)
    rows = random.standard_normal((3, 6, 9)).astype(np.float32)
    matrices = rows @ rows.transpose(0, 2, 1)
    if framework == "jax":
        root = np.asarray(shampoo_jax.inverse_root(jnp.asarray(matrices), 4))
    else:
        root = shampoo_torch.inverse_root(torch.tensor(matrices), 4).numpy()
    product = np.linalg.matrix_power(root.astype(np.float64), 4) @ matrices
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(6), product.shape), atol=2e-3)


@pytest.mark.parametrize(
    ("shape", "block_size", "lengths", "counts", "preconditioned"),
    [
        ((64, 256), 128, (64, 256), (1, 2), (0, 1)),
        ((256, 64), 128, (64, 256), (1, 2), (0, 1)),
        ((147, 20), 128, (20, 147), (1, 2), (0, 1)),
        ((3, 3, 64, 64), 128, (9, 64, 64), (1, 1, 1), (0, 1, 2)),
        ((64, 3, 3, 3), 128, (27, 64), (1, 1), (0, 1)),
        ((1, 1, 16, 8), 128, (8, 16), (1, 1), (0, 1)),
        ((32_000, 256), 128, (256, 32_000), (2, 1), (0,)),
        ((20_000, 9000), 128, (9000, 20_000), (1, 1), ()),
        ((300,), 128, (300,), (1,), ()),
        ((), 128, (1,), (1,), ()),
    ],
)
def test_axes_are_joined_and_cut_by_their_lengths(
    shape, block_size, lengths, counts, preconditioned
):
    cut = shampoo_blocks.blocking(shape, block_size)
    assert (cut.shape, cut.counts, cut.preconditioned) == (lengths, counts, preconditioned)
    assert all(cut.sizes[axis] <= block_size for axis in preconditioned)


@pytest.mark.parametrize("framework", UPDATES)
@pytest.mark.parametrize("shape", [*SHAPES, (7, 10, 3, 5), (11, 1, 9)], ids=str)
def test_cutting_and_putting_together_gives_the_tensor_back(shape, framework):
    tensor = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    cut = shampoo_blocks.blocking(shape, 4)
    if framework == "jax":
        blocks = shampoo_jax.to_blocks(jnp.asarray(tensor), cut)
        again = np.asarray(shampoo_jax.from_blocks(blocks, cut, shape))
    else:
        cut_tensor = shampoo_torch.to_blocks(torch.tensor(tensor), cut)
        blocks, again = cut_tensor, shampoo_torch.from_blocks(cut_tensor, cut, shape).numpy()
    assert tuple(blocks.shape) == (cut.num_blocks, *cut.sizes)
    np.testing.assert_array_equal(again, tensor)


def test_a_block_size_or_interval_of_zero_is_named():
    for make in (
        lambda **options: shampoo_torch.Shampoo(
            [torch.nn.Parameter(torch.zeros(2, 2))], 1.0, BETAS, EPSILON, 0.0, **options
        ),
        lambda **options: shampoo_jax.scale_by_shampoo(
            *BETAS, EPSILON, **{"block_size": 1, "interval": 1, **options}
        ).init(jnp.zeros((2, 2))),
    ):
        with pytest.raises(ValueError, match="block_size is 0"):
            make(block_size=0)
        with pytest.raises(ValueError, match="preconditioner_interval is 0"):
            make(interval=0)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31 - 1),
    size=st.integers(1, 24),
    logarithm=st.floats(0, 6),
    scale=st.floats(-10, 10),
    root=st.sampled_from([4, 6, 8]),
)
def test_inverse_roots_are_those_of_float64(seed, size, logarithm, scale, root):
    """Of any condition up to that which the ridge leaves."""
    random = np.random.RandomState(seed)
    vectors, _ = np.linalg.qr(random.standard_normal((size, size)))
    values = 10.0 ** (scale - np.linspace(0, logarithm, size))
    matrix = ((vectors * values) @ vectors.T).astype(np.float32)
    ridge = shampoo_blocks.RIDGE * np.linalg.norm(values)
    expected = (vectors * (values + ridge) ** (-1 / root)) @ vectors.T
    found = {
        "jax": np.asarray(_jax_root(jnp.asarray(matrix[None]), root))[0],
        "pytorch": shampoo_torch.inverse_root(torch.tensor(matrix[None]), root).numpy()[0],
    }
    for ours in found.values():
        assert np.linalg.norm(ours - expected) <= 1e-2 * np.linalg.norm(expected)
        np.testing.assert_array_equal(ours, ours.T)


def test_two_hundred_compiled_steps_end(make_workload, submission):
    """An eigendecomposition inside a compiled condition has been seen to wait for ever."""
    workload = make_workload("jax")
    values = {"learning_rate": 0.01, "warmup_steps": 0, "preconditioner_interval": 3}
    params, model_state = workload.init()
    training = Training(
        submission("external_tuning.shampoo", "jax"),
        workload,
        values,
        params,
        model_state,
        workload.batch(),
        workload.key(),
    )
    training.steps(200)
    assert all(np.isfinite(v).all() for v in workload.values(training.params).values())


def test_jax_and_pytorch_take_the_same_ten_steps(make_workload, submission, drive):
    values = {
        "learning_rate": 0.1,
        "warmup_steps": 2,
        "weight_decay": 0.05,
        "preconditioner_interval": 2,
    }
    jax_steps, torch_steps = (
        drive(submission("external_tuning.shampoo", framework), make_workload(framework), values)
        for framework in ("jax", "pytorch")
    )
    assert len(jax_steps) == 10
    for ours, theirs in zip(jax_steps, torch_steps, strict=True):
        # The other algorithms: 5e-6. Two gradients give singular statistics, whose inverse roots
        # have errors of 3e-3 in float32; a step has a length of 0.1.
        assert all(np.abs(ours[k] - theirs[k]).max() < 1e-4 for k in ours)
    assert any(np.abs(jax_steps[0][k] - jax_steps[-1][k]).max() > 1e-2 for k in jax_steps[0])
