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


def sigmoid_cross_entropy(
    labels: jax.Array,
    logits: jax.Array,
    mask: jax.Array | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, jax.Array]:
    """Sigmoid cross-entropy of one binary label for each example.

    Args:
      labels: float ``[examples]`` or ``[examples, 1]``, in [0, 1].
      logits: float ``[examples]`` or ``[examples, 1]``.
      mask: bool or float weights ``[examples]`` or ``[examples, 1]``; None weighs all by 1.
      label_smoothing: not used, as in the official loss, which ignores it in silence.

    Returns:
      ``summed`` (scalar), ``n_valid_examples`` (scalar: sum of the weights, or the number of
      examples) and ``per_example`` (``[examples]``, times the weights).

    Raises:
      ValueError: arrays of other shapes, or of different numbers of examples.
      Source: Workload facts (criteo1tb), 4.
    """
    del label_smoothing
    arrays = [array for array in (labels, logits, mask) if array is not None]
    examples = logits.shape[:1]
    if any(array.shape not in (examples, (*examples, 1)) for array in arrays):
        raise ValueError(
            "labels, logits and mask must be [examples] or [examples, 1], with as many examples "
            f"each, got {', '.join(str(tuple(array.shape)) for array in arrays)}"
        )
    labels, logits = labels.reshape(-1), logits.reshape(-1)
    per_example = labels * jax.nn.softplus(-logits) + (1.0 - labels) * jax.nn.softplus(logits)
    if mask is None:
        n_valid_examples = jnp.asarray(len(per_example))
    else:
        weights = mask.reshape(-1)
        per_example, n_valid_examples = per_example * weights, weights.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


def mean_absolute_error(
    labels: jax.Array,
    logits: jax.Array,
    mask: jax.Array | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, jax.Array]:
    """Mean absolute error of each example, over all its pixels.

    Args:
      labels: float ``[examples, ...]``.
      logits: float, like ``labels``.
      mask: bool or float weights ``[examples]``; None weighs all by 1. Where the weight is 0,
        labels and logits may be anything, NaN included.
      label_smoothing: not used, as in the official loss: there are no classes to smooth over.

    Returns:
      ``summed`` (scalar), ``n_valid_examples`` (scalar: sum of the weights, or the number of
      examples) and ``per_example`` (``[examples]``, times the weights).

    Raises:
      ValueError: labels and logits of other shapes than each other, or a mask that is not
        ``[examples]``.
      Source: Workload facts (fastmri), 4.
    """
    del label_smoothing
    if labels.ndim < 2 or labels.shape != logits.shape:
        raise ValueError(
            "labels and logits must have one shape [examples, height, width], got "
            f"{tuple(labels.shape)}, {tuple(logits.shape)}"
        )
    if mask is not None and mask.shape != labels.shape[:1]:
        raise ValueError(
            f"mask must have shape [examples], {tuple(labels.shape[:1])}, got {tuple(mask.shape)}"
        )
    difference = logits - labels
    if mask is not None:
        # Before the mean, so that neither a NaN nor its gradient comes out of padding.
        has_weight = (mask != 0).reshape(-1, *[1] * (labels.ndim - 1))
        difference = jnp.where(has_weight, difference, 0.0)
    per_example = jnp.abs(difference).mean(tuple(range(1, labels.ndim)))
    if mask is None:
        n_valid_examples = jnp.asarray(len(per_example))
    else:
        per_example, n_valid_examples = per_example * mask, mask.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


def softmax_cross_entropy(
    labels: jax.Array,
    logits: jax.Array,
    mask: jax.Array | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, jax.Array]:
    """Softmax cross-entropy of one class, or one distribution over the classes, per example.

    What labels are is decided by their rank: a batch may have as many examples as there are
    classes.

    Args:
      labels: integer ``[examples]``, from 0, or float ``[examples, classes]``: probabilities.
      logits: float ``[examples, classes]``.
      mask: bool or float weights ``[examples]``; None weighs all by 1. Where the weight is 0,
        labels and logits may be anything, NaN included.
      label_smoothing: alpha in ``(1 - alpha) * probability + alpha / classes``; may be traced.

    Returns:
      ``summed`` (scalar), ``n_valid_examples`` (scalar: sum of the weights, or the number of
      examples) and ``per_example`` (``[examples]``, times the weights; NaN for a label that is
      no class, since JAX cannot raise an error for it).

    Raises:
      ValueError: arrays of other shapes, of different numbers of examples, or float labels of
        rank 1.
      Source: Workload facts (imagenet_resnet), 4.
    """
    if logits.ndim != 2 or labels.shape not in (logits.shape, logits.shape[:1]):
        raise ValueError(
            "logits must be [examples, classes] and labels [examples] or [examples, classes], got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    is_class = labels.ndim == 1
    if is_class and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels of shape [examples] must be integers, got {labels.dtype}")
    if mask is not None and mask.shape != logits.shape[:1]:
        raise ValueError(
            f"mask must have shape [examples], {tuple(logits.shape[:1])}, got {tuple(mask.shape)}"
        )
    num_classes = logits.shape[1]
    if mask is not None:
        # Before the logarithm, so that neither a NaN nor its gradient comes out of padding.
        has_weight = mask != 0
        logits = jnp.where(has_weight[:, None], logits, 0.0)
        labels = jnp.where(has_weight if is_class else has_weight[:, None], labels, 0)
    probabilities = jax.nn.one_hot(labels, num_classes) if is_class else labels
    smooth = (1.0 - label_smoothing) * probabilities + label_smoothing / num_classes
    per_example = -(smooth * jax.nn.log_softmax(logits)).sum(-1)
    if is_class:
        per_example = jnp.where((labels >= 0) & (labels < num_classes), per_example, jnp.nan)
    if mask is None:
        n_valid_examples = jnp.asarray(len(per_example))
    else:
        per_example, n_valid_examples = per_example * mask, mask.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


def token_cross_entropy(
    labels: jax.Array,
    logits: jax.Array,
    mask: jax.Array | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, jax.Array]:
    """Softmax cross-entropy of every token of a batch of sequences.

    Args:
      labels: integer ``[rows, length]``, from 0.
      logits: float ``[rows, length, classes]``.
      mask: weights ``[rows, length]``; a token counts fully if its weight is not 0. None counts
        all. Where the weight is 0, labels and logits may be anything, NaN included.
      label_smoothing: alpha in ``(1 - alpha) * one_hot + alpha / classes``; may be traced.

    Returns:
      ``summed`` (scalar), ``n_valid_examples`` (scalar: sum of the weights, or the number of
      tokens) and ``per_example`` (``[rows, length]``, 0 where the weight is 0).

    Raises:
      ValueError: arrays of other shapes.
      Source: Workload facts (wmt), 4.
    """
    if logits.ndim != 3 or labels.shape != logits.shape[:2]:
        raise ValueError(
            "logits must be [rows, length, classes] and labels [rows, length], got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if mask is not None and mask.shape != labels.shape:
        raise ValueError(
            f"mask must have shape [rows, length], {tuple(labels.shape)}, got {tuple(mask.shape)}"
        )
    if mask is not None:
        # Before the logarithm, so that neither a NaN nor its gradient comes out of padding.
        has_weight = mask != 0
        logits = jnp.where(has_weight[:, :, None], logits, 0.0)
        labels = jnp.where(has_weight, labels, 0)
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, labels[:, :, None], axis=-1)[:, :, 0]
    # The mean over the classes is the part of alpha / classes.
    expected = (1.0 - label_smoothing) * chosen + label_smoothing * logits.mean(-1)
    per_example = normaliser - expected
    if mask is None:
        n_valid_examples = jnp.asarray(per_example.size)
    else:
        per_example, n_valid_examples = jnp.where(has_weight, per_example, 0.0), mask.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


def accuracy(labels: jax.Array, logits: jax.Array) -> jax.Array:
    """Tells of each example whether the largest logit is that of its class.

    Args:
      labels: integer ``[examples]``.
      logits: float ``[examples, classes]``; of equal ones the first counts.

    Returns:
      float32 ``[examples]``, 1 or 0.
    """
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)


def output_activation(logits: jax.Array, loss_type: LossType) -> jax.Array:
    """Turns logits into predictions: softmax, sigmoid or identity, by the type of the loss.

    Source: Harness contract, 2, and Workload facts (shared utilities), 3.
    """
    if loss_type in (LossType.SOFTMAX_CROSS_ENTROPY, LossType.CTC_LOSS):
        return jax.nn.softmax(logits, axis=-1)
    if loss_type == LossType.SIGMOID_CROSS_ENTROPY:
        return jax.nn.sigmoid(logits)
    return logits
