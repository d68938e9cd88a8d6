"""The backend protocol: what the harness and the workloads ask of a framework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Key = Any
"""A random key: JAX ``uint32[2]`` array, PyTorch numpy ``int32[2]`` (or a list of two integers)."""


class Backend(Protocol):
    """One framework on this process's devices.

    Attributes:
      name: ``"jax"`` or ``"pytorch"``.
      num_devices: number of equal shards that a global batch is cut into; at least 1.
    """

    name: str

    @property
    def num_devices(self) -> int:
        """Number of data-parallel devices."""
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

    def seed_global_generators(self, key: Key) -> None:
        """Seeds the framework's hidden generators (PyTorch dropout); nothing in JAX."""
        ...

    def place_batch(self, batch: Any) -> Any:
        """Moves a tree of numpy arrays to the device(s), sharded on axis 0; keeps the structure."""
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

    def compile_workload(self, workload: Any, params: Any) -> Any:
        """Applies the workload's compile policy; returns the parameters to train with."""
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
