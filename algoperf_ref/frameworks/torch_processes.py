"""PyTorch processes that ``torchrun`` has started."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks.peers import Channel, Peers
from algoperf_ref.frameworks.processes import Group, ProcessSettings
from algoperf_ref.frameworks.torch_device import pytorch_setup

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_POLL_SECONDS = 0.02
_runs = 0


class StoreChannel(Channel):
    """A ``torch.distributed`` store, as a channel."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def add(self, key: str) -> int:
        """Counts."""
        return int(self._store.add(key, 1))

    def set(self, key: str, text: str) -> None:
        """Stores a text."""
        self._store.set(key, text)

    def get(self, key: str, seconds: float) -> str | None:
        """Waits for a text."""
        # A store that waits in vain prints a warning, so short waits ask again and again.
        end = time.monotonic() + seconds
        if seconds > 60.0:
            try:
                self._store.wait([key], timedelta(seconds=seconds))
            except dist.DistStoreError:
                return None
        while not self._store.check([key]):
            if time.monotonic() >= end:
                return None
            time.sleep(_POLL_SECONDS)
        return bytes(self._store.get(key)).decode()


class TorchGroup(Group):
    """The ranks of a ``torchrun``; the default process group is the submission's to use."""

    def __init__(self, peers: Peers, timeout: timedelta, owns_default_group: bool) -> None:
        """Args:
        peers: the other ranks.
        timeout: longest wait in a collective.
        owns_default_group: destroy torch's default process group in the end.
        """
        super().__init__(peers)
        self._owns_default_group = owns_default_group
        # Of the harness alone: a collective of a submission never meets one of ours.
        self._control = dist.new_group(backend="gloo", timeout=timeout)
        self._old_handler: Any = None
        if threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGTERM, self._terminated)

    def _maximum(self, values: Sequence[float]) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._control)
        result: list[float] = tensor.tolist()
        return result

    def _broadcast(self, data: bytes | None) -> bytes:
        content = np.frombuffer(data or b"", np.uint8).copy()
        size = torch.tensor([len(content)])
        dist.broadcast(size, 0, group=self._control)
        buffer = (
            torch.from_numpy(content) if data is not None else torch.empty(0, dtype=torch.uint8)
        )
        buffer = buffer if data is not None else buffer.new_empty(int(size))
        dist.broadcast(buffer, 0, group=self._control)
        return buffer.numpy().tobytes()

    def _gather(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        joined = {}
        for name, array in arrays.items():
            # As bytes: gloo does not know every dtype.
            own = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            parts = [torch.empty_like(own) for _ in range(self.count)]
            dist.all_gather(parts, own, group=self._control)
            shape = (self.count * array.shape[0], *array.shape[1:])
            joined[name] = torch.cat(parts).numpy().view(array.dtype).reshape(shape)
        return joined

    def _leave(self) -> None:
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
        if self.peers.is_broken:
            return  # to destroy a group whose collectives hang may hang too
        if self._owns_default_group:
            dist.destroy_process_group()
        else:
            dist.destroy_process_group(self._control)

    def _terminated(self, number: int, frame: Any) -> None:
        """``torchrun`` ends the remaining ranks when one has died: say which, then end."""
        if self.peers.is_broken:
            return  # this rank knows, and is about to end
        failure = self.peers.lost_process()
        if failure is not None:
            self.peers.is_broken = True
            raise failure
        signal.signal(signal.SIGTERM, self._old_handler)
        signal.raise_signal(signal.SIGTERM)


def join(settings: ProcessSettings) -> TorchGroup | None:
    """Sets the default process group up: NCCL for CUDA tensors, gloo for others.

    Args:
      settings: the timeout; everything else is in the environment.

    Returns:
      The group; None if there is only one rank, whose process group is set up all the same, since
      submissions that find ``LOCAL_RANK`` use it.

    Raises:
      UserError: an incomplete environment, or more ranks than devices on this host.
    """
    global _runs
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise UserError(
            f"LOCAL_RANK is set, but {' and '.join(missing)} is not: start several processes with "
            "torchrun, or unset LOCAL_RANK for one"
        )
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    setup = pytorch_setup()
    is_cuda = setup.device.type == "cuda"
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if is_cuda and here > setup.n_gpus:
        raise UserError(
            f"{here} processes on this host share {setup.n_gpus} CUDA devices: "
            f"start torchrun with --nproc_per_node={setup.n_gpus} or less"
        )
    if is_cuda:
        torch.cuda.set_device(setup.device)
    timeout = timedelta(seconds=settings.timeout_seconds)
    _runs += 1
    owns_default_group = not dist.is_initialized()
    if owns_default_group:
        store, _, _ = next(dist.rendezvous("env://", rank, count, timeout=timeout))
        store.set_timeout(timeout)
        # Keys of an earlier run of these processes are still in the store.
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if is_cuda else "gloo",
            store=dist.PrefixStore(f"run {_runs}", store),
            rank=rank,
            world_size=count,
            timeout=timeout,
        )
    else:  # by the script that calls us
        store = dist.distributed_c10d._get_default_store()
    if count == 1:
        return None
    channel, listener = (
        StoreChannel(dist.PrefixStore(f"peers {_runs}", connection))
        for connection in (store, store.clone())
    )
    # Usually torchrun's own process has the store.
    hosts_store = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    peers = Peers(rank, count, channel, listener, hosts_store=hosts_store)
    return TorchGroup(peers, timeout, owns_default_group)
