"""Shampoo in float64 numpy, a tensor at a time and without any cleverness: what the fast ones
are compared with."""

from __future__ import annotations

import itertools
import math

import numpy as np

SMALL_AXES = 32
LONGEST_AXIS = 8192
RIDGE = 1e-4


def inverse_root(statistic: np.ndarray, root: int) -> np.ndarray:
    """(S / trace(S) + ridge I)^(-1/root) by an eigendecomposition."""
    values, vectors = np.linalg.eigh(statistic.astype(np.float64))
    values = values.clip(0)
    powers = (values / (values.sum() or 1.0) + RIDGE) ** (-1 / root)
    return vectors @ np.diag(powers) @ vectors.T


def matrix_of(shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """The order of the axes, shortest first, and the lengths after joining the short ones."""
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    lengths = [shape[axis] for axis in order if shape[axis] > 1] or [1]
    while len(lengths) > 2 and lengths[0] * lengths[1] <= SMALL_AXES:
        lengths = [lengths[0] * lengths[1], *lengths[2:]]
    return order, lengths


def edges(length: int, block_size: int) -> list[slice]:
    """The blocks of an axis; the last one is the shortest."""
    if length > LONGEST_AXIS:
        return [slice(0, length)]
    count = math.ceil(length / block_size)
    size = math.ceil(length / count)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def times(root: np.ndarray, block: np.ndarray, axis: int) -> np.ndarray:
    """Multiplies one axis of a block with a matrix."""
    return np.moveaxis(np.tensordot(root, block, axes=(1, axis)), 0, axis)


class Shampoo:
    """State and step of one tensor."""

    def __init__(
        self, beta1: float, beta2: float, epsilon: float, block_size: int, interval: int
    ) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.block_size, self.interval = block_size, interval
        self.t = 0
        self.m = self.v = np.zeros(())
        self.statistics: dict[tuple[int, int], np.ndarray] = {}
        self.roots: dict[tuple[int, int], np.ndarray] = {}

    def update(self, grad: np.ndarray) -> np.ndarray:
        """Returns the direction of descent, without weight decay and learning rate."""
        grad = grad.astype(np.float64)
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * grad
        self.v = self.beta2 * self.v + (1 - self.beta2) * grad**2
        first = self.m / (1 - self.beta1**self.t)
        adam = first / (np.sqrt(self.v / (1 - self.beta2**self.t)) + self.epsilon)

        order, lengths = matrix_of(grad.shape)
        with_root = [axis for axis, length in enumerate(lengths) if length <= LONGEST_AXIS]
        if len(lengths) < 2 or not with_root:
            return adam
        gradient, moment, step = (
            tensor.transpose(order).reshape(lengths) for tensor in (grad, first, adam)
        )
        step = step.copy()
        cuts = [edges(length, self.block_size) for length in lengths]
        for number, place in enumerate(itertools.product(*cuts)):
            block = gradient[place]
            for axis in with_root:
                rows = np.moveaxis(block, axis, 0).reshape(block.shape[axis], -1)
                old = self.statistics.get((number, axis), 0.0)
                new = self.beta2 * old + (1 - self.beta2) * rows @ rows.T
                self.statistics[number, axis] = new
                if self.t % self.interval == 0:
                    self.roots[number, axis] = inverse_root(new, 2 * len(with_root))
            if not self.roots:
                continue
            direction = moment[place]
            for axis in with_root:
                direction = times(self.roots[number, axis], direction, axis)
            norm = np.linalg.norm(direction)
            if norm > 0:
                step[place] = direction * np.linalg.norm(step[place]) / norm
        step = step.reshape([grad.shape[axis] for axis in order])
        return step.transpose(np.argsort(order))
