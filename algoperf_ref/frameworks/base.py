"""The backend protocol: what the harness and the workloads ask of a framework."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

Key = Any
"""A random key: JAX ``uint32[2]`` array, PyTorch numpy ``int32[2]`` (or a list of two integers)."""


class Backend(Protocol):
    """One framework on the devices of a run, of which this process may be one of several.

    Attributes:
      name: ``"jax"`` or ``"pytorch"``.
      num_devices: devices of all processes; a global batch is a multiple of it. At least 1.
      batches_are_global: True if the submission sees one global batch whatever the number of
        processes (JAX), False if every process sees a batch of its own (PyTorch).
      process_index: number of this process, from 0; process 0 writes the files and prints.
      process_count: number of processes; 1 for most runs.
    """

    name: str
    batches_are_global: bool

    @property
    def num_devices(self) -> int:
        """Number of data-parallel devices."""
        ...

    @property
    def process_index(self) -> int:
        """Number of this process."""
        ...

    @property
    def process_count(self) -> int:
        """Number of processes."""
        ...

    def agree(self, values: Sequence[float]) -> Sequence[float]:
        """Returns the largest of every value over the processes; they all have to call this.

        Raises:
          algoperf_ref.errors.ProcessFailed: another process has failed.
        """
        ...

    def broadcast(self, value: Any) -> Any:
        """Returns process 0's value on every process; they all have to call this.

        Raises:
          algoperf_ref.errors.ProcessFailed: another process has failed.
        """
        ...

    def announce_failure(self, error: BaseException, status: str) -> None:
        """Tells the other processes that this one cannot go on; does nothing if there are none.

        Args:
          error: its text is the sentence that the others see.
          status: how the trial ends.

        Raises:
          algoperf_ref.errors.ProcessFailed: the error only follows from another's failure.
        """
        ...

    def seed_key(self, seed: int) -> Key:
        """Returns the key of an integer seed, 0 <= seed < 2**32."""
        ...

    def split(self, key: Key, num: int = 2) -> Sequence[Key]:
        """Returns ``num`` independent keys."""
        ...

    def fold_in(self, key: Key, data: int) -> Key:
        """Returns a key that depends on ``key`` and on the integer ``data``."""
        ...

    def step_keys(self, key: Key, global_step: int) -> Sequence[Key]:
        """Returns the keys of data selection and update: the first two of a step's four.

        The four are ``split(fold_in(key, global_step), 4)``. This runs on every step, on the
        submission's time, and is as fast as the framework can.
        """
        ...

    def evaluation_keys(self, key: Key, global_step: int) -> Sequence[Key]:
        """Returns the keys of preparation and evaluation: the last two of a step's four."""
        ...

    def key_to_seed(self, key: Key) -> int:
        """Returns the key as one integer, 0 <= seed < 2**64 (seeds of the data streams)."""
        ...

    def seed_global_generators(self, key: Key, *, is_shared: bool = False) -> None:
        """Seeds the framework's hidden generators (PyTorch dropout); nothing in JAX.

        Args:
          key: where the seed comes from.
          is_shared: every process draws the same numbers: for what must be equal on all of them.
            Otherwise process 0 draws the numbers of a process alone, and each other one its own.
        """
        ...

    def place_batch(self, batch: Any) -> Any:
        """Moves a tree of numpy arrays to the device(s), sharded on axis 0; keeps the structure.

        Args:
          batch: this process's part of the global batch.
        """
        ...

    def fetch(self, outputs: Any) -> dict[str, Any]:
        """Returns what a device computed of an evaluation batch as numpy arrays.

        Args:
          outputs: name -> device array with the examples on axis 0; with several processes, of
            equal shapes on all of them.

        Returns:
          The outputs of the whole batch, the examples of all processes in their order.

        Raises:
          algoperf_ref.errors.ProcessFailed: another process has failed.
        """
        ...

    def replicate(self, tree: Any) -> Any:
        """Puts a full copy of a tree of arrays on every device."""
        ...

    def synchronize(self, *trees: Any) -> None:
        """Returns when the device has finished everything that the trees depend on."""
        ...

    def free_memory(self) -> None:
        """Releases cached device memory before a trial."""
        ...

    def peak_memory_bytes(self) -> int | None:
        """Returns the peak of the fullest device of this process; None if it does not tell (CPU).

        Since :meth:`reset_peak_memory`, as far as the framework can reset it.
        """
        ...

    def reset_peak_memory(self) -> None:
        """Starts the measurement of the peak anew. JAX cannot: its peak is that of the process."""
        ...

    def compile_workload(self, workload: Any, params: Any) -> Any:
        """Applies the workload's compile policy; returns the parameters to train with."""
        ...

    def structure(self, params: Any) -> Sequence[tuple[str, str]]:
        """Returns name and shape of every parameter: equal for equal structures."""
        ...

    def first_non_finite(self, params: Any) -> str | None:
        """Returns the name of a parameter that holds NaN or an infinity, None if none does."""
        ...

    def trace(self, directory: Path) -> AbstractContextManager[Any]:
        """Returns a context that records what the framework does, into files of its own."""
        ...

    def export_state(self, params: Any, optimizer_state: Any, model_state: Any) -> dict[str, Any]:
        """Returns the training state as plain containers of numpy arrays (for a checkpoint)."""
        ...

    def import_state(
        self, exported: dict[str, Any], params: Any, optimizer_state: Any, model_state: Any
    ) -> tuple[Any, Any, Any]:
        """Restores :meth:`export_state` into a freshly initialised state.

        Returns:
          ``(params, optimizer_state, model_state)``.

        Raises:
          algoperf_ref.errors.UserError: the structures do not fit.
        """
        ...
