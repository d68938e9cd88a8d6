"""Device memory of a PyTorch training step, without a device and without the memory.

The step runs on fake tensors (``FakeTensorMode``): they have shapes, types and storages, and no
contents. A simulated allocator watches every operation: a storage counts from the operation that
makes it until nothing refers to it any more, and the estimate is the largest sum during the second
step, when the optimizer has its state. Saved activations, gradients and what the update makes on
the way are in it because autograd and the optimizer hold them, not by a formula of ours.

It is what a caching allocator would be asked for. Not in it are what operations use inside
(workspaces of cuDNN and cuBLAS), rounding and fragmentation, and the CUDA context (0.3 to 0.5 GB).
Operations save what their CPU kernels save: an LSTM every gate, attention no matrix of weights.
``torch.compile``, which fuses operations, is not applied.

Some operations ask for values: how many ids fall into a part of a table, how long a transcript is.
:class:`KnownValues` computes for real what depends on the batch alone.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks.torch_backend import TorchBackend
from spec.submission import ForwardPassMode


def _ctc_loss(log_probs: torch.Tensor, targets: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
    """Losses, and the lattice of transcripts that all fill their rows."""
    frames, examples, _classes = log_probs.shape
    lattice = log_probs.new_empty(examples, frames, 2 * targets.shape[1] + 1)
    return log_probs.new_empty(examples), lattice


_UPPER_BOUNDS = {torch.ops.aten._ctc_loss.Tensor: _ctc_loss}
"""Makes the results of operations whose shapes depend on values, as large as they can be."""

MAX_KNOWN_BYTES = 2**26
"""Values in larger storages are not computed."""


class PlanningBackend(TorchBackend):
    """Says that the device is a CPU, which fake tensors pretend to be on, and moves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device("cpu")

    def distribute(self, module: torch.nn.Module) -> torch.nn.Module:
        """Returns the module: fake parameters cannot be moved."""
        return module


def planning_backend() -> PlanningBackend:
    """Returns the backend of a workload that :func:`step_memory` can run."""
    return PlanningBackend()


class SimulatedAllocator(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of live storages, each once, however many tensors share it.

    Attributes:
      live: bytes now.
      peak: the most since :meth:`reset_peak`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._storages: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts the storages of its results."""
        results = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return results

    def count(self, tensor: torch.Tensor) -> None:
        """Counts the storage of a tensor, unless it is counted already."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return

        def freed(_: Any) -> None:
            del self._storages[key]
            self.live -= size

        self._storages[key] = weakref.ref(storage, freed)
        self.live += size
        self.peak = max(self.peak, self.live)

    def reset_peak(self) -> None:
        """Starts to look for the peak anew."""
        self.peak = self.live


class KnownValues(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Under ``FakeTensorMode``: computes for real what depends on given values alone.

    An operation is repeated on real tensors if the values of all its arguments are known and it
    draws no random numbers. All that parameters go into stays unknown.

    Args:
      fake: the mode that this one runs in.
    """

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fake = fake
        self._values: Any = WeakTensorKeyDictionary()

    def give(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the fake twin of a real tensor, whose value is known from now on."""
        twin: torch.Tensor = self._fake.from_tensor(value)
        self._values[twin] = value
        return twin

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation on fake tensors, and on their values where these are known.

        Raises:
          UserError: the shape of a result depends on values that are not known.
        """
        kwargs = kwargs or {}
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        is_known = torch.Tag.nondeterministic_seeded not in func.tags and all(
            x in self._values or not self._fake.is_our_fake(x) for x in inputs
        )
        try:
            results = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            if func in _UPPER_BOUNDS:
                return _UPPER_BOUNDS[func](*args)
            if not is_known:
                raise UserError(
                    f"the memory cannot be estimated: {func} needs values that depend on the "
                    "parameters"
                ) from error
            return tree_map_only(torch.Tensor, self.give, self._real(func, args, kwargs))
        outputs = [x for x in tree_leaves(results) if isinstance(x, torch.Tensor)]
        if is_known and all(x.untyped_storage().nbytes() <= MAX_KNOWN_BYTES for x in outputs):
            values = tree_leaves(self._real(func, args, kwargs))
            for output, value in zip(tree_leaves(results), values, strict=True):
                if isinstance(output, torch.Tensor):
                    self._values[output] = value
        elif func._schema.is_mutable:
            self._forget(inputs)
        return results

    def _real(self, func: Any, args: Any, kwargs: Any) -> Any:
        def value(tensor: torch.Tensor) -> Any:
            return self._values.get(tensor, tensor)

        with unset_fake_temporarily():
            real_args, real_kwargs = tree_map_only(torch.Tensor, value, (args, kwargs))
            return func(*real_args, **real_kwargs)

    def _forget(self, inputs: list[torch.Tensor]) -> None:
        """Drops the values of tensors that something unknown may have been written to."""
        storages = {x.untyped_storage()._cdata for x in inputs if x in self._values}
        for tensor in list(self._values) if storages else ():
            if tensor.untyped_storage()._cdata in storages:
                del self._values[tensor]


def step_memory(workload: Any, batch: Any, num_devices: int) -> dict[str, int]:
    """Estimates the memory of a device in a training step with NadamW.

    The gradient is that of the mean loss of ``model_fn`` and ``loss_fn``; the update is
    ``torch.optim.NAdam`` with decoupled weight decay, on lists of tensors, as is the default on
    CUDA.

    Args:
      workload: of the :func:`planning_backend`.
      batch: numpy arrays, one device's share of a training batch.
      num_devices: how many train together. With several, batch normalisation computes statistics
        over all of them, and DistributedDataParallel has a second copy of the gradients.

    Returns:
      Bytes: of the ``parameters``, the ``model_state`` (buffers of the module), the
      ``optimizer_state``, the ``batch``, the ``communication`` buffers, and of all at the
      ``peak``.

    Raises:
      UserError: the step cannot be run without values.
    """
    key = workload.backend.seed_key(0)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    known, allocator = KnownValues(fake), SimulatedAllocator()
    try:
        with _process_group(num_devices), fake:
            module, state = workload.init_model_fn(key)
            optimizer = torch.optim.NAdam(
                module.parameters(), weight_decay=0.01, decoupled_weight_decay=True, foreach=True
            )
            with unset_fake_temporarily():
                real = workload.backend.place_batch(batch)
            inputs = tree_map_only(torch.Tensor, known.give, real)
            for tensor in (*module.parameters(), *module.buffers(), *_tensors(inputs)):
                allocator.count(tensor)
            with known, allocator:
                for _ in range(2):
                    optimizer.zero_grad(set_to_none=True)
                    allocator.reset_peak()
                    _step(workload, module, state, inputs, key, optimizer)
    finally:
        _clear_caches()
    parameters = _bytes(module.parameters())
    communication = parameters if num_devices > 1 else 0
    return {
        "parameters": parameters,
        "model_state": _bytes(module.buffers()),
        "optimizer_state": _bytes(_tensors(list(optimizer.state.values()))),
        "batch": _bytes(_tensors(inputs)),
        "communication": communication,
        "peak": allocator.peak + communication,
    }


def _step(
    workload: Any, module: Any, state: Any, batch: Any, key: Any, optimizer: torch.optim.Optimizer
) -> None:
    logits, _ = workload.model_fn(module, batch, state, ForwardPassMode.TRAIN, key, True)
    loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    (loss["summed"] / loss["n_valid_examples"]).backward()
    del logits, loss
    optimizer.step()


@contextmanager
def _process_group(num_devices: int) -> Iterator[None]:
    """Pretends that so many processes train: nothing is sent."""
    if num_devices == 1:
        yield
        return
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=num_devices)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _bytes(tensors: Any) -> int:
    """Returns the bytes of distinct storages."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


def _clear_caches() -> None:
    """Empties the caches of the models' functions: what was put there meanwhile is fake."""
    for name, module in list(sys.modules.items()):
        if name.startswith("algoperf_ref.") and name.endswith("_torch"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
