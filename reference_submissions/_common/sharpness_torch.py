"""The ascent step of sharpness-aware minimisation for PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

TINY = 1e-30
"""Keeps a gradient of zero from a division by zero."""


@contextlib.contextmanager
def ascended(model: torch.nn.Module, rho: float) -> Iterator[None]:
    """Moves the parameters by ``rho`` along the normalised gradient, and exactly back at the end.

    The gradient is that in ``.grad``: DistributedDataParallel has averaged it over the processes,
    so its norm, and the place moved to, are the same on each of them. The gradients are gone
    inside; those that are there at the end stay.

    Args:
      model: has gradients.
      rho: length of the move over all parameters.
    """
    params = [p for p in model.parameters() if p.grad is not None]
    grads = [p.grad for p in params if p.grad is not None]
    with torch.no_grad():
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        moves = torch._foreach_mul(grads, rho / norm.clamp(min=TINY))
        places = [p.clone() for p in params]
        torch._foreach_add_(params, moves)
    model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(params, places)


@contextlib.contextmanager
def replayed_random_numbers(model: torch.nn.Module) -> Iterator[None]:
    """Lets what follows draw again, from torch's global generator, what is drawn inside."""
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
