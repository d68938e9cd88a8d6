"""Distributed Shampoo against a plain one in float64, and the rules of its blocks."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance_tests.reference_submissions import shampoo_reference
from conformance_tests.reference_submissions.quadratic import STEP_HINT
from conformance_tests.reference_submissions.training import Training
from reference_submissions._common import shampoo_blocks, shampoo_jax, shampoo_torch
from reference_submissions._common.schedules import warmup_cosine

BETAS, EPSILON, STEPS = (0.9, 0.99), 1e-8, 7
SHAPES = [(), (5,), (4, 3), (9, 7), (2, 3, 4), (3, 3, 4, 8), (1, 1, 6, 8), (65_536, 3)]


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
        np.testing.assert_allclose(ours, expected, rtol=0, atol=3e-5 * np.abs(expected).max())


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
@pytest.mark.parametrize("shape", [*SHAPES[:-1], (7, 10, 3, 5), (11, 1, 9)], ids=str)
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


def _jax_root(matrices: np.ndarray, root: int, previous: np.ndarray) -> np.ndarray:
    return np.asarray(_compiled_root(jnp.asarray(matrices), root, jnp.asarray(previous)))


def _torch_root(matrices: np.ndarray, root: int, previous: np.ndarray) -> np.ndarray:
    found = shampoo_torch.inverse_root(torch.tensor(matrices), root, torch.tensor(previous))
    return found.numpy()


_compiled_root = jax.jit(shampoo_jax.inverse_root, static_argnums=1)
ROOTS: dict[str, Any] = {"jax": _jax_root, "pytorch": _torch_root}


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**31 - 1),
    size=st.sampled_from([1, 2, 5, 24, 128]),
    logarithm=st.floats(0, 9),
    scale=st.floats(-15, 15),
    root=st.sampled_from([2, 4, 6, 8]),
)
def test_inverse_roots_are_those_of_float64(seed, size, logarithm, scale, root):
    """As near as float32 knows the smallest eigenvalue, which is 1e-4 of all with the ridge."""
    random = np.random.RandomState(seed)
    vectors, _ = np.linalg.qr(random.standard_normal((size, size)))
    values = 10.0 ** (scale - np.linspace(0, logarithm, size))
    matrix = ((vectors * values) @ vectors.T).astype(np.float32)
    expected = shampoo_reference.inverse_root(matrix, root)
    scaled = values / values.sum() + shampoo_blocks.RIDGE
    condition = scaled.max() / scaled.min()
    assert condition < 1.001e4
    tolerance = (1e-5 + 1e-7 * condition) * np.linalg.norm(expected, 2)
    for inverse_root in ROOTS.values():
        found = inverse_root(matrix[None], root, np.full((1, size, size), np.nan, np.float32))[0]
        assert np.linalg.norm(found - expected, 2) <= tolerance


@pytest.mark.parametrize("framework", ROOTS)
def test_a_singular_matrix_and_none_at_all_have_the_root_of_the_ridge(framework):
    matrices = np.zeros((2, 3, 3), np.float32)
    matrices[0, 0, 0] = 4.0
    found = ROOTS[framework](matrices, 4, matrices)
    small = shampoo_blocks.RIDGE ** (-1 / 4)
    large = (1 + shampoo_blocks.RIDGE) ** (-1 / 4)
    np.testing.assert_allclose(found[0], np.diag([large, small, small]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[1], small * np.eye(3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("framework", ROOTS)
@pytest.mark.parametrize("spoiled", [np.diag([2.0, -1.0]), np.full((2, 2), np.nan)], ids=["-", "?"])
def test_a_matrix_without_a_root_keeps_the_previous_and_harms_no_other(framework, spoiled):
    good = np.diag([3.0, 1.0])
    matrices = np.asarray([spoiled, good], np.float32)
    previous = np.asarray([[[5.0, 1.0], [1.0, 7.0]]] * 2, np.float32)
    found = ROOTS[framework](matrices, 4, previous)
    np.testing.assert_array_equal(found[0], previous[0])
    np.testing.assert_allclose(found[1], shampoo_reference.inverse_root(good, 4), atol=1e-5)


@pytest.mark.parametrize("framework", UPDATES)
def test_a_block_that_wakes_after_its_root_leaves_the_others_their_step(framework):
    """Grafting is by block: the root of a statistic of nothing is a thousand times the others."""
    awake = _gradients((8, 6))
    for grad in awake[:4]:
        grad[4:] = 0.0
    alone = UPDATES[framework]([grad[:4] for grad in awake], 4, 3)
    both = UPDATES[framework](awake, 4, 3)
    for part, whole in zip(alone, both, strict=True):
        np.testing.assert_allclose(whole[:4], part, rtol=0, atol=1e-6 * np.abs(part).max())
    assert all((update[4:] == 0).all() for update in both[:4])
    assert all(0.1 < np.abs(update[4:]).max() < 10 for update in both[4:])


@pytest.mark.parametrize("framework", UPDATES)
def test_tiny_gradients_are_no_smaller_than_others(framework):
    """Squares of squares would be zeros in float32."""
    grads = _gradients((4, 3))
    plain = UPDATES[framework](grads, 128, 2)
    tiny = UPDATES[framework]([np.float32(2.0**-40) * grad for grad in grads], 128, 2)
    ratios = [np.linalg.norm(b) / np.linalg.norm(a) for a, b in zip(plain, tiny, strict=True)]
    # Epsilon is large beside such gradients: the same direction, and a shorter step.
    assert max(ratios) < 1e-3
    for large, small in zip(plain[1:], tiny[1:], strict=True):
        cosine = (large * small).sum() / np.linalg.norm(large) / np.linalg.norm(small)
        assert cosine > 1 - 1e-4


@pytest.mark.parametrize("framework", UPDATES)
def test_a_root_is_used_until_the_next_one(framework):
    """What is new in a gradient reaches the statistics at once and the step at the next root."""
    random = np.random.RandomState(2)
    grads = [np.asarray(random.standard_normal((4, 3)), np.float32) for _ in range(STEPS)]
    steps = UPDATES[framework](grads, 128, 3)
    plain = shampoo_reference.Shampoo(*BETAS, EPSILON, 128, 3)
    fresh = shampoo_reference.Shampoo(*BETAS, EPSILON, 128, 1)
    for number, (ours, grad) in enumerate(zip(steps, grads, strict=True), start=1):
        expected, other = plain.update(grad), fresh.update(grad)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=3e-5 * np.abs(expected).max())
        assert (np.abs(ours - other).max() > 1e-2) == (number % 3 != 0)


@pytest.mark.parametrize("framework", UPDATES)
def test_tensors_of_one_size_do_not_mix(framework):
    """They are worked on together."""
    first, second = _gradients((4, 3), seed=0), _gradients((3, 4), seed=1)
    together = _both_updates(framework, first, second)
    for ours, alone in zip(together, UPDATES[framework](second, 128, 2), strict=True):
        np.testing.assert_allclose(ours, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


def _both_updates(framework: str, *grads: list[np.ndarray]) -> list[np.ndarray]:
    """The updates of the last of several tensors."""
    if framework == "jax":
        rule = shampoo_jax.scale_by_shampoo(*BETAS, EPSILON, 128, 2)
        state, updates = rule.init([jnp.zeros_like(g[0]) for g in grads]), []
        for step in zip(*grads, strict=True):
            directions, state = rule.update([jnp.asarray(g) for g in step], state)
            updates.append(np.asarray(directions[-1]))
        return updates
    params = [torch.nn.Parameter(torch.zeros(g[0].shape)) for g in grads]
    optimizer = shampoo_torch.Shampoo(params, 1.0, BETAS, EPSILON, 0.0, 128, 2)
    updates = []
    for step in zip(*grads, strict=True):
        for p, grad in zip(params, step, strict=True):
            p.data.zero_()
            p.grad = torch.tensor(grad)
        optimizer.step()
        updates.append(-params[-1].detach().numpy().copy())
    return updates


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


POINT = {
    "learning_rate": 0.1,
    "warmup_steps": 2,
    "weight_decay": 0.05,
    "one_minus_beta1": 0.1,
    "beta2": 0.99,
}
RUNS = {
    "singular": {"preconditioner_interval": 2},
    "blocks": {"preconditioner_interval": 3, "block_size": 2},
    "defaults": {"preconditioner_interval": 4, "grad_clip": 0.7},
}


@pytest.mark.parametrize("run", RUNS)
def test_ten_steps_are_those_of_float64_in_both_frameworks(run, make_workload, submission, drive):
    values = {**POINT, **RUNS[run]}
    trajectories = [
        drive(submission("external_tuning.shampoo", framework), make_workload(framework), values)
        for framework in ("jax", "pytorch")
    ]
    expected = _plain_trajectory(make_workload("jax").problem, values)
    pairs = itertools.combinations([*trajectories, expected], 2)
    for ours, theirs in itertools.chain.from_iterable(zip(*p, strict=True) for p in pairs):
        assert all(np.abs(ours[k] - theirs[k]).max() < 5e-6 for k in ours)
    assert any(np.abs(expected[0][k] - expected[-1][k]).max() > 1e-2 for k in "abc")


def _plain_trajectory(problem: dict[str, Any], values: dict[str, Any]) -> list[dict[str, Any]]:
    """Ten steps on the quadratic in float64."""
    factor = warmup_cosine(values["warmup_steps"], STEP_HINT)
    params = {k: v.astype(np.float64) for k, v in problem["init"].items()}
    options = (values.get("block_size", 128), values["preconditioner_interval"])
    betas = (1 - values["one_minus_beta1"], values["beta2"])
    rules = {k: shampoo_reference.Shampoo(*betas, EPSILON, *options) for k in params}
    trajectory = []
    for step in range(10):
        grads = {k: problem["curv"][k] * (params[k] - problem["target"][k]) for k in params}
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        scale = min(1.0, values.get("grad_clip", np.inf) / norm)
        rate = values["learning_rate"] * float(factor(step))
        for k, grad in grads.items():
            direction = rules[k].update(scale * grad) + values["weight_decay"] * params[k]
            params[k] = params[k] - rate * direction
        trajectory.append(dict(params))
    return trajectory
