"""Which PyTorch device this process trains on."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch


class TorchSetup(NamedTuple):
    """What :func:`pytorch_setup` returns, in the order of the submission API."""

    use_ddp: bool
    rank: int
    device: torch.device
    n_gpus: int


def pytorch_setup() -> TorchSetup:
    """Reads the process's place from the environment; cheap, idempotent, creates no process group.

    Returns:
      ``(use_ddp, rank, device, n_gpus)``: whether ``LOCAL_RANK`` is set, its value or 0, the
      device ``cuda:<rank>`` or ``cpu``, and the number of CUDA devices (0 on a CPU).
      Source: harness contract, section 1.2.
    """
    use_ddp = "LOCAL_RANK" in os.environ
    rank = int(os.environ["LOCAL_RANK"]) if use_ddp else 0
    device = torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
    return TorchSetup(use_ddp, rank, device, torch.cuda.device_count())
