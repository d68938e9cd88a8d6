"""Metrics that are means over the examples of a split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray


def weighted_means(
    outputs: Iterable[Mapping[str, NDArray[np.generic]]], weights: str = "weights"
) -> dict[str, float]:
    """Means of everything that was computed per example; padding has weight 0.

    Sums are taken in float64, batch by batch, so that a split of any size needs little memory.

    Args:
      outputs: of each batch, arrays [rows] by name.
      weights: name of the weights among them.

    Returns:
      The mean of every other array, over all batches; NaN if nothing has weight.
    """
    sums: dict[str, float] = {}
    total = 0.0
    for batch in outputs:
        weight = np.asarray(batch[weights], np.float64)
        total += float(weight.sum())
        for name, values in batch.items():
            if name != weights:
                # What padding gave may be NaN.
                valid = np.where(weight > 0, np.asarray(values, np.float64), 0.0)
                sums[name] = sums.get(name, 0.0) + float(np.dot(valid, weight))
    return {name: value / total if total else float("nan") for name, value in sums.items()}
