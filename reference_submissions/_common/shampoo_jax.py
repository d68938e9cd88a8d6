"""Distributed Shampoo as an optax transformation; the equations are in its README."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from reference_submissions._common.settings import Settings
from reference_submissions._common.shampoo_blocks import (
    MAX_ITERATIONS,
    RIDGE,
    TINY,
    TOLERANCE,
    Blocking,
    blocking,
    check_interval,
    groups,
)

Matrices = tuple[jax.Array, ...]
"""The (num_blocks, size, size) matrices of a group of tensors, an array for each preconditioned
axis."""


class ShampooState(NamedTuple):
    """Finished steps, Adam's moments, and per group the statistics and their inverse roots."""

    num_steps: jax.Array
    mu: optax.Params
    nu: optax.Params
    statistics: list[Matrices]
    roots: list[Matrices]


def inverse_root(matrices: jax.Array, root: int, previous: jax.Array) -> jax.Array:
    """Computes (S / trace(S) + ridge I)^(-1/root) by coupled Newton iterations.

    With A = S / trace(S) + ridge I, whose eigenvalues are in (0, 1 + ridge], the iterations are::

        M = A, X = I
        T = I + (I - M) / root
        M, X = T^root M, X T

    M goes to I, and X, for which X^root A = M holds, to the inverse root. An iteration that takes
    M no nearer to I is not done: in float32 it would undo what the last ones reached. Products of
    matrices are all there is, since a decomposition inside a compiled step is slow on an
    accelerator and has blocked the threads of a CPU.

    Args:
      matrices: S, symmetric positive semi-definite, (n, size, size), float32. Zeros are taken as
        a statistic of nothing, whose root is a multiple of I.
      root: a positive integer.
      previous: as ``matrices``, returned for each matrix that the iterations fail on.

    Returns:
      As ``matrices``, symmetric up to rounding.
    """
    identity = jnp.eye(matrices.shape[-1])
    trace = jnp.trace(matrices, axis1=1, axis2=2)[:, None, None]
    start = matrices / jnp.maximum(trace, TINY) + RIDGE * identity

    def distance(product: jax.Array) -> jax.Array:
        return jnp.abs(product - identity).max((1, 2), keepdims=True)

    def goes_on(carry: tuple[jax.Array, ...]) -> jax.Array:
        count, *_, active = carry
        return (count < MAX_ITERATIONS) & active.any()

    def iteration(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        count, product, found, error, active = carry
        factor = identity + (identity - product) / root
        new_product = jnp.linalg.matrix_power(factor, root) @ product
        new_error = distance(new_product)
        active &= new_error < error
        return (
            count + 1,
            jnp.where(active, new_product, product),
            jnp.where(active, found @ factor, found),
            jnp.where(active, new_error, error),
            active,
        )

    error = distance(start)
    found = jnp.broadcast_to(identity, matrices.shape)
    carry = (jnp.zeros([], jnp.int32), start, found, error, jnp.isfinite(error))
    _, _, found, error, _ = jax.lax.while_loop(goes_on, iteration, carry)
    return jnp.where(error < TOLERANCE, found, previous)


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
        new.append(beta2 * statistic + (1 - beta2) * rows @ rows.mT)
    return tuple(new)


def _precondition(blocks: jax.Array, roots: Matrices, cut: Blocking) -> jax.Array:
    for root, axis in zip(roots, cut.preconditioned, strict=True):
        rows = jnp.moveaxis(blocks, axis + 1, 1)
        product = (root @ rows.reshape(*rows.shape[:2], -1)).reshape(rows.shape)
        blocks = jnp.moveaxis(product, 1, axis + 1)
    return blocks


def _grafted(blocks: jax.Array, graft: jax.Array) -> jax.Array:
    """Returns the directions of ``blocks`` with the norms of ``graft``, block by block."""
    axes = tuple(range(1, blocks.ndim))
    # The largest number first: squares of small preconditioned moments are 0 in float32.
    blocks = blocks / jnp.maximum(jnp.abs(blocks).max(axes, keepdims=True), TINY)
    norm, length = (jnp.sqrt((t**2).sum(axes, keepdims=True)) for t in (blocks, graft))
    return blocks * (length / jnp.maximum(norm, TINY))


def scale_by_shampoo(
    beta1: float, beta2: float, epsilon: float, block_size: int, interval: int
) -> optax.GradientTransformation:
    """Blocked Shampoo with momentum, each block's step grafted onto Adam's.

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
      ValueError: ``interval`` is not positive; from ``init``, ``block_size`` is not.
    """
    check_interval(interval)

    def cuts_of(tensors: list[jax.Array]) -> list[Blocking]:
        return [blocking(tensor.shape, block_size) for tensor in tensors]

    def init(params: optax.Params) -> ShampooState:
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        cuts = cuts_of(jax.tree.leaves(params))
        statistics, roots = [], []
        for places in groups(cuts):
            num_blocks, cut = sum(cuts[i].num_blocks for i in places), cuts[places[0]]
            shapes = [(num_blocks, *2 * [cut.sizes[axis]]) for axis in cut.preconditioned]
            statistics.append(tuple(jnp.zeros(shape) for shape in shapes))
            roots.append(tuple(jnp.broadcast_to(jnp.eye(shape[-1]), shape) for shape in shapes))
        return ShampooState(jnp.zeros([], jnp.int32), mu, nu, statistics, roots)

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

        gradients, moments, steps = (jax.tree.leaves(tree) for tree in (grads, first, adam))
        cuts = cuts_of(gradients)
        together = groups(cuts)

        def joined(tensors: list[jax.Array], places: list[int]) -> jax.Array:
            return jnp.concatenate([to_blocks(tensors[i], cuts[i]) for i in places])

        statistics = [
            _update_statistics(joined(gradients, places), old, cuts[places[0]], beta2)
            for places, old in zip(together, state.statistics, strict=True)
        ]

        def new_roots() -> list[Matrices]:
            return [
                tuple(inverse_root(s, 2 * len(new), p) for s, p in zip(new, old, strict=True))
                for new, old in zip(statistics, state.roots, strict=True)
            ]

        roots = jax.lax.cond(num_steps % interval == 0, new_roots, lambda: state.roots)
        for places, root in zip(together, roots, strict=True):
            graft = joined(steps, places)
            preconditioned = _precondition(joined(moments, places), root, cuts[places[0]])
            blocks = jnp.where(num_steps < interval, graft, _grafted(preconditioned, graft))
            ends = itertools.accumulate(cuts[i].num_blocks for i in places[:-1])
            for i, part in zip(places, jnp.split(blocks, list(ends)), strict=True):
                steps[i] = from_blocks(part, cuts[i], gradients[i].shape)
        updates = jax.tree.unflatten(jax.tree.structure(grads), steps)
        return updates, ShampooState(num_steps, mu, nu, statistics, roots)

    def precise_update(
        grads: optax.Updates, state: ShampooState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ShampooState]:
        # An accelerator would take products of 10 bits, too few for a condition number of 1e4.
        with jax.default_matmul_precision("float32"):
            return update(grads, state, params)

    return optax.GradientTransformation(init, precise_update)


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
