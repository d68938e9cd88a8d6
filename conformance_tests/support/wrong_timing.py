"""Wrong clocks; see :mod:`conformance_tests.support.wrong`."""

from __future__ import annotations

import math
from typing import Any

import pytest

from conformance_tests.support.wrong import Registry, ours_but
from spec.cases.runner import Refused

WRONG_TIMING = Registry()
caught_by = WRONG_TIMING.caught_by

# Timing: a small clock of our own, right unless it is told to do something else.

ACCOUNTS = {
    "step_ended": "submission_seconds",
    "prepared": "submission_seconds",
    "evaluated": "evaluation_seconds",
    "logged": "logging_seconds",
}
BEFORE = {"prepared": ("step_ended",), "evaluated": ("prepared",)}


def small_clock(
    accounts: Any = ACCOUNTS,
    before: Any = BEFORE,
    carries: bool = True,
    may_go_back: bool = False,
    counts_from_zero: bool = False,
    exact: bool = True,
    checks: bool = True,
) -> Any:
    """Returns an implementation of ``timing.accounts``."""

    per_second = 1e9 if exact else 1.0

    def units(seconds: float) -> Any:
        if checks and not math.isfinite(seconds):
            raise Refused("TIM-3")
        return round(seconds * 1e9) if exact and math.isfinite(seconds) else seconds

    def timing_accounts(*, start: Any, events: Any) -> Any:
        seconds = dict.fromkeys(dict.fromkeys(accounts.values()), 0)
        seconds |= {name: 0 for name in ACCOUNTS.values() if name not in seconds}
        for name in seconds:
            carried = start.get(name, 0.0) if carries else 0.0
            if checks and not carried >= 0:
                raise Refused("TIM-3")
            seconds[name] = units(carried)
        last, phase = units(0.0 if counts_from_zero else start["reading"]), None
        for event, reading in events:
            now = units(reading)
            if now < last and not may_go_back:
                raise Refused("TIM-4")
            if event in before and phase not in before[event]:
                raise Refused("TIM-2")
            seconds[accounts[event]] += now - last
            last, phase = now, event
        result = {name: total / per_second for name, total in seconds.items()}
        return {**result, "total_seconds": sum(seconds.values()) / per_second}

    return timing_accounts


@caught_by("timing/evaluation-is-not-charged")
def evaluation_is_charged_to_the_submission(patch: pytest.MonkeyPatch) -> Any:
    accounts = {**ACCOUNTS, "evaluated": "submission_seconds"}
    return ours_but(timing_accounts=small_clock(accounts))


@caught_by("timing/logging-is-not-charged")
def logging_is_charged_to_the_submission(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock({**ACCOUNTS, "logged": "submission_seconds"}))


@caught_by("timing/preparation-is-charged")
def preparation_is_charged_to_evaluation(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock({**ACCOUNTS, "prepared": "evaluation_seconds"}))


@caught_by("timing/resume-carries-the-accounts")
def resume_drops_the_accounts(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock(carries=False))


@caught_by("timing/sums-are-exact")
def sums_of_floats(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock(exact=False))


@caught_by("timing/one-nanosecond-back")
def the_clock_may_go_back(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock(may_go_back=True))


@caught_by("timing/step")
def time_before_the_start_is_charged(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock(counts_from_zero=True))


@caught_by("timing/evaluated-without-preparation")
def any_order_of_events(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock(before={}))


@caught_by("timing/infinite-reading")
def any_reading(patch: pytest.MonkeyPatch) -> Any:
    return ours_but(timing_accounts=small_clock(checks=False))
