"""JAX processes, one per host, joined by ``jax.distributed``."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks.jax_sharding import get_batch_dim_sharding, get_replicate_sharding
from algoperf_ref.frameworks.peers import Channel, Peers
from algoperf_ref.frameworks.processes import Group, ProcessSettings

_SHORTEST_WAIT_MS = 200  # a question to a coordinator on another host takes some time
_runs = 0


class ServiceChannel(Channel):
    """The key-value store of JAX's coordination service, as a channel."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def add(self, key: str) -> int:
        """Counts."""
        return int(self._client.key_value_increment(self._prefix + key, 1))

    def set(self, key: str, text: str) -> None:
        """Stores a text."""
        self._client.key_value_set(self._prefix + key, text, allow_overwrite=True)

    def get(self, key: str, seconds: float) -> str | None:
        """Waits for a text."""
        milliseconds = max(_SHORTEST_WAIT_MS, int(1000 * seconds))
        try:
            return str(self._client.blocking_key_value_get(self._prefix + key, milliseconds))
        except RuntimeError as error:
            if "DEADLINE_EXCEEDED" in str(error):
                return None
            raise


class JaxGroup(Group):
    """The processes that ``jax.distributed`` has joined."""

    def __init__(self, peers: Peers) -> None:
        super().__init__(peers)
        self._batch_sharding = get_batch_dim_sharding()
        # Values travel as words of 32 bits: JAX would round 64-bit floats.
        self._share = jax.jit(lambda words: words, out_shardings=get_replicate_sharding())

    def _maximum(self, values: Sequence[float]) -> list[float]:
        words = np.asarray(values, np.float64).view(np.uint32)
        rows = np.repeat(words[None], jax.local_device_count(), axis=0)
        shared = jax.make_array_from_process_local_data(self._batch_sharding, rows)
        everyone = np.asarray(self._share(shared))
        largest: list[float] = everyone.view(np.float64).max(axis=0).tolist()
        return largest

    def _broadcast(self, data: bytes | None) -> bytes:
        content = np.frombuffer(data or b"", np.uint8)
        size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
        if data is None:
            content = np.zeros(size, np.uint8)
        return np.asarray(multihost_utils.broadcast_one_to_all(content)).tobytes()

    def _gather(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        gathered = multihost_utils.process_allgather(dict(arrays), tiled=True)
        return {name: np.asarray(value) for name, value in gathered.items()}

    def _leave(self) -> None:
        # JAX cannot be joined twice in a process, so it stays joined until the process ends, and
        # then waits for the others: see `processes.exit_code`.
        return


def join(settings: ProcessSettings) -> JaxGroup | None:
    """Joins the processes, before JAX has looked for devices.

    Args:
      settings: coordinator, number of processes and number of this one; what is missing, JAX
        finds out from the cluster's environment.

    Returns:
      The group, None if there is only one process.

    Raises:
      UserError: the processes did not find each other in time.
    """
    global _runs
    if settings.num_processes == 1:
        return None
    if not jax.distributed.is_initialized():
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        # It would take SIGTERM away from the harness.
        jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                coordinator_address=settings.coordinator_address,
                num_processes=settings.num_processes,
                process_id=settings.process_id,
                initialization_timeout=max(1, int(settings.timeout_seconds)),
            )
        except RuntimeError as error:
            raise UserError(
                f"the JAX processes did not come together within {settings.timeout_seconds:g} s "
                f"at {settings.coordinator_address or 'the coordinator'}: "
                f"{str(error).splitlines()[0][:200]}"
            ) from error
        atexit.register(jax.distributed.shutdown)
    count = jax.process_count()
    if count == 1:
        return None
    counts = {len([d for d in jax.devices() if d.process_index == p]) for p in range(count)}
    owners = [device.process_index for device in jax.devices()]
    if len(counts) != 1 or owners != sorted(owners):
        raise UserError("all JAX processes must have the same number of devices, in their order")
    from jax._src import distributed  # the public module does not give its client out

    _runs += 1
    client = distributed.global_state.client
    channel = ServiceChannel(client, f"algoperf/{_runs}/")
    index = jax.process_index()
    return JaxGroup(Peers(index, count, channel, channel, hosts_store=index == 0))
