"""The states of the clock: which event may come directly after which, asked of the rules."""

from __future__ import annotations

from dataclasses import dataclass

from spec.timing import ACCOUNT_OF_EVENT, Account, Event, may_follow

START = "start"


@dataclass(frozen=True, slots=True)
class ClockEdge:
    """An event that may come directly after another.

    Attributes:
      phase: the event before it, None at the start.
      event: the event.
      account: what the time between them is charged to.
    """

    phase: Event | None
    event: Event
    account: Account


def clock_edges() -> tuple[ClockEdge, ...]:
    """Every legal step of the clock, in the order of the events."""
    return tuple(
        ClockEdge(phase, event, ACCOUNT_OF_EVENT[event])
        for phase in (None, *Event)
        for event in Event
        if may_follow(phase, event)
    )
