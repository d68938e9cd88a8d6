"""The test vectors notice wrong implementations: each of these is caught by the case it names.

They also do not cry wolf: our rules, our harness, and rewritings that do the same another way pass.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from conformance_tests.support.scripted import harness_run
from conformance_tests.support.wrong import Wrong, ours_but
from conformance_tests.support.wrong_evaluation import WRONG_EVALUATION
from conformance_tests.support.wrong_harness import WRONG_HARNESSES
from conformance_tests.support.wrong_scores import WRONG_SCORES
from conformance_tests.support.wrong_targets import WRONG_TARGETS
from conformance_tests.support.wrong_timing import WRONG_TIMING, small_clock
from conformance_tests.support.wrong_tuning import WRONG_TUNING
from spec import cases, evaluation
from spec.cases.runner import check

EVERYTHING = [
    *WRONG_TIMING,
    *WRONG_EVALUATION,
    *WRONG_TUNING,
    *WRONG_SCORES,
    *WRONG_TARGETS,
    *WRONG_HARNESSES,
]
AREA_OF = {case.id: case.area for case in cases.load_all()}


@pytest.mark.parametrize("wrong", EVERYTHING, ids=lambda wrong: wrong.name)
def test_the_named_case_catches_it(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    implementation = wrong.change(monkeypatch)
    area = cases.load(AREA_OF[wrong.caught_by])
    failures = {failure.case: failure.message for failure in check(implementation, area)}
    print(f"{wrong.name} is caught by {', '.join(failures) or 'nothing'}")
    assert wrong.caught_by in failures
    # By a wrong answer, not because the change cannot be run.
    assert ", failed: " not in failures[wrong.caught_by]
    assert "the implementation has no" not in failures[wrong.caught_by]
    # A change that breaks everything would prove nothing about the case.
    assert len(failures) < len(area)


def test_there_are_many_of_them_and_none_twice() -> None:
    assert len(EVERYTHING) >= 35
    assert [name for name, count in Counter(w.name for w in EVERYTHING).items() if count > 1] == []
    assert {AREA_OF[wrong.caught_by] for wrong in EVERYTHING} == set(cases.AREAS)


def test_the_rules_themselves_pass() -> None:
    assert check() == []


def test_the_harness_itself_passes() -> None:
    runs = [case for case in cases.load("evaluation") if case.operation == "evaluation.run"]
    assert len(runs) > 40
    assert check(ours_but(evaluation_run=harness_run()), runs) == []


def test_a_clock_that_is_written_another_way_passes() -> None:
    assert check(ours_but(timing_accounts=small_clock()), cases.load("timing")) == []


def test_rules_that_are_written_another_way_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_due(
        *,
        seconds_since_last_evaluation: float | None,
        eval_period_seconds: float,
        training_complete: bool,
    ) -> bool:
        since: Any = seconds_since_last_evaluation
        return bool(training_complete or since is None or not since < eval_period_seconds)

    monkeypatch.setattr(evaluation, "time_remains", lambda seconds, budget: not seconds >= budget)
    monkeypatch.setattr(evaluation, "is_due", is_due)
    assert check(None, cases.load("evaluation")) == []
