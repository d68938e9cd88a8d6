"""JAX shardings of the submission API (harness contract, section 1.3)."""

from __future__ import annotations

from algoperf_ref.frameworks.jax_sharding import (
    display_shard_info,
    get_batch_dim_sharding,
    get_replicate_sharding,
    replicate,
    shard_along_batch_dim,
)

__all__ = [
    "display_shard_info",
    "get_batch_dim_sharding",
    "get_replicate_sharding",
    "replicate",
    "shard_along_batch_dim",
]
