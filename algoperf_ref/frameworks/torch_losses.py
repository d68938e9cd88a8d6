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


def output_activation(logits: torch.Tensor, loss_type: LossType) -> torch.Tensor:
    """Turns logits into predictions: softmax, sigmoid or identity, by the type of the loss.

    Source: Harness contract, 2, and Workload facts (shared utilities), 3.
    """
    if loss_type in (LossType.SOFTMAX_CROSS_ENTROPY, LossType.CTC_LOSS):
        return F.softmax(logits, dim=-1)
    if loss_type == LossType.SIGMOID_CROSS_ENTROPY:
        return torch.sigmoid(logits)
    return logits
