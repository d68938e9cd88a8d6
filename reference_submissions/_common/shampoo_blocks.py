"""How Shampoo cuts a tensor into blocks, and its constants; the same for both frameworks.

The blocks depend on the sizes of the axes and not on their order, so that a kernel (in, out) of
JAX and its twin (out, in) of PyTorch are preconditioned alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMALL_AXES = 32
"""Axes are joined while their product is at most this: 3 x 3 places of a convolution are one axis
of 9, with a preconditioner of 9 x 9. The limit keeps the channels out of it."""

LONGEST_AXIS = 8192
"""A longer axis, that of a vocabulary, has no preconditioner."""

RIDGE = 1e-4
"""Added to the eigenvalues of a statistic, as a part of their sum. With 1e-6 float32 does not tell
the ridge from its rounding, and two devices do not train as one."""

MAX_ITERATIONS = 40
"""Of the inverse root. A condition number of 1e6 takes 22 at most, the ridge leaves 1e4."""

TOLERANCE = 0.1
"""An inverse root is used if X^p A is so near to I, in every number."""

TINY = 1e-30
"""Keeps a tensor without any gradient from a division by zero."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """The places of a tensor's blocks.

    A tensor is transposed to ``order`` and reshaped to ``shape``, each axis is padded with zeros
    to ``counts * sizes``, and the blocks are made the first axis: (product of counts, *sizes).

    Attributes:
      order: the axes, shortest first.
      shape: sizes after the short axes are joined; at least one axis.
      counts: blocks along each axis.
      sizes: size of a block along each axis.
      preconditioned: the axes, of ``shape``, that have a preconditioner; none in a tensor with
        less than two axes, for which the root of the second moment has to do.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    preconditioned: tuple[int, ...]

    @property
    def num_blocks(self) -> int:
        """Blocks of the tensor."""
        return math.prod(self.counts)

    @property
    def padding(self) -> tuple[int, ...]:
        """Zeros to append to each axis of ``shape``."""
        return tuple(
            count * size - length
            for count, size, length in zip(self.counts, self.sizes, self.shape, strict=True)
        )

    @property
    def split_shape(self) -> tuple[int, ...]:
        """(count, size, count, size, ...) of the padded axes."""
        return tuple(n for pair in zip(self.counts, self.sizes, strict=True) for n in pair)

    @property
    def blocks_first(self) -> tuple[int, ...]:
        """The axes of :attr:`split_shape`, counts before sizes."""
        axes = range(2 * len(self.shape))
        return (*axes[0::2], *axes[1::2])


def blocking(shape: tuple[int, ...], block_size: int) -> Blocking:
    """Cuts a tensor into blocks of at most ``block_size`` along each preconditioned axis.

    Blocks along an axis are as equal as they can be, which takes less padding than full blocks and
    a rest: 147 with blocks of 128 is 2 x 74.

    Args:
      shape: of the tensor; () is a tensor of one number.
      block_size: largest size of a block, positive.

    Returns:
      The places of the blocks.

    Raises:
      ValueError: ``block_size`` is not positive.
    """
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}, but a block has at least one row")
    order = tuple(sorted(range(len(shape)), key=lambda axis: shape[axis]))
    lengths = [shape[axis] for axis in order if shape[axis] > 1] or [1]
    while len(lengths) > 2 and lengths[0] * lengths[1] <= SMALL_AXES:
        lengths[:2] = [lengths[0] * lengths[1]]
    preconditioned = tuple(i for i, length in enumerate(lengths) if length <= LONGEST_AXIS)
    if len(lengths) < 2:
        preconditioned = ()
    counts = [
        math.ceil(length / block_size) if i in preconditioned else 1
        for i, length in enumerate(lengths)
    ]
    sizes = [math.ceil(length / count) for length, count in zip(lengths, counts, strict=True)]
    return Blocking(order, tuple(lengths), tuple(counts), tuple(sizes), preconditioned)


def check_interval(interval: int) -> None:
    """Checks the steps from one preconditioner to the next.

    Raises:
      ValueError: ``interval`` is not positive.
    """
    if interval < 1:
        raise ValueError(f"preconditioner_interval is {interval}, but it is at least one step")


def groups(cuts: Sequence[Blocking]) -> list[list[int]]:
    """Finds the tensors that can be worked on together.

    Args:
      cuts: of all tensors.

    Returns:
      Places of the tensors whose blocks have the same sizes and the same preconditioned axes, in
      the order of their first places. A tensor without a preconditioner is in no group.
    """
    places: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for place, cut in enumerate(cuts):
        if cut.preconditioned:
            places.setdefault((cut.sizes, cut.preconditioned), []).append(place)
    return list(places.values())
