"""The clock of a trial: which second belongs to which account.

The clock is a pure state machine. It reads no time itself: the harness reads a clock (a real one
after the device has become idle, or a simulated one) and feeds the reading together with the
event that has just happened. Every nanosecond between two readings is charged to exactly one
account, so the accounts are disjoint and add up to the time that passed.

Readings are rounded to whole nanoseconds when they come in. Sums of integers are exact, which
makes the conservation law an equality, however many steps a run has, and makes a resumed
run continue from exactly the seconds that its log states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType

from spec.clauses import BrokenRule, Source, clause

NANOSECONDS_PER_SECOND = 1_000_000_000


class Account(StrEnum):
    """Where a second can go."""

    SUBMISSION = "submission"
    EVALUATION = "evaluation"
    LOGGING = "logging"


class Event(Enum):
    """What has just ended when the clock is read."""

    STEP_ENDED = "step ended"
    PREPARED = "prepared for evaluation"
    EVALUATED = "evaluated"
    LOGGED = "logged"


class ClockError(BrokenRule):
    """The clock was fed something that cannot happen; the base of the errors below."""


class ClockWentBackwards(ClockError, clause="TIM-4"):
    """A reading lies before the previous one; only a monotonic clock may time a trial."""


class IllegalEvent(ClockError, clause="TIM-2"):
    """An event came in an order in which the training loop cannot produce it."""


class InvalidReading(ClockError, clause="TIM-3"):
    """A reading is not finite, or carried seconds are negative or not finite."""


ACCOUNT_OF_EVENT: Mapping[Event, Account] = MappingProxyType(
    {
        Event.STEP_ENDED: Account.SUBMISSION,
        Event.PREPARED: Account.SUBMISSION,
        Event.EVALUATED: Account.EVALUATION,
        Event.LOGGED: Account.LOGGING,
    }
)
"""The account that pays for the time up to an event."""

# Plain module-level names: an attribute look-up on an Enum class costs more than the
# whole arithmetic of `advance`, which runs once per training step.
_STEP_ENDED, _PREPARED, _EVALUATED = Event.STEP_ENDED, Event.PREPARED, Event.EVALUATED


@clause(
    "TIM-1",
    """Every second between two readings of the clock belongs to exactly one of three accounts
    (submission, evaluation, logging with checkpointing); the accounts add up to the time that
    passed since the start, also across a resume.""",
    source=(Source("Decisions", "3"), Source("Harness contract", "5")),
)
@dataclass(frozen=True, slots=True)
class Clock:
    """The state of the accounts at the last reading. Make one with :meth:`start`.

    Attributes:
      submission_ns: nanoseconds of training steps and of preparing for evaluations.
      evaluation_ns: nanoseconds of evaluations, failed ones included.
      logging_ns: nanoseconds of writing logs and checkpoints.
      last_reading_ns: the last reading.
      phase: the event of the last reading, None at the start.
    """

    submission_ns: int
    evaluation_ns: int
    logging_ns: int
    last_reading_ns: int
    phase: Event | None = None

    @classmethod
    def start(
        cls,
        now: float,
        submission_seconds: float = 0.0,
        evaluation_seconds: float = 0.0,
        logging_seconds: float = 0.0,
    ) -> Clock:
        """Starts the clock; what happened before ``now`` is in no account.

        Args:
          now: reading of a monotonic clock in seconds, with an arbitrary origin.
          submission_seconds: carried over from the run that is resumed; 0 for a fresh run.
          evaluation_seconds: likewise.
          logging_seconds: likewise.

        Returns:
          The clock at the moment at which the first training step starts.

        Raises:
          InvalidReading: not finite, or a negative carried time.
        """
        carried = {
            "submission_seconds": submission_seconds,
            "evaluation_seconds": evaluation_seconds,
            "logging_seconds": logging_seconds,
        }
        for name, seconds in carried.items():
            if not seconds >= 0.0:
                raise InvalidReading(f"{name} is {seconds}; carried seconds are 0 or more")
        return cls(
            _nanoseconds(submission_seconds),
            _nanoseconds(evaluation_seconds),
            _nanoseconds(logging_seconds),
            _nanoseconds(now),
        )

    @clause(
        "TIM-3",
        "A reading of the clock is a finite number of seconds, and seconds that a resumed run "
        "carries over are finite and not negative.",
        source=Source("Decisions", "3"),
    )
    @clause(
        "TIM-4",
        "The clock is monotonic: no reading lies before the one before it.",
        source=Source("Decisions", "3"),
    )
    def advance(self, event: Event, now: float) -> Clock:
        """Charges the time since the last reading to the account of an event.

        Args:
          event: what has just ended.
          now: reading of the same clock in seconds, taken after the device has become idle.

        Returns:
          The clock after the event.

        Raises:
          ClockWentBackwards: ``now`` lies before the last reading.
          IllegalEvent: an evaluation without preparation, or a preparation that does not
            directly follow a step.
          InvalidReading: ``now`` is not finite.
        """
        try:
            now_ns = round(now * 1e9)
        except (ValueError, OverflowError):
            raise InvalidReading(f"the clock reads {now}; a reading is a finite number") from None
        passed_ns = now_ns - self.last_reading_ns
        if passed_ns < 0:
            raise ClockWentBackwards(f"the clock went back by {-passed_ns} ns before {event.value}")
        if event is _STEP_ENDED:
            return Clock(
                self.submission_ns + passed_ns, self.evaluation_ns, self.logging_ns, now_ns, event
            )
        if not may_follow(self.phase, event):
            before = "the start" if self.phase is None else f"{self.phase.value!r}"
            raise IllegalEvent(f"{event.value!r} cannot come directly after {before}")
        if event is _PREPARED:
            return Clock(
                self.submission_ns + passed_ns, self.evaluation_ns, self.logging_ns, now_ns, event
            )
        if event is _EVALUATED:
            return Clock(
                self.submission_ns, self.evaluation_ns + passed_ns, self.logging_ns, now_ns, event
            )
        return Clock(
            self.submission_ns, self.evaluation_ns, self.logging_ns + passed_ns, now_ns, event
        )

    @property
    def submission_seconds(self) -> float:
        """Seconds on the submission's account: what is scored and held against the budget."""
        return self.submission_ns / NANOSECONDS_PER_SECOND

    @property
    def evaluation_seconds(self) -> float:
        """Seconds spent in evaluations."""
        return self.evaluation_ns / NANOSECONDS_PER_SECOND

    @property
    def logging_seconds(self) -> float:
        """Seconds spent in logging and checkpointing."""
        return self.logging_ns / NANOSECONDS_PER_SECOND

    @property
    def last_reading_seconds(self) -> float:
        """The last reading in seconds."""
        return self.last_reading_ns / NANOSECONDS_PER_SECOND

    @property
    def total_ns(self) -> int:
        """Nanoseconds in all accounts together, exactly."""
        return self.submission_ns + self.evaluation_ns + self.logging_ns

    @property
    def total_seconds(self) -> float:
        """Seconds in all accounts together (the ``total_duration`` of the logs)."""
        return self.total_ns / NANOSECONDS_PER_SECOND


@clause(
    "TIM-2",
    """An evaluation is timed only directly after a preparation, and a preparation only directly
    after a step, so that no time can slip between them into a wrong account.""",
    source=(Source("Harness contract", "5"), Source("Decisions", "3")),
)
def may_follow(phase: Event | None, event: Event) -> bool:
    """Says whether an event may come directly after another.

    Args:
      phase: the previous event, None at the start.
      event: the event in question.

    Returns:
      True if the training loop can produce this order.
    """
    if event is Event.PREPARED:
        return phase is Event.STEP_ENDED
    if event is Event.EVALUATED:
        return phase is Event.PREPARED
    return True


def seconds_between(earlier: float, later: float) -> float:
    """Seconds between two readings, in the whole nanoseconds that the clock counts in.

    A plain difference of the floats would make 0.7 - 0.4 less than 0.3, and an evaluation
    that is due exactly at its period would come a step late.

    Args:
      earlier: a reading in seconds.
      later: another one.

    Returns:
      Their difference in seconds.

    Raises:
      InvalidReading: a reading is not finite.
    """
    return (_nanoseconds(later) - _nanoseconds(earlier)) / NANOSECONDS_PER_SECOND


@clause(
    "TIM-5",
    """With several processes the slowest one's time counts: the reading of an event is the latest
    of the processes' readings, all of which count from a common start.""",
    source=(Source("Decisions", "3"), Source("Harness contract", "5.1")),
)
def slowest_reading(readings: Sequence[float]) -> float:
    """Returns the reading that counts for a run of several processes.

    Args:
      readings: of the same event, one from each process, in seconds since the common start.

    Returns:
      The latest of them.

    Raises:
      InvalidReading: there is none, or one is not finite.
    """
    if not readings:
        raise InvalidReading("no process has read its clock")
    for seconds in readings:
        _nanoseconds(seconds)
    return max(readings)


def _nanoseconds(seconds: float) -> int:
    try:
        # A product rather than exact rational arithmetic: `advance` does the same, and seconds
        # below 2**51 ns (26 days) come back unchanged from a log that states them in full.
        return round(seconds * 1e9)
    except (ValueError, OverflowError):
        raise InvalidReading(f"{seconds} is not a finite number of seconds") from None
