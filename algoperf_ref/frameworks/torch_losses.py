"""Losses and output activations in PyTorch; twin of ``jax_losses``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from spec.submission import LossType


def masked_sigmoid_cross_entropy(
    labels: torch.Tensor,
    logits: torch.Tensor,
    mask: torch.Tensor | None,
    label_smoothing: Any = 0.0,
) -> dict[str, torch.Tensor]:
    """Sigmoid cross-entropy of many binary tasks, of which some are unlabelled.

    Args:
      labels: float ``[examples, tasks]``, 0 or 1; anything, NaN included, where ``mask`` is 0.
      logits: float ``[examples, tasks]``.
      mask: bool or 0/1 float ``[examples, tasks]``, mandatory.
      label_smoothing: alpha in ``(1 - alpha) * label + alpha / tasks``; float or 0-d tensor.

    Returns:
      ``summed`` (0-d), ``n_valid_examples`` (0-d, on the device: number of valid pairs of example
      and task) and ``per_example`` (``[examples, tasks]``, 0 where ``mask`` is 0).

    Raises:
      ValueError: no mask, or shapes that differ or are not of rank 2.
      Source: Workload facts (ogbg), 4.
    """
    if mask is None:
        raise ValueError("loss_fn needs mask_batch: the batch's 'weights' mark the labelled tasks")
    if labels.ndim != 2 or not labels.shape == logits.shape == mask.shape:
        raise ValueError(
            "labels, logits and mask must have one shape [examples, tasks], got "
            f"{tuple(labels.shape)}, {tuple(logits.shape)}, {tuple(mask.shape)}"
        )
    is_valid = mask.bool()
    known = torch.where(is_valid, labels, 0.0)
    smooth = (1.0 - label_smoothing) * known + label_smoothing / labels.shape[-1]
    elements = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    per_example = torch.where(is_valid, elements, 0.0)
    return {
        "summed": per_example.sum(),
        "n_valid_examples": mask.sum(),
        "per_example": per_example,
    }


def sigmoid_cross_entropy(
    labels: torch.Tensor,
    logits: torch.Tensor,
    mask: torch.Tensor | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, torch.Tensor]:
    """Sigmoid cross-entropy of one binary label for each example.

    Args:
      labels: float ``[examples]`` or ``[examples, 1]``, in [0, 1].
      logits: float ``[examples]`` or ``[examples, 1]``.
      mask: bool or float weights ``[examples]`` or ``[examples, 1]``; None weighs all by 1.
      label_smoothing: not used, as in the official loss, which ignores it in silence.

    Returns:
      ``summed`` (0-d), ``n_valid_examples`` (0-d, on the device: sum of the weights, or the
      number of examples) and ``per_example`` (``[examples]``, times the weights).

    Raises:
      ValueError: tensors of other shapes, or of different numbers of examples.
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
    per_example = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    if mask is None:
        n_valid_examples = torch.full((), len(per_example), device=per_example.device)
    else:
        weights = mask.reshape(-1)
        per_example, n_valid_examples = per_example * weights, weights.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


def mean_absolute_error(
    labels: torch.Tensor,
    logits: torch.Tensor,
    mask: torch.Tensor | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, torch.Tensor]:
    """Mean absolute error of each example, over all its pixels.

    Args:
      labels: float ``[examples, ...]``.
      logits: float, like ``labels``.
      mask: bool or float weights ``[examples]``; None weighs all by 1. Where the weight is 0,
        labels and logits may be anything, NaN included.
      label_smoothing: not used, as in the official loss: there are no classes to smooth over.

    Returns:
      ``summed`` (0-d), ``n_valid_examples`` (0-d, on the device: sum of the weights, or the
      number of examples) and ``per_example`` (``[examples]``, times the weights).

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
        difference = torch.where(has_weight, difference, 0.0)
    per_example = difference.abs().flatten(1).mean(1)
    if mask is None:
        n_valid_examples = torch.full((), len(per_example), device=per_example.device)
    else:
        per_example, n_valid_examples = per_example * mask, mask.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


def softmax_cross_entropy(
    labels: torch.Tensor,
    logits: torch.Tensor,
    mask: torch.Tensor | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, torch.Tensor]:
    """Softmax cross-entropy of one class, or one distribution over the classes, per example.

    What labels are is decided by their rank: a batch may have as many examples as there are
    classes.

    Args:
      labels: integer ``[examples]``, from 0, or float ``[examples, classes]``: probabilities.
      logits: float ``[examples, classes]``.
      mask: bool or float weights ``[examples]``; None weighs all by 1. Where the weight is 0,
        labels and logits may be anything, NaN included.
      label_smoothing: alpha in ``(1 - alpha) * probability + alpha / classes``; float or 0-d
        tensor.

    Returns:
      ``summed`` (0-d), ``n_valid_examples`` (0-d, on the device: sum of the weights, or the
      number of examples) and ``per_example`` (``[examples]``, times the weights).

    Raises:
      ValueError: tensors of other shapes, of different numbers of examples, or float labels of
        rank 1.
      RuntimeError: a label that is no class; on CUDA, torch's assertion on the device.
      Source: Workload facts (imagenet_resnet), 4.
    """
    if logits.ndim != 2 or labels.shape not in (logits.shape, logits.shape[:1]):
        raise ValueError(
            "logits must be [examples, classes] and labels [examples] or [examples, classes], got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    is_class = labels.ndim == 1
    if is_class and (labels.is_floating_point() or labels.dtype == torch.bool):
        raise ValueError(f"labels of shape [examples] must be integers, got {labels.dtype}")
    if mask is not None and mask.shape != logits.shape[:1]:
        raise ValueError(
            f"mask must have shape [examples], {tuple(logits.shape[:1])}, got {tuple(mask.shape)}"
        )
    if mask is not None:
        # Before the logarithm, so that neither a NaN nor its gradient comes out of padding.
        has_weight = mask != 0
        logits = torch.where(has_weight[:, None], logits, 0.0)
        labels = torch.where(has_weight if is_class else has_weight[:, None], labels, 0)
    logarithms = F.log_softmax(logits, dim=-1)
    if is_class:  # One element of each row: the same sum without the zeros.
        likelihood = logarithms.gather(1, labels.long()[:, None])[:, 0]
    else:
        likelihood = (labels * logarithms).sum(-1)
    if not _is_zero(label_smoothing):
        # The mean over the classes is the part of alpha / classes.
        mean = logarithms.mean(-1)
        likelihood = (1.0 - label_smoothing) * likelihood + label_smoothing * mean
    per_example = -likelihood
    if mask is None:
        n_valid_examples = torch.full((), len(per_example), device=per_example.device)
    else:
        per_example, n_valid_examples = per_example * mask, mask.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


_NO_LABEL = -(2**62)
"""A label that is ignored: none that anybody writes."""


def _is_zero(label_smoothing: Any) -> bool:
    """Tells whether there is nothing to smooth, without reading a tensor."""
    return isinstance(label_smoothing, (int, float)) and label_smoothing == 0


def token_cross_entropy(
    labels: torch.Tensor,
    logits: torch.Tensor,
    mask: torch.Tensor | None = None,
    label_smoothing: Any = 0.0,
) -> dict[str, torch.Tensor]:
    """Softmax cross-entropy of every token of a batch of sequences.

    Args:
      labels: integer ``[rows, length]``, from 0.
      logits: float ``[rows, length, classes]``.
      mask: weights ``[rows, length]``; a token counts fully if its weight is not 0. None counts
        all. Where the weight is 0, labels and logits may be anything, NaN included.
      label_smoothing: alpha in ``(1 - alpha) * one_hot + alpha / classes``; float or 0-d
        tensor.

    Returns:
      ``summed`` (0-d), ``n_valid_examples`` (0-d: sum of the weights, or the number of
      tokens) and ``per_example`` (``[rows, length]``, 0 where the weight is 0).

    Raises:
      ValueError: tensors of other shapes.
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
        logits = torch.where(has_weight[:, :, None], logits, 0.0)
        labels = torch.where(has_weight, labels, 0)
    if _is_zero(label_smoothing):
        # In one pass over the logits, of which there are very many.
        per_example = F.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten().long(),
            reduction="none",
            ignore_index=_NO_LABEL,
        ).reshape(labels.shape)
    else:
        normaliser = torch.logsumexp(logits, dim=-1)
        chosen = logits.gather(-1, labels.long()[:, :, None])[:, :, 0]
        # The mean over the classes is the part of alpha / classes.
        expected = (1.0 - label_smoothing) * chosen + label_smoothing * logits.mean(-1)
        per_example = normaliser - expected
    if mask is None:
        n_valid_examples = torch.full((), per_example.numel(), device=per_example.device)
    else:
        per_example, n_valid_examples = torch.where(has_weight, per_example, 0.0), mask.sum()
    return {
        "summed": per_example.sum(),
        "n_valid_examples": n_valid_examples,
        "per_example": per_example,
    }


def accuracy(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Tells of each example whether the largest logit is that of its class.

    Args:
      labels: integer ``[examples]``.
      logits: float ``[examples, classes]``; of equal ones the first counts.

    Returns:
      float32 ``[examples]``, 1 or 0.
    """
    return (logits.argmax(-1) == labels).float()


def output_activation(logits: torch.Tensor, loss_type: LossType) -> torch.Tensor:
    """Turns logits into predictions: softmax, sigmoid or identity, by the type of the loss.

    Source: Harness contract, 2, and Workload facts (shared utilities), 3.
    """
    if loss_type in (LossType.SOFTMAX_CROSS_ENTROPY, LossType.CTC_LOSS):
        return F.softmax(logits, dim=-1)
    if loss_type == LossType.SIGMOID_CROSS_ENTROPY:
        return torch.sigmoid(logits)
    return logits
