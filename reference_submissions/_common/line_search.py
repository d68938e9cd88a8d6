"""Backtracking by Armijo's rule: the numbers of the search, the same for both frameworks."""

from __future__ import annotations

FIRST_RATE = 0.1
"""Learning rate of the first step, before it is doubled."""

LARGEST_RATE = 10.0

INCREASE = 2.0
"""Each search begins with the last rate times this."""

DECREASE = 0.5
"""A rate that is too long is multiplied with this."""

SUFFICIENT = 0.1
"""Part of the decrease along the gradient that a step has to bring."""

MAX_TRIES = 12
"""Rates that are tried in a step; if none will do, the parameters stay."""
