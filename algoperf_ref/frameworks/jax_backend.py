"""The JAX side of the backend protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks import processes
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.jax_sharding import get_batch_dim_sharding, get_replicate_sharding

_STEPS_PER_CHUNK = 32


def _chunk_keys(key: jax.Array, start: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the first two keys of ``_STEPS_PER_CHUNK`` steps, in order."""
    steps = start + jnp.arange(_STEPS_PER_CHUNK, dtype=jnp.uint32)
    keys = jax.vmap(lambda step: _four_keys(key, step)[:2])(steps)
    return tuple(keys.reshape(-1, 2))


def _four_keys(key: jax.Array, step: jax.Array) -> jax.Array:
    return jax.random.split(jax.random.fold_in(key, step), 4)


class JaxBackend:
    """JAX on all devices of all processes; see :class:`algoperf_ref.frameworks.base.Backend`."""

    name = "jax"
    batches_are_global = True

    def __init__(self) -> None:
        # Set explicitly: the streams of a seed must not depend on the user's JAX settings.
        jax.config.update("jax_default_prng_impl", "threefry2x32")
        jax.config.update("jax_threefry_partitionable", True)
        self._batch_sharding = get_batch_dim_sharding()
        self._replicated = get_replicate_sharding()
        self._group = processes.current()
        self._chunk_keys = self.jit_replicated(_chunk_keys)
        self._four_keys = self.jit_replicated(_four_keys)
        self._chunk: tuple[Key, int, tuple[Key, ...]] = (None, 0, ())

    @property
    def num_devices(self) -> int:
        """Number of devices of all processes."""
        return jax.device_count()

    @property
    def process_index(self) -> int:
        """Number of this process."""
        return 0 if self._group is None else self._group.index

    @property
    def process_count(self) -> int:
        """Number of processes."""
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

    def jit_replicated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles a function whose results every process wants to read."""
        if self._group is None:
            return jax.jit(function)
        return jax.jit(function, out_shardings=self._replicated)

    def seed_key(self, seed: int) -> Key:
        """Returns ``jax.random.PRNGKey(seed)``: ``uint32[2]``."""
        key = jax.random.PRNGKey(seed)
        return key if self._group is None else self.replicate(key)

    def split(self, key: Key, num: int = 2) -> Sequence[Key]:
        """Returns ``num`` keys."""
        return list(jax.random.split(key, num))

    def fold_in(self, key: Key, data: int) -> Key:
        """Returns ``jax.random.fold_in(key, data)``."""
        return jax.random.fold_in(key, data)

    def step_keys(self, key: Key, global_step: int) -> Sequence[Key]:
        """Returns the first two of a step's four keys.

        This is on the submission's clock, so the keys of several steps are made in one compiled
        call. What it costs after that is the arrays that it returns.
        """
        offset = global_step % _STEPS_PER_CHUNK
        start = global_step - offset
        made_from, made_for, keys = self._chunk
        if made_from is not key or made_for != start or not keys:
            keys = self._chunk_keys(key, np.uint32(start))
            self._chunk = (key, start, keys)
        return keys[2 * offset : 2 * offset + 2]

    def evaluation_keys(self, key: Key, global_step: int) -> Sequence[Key]:
        """Returns the last two of a step's four keys."""
        return tuple(self._four_keys(key, np.uint32(global_step)))[2:]

    def key_to_seed(self, key: Key) -> int:
        """Returns the two words of a key as one integer below 2**64."""
        high, low = (int(word) for word in np.asarray(key))
        return high << 32 | low

    def seed_global_generators(self, key: Key, *, is_shared: bool = False) -> None:
        """Does nothing: JAX has no hidden generators."""

    def place_batch(self, batch: Any) -> Any:
        """Places numpy leaves as global arrays, axis 0 cut over the mesh ``batch``."""
        if self._group is None:
            return jax.device_put(batch, self._batch_sharding)
        sharding = self._batch_sharding
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(sharding, leaf), batch
        )

    def fetch(self, outputs: Any) -> dict[str, Any]:
        """Returns global arrays as numpy arrays; several processes have made them replicated."""
        arrays: dict[str, Any] = jax.device_get(outputs)
        return arrays

    def replicate(self, tree: Any) -> Any:
        """Places a copy of every leaf on every device."""
        leaves = jax.tree.leaves(tree)
        if self._group is None or any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return jax.device_put(tree, self._replicated)
        return jax.tree.map(lambda leaf: _place(leaf, self._replicated), tree)

    def synchronize(self, *trees: Any) -> None:
        """Blocks until every array in the trees is computed."""
        jax.block_until_ready(trees)

    def free_memory(self) -> None:
        """Does nothing: arrays are freed with their last reference."""

    def peak_memory_bytes(self) -> int | None:
        """Returns the peak of the fullest device since the process started."""
        statistics = [device.memory_stats() for device in jax.local_devices()]
        peaks = [s["peak_bytes_in_use"] for s in statistics if s and "peak_bytes_in_use" in s]
        return max(peaks, default=None)

    def reset_peak_memory(self) -> None:
        """Does nothing: JAX's statistics cannot be reset."""

    def compile_workload(self, workload: Any, params: Any) -> Any:
        """Returns the parameters unchanged: submissions compile their own steps."""
        return params

    def structure(self, params: Any) -> Sequence[tuple[str, str]]:
        """Returns path and shape of every leaf."""
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return [(jax.tree_util.keystr(path), str(jnp.shape(leaf))) for path, leaf in leaves]

    def first_non_finite(self, params: Any) -> str | None:
        """Returns the path of the first leaf with a value that is not finite."""
        leaves = jax.tree_util.tree_leaves_with_path(params)
        finite = jax.device_get([jnp.isfinite(leaf).all() for _, leaf in leaves])
        for (path, _), good in zip(leaves, finite, strict=True):
            if not good:
                return jax.tree_util.keystr(path)
        return None

    def trace(self, directory: Path) -> AbstractContextManager[Any]:
        """Returns ``jax.profiler.trace``: open the files with TensorBoard or Perfetto."""
        return jax.profiler.trace(directory)

    def export_state(self, params: Any, optimizer_state: Any, model_state: Any) -> dict[str, Any]:
        """Returns the leaves of all three trees by path, as numpy arrays or Python scalars.

        Other leaves, such as the update function in ``(tree, update_function)``, are left out.
        """
        return {
            "params": _leaves_by_path(params),
            "optimizer_state": _leaves_by_path(optimizer_state),
            "model_state": _leaves_by_path(model_state),
        }

    def import_state(
        self, exported: dict[str, Any], params: Any, optimizer_state: Any, model_state: Any
    ) -> tuple[Any, Any, Any]:
        """Restores leaves into the structure of the fresh state; see the protocol.

        What :meth:`export_state` left out stays as it is in the fresh state.
        """
        return (
            self._fill(params, exported["params"], "params"),
            self._fill(optimizer_state, exported["optimizer_state"], "optimizer_state"),
            self._fill(model_state, exported["model_state"], "model_state"),
        )

    def _fill(self, fresh: Any, leaves: dict[str, Any], what: str) -> Any:
        paths, structure = jax.tree_util.tree_flatten_with_path(fresh)
        names = [jax.tree_util.keystr(path) for path, _ in paths]
        wanted = {name for name, (_, leaf) in zip(names, paths, strict=True) if _is_data(leaf)}
        if wanted != set(leaves):
            differing = min(wanted ^ set(leaves))
            raise UserError(
                f"checkpoint: {what} has another structure than the submission's initial state "
                f"(first difference: {differing or 'the root'}); start anew with --overwrite"
            )
        restored = []
        for name, (_, old) in zip(names, paths, strict=True):
            new = leaves.get(name, old)
            if isinstance(old, jax.Array):
                new = _place(new, old.sharding)
            elif isinstance(new, np.ndarray) and not isinstance(old, np.ndarray):
                new = self.replicate(new)
            restored.append(new)
        return jax.tree_util.tree_unflatten(structure, restored)


def _is_data(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex, str))


def _place(value: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    """Makes a global array of a value that all processes have."""
    host = np.asarray(value)
    if sharding.is_fully_addressable:
        return jax.device_put(host, sharding)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _is_out_of_reach(leaf: Any) -> bool:
    """Tells whether other processes hold parts of an array that this one does not."""
    return isinstance(leaf, jax.Array) and not (
        leaf.is_fully_addressable or leaf.is_fully_replicated
    )


def _leaves_by_path(tree: Any) -> dict[str, Any]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    data = [(path, leaf) for path, leaf in flat if _is_data(leaf)]
    leaves = [
        multihost_utils.process_allgather(leaf, tiled=True) if _is_out_of_reach(leaf) else leaf
        for _, leaf in data
    ]
    on_host = jax.device_get(leaves)
    return {
        jax.tree_util.keystr(path): value for (path, _), value in zip(data, on_host, strict=True)
    }
