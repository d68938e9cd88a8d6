"""The loss of the speech workloads in PyTorch: connectionist temporal classification.

Twin of ``jax_ctc``, and the same function: torch's own loss of an example with too few frames for
its labels is infinite, which would end a run; here it is as in JAX (Decisions, 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from algoperf_ref.frameworks.ctc import BLANK, LOG_EPSILON, check_shapes


def ctc_loss(
    label_batch: tuple[torch.Tensor, torch.Tensor],
    logits_batch: tuple[torch.Tensor, torch.Tensor],
    mask_batch: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Minus the log-probability of the labels, summed over all their alignments with the frames.

    Paddings are 1 behind the end of an example and 0 before it. On CUDA the host waits once, for
    the lengths.

    Args:
      label_batch: labels ``[examples, length]``, integers or floats of integer value from 1, and
        their paddings ``[examples, length]``.
      logits_batch: float logits ``[examples, frames, classes]``, class 0 being the blank, and their
        paddings ``[examples, frames]``.
      mask_batch: bool or float weights ``[examples]``; None weighs all by 1. Where the weight is 0,
        everything else may be anything, NaN included.

    Returns:
      ``summed`` (0-d), ``n_valid_examples`` (0-d, on the device: number of labels, each times the
      weight of its example; at least 1) and ``per_example`` (``[examples]``, in nats, not divided
      by any length, times the weights). An example with too few frames for its labels has a loss
      of about 1e5.

    Raises:
      ValueError: tensors of other shapes, of different numbers of examples, or a label that is no
        class.
      Source: Workload facts (librispeech_data), 5.
    """
    check_shapes(label_batch, logits_batch, mask_batch)
    (labels, label_paddings), (logits, logit_paddings) = label_batch, logits_batch
    weights = torch.ones_like(logit_paddings[:, 0]) if mask_batch is None else mask_batch
    has_weight = weights != 0
    num_frames, num_labels = (
        torch.where(has_weight, (1 - paddings).sum(1), 0).long()
        for paddings in (logit_paddings, label_paddings)
    )
    places = torch.arange(labels.shape[1], device=labels.device)
    labels = torch.where(places < num_labels[:, None], labels, BLANK).long()
    # Equal neighbours need a blank between them.
    are_equal = (labels[:, 1:] == labels[:, :-1]) & (places[1:] < num_labels[:, None])
    has_too_few = num_frames < num_labels + are_equal.sum(1)
    are_classes = ((labels >= 0) & (labels < logits.shape[-1])).all(1)
    # One copy to the host. torch reads outside of its memory for a label that is no class.
    facts = torch.stack([num_frames, num_labels, has_too_few, are_classes, has_weight]).cpu()
    if not facts[3].all():
        found = labels[~are_classes][0].tolist()
        raise ValueError(f"labels must be classes from 0 to {logits.shape[-1] - 1}, got {found}")
    if not facts[4].all():
        # Before the logarithm, so that neither a NaN nor its gradient comes out of padding.
        logits = torch.where(has_weight[:, None, None], logits, 0.0)
    log_probabilities = F.log_softmax(logits.float(), dim=-1)
    is_other = facts[2].bool()
    frame_counts, label_counts = facts[:2].masked_fill(is_other, 0)
    per_example = F.ctc_loss(
        log_probabilities.transpose(0, 1),
        labels,
        frame_counts,
        label_counts,
        blank=BLANK,
        reduction="none",
    )
    if is_other.any():
        rows = is_other.nonzero()[:, 0].to(labels.device)
        arrays = (labels, num_labels, log_probabilities, num_frames)
        penalised = _penalised(*(array[rows] for array in arrays))
        per_example = per_example.index_put((rows,), penalised.to(per_example.dtype))
    per_example = per_example * weights
    return {
        "summed": per_example.sum(),
        "n_valid_examples": (num_labels * weights).sum().clamp_min(1.0),
        "per_example": per_example,
    }


def _penalised(
    labels: torch.Tensor,
    num_labels: torch.Tensor,
    log_probabilities: torch.Tensor,
    num_frames: torch.Tensor,
) -> torch.Tensor:
    """Losses ``[examples]`` in which an impossible transition has a cost, as in optax.

    The lattice has two states for each place between labels: ``blank``, the blank behind the
    label, and ``label`` itself. It may be entered anywhere, and a blank between equal labels may be
    left out, each for ``-LOG_EPSILON``. This is a loop in Python, for examples that are rare. In
    double precision, since the cost would leave single precision two decimals.
    """
    log_probabilities = log_probabilities.double()
    is_repeat = F.pad((labels[:, 1:] == labels[:, :-1]).double(), (0, 1))
    index = labels[:, None].expand(-1, log_probabilities.shape[1], -1)
    of_labels, of_blank = log_probabilities.gather(2, index), log_probabilities[..., :1]
    label = torch.full_like(is_repeat, LOG_EPSILON)
    blank = F.pad(label, (1, 0), value=LOG_EPSILON)
    start = torch.arange(blank.shape[1], device=blank.device) == 0
    blank = blank.masked_fill(start, 0.0)
    for frame in range(log_probabilities.shape[1]):
        # Without a blank in between, or through one that takes this frame.
        entry = _join(blank, label + LOG_EPSILON * is_repeat)
        new_label = torch.logaddexp(entry[:, :-1], label) + of_labels[:, frame]
        new_blank = _join(entry, label + LOG_EPSILON * (1 - is_repeat)) + of_blank[:, frame]
        is_real = (frame < num_frames)[:, None]
        label = torch.where(is_real, new_label, label)
        blank = torch.where(is_real, new_blank, blank)
    ends: torch.Tensor = -_join(blank, label).gather(1, num_labels[:, None])[:, 0]
    return ends


def _join(blank: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Adds probabilities ``[examples, length]`` of labels to those of the blanks behind them."""
    return torch.cat([blank[:, :1], torch.logaddexp(blank[:, 1:], label)], 1)
