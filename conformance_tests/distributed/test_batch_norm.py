"""Batch norm in PyTorch over several processes is that of one process with the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHANNELS, ROWS = 3, 8
RANKS = 2


def _batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(0)
    inputs = random.randn(ROWS, CHANNELS, 4, 5) * 2 + np.arange(ROWS)[:, None, None, None]
    return inputs.astype(np.float32), random.randn(*inputs.shape).astype(np.float32)


def _run(inputs: Any, factors: Any, update: bool) -> dict[str, np.ndarray]:
    """One training pass: outputs, running statistics, and gradients of a weighted sum."""
    import torch

    from algoperf_ref.frameworks.torch_norm_layers import BatchNorm

    layer = BatchNorm(CHANNELS)
    layer.initialise(torch.Generator())
    layer.updates_statistics = update
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    images = torch.tensor(inputs, requires_grad=True)
    outputs = layer(images)
    (outputs * torch.tensor(factors)).sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    return {
        "outputs": outputs.detach().numpy(),
        "inputs_gradient": images.grad.numpy(),
        "weight_gradient": layer.weight.grad.numpy(),
        "bias_gradient": layer.bias.grad.numpy(),
        "mean": layer.running_mean.numpy(),
        "variance": layer.running_var.numpy(),
        "count": layer.num_batches_tracked.numpy(),
    }


def _rank(rank: int, directory: str, update: bool) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.FileStore(f"{directory}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    part = slice(rank * ROWS // RANKS, (rank + 1) * ROWS // RANKS)
    inputs, factors = _batch()
    np.savez(f"{directory}/{rank}.npz", **_run(inputs[part], factors[part], update))
    dist.destroy_process_group()


@pytest.mark.clause("SUB-17", "DATA-8")
@pytest.mark.parametrize("update", [True, False])
def test_statistics_are_those_of_the_global_batch(update: bool, tmp_path: Path) -> None:
    import torch.multiprocessing as mp

    mp.spawn(_rank, args=(str(tmp_path), update), nprocs=RANKS)
    ranks = []
    for rank in range(RANKS):
        with np.load(tmp_path / f"{rank}.npz") as arrays:
            ranks.append(dict(arrays))
    whole = _run(*_batch(), update)
    close = {"rtol": 1e-4, "atol": 1e-5}
    for name in ("outputs", "inputs_gradient"):
        joined = np.concatenate([rank[name] for rank in ranks])
        np.testing.assert_allclose(joined, whole[name], **close, err_msg=name)
    for name in ("weight_gradient", "bias_gradient"):
        total = sum(rank[name] for rank in ranks)
        np.testing.assert_allclose(total, whole[name], rtol=1e-4, atol=1e-4, err_msg=name)
    for name in ("mean", "variance", "count"):
        for rank in ranks:
            np.testing.assert_allclose(rank[name], whole[name], **close, err_msg=name)
    assert bool(whole["count"]) == update
