"""What both frameworks' structural similarity is made of. Source: Workload facts (fastmri), 4."""

from __future__ import annotations

WINDOW = 7
"""Side of the square window in pixels; all its pixels count alike."""

K1, K2 = 0.01, 0.03
"""Shares of the largest value, which keep the quotient away from 0 / 0."""

PIXELS = WINDOW**2
"""Pixels of a window; covariances are unbiased, over one less."""


def check_shapes(logits: tuple[int, ...], targets: tuple[int, ...]) -> None:
    """Refuses images that cannot be compared.

    Args:
      logits: shape of the predictions.
      targets: shape of the true images.

    Raises:
      ValueError: shapes that differ, are not of rank 3 or are smaller than the window.
    """
    if len(logits) != 3 or logits != targets:
        raise ValueError(
            "logits and targets must have one shape [examples, height, width], got "
            f"{logits}, {targets}"
        )
    if min(logits[1:]) < WINDOW:
        raise ValueError(
            f"images of {logits[1]} x {logits[2]} pixels are smaller than the window of "
            f"{WINDOW} x {WINDOW}"
        )
