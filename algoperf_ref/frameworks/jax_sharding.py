"""JAX device mesh and shardings: one axis, ``batch``, over all devices in their order."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def batch_mesh() -> Mesh:
    """Returns the one-axis mesh ``batch`` over ``jax.devices()`` (harness contract, 1.3)."""
    return Mesh(np.asarray(jax.devices()), ("batch",))


def get_replicate_sharding() -> NamedSharding:
    """Returns the sharding that puts a full copy on every device."""
    return NamedSharding(batch_mesh(), PartitionSpec())


def get_batch_dim_sharding() -> NamedSharding:
    """Returns the sharding that cuts axis 0 over the devices."""
    return NamedSharding(batch_mesh(), PartitionSpec("batch"))


def shard_along_batch_dim(tree: Any) -> Any:
    """Places every leaf with :func:`get_batch_dim_sharding`."""
    return jax.device_put(tree, get_batch_dim_sharding())


def replicate(tree: Any) -> Any:
    """Places every leaf with :func:`get_replicate_sharding`."""
    return jax.device_put(tree, get_replicate_sharding())


def display_shard_info(array: jax.Array) -> None:
    """Prints shape, sharding and shard shapes of an array."""
    shards = [shard.data.shape for shard in array.addressable_shards]
    print(f"shape {array.shape}, sharding {array.sharding}, shards {shards}")
