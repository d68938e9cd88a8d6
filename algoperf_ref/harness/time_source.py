"""Where the readings of the clock come from: a real clock, or a simulated one."""

from __future__ import annotations

import time
from typing import Protocol

from spec.timing import Event


class TimeSource(Protocol):
    """Gives the reading that belongs to an event.

    Attributes:
      kind: ``"wall"`` or ``"steps"``, recorded with every run.
    """

    kind: str

    def start(self) -> float:
        """Returns the reading at the start of the first step, in seconds."""
        ...

    def read(self, event: Event) -> float:
        """Returns the reading just after an event, in seconds; never less than before."""
        ...


class WallTime:
    """The machine's monotonic clock; it cannot be set back (decision 3)."""

    kind = "wall"

    def start(self) -> float:
        """Returns the monotonic time in seconds."""
        return time.monotonic()

    def read(self, event: Event) -> float:
        """Returns the monotonic time in seconds, whatever the event."""
        return time.monotonic()


class StepTime:
    """A simulated clock: every step costs a fixed number of seconds, all else is free.

    Runs become deterministic and independent of the machine: evaluations fall on the same
    steps everywhere. Their times are not measurements, and the logs say so.
    """

    kind = "steps"

    def __init__(self, step_seconds: float) -> None:
        """Args:
        step_seconds: cost of one training step in seconds, positive.

        Raises:
          ValueError: ``step_seconds`` is not a positive number.
        """
        if not 0.0 < step_seconds < float("inf"):
            raise ValueError(f"step_seconds is {step_seconds}; it must be a positive number")
        self.step_seconds = step_seconds
        self._steps = 0

    def start(self) -> float:
        """Returns 0."""
        self._steps = 0
        return 0.0

    def read(self, event: Event) -> float:
        """Returns steps so far times the cost of a step: no sum of rounding errors."""
        if event is Event.STEP_ENDED:
            self._steps += 1
        return self._steps * self.step_seconds
