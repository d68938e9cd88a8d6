"""Distributed Shampoo as an optax transformation; the equations are in its README."""

from __future__ import annotations

from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from reference_submissions._common.settings import Settings
from reference_submissions._common.shampoo_blocks import (
    ITERATIONS,
    RIDGE,
    Blocking,
    blocking,
    groups,
)

# An accelerator would otherwise round the factors of a product to fewer bits.
matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

TINY = 1e-30
"""Keeps a tensor without any gradient from a division by zero."""

Matrices = tuple[jax.Array, ...]
"""One tensor's (num_blocks, size, size) matrices, an array for each preconditioned axis."""


class ShampooState(NamedTuple):
    """Finished steps, Adam's moments, and per tensor the statistics and their inverse roots."""

    num_steps: jax.Array
    mu: optax.Params
    nu: optax.Params
    statistics: list[Matrices]
    roots: list[Matrices]


def inverse_root(matrices: jax.Array, root: int) -> jax.Array:
    """Returns (S + ridge I)^(-1/root), ridge = :data:`RIDGE` times the Frobenius norm of S.

    By a coupled Newton iteration, that is by products of matrices.

    Args:
      matrices: symmetric positive semi-definite, (n, size, size).
      root: a positive integer.

    Returns:
      As ``matrices``, symmetric.
    """
    identity = jnp.eye(matrices.shape[-1])
    norm = jnp.maximum(jnp.linalg.norm(matrices, axis=(1, 2), keepdims=True), TINY)
    scaled = matrices / norm + RIDGE * identity
    # The largest eigenvalue for which the iteration converges.
    scale = (root + 1) / (2 * jnp.linalg.norm(scaled, axis=(1, 2), keepdims=True))

    def newton(_: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        product, found = state
        step = ((root + 1) * identity - product) / root
        return reduce(matmul, [step] * root, product), matmul(found, step)

    start = (scale * scaled, scale ** (1 / root) * identity)
    _, found = jax.lax.fori_loop(0, ITERATIONS, newton, start)
    return (found + found.mT) / 2 * norm ** (-1 / root)


def to_blocks(tensor: jax.Array, cut: Blocking) -> jax.Array:
    """Cuts a tensor into (num_blocks, *sizes)."""
    tensor = tensor.transpose(cut.order).reshape(cut.shape)
    tensor = jnp.pad(tensor, [(0, zeros) for zeros in cut.padding])
    return tensor.reshape(cut.split_shape).transpose(cut.blocks_first).reshape(-1, *cut.sizes)


def from_blocks(blocks: jax.Array, cut: Blocking, shape: tuple[int, ...]) -> jax.Array:
    """Undoes :func:`to_blocks`; ``shape`` is the tensor's."""
    tensor = blocks.reshape(*cut.counts, *cut.sizes)
    tensor = tensor.transpose(_inverse(cut.blocks_first))
    tensor = tensor.reshape([c * s for c, s in zip(cut.counts, cut.sizes, strict=True)])
    tensor = tensor[tuple(slice(length) for length in cut.shape)]
    return tensor.reshape([shape[axis] for axis in cut.order]).transpose(_inverse(cut.order))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=lambda axis: order[axis]))


def _update_statistics(blocks: jax.Array, old: Matrices, cut: Blocking, beta2: float) -> Matrices:
    new = []
    for statistic, axis in zip(old, cut.preconditioned, strict=True):
        rows = jnp.moveaxis(blocks, axis + 1, 1).reshape(len(blocks), cut.sizes[axis], -1)
        new.append(beta2 * statistic + (1 - beta2) * matmul(rows, rows.mT))
    return tuple(new)


def _precondition(blocks: jax.Array, roots: Matrices, cut: Blocking) -> jax.Array:
    for root, axis in zip(roots, cut.preconditioned, strict=True):
        rows = jnp.moveaxis(blocks, axis + 1, 1)
        product = matmul(root, rows.reshape(*rows.shape[:2], -1)).reshape(rows.shape)
        blocks = jnp.moveaxis(product, 1, axis + 1)
    return blocks


def _all_roots(statistics: list[Matrices]) -> list[Matrices]:
    """Inverse roots of all statistics; those of one size are computed together."""
    flat = [(matrices, 2 * len(tensor)) for tensor in statistics for matrices in tensor]
    roots: dict[int, jax.Array] = {}
    for places in groups((matrices.shape[-1], root) for matrices, root in flat):
        stacked = jnp.concatenate([flat[place][0] for place in places])
        computed, start = inverse_root(stacked, flat[places[0]][1]), 0
        for place in places:
            stop = start + len(flat[place][0])
            roots[place], start = computed[start:stop], stop
    ordered = iter([roots[place] for place in range(len(flat))])
    return [tuple(next(ordered) for _ in tensor) for tensor in statistics]


def scale_by_shampoo(
    beta1: float, beta2: float, epsilon: float, block_size: int, interval: int
) -> optax.GradientTransformation:
    """Blocked Shampoo with momentum, each tensor's step grafted onto Adam's.

    Every device does the same work on the same replicated state.

    Args:
      beta1: decay of the first moment.
      beta2: decay of the second moment and of the statistics.
      epsilon: added to the root of the second moment.
      block_size: largest size of a block along an axis.
      interval: steps from one computation of the inverse roots to the next; until the first one
        the update is Adam's.

    Returns:
      The transformation.

    Raises:
      ValueError: ``interval`` or ``block_size`` is not positive.
    """
    if interval < 1:
        raise ValueError(f"preconditioner_interval is {interval}, but it is at least one step")

    def cuts(tree: optax.Params) -> list[Blocking]:
        return [blocking(leaf.shape, block_size) for leaf in jax.tree.leaves(tree)]

    def matrices(params: optax.Params) -> list[Matrices]:
        return [
            tuple(jnp.zeros((cut.num_blocks, *2 * [cut.sizes[i]])) for i in cut.preconditioned)
            for cut in cuts(params)
        ]

    def init(params: optax.Params) -> ShampooState:
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
        return ShampooState(jnp.zeros([], jnp.int32), *zeros, matrices(params), matrices(params))

    def update(
        grads: optax.Updates, state: ShampooState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ShampooState]:
        del params
        num_steps = state.num_steps + 1
        mu = optax.tree.update_moment(grads, state.mu, beta1, 1)
        nu = optax.tree.update_moment(grads, state.nu, beta2, 2)
        first = optax.tree.bias_correction(mu, beta1, num_steps)
        second = optax.tree.bias_correction(nu, beta2, num_steps)
        adam = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + epsilon), first, second)

        statistics = [
            _update_statistics(to_blocks(grad, cut), old, cut, beta2)
            for grad, old, cut in zip(
                jax.tree.leaves(grads), state.statistics, cuts(grads), strict=True
            )
        ]
        roots = jax.lax.cond(
            num_steps % interval == 0,
            lambda: _all_roots(statistics),
            lambda: state.roots,
        )

        def directions() -> list[jax.Array]:
            found = []
            leaves = zip(
                jax.tree.leaves(first), jax.tree.leaves(adam), roots, cuts(first), strict=True
            )
            for moment, graft, root, cut in leaves:
                if not cut.preconditioned:
                    found.append(graft)
                    continue
                preconditioned = _precondition(to_blocks(moment, cut), root, cut)
                direction = from_blocks(preconditioned, cut, moment.shape)
                norm = jnp.linalg.norm(direction.ravel())
                length = jnp.linalg.norm(graft.ravel())
                found.append(direction * (length / jnp.maximum(norm, TINY)))
            return found

        chosen = jax.lax.cond(num_steps < interval, lambda: jax.tree.leaves(adam), directions)
        updates = jax.tree.unflatten(jax.tree.structure(grads), chosen)
        return updates, ShampooState(num_steps, mu, nu, statistics, roots)

    return optax.GradientTransformation(init, update)


def shampoo(settings: Settings) -> optax.GradientTransformation:
    """Distributed Shampoo plus decoupled weight decay on all parameters."""
    return optax.chain(
        scale_by_shampoo(
            settings.beta1,
            settings.beta2,
            settings.epsilon,
            settings.block_size,
            settings.preconditioner_interval,
        ),
        optax.add_decayed_weights(settings.weight_decay),
    )
