"""The clock that several processes share."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from algoperf_ref.harness.time_source import SlowestTime, StepTime
from conformance_tests.support.fakes import FakeTime
from spec import timing
from spec.timing import Event


class Meeting:
    """Lets threads agree as processes do: the largest of every value."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count, timeout=10)
        self._values: list[Sequence[float]] = []

    def agree(self, values: Sequence[float]) -> list[float]:
        self._values.append(values)
        self._barrier.wait()
        largest = [max(column) for column in zip(*self._values, strict=True)]
        if self._barrier.wait() == 0:
            self._values = []
        self._barrier.wait()
        return largest


def together(*functions: object) -> list[object]:
    """Calls every function in a thread of its own; returns what they return or raise."""
    results: list[object] = [None] * len(functions)

    def call(number: int, function: object) -> None:
        try:
            results[number] = function()  # type: ignore[operator]
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.clause("TIM-5")
def test_the_latest_reading_counts() -> None:
    assert timing.slowest_reading([3.0, 5.5, 1.0]) == 5.5
    for readings in ([], [1.0, float("nan")], [float("inf")]):
        with pytest.raises(timing.InvalidReading):
            timing.slowest_reading(readings)


@pytest.mark.clause("TIM-4", "TIM-5")
def test_every_process_reads_the_slowest_ones_time_since_the_common_start() -> None:
    meeting = Meeting(2)
    # Two machines: their monotonic clocks have nothing to do with each other.
    clocks = [FakeTime(now=1000.0), FakeTime(now=7.0)]
    sources = [SlowestTime(clock, meeting.agree) for clock in clocks]
    steps = ((1.0, 3.0), (4.0, 1.0), (0.0, 0.25))
    start = together(*[source.start for source in sources])
    assert start[0] == start[1]
    elapsed = [0.0, 0.0]
    for seconds in steps:
        for number, clock in enumerate(clocks):
            clock.pass_seconds(seconds[number])
            elapsed[number] += seconds[number]
        readings = together(*[lambda s=s: s.read(Event.STEP_ENDED) for s in sources])
        assert readings[0] == readings[1]
        assert readings[0] - start[0] == timing.slowest_reading(elapsed)  # type: ignore[operator]


def test_a_simulated_clock_stays_what_it_is() -> None:
    meeting = Meeting(2)
    sources = [SlowestTime(StepTime(0.1), meeting.agree) for _ in range(2)]
    assert sources[0].kind == "steps"
    assert together(*[lambda s=s: s.start(7) for s in sources]) == [7 * 0.1] * 2
    for step in range(8, 11):
        readings = together(*[lambda s=s: s.read(Event.STEP_ENDED) for s in sources])
        assert readings == [step * 0.1] * 2


def test_what_one_process_wants_all_of_them_do() -> None:
    meeting = Meeting(2)
    sources = [SlowestTime(FakeTime(), meeting.agree) for _ in range(2)]
    together(*[source.start for source in sources])
    for wishes, expected in (
        (((False, False), (False, False)), (False, False)),
        (((True, False), (False, False)), (True, False)),
        (((False, True), (False, False)), (False, True)),
    ):
        for source, wish in zip(sources, wishes, strict=True):
            source.flags = wish
        together(*[lambda s=s: s.read(Event.STEP_ENDED) for s in sources])
        assert [source.flags for source in sources] == [expected] * 2


def test_processes_at_different_places_are_an_error_on_both() -> None:
    meeting = Meeting(2)
    first, second = (SlowestTime(FakeTime(), meeting.agree) for _ in range(2))
    together(first.start, second.start)
    errors = together(lambda: first.read(Event.PREPARED), lambda: second.read(Event.STEP_ENDED))
    assert all("different places" in str(error) for error in errors)
