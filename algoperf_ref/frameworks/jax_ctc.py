"""The loss of the speech workloads in JAX: connectionist temporal classification, by optax.

Twin of ``torch_ctc``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from algoperf_ref.frameworks.ctc import BLANK, LOG_EPSILON, check_shapes


def ctc_loss(
    label_batch: tuple[jax.Array, jax.Array],
    logits_batch: tuple[jax.Array, jax.Array],
    mask_batch: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """Minus the log-probability of the labels, summed over all their alignments with the frames.

    Paddings are 1 behind the end of an example and 0 before it.

    Args:
      label_batch: labels ``[examples, length]``, integers or floats of integer value from 1, and
        their paddings ``[examples, length]``.
      logits_batch: float logits ``[examples, frames, classes]``, class 0 being the blank, and their
        paddings ``[examples, frames]``.
      mask_batch: bool or float weights ``[examples]``; None weighs all by 1. Where the weight is 0,
        everything else may be anything, NaN included.

    Returns:
      ``summed`` (scalar), ``n_valid_examples`` (scalar: number of labels, each times the weight of
      its example; at least 1) and ``per_example`` (``[examples]``, in nats, not divided by any
      length, times the weights). An example with too few frames for its labels has a loss of about
      1e5; one with a label that is no class NaN, since JAX cannot raise an error for it.

    Raises:
      ValueError: arrays of other shapes, or of different numbers of examples.
      Source: Workload facts (librispeech_data), 5.
    """
    check_shapes(label_batch, logits_batch, mask_batch)
    (labels, label_paddings), (logits, logit_paddings) = label_batch, logits_batch
    weights = jnp.ones(len(labels)) if mask_batch is None else mask_batch.astype(jnp.float32)
    # Before the logarithm, so that neither a NaN nor its gradient comes out of padding.
    has_weight = weights != 0
    logits = jnp.where(has_weight[:, None, None], logits, 0.0).astype(jnp.float32)
    logit_paddings = jnp.where(has_weight[:, None], logit_paddings, 1.0)
    label_paddings = jnp.where(has_weight[:, None], label_paddings, 1.0)
    labels = jnp.where(label_paddings == 0, labels, BLANK).astype(jnp.int32)
    # optax picks the labels' log-probabilities by a product with zeros and ones, which an
    # accelerator would otherwise round to fewer bits.
    with jax.default_matmul_precision("float32"):
        per_example = optax.losses.ctc_loss(
            logits,
            logit_paddings.astype(jnp.float32),
            labels,
            label_paddings.astype(jnp.float32),
            blank_id=BLANK,
            log_epsilon=LOG_EPSILON,
        )
    are_classes = ((labels >= 0) & (labels < logits.shape[-1])).all(-1)
    per_example = jnp.where(are_classes, per_example, jnp.nan) * weights
    return {
        "summed": per_example.sum(),
        "n_valid_examples": jnp.maximum((weights * (1.0 - label_paddings).sum(-1)).sum(), 1.0),
        "per_example": per_example,
    }
