"""Shampoo in float64 numpy, a tensor at a time and without any cleverness: what the fast ones
are compared with."""

from __future__ import annotations

import itertools
import math

import numpy as np

SMALL_AXES = 32
RIDGE = 1e-6


def matrix_of(shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """The order of the axes, shortest first, and the lengths after joining the short ones."""
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    lengths = [shape[axis] for axis in order if shape[axis] > 1] or [1]
    while len(lengths) > 2 and lengths[0] * lengths[1] <= SMALL_AXES:
        lengths = [lengths[0] * lengths[1], *lengths[2:]]
    return order, lengths


def edges(length: int, block_size: int) -> list[slice]:
    """The blocks of an axis; the last one is the shortest."""
    count = math.ceil(length / block_size)
    size = math.ceil(length / count)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def preconditioned(
    moment: np.ndarray, statistics: dict[tuple[int, int], np.ndarray], block_size: int
) -> np.ndarray:
    """Multiplies each block of a tensor with the inverse roots of its statistics."""
    result = np.zeros_like(moment)
    cuts = [edges(length, block_size) for length in moment.shape]
    for number, place in enumerate(itertools.product(*cuts)):
        block = moment[place]
        for axis in range(block.ndim):
            statistic = statistics[number, axis]
            values, vectors = np.linalg.eigh(statistic)
            ridge = RIDGE * np.linalg.norm(statistic)
            powers = (values.clip(0) + ridge) ** (-0.5 / block.ndim)
            root = vectors @ np.diag(powers) @ vectors.T
            block = np.moveaxis(np.tensordot(root, block, axes=(1, axis)), 0, axis)
        result[place] = block
    return result


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
        self.used: dict[tuple[int, int], np.ndarray] = {}

    def update(self, grad: np.ndarray) -> np.ndarray:
        """Returns the direction of descent, without weight decay and learning rate."""
        grad = grad.astype(np.float64)
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * grad
        self.v = self.beta2 * self.v + (1 - self.beta2) * grad**2
        first = self.m / (1 - self.beta1**self.t)
        adam = first / (np.sqrt(self.v / (1 - self.beta2**self.t)) + self.epsilon)
        order, lengths = matrix_of(grad.shape)

        cuts = [edges(length, self.block_size) for length in lengths]
        matrix = grad.transpose(order).reshape(lengths)
        for number, place in enumerate(itertools.product(*cuts)):
            for axis in range(len(lengths)):
                rows = np.moveaxis(matrix[place], axis, 0).reshape(matrix[place].shape[axis], -1)
                old = self.statistics.get((number, axis), 0.0)
                new = self.beta2 * old + (1 - self.beta2) * rows @ rows.T
                self.statistics[number, axis] = new
        if self.t % self.interval == 0:
            self.used = dict(self.statistics)
        if not self.used or len(lengths) < 2:
            return adam
        direction = preconditioned(
            first.transpose(order).reshape(lengths), self.used, self.block_size
        )
        direction = direction.reshape([grad.shape[axis] for axis in order])
        direction = direction.transpose(np.argsort(order))
        return direction * np.linalg.norm(adam) / np.linalg.norm(direction)
