"""The PyTorch side of the backend protocol."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks import numpy_random, processes
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.torch_device import pytorch_setup

_STEPS_PER_CHUNK = 16
# Odd, so that the generators of all processes differ in the low 32 bits, which are all that
# torch's generator for the CPU looks at.
_SEED_STEP = 0x9E3779B97F4A7C15


class TorchBackend:
    """PyTorch on this process's device; see :class:`algoperf_ref.frameworks.base.Backend`."""

    name = "pytorch"
    batches_are_global = False

    def __init__(self) -> None:
        self.setup = pytorch_setup()
        self.device = self.setup.device
        self._group = processes.current()
        self._seed_offset = _SEED_STEP * self.process_index
        self._chunk: tuple[Key, int, list[tuple[Key, Key]]] = (None, -1, [])

    @property
    def num_devices(self) -> int:
        """Processes if there are several; else CUDA devices, 1 on a CPU."""
        return self.process_count if self.process_count > 1 else max(1, self.setup.n_gpus)

    @property
    def process_index(self) -> int:
        """Rank of this process."""
        return 0 if self._group is None else self._group.index

    @property
    def process_count(self) -> int:
        """World size."""
        return 1 if self._group is None else self._group.count

    def agree(self, values: Sequence[float]) -> Sequence[float]:
        """Returns the largest values of all processes."""
        return values if self._group is None else self._group.agree(values)

    def broadcast(self, value: Any) -> Any:
        """Returns process 0's value."""
        return value if self._group is None else self._group.broadcast(value)

    def announce_failure(self, error: BaseException, status: str) -> None:
        """Tells the other processes."""
        if self._group is not None:
            self._group.announce(error, status)

    def distribute(self, module: torch.nn.Module) -> torch.nn.Module:
        """Returns the module on the device, in DistributedDataParallel if there are others.

        Source: harness contract, section 2.1.
        """
        module = module.to(self.device)
        if self._group is None:
            return module
        device_ids = [self.device] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(module, device_ids=device_ids)

    def seed_key(self, seed: int) -> Key:
        """Returns the numpy key of a seed: ``int32[2]``."""
        return numpy_random.prng_key(seed)

    def split(self, key: Key, num: int = 2) -> Sequence[Key]:
        """Returns ``num`` keys."""
        return list(numpy_random.split(key, num))

    def fold_in(self, key: Key, data: int) -> Key:
        """Returns ``[draw of the key, data]``."""
        return numpy_random.fold_in(key, data)

    def step_keys(self, key: Key, global_step: int) -> Sequence[Key]:
        """Returns the first two of a step's four keys.

        This is on the submission's clock, so the keys of several steps are made at a time.
        """
        offset = global_step % _STEPS_PER_CHUNK
        start = global_step - offset
        made_from, made_for, keys = self._chunk
        if made_from is not key or made_for != start:
            chunk = numpy_random.keys_of_steps(key, start, _STEPS_PER_CHUNK, 4)
            keys = [(step[0], step[1]) for step in chunk]
            self._chunk = (key, start, keys)
        return keys[offset]

    def evaluation_keys(self, key: Key, global_step: int) -> Sequence[Key]:
        """Returns the last two of a step's four keys."""
        return tuple(numpy_random.split(numpy_random.fold_in(key, global_step), 4)[2:])

    def key_to_seed(self, key: Key) -> int:
        """Returns the two words of a key as one integer below 2**64."""
        return (int(key[0]) & 0xFFFFFFFF) << 32 | int(key[1]) & 0xFFFFFFFF

    def seed_global_generators(self, key: Key, *, is_shared: bool = False) -> None:
        """Seeds the device's default generators: dropout masks are drawn from them.

        ``torch.manual_seed`` visits every accelerator type; this runs once per step.
        """
        seed = self.key_to_seed(key)
        if not is_shared and self._seed_offset:
            seed = (seed + self._seed_offset) % 2**64
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def place_batch(self, batch: Any) -> Any:
        """Turns numpy leaves into tensors on the device; keeps dicts, tuples and named tuples."""
        if isinstance(batch, np.ndarray):
            return torch.from_numpy(batch).to(self.device, non_blocking=True)
        if isinstance(batch, dict):
            return {name: self.place_batch(value) for name, value in batch.items()}
        if isinstance(batch, tuple) and hasattr(batch, "_fields"):
            return type(batch)(*(self.place_batch(value) for value in batch))
        if isinstance(batch, (list, tuple)):
            return type(batch)(self.place_batch(value) for value in batch)
        return batch

    def fetch(self, outputs: Any) -> dict[str, Any]:
        """Returns tensors as numpy arrays, those of all processes joined."""
        arrays = {name: value.cpu().numpy() for name, value in outputs.items()}
        return arrays if self._group is None else self._group.gather(arrays)

    def replicate(self, tree: Any) -> Any:
        """Moves every tensor or array to the device."""
        return self.place_batch(tree)

    def synchronize(self, *trees: Any) -> None:
        """Waits for the CUDA device; a CPU has nothing queued."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free_memory(self) -> None:
        """Empties the CUDA cache."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def peak_memory_bytes(self) -> int | None:
        """Returns the most bytes that tensors took on the CUDA device."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device)

    def reset_peak_memory(self) -> None:
        """Starts the CUDA statistics anew."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def compile_workload(self, workload: Any, params: Any) -> Any:
        """Compiles model and loss where the workload's policy says so, on CUDA only.

        On a CPU ``torch.compile`` needs a C++ compiler and costs more than the mini tier's run.
        """
        if self.device.type != "cuda":
            return params
        if getattr(workload, "torch_compile_loss", False):
            workload.loss_fn = torch.compile(workload.loss_fn)
        return torch.compile(params) if getattr(workload, "torch_compile_model", False) else params

    def structure(self, params: Any) -> Sequence[tuple[str, str]]:
        """Returns name and shape of every parameter of the module, and the type of what is none."""
        module = _unwrap(params)
        if not isinstance(module, torch.nn.Module):
            return [("", type(module).__name__)]
        return [(name, str(tuple(p.shape))) for name, p in module.named_parameters()]

    def first_non_finite(self, params: Any) -> str | None:
        """Returns the name of the first parameter with a value that is not finite."""
        named = list(_unwrap(params).named_parameters())
        if not named:
            return None
        with torch.no_grad():
            finite = torch.stack([p.isfinite().all() for _, p in named]).tolist()
        return next((name for (name, _), good in zip(named, finite, strict=True) if not good), None)

    def trace(self, directory: Path) -> AbstractContextManager[Any]:
        """Returns ``torch.profiler.profile``: open the file with Perfetto or a Chrome browser."""
        directory.mkdir(parents=True, exist_ok=True)

        def save(profiler: Any) -> None:
            profiler.export_chrome_trace(str(directory / "trace.json"))

        return torch.profiler.profile(on_trace_ready=save)

    def export_state(self, params: Any, optimizer_state: Any, model_state: Any) -> dict[str, Any]:
        """Returns module and optimizer state as plain containers of numpy arrays.

        Entries of the optimizer state with ``state_dict`` are stored by it, others as they are.
        """
        stateful = {key: value for key, value in optimizer_state.items() if _is_stateful(value)}
        plain = {key: value for key, value in optimizer_state.items() if key not in stateful}
        states = {key: value.state_dict() for key, value in stateful.items()}
        return {
            "params": _to_numpy(_unwrap(params).state_dict()),
            "stateful": {key: _to_numpy(_storable(state)) for key, state in states.items()},
            "plain": _to_numpy(plain),
            "model_state": _to_numpy(model_state),
        }

    def import_state(
        self, exported: dict[str, Any], params: Any, optimizer_state: Any, model_state: Any
    ) -> tuple[Any, Any, Any]:
        """Loads the stored state into the fresh objects; see the protocol."""
        try:
            _unwrap(params).load_state_dict(self._to_torch(exported["params"]))
        except RuntimeError as error:
            raise UserError(
                f"checkpoint: params do not fit the model ({error}); start anew with --overwrite"
            ) from error
        for key, state in exported["stateful"].items():
            if not _is_stateful(optimizer_state.get(key)):
                raise UserError(
                    f"checkpoint: optimizer_state[{key!r}] is stored, but the submission's initial "
                    "state has no such entry with load_state_dict; start anew with --overwrite"
                )
            optimizer_state[key].load_state_dict(self._to_torch(state))
        for key, value in exported["plain"].items():
            optimizer_state[key] = _like(self._to_torch(value), optimizer_state.get(key))
        return params, optimizer_state, self._to_torch(exported["model_state"])

    def _to_torch(self, tree: Any) -> Any:
        if isinstance(tree, np.ndarray):
            array = np.array(tree, copy=True, order="C")
            if array.dtype == ml_dtypes.bfloat16:
                return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16).to(self.device)
            return torch.from_numpy(array).to(self.device)
        if isinstance(tree, dict):
            return {key: self._to_torch(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self._to_torch(value) for value in tree]
        if isinstance(tree, tuple):
            values = [self._to_torch(value) for value in tree]
            return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
        return tree


def _unwrap(module: Any) -> Any:
    """Returns the module inside DDP, DataParallel and ``torch.compile`` wrappers."""
    while True:
        inner = getattr(module, "_orig_mod", None) or (
            module.module
            if isinstance(
                module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
            )
            else None
        )
        if inner is None:
            return module
        module = inner


def _is_stateful(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _storable(tree: Any) -> Any:
    """Drops functions from a state dict: schedulers keep their lambdas in it."""
    if isinstance(tree, dict):
        return {key: _storable(value) for key, value in tree.items() if not callable(value)}
    if isinstance(tree, list):
        return [None if callable(value) else _storable(value) for value in tree]
    return tree


def _to_numpy(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        host = tree.detach().cpu()
        if host.dtype == torch.bfloat16:
            return host.view(torch.uint16).numpy().view(ml_dtypes.bfloat16).copy()
        return host.numpy().copy()
    if isinstance(tree, dict):
        return {key: _to_numpy(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_to_numpy(value) for value in tree]
    if isinstance(tree, tuple):
        values = [_to_numpy(value) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
    return tree


def _like(value: Any, fresh: Any) -> Any:
    """Gives a restored value the type of the fresh one where the stored form does not tell it."""
    if isinstance(fresh, (np.ndarray, np.generic)) and isinstance(value, torch.Tensor):
        return value.cpu().numpy()
    if isinstance(value, tuple) and hasattr(fresh, "_fields"):
        return type(fresh)(*value)
    return value
