"""A training step of a workload's module as one would write it without a workload, in JAX.

The flax module is applied directly and the loss is optax's; the gradient, and the new statistics
of batch normalisation, are computed as in a step of a submission.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def _mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    return (values * weights).sum() / weights.sum()


def _cross_entropy(batch: Any, logits: Any) -> jax.Array:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
    return _mean(losses, batch["weights"])


def _clicks(batch: Any, logits: Any) -> jax.Array:
    losses = optax.sigmoid_binary_cross_entropy(logits.reshape(-1), batch["targets"])
    return _mean(losses, batch["weights"])


def _tasks(batch: Any, logits: Any) -> jax.Array:
    known = jnp.where(batch["weights"] > 0, batch["targets"], 0.0)
    return _mean(optax.sigmoid_binary_cross_entropy(logits, known), batch["weights"])


def _absolute_error(batch: Any, images: Any) -> jax.Array:
    return _mean(jnp.abs(images - batch["targets"]).mean((1, 2)), batch["weights"])


def _alignments(batch: Any, outputs: Any) -> jax.Array:
    labels, paddings = batch["targets"]
    return optax.ctc_loss(*outputs, labels, paddings).sum() / (1 - paddings).sum()


LOSSES: dict[str, Callable[[Any, Any], jax.Array]] = {
    "criteo1tb": _clicks,
    "fastmri": _absolute_error,
    "imagenet_resnet": _cross_entropy,
    "imagenet_vit": _cross_entropy,
    "librispeech_conformer": _alignments,
    "librispeech_deepspeech": _alignments,
    "ogbg": _tasks,
    "wmt": _cross_entropy,
}
"""(batch, outputs) -> mean loss, by base workload."""


def bare_step(workload: Any, inputs: Any, batch: Any, rate: float, key: Any) -> Callable[..., Any]:
    """Returns ``(params, model_state) -> ((loss, new model_state), gradients)``, compiled.

    Args:
      workload: the module is taken out of it, and its name.
      inputs: what the module reads of the batch.
      batch: on the device.
      rate: of dropout.
      key: of dropout.
    """
    module, loss_of = workload._model._module, LOSSES[workload.name]

    def loss(params: Any, state: Any, inputs: Any, batch: Any, key: Any) -> Any:
        outputs = module.apply(
            {"params": params, **(state or {})},
            inputs,
            training=True,
            dropout_rate=rate,
            rngs={"dropout": key},
            mutable=list(state) if state else False,
        )
        if not state:
            return loss_of(batch, outputs), None
        outputs, state = outputs
        return loss_of(batch, outputs), state

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return lambda params, state: compiled(params, state, inputs, batch, key)
