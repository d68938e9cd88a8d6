"""The clock by example: accounts, boundaries, illegal orders, resumes."""

from __future__ import annotations

import functools
import math
import operator

import pytest

from spec.timing import (
    ACCOUNT_OF_EVENT,
    Account,
    Clock,
    ClockError,
    ClockWentBackwards,
    Event,
    IllegalEvent,
    InvalidReading,
    may_follow,
    seconds_between,
    slowest_reading,
)


def _accounts(clock: Clock) -> dict[Account, float]:
    return {
        Account.SUBMISSION: clock.submission_seconds,
        Account.EVALUATION: clock.evaluation_seconds,
        Account.LOGGING: clock.logging_seconds,
    }


@pytest.mark.clause("TIM-1")
def test_a_step_an_evaluation_and_a_checkpoint_are_charged_to_their_accounts() -> None:
    clock = Clock.start(100.0)
    clock = clock.advance(Event.STEP_ENDED, 100.5)
    clock = clock.advance(Event.PREPARED, 100.75)
    clock = clock.advance(Event.EVALUATED, 110.75)
    clock = clock.advance(Event.LOGGED, 112.75)
    clock = clock.advance(Event.STEP_ENDED, 113.0)
    assert _accounts(clock) == {
        Account.SUBMISSION: 1.0,
        Account.EVALUATION: 10.0,
        Account.LOGGING: 2.0,
    }
    assert clock.total_seconds == 13.0
    assert clock.last_reading_seconds == 113.0


@pytest.mark.clause("TIM-1")
@pytest.mark.parametrize("event", list(Event))
def test_an_event_charges_the_account_that_the_table_names_and_no_other(event: Event) -> None:
    before = Clock.start(0.0)
    if event in (Event.PREPARED, Event.EVALUATED):
        before = before.advance(Event.STEP_ENDED, 1.0)
    if event is Event.EVALUATED:
        before = before.advance(Event.PREPARED, 2.0)
    after = before.advance(event, before.last_reading_seconds + 0.25)
    grown = {
        account: after_seconds - before_seconds
        for (account, after_seconds), before_seconds in zip(
            _accounts(after).items(), _accounts(before).values(), strict=True
        )
    }
    assert grown == {
        account: 0.25 if account is ACCOUNT_OF_EVENT[event] else 0.0 for account in Account
    }


@pytest.mark.clause("TIM-1")
def test_what_happened_before_the_start_is_in_no_account() -> None:
    clock = Clock.start(5000.0)
    assert clock.total_seconds == 0.0
    assert clock.phase is None


@pytest.mark.clause("TIM-1")
def test_a_hundred_thousand_steps_add_up_without_a_rounding_error() -> None:
    clock = Clock.start(0.0)
    step = 0.001
    for index in range(1, 100_001):
        clock = clock.advance(Event.STEP_ENDED, index * step)
    assert clock.submission_seconds == 100.0
    # What adding floats would have given (Python 3.12's `sum` compensates its errors).
    assert functools.reduce(operator.add, [step] * 100_000) != 100.0


@pytest.mark.clause("TIM-1")
def test_a_resumed_clock_continues_from_the_logged_seconds_and_not_from_the_gap() -> None:
    first = Clock.start(10.0).advance(Event.STEP_ENDED, 10.1).advance(Event.LOGGED, 10.4)
    second = Clock.start(
        900.0,
        submission_seconds=float(repr(first.submission_seconds)),
        evaluation_seconds=float(repr(first.evaluation_seconds)),
        logging_seconds=float(repr(first.logging_seconds)),
    )
    assert second.total_ns == first.total_ns
    assert second.phase is None
    after = second.advance(Event.STEP_ENDED, 900.5)
    assert after.submission_seconds == 0.6
    assert after.logging_seconds == 0.3


@pytest.mark.clause("TIM-1")
def test_no_time_may_pass_between_two_readings() -> None:
    clock = Clock.start(1.0).advance(Event.STEP_ENDED, 1.0)
    assert clock.total_ns == 0
    assert clock.phase is Event.STEP_ENDED


@pytest.mark.clause("TIM-1")
def test_a_clock_that_goes_back_by_a_nanosecond_is_refused() -> None:
    clock = Clock.start(1.0)
    with pytest.raises(ClockWentBackwards, match="went back by 1 ns before step ended"):
        clock.advance(Event.STEP_ENDED, 0.999999999)


@pytest.mark.clause("TIM-1")
@pytest.mark.parametrize("reading", [math.nan, math.inf, -math.inf])
def test_a_reading_that_is_not_finite_is_refused(reading: float) -> None:
    with pytest.raises(InvalidReading):
        Clock.start(reading)
    with pytest.raises(InvalidReading):
        Clock.start(0.0).advance(Event.STEP_ENDED, reading)


@pytest.mark.clause("TIM-1")
@pytest.mark.parametrize("field", ["submission_seconds", "evaluation_seconds", "logging_seconds"])
@pytest.mark.parametrize("carried", [-1e-9, math.nan, math.inf])
def test_carried_seconds_must_be_finite_and_not_negative(field: str, carried: float) -> None:
    with pytest.raises(InvalidReading):
        Clock.start(0.0, **{field: carried})


@pytest.mark.clause("TIM-2")
def test_exactly_these_orders_of_events_are_legal() -> None:
    anything = {None, *Event}
    may_come_after = {
        Event.STEP_ENDED: anything,
        Event.PREPARED: {Event.STEP_ENDED},
        Event.EVALUATED: {Event.PREPARED},
        Event.LOGGED: anything,
    }
    for event in Event:
        assert {phase for phase in anything if may_follow(phase, event)} == may_come_after[event]


@pytest.mark.clause("TIM-2")
@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([Event.PREPARED], "'prepared for evaluation' cannot come directly after the start"),
        ([Event.STEP_ENDED, Event.EVALUATED], "cannot come directly after 'step ended'"),
        ([Event.STEP_ENDED, Event.LOGGED, Event.PREPARED], "cannot come directly after 'logged'"),
        ([Event.STEP_ENDED, Event.PREPARED, Event.PREPARED], "after 'prepared for evaluation'"),
        (
            [Event.STEP_ENDED, Event.PREPARED, Event.EVALUATED, Event.EVALUATED],
            "'evaluated' cannot come directly after 'evaluated'",
        ),
    ],
)
def test_an_event_out_of_order_is_an_error_that_names_both(
    events: list[Event], message: str
) -> None:
    clock = Clock.start(0.0)
    for event in events[:-1]:
        clock = clock.advance(event, 1.0)
    with pytest.raises(IllegalEvent, match=message):
        clock.advance(events[-1], 1.0)


@pytest.mark.clause("TIM-2")
def test_a_run_that_ends_after_its_preparation_may_still_log() -> None:
    clock = Clock.start(0.0).advance(Event.STEP_ENDED, 1.0).advance(Event.PREPARED, 1.5)
    assert clock.advance(Event.LOGGED, 3.0).logging_seconds == 1.5


@pytest.mark.clause("TIM-1")
def test_every_clock_error_can_be_caught_as_one_kind() -> None:
    for kind in (ClockWentBackwards, IllegalEvent, InvalidReading):
        assert issubclass(kind, ClockError)


@pytest.mark.clause("TIM-1")
def test_the_difference_of_two_readings_is_in_whole_nanoseconds() -> None:
    assert 0.7 - 0.4 < 0.3
    assert seconds_between(0.4, 0.7) == 0.3
    with pytest.raises(InvalidReading):
        seconds_between(0.0, math.nan)


@pytest.mark.clause("TIM-1")
def test_fractions_of_a_second_are_kept_in_every_account_and_in_the_total() -> None:
    clock = Clock(250_000_000, 500_000_000, 1_000_000, 1_750_000_000)
    assert (clock.submission_seconds, clock.evaluation_seconds) == (0.25, 0.5)
    assert (clock.logging_seconds, clock.total_seconds) == (0.001, 0.751)
    assert clock.last_reading_seconds == 1.75


@pytest.mark.clause("TIM-5")
def test_of_several_processes_the_slowest_counts_and_every_reading_must_be_one() -> None:
    assert slowest_reading([3.0, 5.5, 1.0]) == 5.5
    for readings in ([], [1.0, math.nan], [math.inf, 1.0]):
        with pytest.raises(InvalidReading):
            slowest_reading(readings)
