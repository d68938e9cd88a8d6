"""Distributed Shampoo as a ``torch.optim`` optimizer; the equations are in its README."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from reference_submissions._common.optimizer_torch import ListOptimizer, gradients
from reference_submissions._common.settings import Settings
from reference_submissions._common.shampoo_blocks import (
    ITERATIONS,
    RIDGE,
    Blocking,
    blocking,
    groups,
)

TINY = 1e-30
"""Keeps a tensor without any gradient from a division by zero."""


def inverse_root(matrices: torch.Tensor, root: int) -> torch.Tensor:
    """Returns (S + ridge I)^(-1/root), ridge = :data:`RIDGE` times the Frobenius norm of S.

    By a coupled Newton iteration, that is by products of matrices.

    Args:
      matrices: symmetric positive semi-definite, (n, size, size).
      root: a positive integer.

    Returns:
      As ``matrices``, symmetric.
    """
    identity = torch.eye(matrices.shape[-1], device=matrices.device)
    norm = torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=TINY)
    product = matrices / norm + RIDGE * identity
    # The largest eigenvalue for which the iteration converges.
    scale = (root + 1) / (2 * torch.linalg.matrix_norm(product, keepdim=True))
    product, found = scale * product, scale ** (1 / root) * identity
    with _all_bits():
        for _ in range(ITERATIONS):
            step = ((root + 1) * identity - product) / root
            for _ in range(root):
                product = step @ product
            found = found @ step
    return (found + found.mT) / 2 * norm ** (-1 / root)


@contextlib.contextmanager
def _all_bits() -> Iterator[None]:
    """Products of matrices on CUDA in float32, whatever is allowed to the model."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def to_blocks(tensor: torch.Tensor, cut: Blocking) -> torch.Tensor:
    """Cuts a tensor into (num_blocks, *sizes)."""
    tensor = tensor.permute(cut.order).reshape(cut.shape)
    padding = [end for zeros in reversed(cut.padding) for end in (0, zeros)]
    tensor = torch.nn.functional.pad(tensor, padding)
    return tensor.reshape(cut.split_shape).permute(cut.blocks_first).reshape(-1, *cut.sizes)


def from_blocks(blocks: torch.Tensor, cut: Blocking, shape: tuple[int, ...]) -> torch.Tensor:
    """Undoes :func:`to_blocks`; ``shape`` is the tensor's."""
    tensor = blocks.reshape(*cut.counts, *cut.sizes)
    tensor = tensor.permute(_inverse(cut.blocks_first))
    tensor = tensor.reshape([c * s for c, s in zip(cut.counts, cut.sizes, strict=True)])
    tensor = tensor[tuple(slice(length) for length in cut.shape)]
    return tensor.reshape([shape[axis] for axis in cut.order]).permute(_inverse(cut.order))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=lambda axis: order[axis]))


class Shampoo(ListOptimizer):
    """Blocked Shampoo with momentum, each tensor's step grafted onto Adam's.

    Under DistributedDataParallel every process does the same work on the same averaged gradients,
    and so keeps the same state.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        block_size: int = 128,
        interval: int = 20,
    ) -> None:
        """Creates the optimizer.

        Args:
          params: parameters or parameter groups.
          lr: learning rate.
          betas: decay of the first moment, and of the second moment and the statistics.
          eps: added to the root of the second moment.
          weight_decay: decoupled weight decay.
          block_size: largest size of a block along an axis.
          interval: steps from one computation of the inverse roots to the next; until the first
            one the update is Adam's.

        Raises:
          ValueError: a number out of its range.
        """
        if interval < 1:
            raise ValueError(f"preconditioner_interval is {interval}, but it is at least one step")
        if block_size < 1:
            raise ValueError(f"block_size is {block_size}, but a block has at least one row")
        options = {"block_size": block_size, "interval": interval}
        super().__init__(params, lr, betas, eps, weight_decay, **options)

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        first, steps = self._adam(group, params)
        states = [self.state[p] for p in params]
        cuts = [blocking(tuple(p.shape), group["block_size"]) for p in params]
        for p, grad, state, cut in zip(params, gradients(params), states, cuts, strict=True):
            if "statistics" not in state:
                shapes = [(cut.num_blocks, *2 * [cut.sizes[i]]) for i in cut.preconditioned]
                state["statistics"] = [p.new_zeros(shape) for shape in shapes]
                state["roots"] = [p.new_zeros(shape) for shape in shapes]
            _update_statistics(to_blocks(grad, cut), state["statistics"], cut, group["betas"][1])
        if group["t"] % group["interval"] == 0:
            _update_roots(states)
        if group["t"] >= group["interval"]:
            steps = [
                _grafted(moment, graft, state["roots"], cut)
                for moment, graft, state, cut in zip(first, steps, states, cuts, strict=True)
            ]
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, steps, alpha=-group["lr"])


def _update_statistics(
    blocks: torch.Tensor, statistics: list[torch.Tensor], cut: Blocking, beta2: float
) -> None:
    for statistic, axis in zip(statistics, cut.preconditioned, strict=True):
        rows = blocks.movedim(axis + 1, 1).reshape(len(blocks), cut.sizes[axis], -1)
        statistic.mul_(beta2).add_(rows @ rows.mT, alpha=1 - beta2)


def _grafted(
    moment: torch.Tensor, graft: torch.Tensor, roots: list[torch.Tensor], cut: Blocking
) -> torch.Tensor:
    """Returns the preconditioned moment with the norm of ``graft``."""
    if not roots:
        return graft
    blocks = to_blocks(moment, cut)
    for root, axis in zip(roots, cut.preconditioned, strict=True):
        rows = blocks.movedim(axis + 1, 1)
        product = (root @ rows.reshape(*rows.shape[:2], -1)).reshape(rows.shape)
        blocks = product.movedim(1, axis + 1)
    direction = from_blocks(blocks, cut, tuple(moment.shape))
    norm = torch.linalg.vector_norm(direction)
    return direction * (torch.linalg.vector_norm(graft) / norm.clamp(min=TINY))


def _update_roots(states: list[dict[str, Any]]) -> None:
    """Inverse roots of all statistics; those of one size are computed together."""
    matrices = [matrix for state in states for matrix in state["statistics"]]
    targets = [root for state in states for root in state["roots"]]
    orders = [2 * len(state["roots"]) for state in states for _ in state["roots"]]
    keys = ((m.shape[-1], order) for m, order in zip(matrices, orders, strict=True))
    for places in groups(keys):
        stacked = torch.cat([matrices[place] for place in places])
        computed = inverse_root(stacked, orders[places[0]])
        parts = computed.split([len(matrices[place]) for place in places])
        torch._foreach_copy_([targets[place] for place in places], list(parts))


def shampoo(params: Any, settings: Settings) -> torch.optim.Optimizer:
    """Distributed Shampoo (:class:`Shampoo`), decoupled weight decay on all parameters."""
    return Shampoo(
        params,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        block_size=settings.block_size,
        interval=settings.preconditioner_interval,
    )
