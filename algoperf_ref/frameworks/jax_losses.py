"""Losses and output activations in JAX; twin of ``torch_losses``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from spec.submission import LossType


def masked_sigmoid_cross_entropy(
    labels: jax.Array,
    logits: jax.Array,
    mask: jax.Array | None,
    label_smoothing: Any = 0.0,
) -> dict[str, jax.Array]:
    """Sigmoid cross-entropy of many binary tasks, of which some are unlabelled.

    Args:
      labels: float ``[examples, tasks]``, 0 or 1; anything, NaN included, where ``mask`` is 0.
      logits: float ``[examples, tasks]``.
      mask: bool or 0/1 float ``[examples, tasks]``, mandatory.
      label_smoothing: alpha in ``(1 - alpha) * label + alpha / tasks``; may be traced.

    Returns:
      ``summed`` (scalar), ``n_valid_examples`` (scalar: number of valid pairs of example and
      task) and ``per_example`` (``[examples, tasks]``, 0 where ``mask`` is 0).

    Raises:
      ValueError: no mask, or shapes that differ or are not of rank 2.
      Source: Workload facts (ogbg), 4.
    """
    if mask is None:
        raise ValueError("loss_fn needs mask_batch: the batch's 'weights' mark the labelled tasks")
    if labels.ndim != 2 or not labels.shape == logits.shape == mask.shape:
        raise ValueError(
            "labels, logits and mask must have one shape [examples, tasks], got "
            f"{labels.shape}, {logits.shape}, {mask.shape}"
        )
    is_valid = mask.astype(bool)
    known = jnp.where(is_valid, labels, 0.0)
    smooth = (1.0 - label_smoothing) * known + label_smoothing / labels.shape[-1]
    elements = smooth * jax.nn.softplus(-logits) + (1.0 - smooth) * jax.nn.softplus(logits)
    per_example = jnp.where(is_valid, elements, 0.0)
    return {
        "summed": per_example.sum(),
        "n_valid_examples": mask.sum(),
        "per_example": per_example,
    }


def output_activation(logits: jax.Array, loss_type: LossType) -> jax.Array:
    """Turns logits into predictions: softmax, sigmoid or identity, by the type of the loss.

    Source: Harness contract, 2, and Workload facts (shared utilities), 3.
    """
    if loss_type in (LossType.SOFTMAX_CROSS_ENTROPY, LossType.CTC_LOSS):
        return jax.nn.softmax(logits, axis=-1)
    if loss_type == LossType.SIGMOID_CROSS_ENTROPY:
        return jax.nn.sigmoid(logits)
    return logits
