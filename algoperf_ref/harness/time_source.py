"""Where the readings of the clock come from: a real clock, or a simulated one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from spec.timing import Event


class TimeSource(Protocol):
    """Gives the reading that belongs to an event.

    Attributes:
      kind: ``"wall"`` or ``"steps"``, recorded with every run.
    """

    kind: str

    def start(self, global_step: int = 0) -> float:
        """Returns the reading at the start of the first step, in seconds.

        Args:
          global_step: steps done by earlier runs of the trial.
        """
        ...

    def read(self, event: Event) -> float:
        """Returns the reading just after an event, in seconds; never less than before."""
        ...


class WallTime:
    """The machine's monotonic clock; it cannot be set back (decision 3)."""

    kind = "wall"

    def start(self, global_step: int = 0) -> float:
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

    def start(self, global_step: int = 0) -> float:
        """Returns the time of the steps done: a resumed run reads what an unbroken one does."""
        self._steps = global_step
        return global_step * self.step_seconds

    def read(self, event: Event) -> float:
        """Returns steps so far times the cost of a step: no sum of rounding errors."""
        if event is Event.STEP_ENDED:
            self._steps += 1
        return self._steps * self.step_seconds


class SlowestTime:
    """Readings that all processes of a run share: the slowest one's, since a common start.

    So every process comes to the same decisions. Each reading is a meeting of the processes; what
    the meeting itself takes belongs to the time after the reading.

    Attributes:
      flags: set before the reading at the end of a step: whether this process's submission has
        completed its training, and whether this process has something to log. Afterwards: whether
        that is so for any process.
    """

    def __init__(
        self, source: TimeSource, agree: Callable[[Sequence[float]], Sequence[float]]
    ) -> None:
        """Args:
        source: this process's own clock.
        agree: returns the largest of every value over the processes.
        """
        self.kind = source.kind
        self.flags = (False, False)
        self._source = source
        self._agree = agree
        self._origin = 0.0

    def start(self, global_step: int = 0) -> float:
        """Returns the same reading on all processes, once all of them are here."""
        self._agree([0.0])
        own = self._source.start(global_step)
        start = self._agree([own])[0]
        self._origin = start - own
        return start

    def read(self, event: Event) -> float:
        """Returns the latest of the processes' readings.

        Raises:
          RuntimeError: the processes are not at the same event. That is a defect of the harness.
        """
        own = self._origin + self._source.read(event)
        place = _PLACES[event]
        completed, wants_logging = self.flags
        latest, last, first, any_completed, any_logging = self._agree(
            [own, place, -place, float(completed), float(wants_logging)]
        )
        if last != -first:
            raise RuntimeError(f"the processes are at different places: {last:g} and {-first:g}")
        self.flags = (bool(any_completed), bool(any_logging))
        return latest


_PLACES = {event: float(number) for number, event in enumerate(Event)}
