"""Device memory of a JAX training step, without a device and without the memory.

XLA compiles the step for this machine's CPU from shapes and types alone and plans the buffers:
``memory_analysis`` of the compiled step. A GPU's plan is another one: fusion leaves out other
intermediates, convolutions want other layouts and workspaces, fast attention and LSTM kernels save
other things, and rematerialisation may start where memory ends. Not in it are the rounding and
fragmentation of the allocator and the CUDA context (0.3 to 0.5 GB).
"""

from __future__ import annotations

from typing import Any

import jax
import optax

from algoperf_ref.frameworks.jax_backend import JaxBackend
from spec.submission import ForwardPassMode


def planning_backend() -> JaxBackend:
    """Returns the backend of a workload that :func:`step_memory` can plan for.

    The plan is for one device: it is the caller's environment that decides which.
    """
    return JaxBackend()


def step_memory(workload: Any, batch: Any, num_devices: int) -> dict[str, int]:
    """Estimates the memory of a device in a training step with NadamW.

    The gradient is that of the mean loss of ``model_fn`` and ``loss_fn``; the update is
    ``optax.nadamw``. Parameters, model state and optimizer state are donated.

    Args:
      workload: of the :func:`planning_backend`.
      batch: numpy arrays, one device's share of a training batch.
      num_devices: how many train together. The plan is that of a device by itself, which reduces
        its gradients in place; it is the same for all numbers.

    Returns:
      Bytes: of the ``parameters``, the ``model_state``, the ``optimizer_state``, the ``batch``, the
      ``communication`` buffers (none), and of all at the ``peak``.
    """
    del num_devices
    optimizer = optax.nadamw(1e-3, weight_decay=0.01)
    key = workload.backend.seed_key(0)
    params, state = jax.eval_shape(workload.init_model_fn, key)
    optimizer_state = jax.eval_shape(optimizer.init, params)

    def step(params: Any, state: Any, optimizer_state: Any, batch: Any, key: Any) -> Any:
        def mean_loss(params: Any) -> tuple[Any, Any]:
            logits, new = workload.model_fn(params, batch, state, ForwardPassMode.TRAIN, key, True)
            loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
            return loss["summed"] / loss["n_valid_examples"], new

        (loss, new), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
        return optax.apply_updates(params, updates), new, optimizer_state, loss

    shapes = jax.eval_shape(lambda x: x, batch)
    lowered = jax.jit(step, donate_argnums=(0, 1, 2)).lower(
        params, state, optimizer_state, shapes, key
    )
    # The buffers are planned before the machine code is made, which need not be quick.
    options: Any = {"xla_backend_optimization_level": 0}
    plan: Any = lowered.compile(compiler_options=options).memory_analysis()
    return {
        "parameters": _bytes(params),
        "model_state": _bytes(state),
        "optimizer_state": _bytes(optimizer_state),
        "batch": _bytes(shapes),
        "communication": 0,
        "peak": plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        - plan.alias_size_in_bytes
        + plan.temp_size_in_bytes,
    }


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
