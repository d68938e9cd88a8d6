"""What the two implementations of connectionist temporal classification (CTC) have in common."""

from __future__ import annotations

from typing import Any

BLANK = 0
"""The class that stands for no label. Source: Workload facts (librispeech_data), 5."""

LOG_EPSILON = -1e5
"""Logarithm that stands for a probability of zero: a target without an alignment costs about 1e5.

Source: Workload facts (librispeech_data), 5.
"""


def check_shapes(label_batch: Any, logits_batch: Any, mask: Any) -> None:
    """Raises unless labels, logits, their paddings and the mask fit each other.

    Args:
      label_batch: labels ``[examples, length]`` and their paddings, likewise.
      logits_batch: logits ``[examples, frames, classes]`` and their paddings
        ``[examples, frames]``.
      mask: None or weights ``[examples]``.

    Raises:
      ValueError: other shapes.
    """
    labels, label_paddings, logits, logit_paddings = (
        tuple(array.shape) for array in (*label_batch, *logits_batch)
    )
    fits = (
        len(logits) == 3
        and logit_paddings == logits[:2]
        and len(labels) == 2
        and labels[:1] == logits[:1]
        and label_paddings == labels
    )
    if not fits:
        raise ValueError(
            "labels must be [examples, length], logits [examples, frames, classes] and paddings "
            f"like their first two axes, got labels {labels}, paddings {label_paddings}, logits "
            f"{logits}, paddings {logit_paddings}"
        )
    if mask is not None and tuple(mask.shape) != logits[:1]:
        raise ValueError(f"mask must have shape [examples], {logits[:1]}, got {tuple(mask.shape)}")
