"""The layout of JAX submissions from before v0.6: an axis of devices in front of everything.

Submissions that call ``jax.pmap`` expect batches ``[devices, examples of one, ...]``, and
parameters and model state with a copy for each device. Source: Harness contract, 2.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
from flax import jax_utils

from algoperf_ref.errors import UserError


class PerDeviceWorkload:
    """A workload in that layout; everything else is the workload's own.

    ``model_fn`` and ``loss_fn`` see the examples of one device, so sums over a batch are those of
    the device, and batch normalisation is too. An evaluation has the parameters of the first
    device, and the mean of the running statistics.

    Args:
      workload: of one process, in the layout of v0.6.

    Raises:
      UserError: several processes train together, or a batch is one graph of all devices.
    """

    def __init__(self, workload: Any) -> None:
        if workload.backend.process_count > 1:
            raise UserError(
                "--per_device_layout trains on the devices of one process; leave it out, or start "
                "one process only"
            )
        self._workload = workload
        self._num_devices = jax.local_device_count()
        if self._num_devices > 1 and not workload.has_rows:
            raise UserError(
                f"--per_device_layout: a batch of {workload.spec.name} is one graph of all "
                "devices, which cannot be divided; hide all but one (CUDA_VISIBLE_DEVICES=0)"
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workload, name)

    def init_model_fn(self, rng: Any) -> tuple[Any, Any]:
        """Returns parameters and model state, each array with ``[devices]`` in front."""
        params, model_state = self._workload.init_model_fn(rng)
        return jax_utils.replicate(params), jax_utils.replicate(model_state)

    def build_input_queue(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yields batches, each array with ``[devices]`` in front; see the workload."""
        return map(self._divided, self._workload.build_input_queue(*args, **kwargs))

    def eval_model(
        self, global_batch_size: int, params: Any, model_state: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Evaluates; see the workload."""
        backend = self._workload.backend
        first = jax.tree.map(lambda array: array[0], params)
        means = jax.tree.map(lambda array: array.mean(0), model_state)
        return self._workload.eval_model(
            global_batch_size, backend.replicate(first), backend.replicate(means), *args, **kwargs
        )

    def _divided(self, batch: Any) -> Any:
        def divide(array: jax.Array) -> jax.Array:
            return array.reshape(self._num_devices, -1, *array.shape[1:])

        return jax.tree.map(divide, batch)
