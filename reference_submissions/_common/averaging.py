"""What submissions have in common that are evaluated at other weights than those of training."""

from __future__ import annotations

STATISTICS_PERIOD = 10
"""Steps from one pass that updates the running statistics of batch normalisation, at the weights
of the evaluation, to the next: about a thirtieth of the time of training."""

NUM_SNAPSHOTS = 5
"""Weights that LAWA averages."""

SNAPSHOTS_PER_RUN = 100
"""Snapshots that LAWA takes in a step hint, at least one each step."""


def snapshot_period(total_steps: int) -> int:
    """Returns the steps from one snapshot of the weights to the next."""
    return max(1, total_steps // SNAPSHOTS_PER_RUN)
