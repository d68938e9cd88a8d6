"""Laws of the clock: conservation, invariances, monotonicity, agreement with a slow oracle."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.timing import (
    ACCOUNT_OF_EVENT,
    Account,
    Clock,
    ClockWentBackwards,
    Event,
    IllegalEvent,
    may_follow,
    seconds_between,
)

TICK = Fraction(1, 512)  # A whole number of nanoseconds that floats represent exactly.
ticks = st.integers(min_value=0, max_value=10**7)
origins = st.integers(min_value=-(10**6), max_value=10**6)
EVALUATION = (Event.STEP_ENDED, Event.PREPARED, Event.EVALUATED, Event.LOGGED)
legal_events = st.lists(
    st.sampled_from([(Event.STEP_ENDED,), EVALUATION, EVALUATION[:3], (Event.LOGGED,)]),
    max_size=8,
).map(lambda groups: [event for group in groups for event in group])
histories = legal_events.flatmap(
    lambda events: st.tuples(*(st.tuples(st.just(event), ticks) for event in events)).map(list)
)
History = list[tuple[Event, int]]


def _seconds(num_ticks: int) -> float:
    return float(num_ticks * TICK)


def _run(clock: Clock, history: History, now: int) -> Clock:
    for event, passed in history:
        now += passed
        clock = clock.advance(event, _seconds(now))
    return clock


def _accounts(clock: Clock) -> tuple[int, int, int]:
    return clock.submission_ns, clock.evaluation_ns, clock.logging_ns


@pytest.mark.clause("TIM-1")
@given(origins, histories)
def test_the_accounts_add_up_to_the_time_that_passed_exactly(origin: int, history: History) -> None:
    start = Clock.start(_seconds(origin))
    end = _run(start, history, origin)
    assert end.total_ns == end.last_reading_ns - start.last_reading_ns
    assert Fraction(end.total_ns, 10**9) == sum(passed for _, passed in history) * TICK


@pytest.mark.clause("TIM-1")
@given(origins, histories)
def test_each_account_is_the_sum_of_its_own_events(origin: int, history: History) -> None:
    end = _run(Clock.start(_seconds(origin)), history, origin)
    expected = {account: Fraction(0) for account in Account}
    for event, passed in history:
        expected[ACCOUNT_OF_EVENT[event]] += passed * TICK
    assert end.submission_seconds == float(expected[Account.SUBMISSION])
    assert end.evaluation_seconds == float(expected[Account.EVALUATION])
    assert end.logging_seconds == float(expected[Account.LOGGING])


@pytest.mark.clause("TIM-1")
@given(origins, origins, histories)
def test_the_origin_of_the_clock_does_not_matter(origin: int, other: int, history: History) -> None:
    first = _run(Clock.start(_seconds(origin)), history, origin)
    second = _run(Clock.start(_seconds(other)), history, other)
    assert _accounts(first) == _accounts(second)


@pytest.mark.clause("TIM-1")
@given(histories)
def test_no_account_ever_shrinks(history: History) -> None:
    clock, now = Clock.start(0.0), 0
    for event, passed in history:
        now += passed
        following = clock.advance(event, _seconds(now))
        pairs = zip(_accounts(clock), _accounts(following), strict=True)
        grown = [after - before for before, after in pairs]
        assert min(grown) >= 0
        assert sum(amount > 0 for amount in grown) == (1 if passed else 0)
        clock = following


@pytest.mark.clause("TIM-1")
@given(ticks, ticks)
def test_a_step_in_two_halves_costs_as_much_as_in_one(first: int, second: int) -> None:
    whole = Clock.start(0.0).advance(Event.STEP_ENDED, _seconds(first + second))
    halves = _run(Clock.start(0.0), [(Event.STEP_ENDED, first), (Event.STEP_ENDED, second)], 0)
    assert halves == whole


@pytest.mark.clause("TIM-1")
@given(st.lists(st.lists(st.tuples(st.just(Event.STEP_ENDED), ticks), max_size=4), max_size=4))
def test_any_number_of_resumes_gives_the_accounts_of_an_uninterrupted_run(
    parts: list[History],
) -> None:
    clock, now = Clock.start(0.0), 0
    for index, part in enumerate(parts):
        now += 12345 * index  # Time passes between the runs; it belongs to nobody.
        stored = [
            float(repr(seconds))
            for seconds in (
                clock.submission_seconds,
                clock.evaluation_seconds,
                clock.logging_seconds,
            )
        ]
        clock = _run(Clock.start(_seconds(now), *stored), part, now)
        now += sum(passed for _, passed in part)
    whole = _run(Clock.start(0.0), [entry for part in parts for entry in part], 0)
    assert _accounts(clock) == _accounts(whole)


@pytest.mark.clause("TIM-1")
@given(*[st.integers(min_value=0, max_value=2**51 - 1)] * 3)
def test_seconds_in_a_log_read_back_as_the_same_nanoseconds(
    submission: int, evaluation: int, logging: int
) -> None:
    clock = Clock(submission, evaluation, logging, 0)
    again = Clock.start(
        0.0,
        submission_seconds=float(repr(clock.submission_seconds)),
        evaluation_seconds=float(repr(clock.evaluation_seconds)),
        logging_seconds=float(repr(clock.logging_seconds)),
    )
    assert again == clock


@pytest.mark.clause("TIM-1")
@given(st.lists(st.floats(min_value=0.0, max_value=1e3), max_size=20), st.floats(0.0, 1e4))
def test_rounding_moves_an_account_by_at_most_a_nanosecond_over_a_whole_run(
    durations: list[float], origin: float
) -> None:
    clock, now = Clock.start(origin), origin
    for duration in durations:
        now += duration
        clock = clock.advance(Event.STEP_ENDED, now)
    exact_ns = (Fraction(now) - Fraction(origin)) * 10**9
    # Half a nanosecond at either end, and a little for the product that converts a reading.
    assert abs(clock.total_ns - exact_ns) <= Fraction(102, 100)


@pytest.mark.clause("TIM-2")
@given(legal_events, st.sampled_from(list(Event)))
def test_an_event_is_accepted_exactly_if_it_may_follow(events: list[Event], event: Event) -> None:
    clock = Clock.start(0.0)
    for previous in events:
        clock = clock.advance(previous, 0.0)
    if may_follow(clock.phase, event):
        assert clock.advance(event, 1.0).phase is event
    else:
        with pytest.raises(IllegalEvent):
            clock.advance(event, 1.0)


@pytest.mark.clause("TIM-1")
@given(origins, st.integers(min_value=1, max_value=10**7), st.sampled_from(list(Event)))
def test_no_event_may_come_before_the_last_reading(origin: int, back: int, event: Event) -> None:
    with pytest.raises(ClockWentBackwards):
        Clock.start(_seconds(origin)).advance(event, _seconds(origin - back))


@pytest.mark.clause("TIM-1")
@given(ticks, ticks, ticks)
def test_differences_of_readings_add_up(first: int, second: int, third: int) -> None:
    a, b, c = _seconds(first), _seconds(first + second), _seconds(first + second + third)
    assert seconds_between(a, b) == _seconds(second)
    assert seconds_between(a, c) == _seconds(second + third)
    assert seconds_between(b, a) == -seconds_between(a, b)
