"""Distributed Shampoo as a ``torch.optim`` optimizer; the equations are in its README."""

from __future__ import annotations

from typing import Any

import torch

from reference_submissions._common.optimizer_torch import ListOptimizer, gradients
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


def inverse_root(matrices: torch.Tensor, root: int, previous: torch.Tensor) -> torch.Tensor:
    """Computes (S / trace(S) + ridge I)^(-1/root) by coupled Newton iterations.

    With A = S / trace(S) + ridge I, whose eigenvalues are in (0, 1 + ridge], the iterations are::

        M = A, X = I
        T = I + (I - M) / root
        M, X = T^root M, X T

    M goes to I, and X, for which X^root A = M holds, to the inverse root. An iteration that takes
    M no nearer to I is not done: in float32 it would undo what the last ones reached.

    Args:
      matrices: S, symmetric positive semi-definite, (n, size, size), float32. Zeros are taken as
        a statistic of nothing, whose root is a multiple of I.
      root: a positive integer.
      previous: as ``matrices``, returned for each matrix that the iterations fail on.

    Returns:
      As ``matrices``, symmetric up to rounding.
    """
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    trace = matrices.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    product = matrices / trace.clamp(min=TINY) + RIDGE * identity
    found = identity.expand(matrices.shape)
    error = (product - identity).abs().amax((1, 2), keepdim=True)
    active = error.isfinite()
    for _ in range(MAX_ITERATIONS):
        factor = identity + (identity - product) / root
        new_product = torch.linalg.matrix_power(factor, root) @ product
        new_error = (new_product - identity).abs().amax((1, 2), keepdim=True)
        active = active & (new_error < error)
        if not active.any():
            break
        found = torch.where(active, found @ factor, found)
        product = torch.where(active, new_product, product)
        error = torch.where(active, new_error, error)
    return torch.where(error < TOLERANCE, found, previous)


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
    """Blocked Shampoo with momentum, each block's step grafted onto Adam's.

    Blocks of one size are worked on together, whatever tensors they are of. Under
    DistributedDataParallel every process does the same work on the same averaged gradients, and so
    keeps the same state.
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
        check_interval(interval)
        options = {"block_size": block_size, "interval": interval}
        super().__init__(params, lr, betas, eps, weight_decay, **options)
        for group in self.param_groups:
            for p in group["params"]:
                blocking(tuple(p.shape), group["block_size"])

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        moments, steps = self._adam(group, params)
        grads = gradients(params)
        cuts = [blocking(tuple(p.shape), group["block_size"]) for p in params]
        for places in groups(cuts):
            states = [self.state[params[i]] for i in places]
            for i, state in zip(places, states, strict=True):
                if "statistics" not in state:
                    state.update(_fresh_matrices(params[i], cuts[i]))
            _update_statistics(
                _joined(grads, cuts, places), states, cuts[places[0]], group["betas"][1]
            )
            if group["t"] % group["interval"] == 0:
                _update_roots(states)
            if group["t"] >= group["interval"]:
                graft = _joined(steps, cuts, places)
                blocks = _precondition(_joined(moments, cuts, places), states, cuts[places[0]])
                parts = _grafted(blocks, graft).split([cuts[i].num_blocks for i in places])
                for i, part in zip(places, parts, strict=True):
                    steps[i] = from_blocks(part, cuts[i], tuple(params[i].shape))
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, steps, alpha=-group["lr"])


def _fresh_matrices(p: torch.Tensor, cut: Blocking) -> dict[str, list[torch.Tensor]]:
    shapes = [(cut.num_blocks, *2 * [cut.sizes[axis]]) for axis in cut.preconditioned]
    identities = [torch.eye(shape[-1], dtype=p.dtype, device=p.device) for shape in shapes]
    return {
        "statistics": [p.new_zeros(shape) for shape in shapes],
        "roots": [i.repeat(cut.num_blocks, 1, 1) for i in identities],
    }


def _joined(tensors: list[torch.Tensor], cuts: list[Blocking], places: list[int]) -> torch.Tensor:
    """Returns the blocks of several tensors, one after the other."""
    return torch.cat([to_blocks(tensors[i], cuts[i]) for i in places])


def _update_statistics(
    blocks: torch.Tensor, states: list[dict[str, Any]], cut: Blocking, beta2: float
) -> None:
    for number, axis in enumerate(cut.preconditioned):
        rows = blocks.movedim(axis + 1, 1).reshape(len(blocks), cut.sizes[axis], -1)
        statistics = [state["statistics"][number] for state in states]
        products = (rows @ rows.mT).split([len(statistic) for statistic in statistics])
        torch._foreach_mul_(statistics, beta2)
        torch._foreach_add_(statistics, list(products), alpha=1 - beta2)


def _update_roots(states: list[dict[str, Any]]) -> None:
    order = 2 * len(states[0]["roots"])
    for number in range(len(states[0]["roots"])):
        statistics = [state["statistics"][number] for state in states]
        roots = [state["roots"][number] for state in states]
        found = inverse_root(torch.cat(statistics), order, torch.cat(roots))
        torch._foreach_copy_(roots, list(found.split([len(root) for root in roots])))


def _precondition(
    blocks: torch.Tensor, states: list[dict[str, Any]], cut: Blocking
) -> torch.Tensor:
    for number, axis in enumerate(cut.preconditioned):
        root = torch.cat([state["roots"][number] for state in states])
        rows = blocks.movedim(axis + 1, 1)
        product = (root @ rows.reshape(*rows.shape[:2], -1)).reshape(rows.shape)
        blocks = product.movedim(1, axis + 1)
    return blocks


def _grafted(blocks: torch.Tensor, graft: torch.Tensor) -> torch.Tensor:
    """Returns the directions of ``blocks`` with the norms of ``graft``, block by block."""
    axes = tuple(range(1, blocks.dim()))
    # The largest number first: squares of small preconditioned moments are 0 in float32.
    blocks = blocks / blocks.abs().amax(axes, keepdim=True).clamp(min=TINY)
    norm, length = (t.square().sum(axes, keepdim=True).sqrt() for t in (blocks, graft))
    return blocks * (length / norm.clamp(min=TINY))


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
