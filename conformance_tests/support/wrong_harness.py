"""Training loops that break a rule; see :mod:`conformance_tests.support.wrong`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from algoperf_ref.harness import snapshot
from algoperf_ref.harness import trial as loop
from algoperf_ref.harness.trial import Trial
from conformance_tests.support.fakes import FakeBackend
from conformance_tests.support.scripted import harness_run
from conformance_tests.support.wrong import Registry, ours_but
from spec.timing import Clock

WRONG_HARNESSES = Registry()
caught_by = WRONG_HARNESSES.caught_by


def harness(trial_class: type[Trial] = Trial, **classes: Any) -> Any:
    """An implementation whose scripted runs are made by the harness."""
    return ours_but(evaluation_run=harness_run(trial_class, **classes))


@caught_by("evaluation/run-device-time-of-a-step")
def the_harness_forgets_to_synchronise(patch: pytest.MonkeyPatch) -> Any:
    class Backend(FakeBackend):
        def synchronize(self, *trees: Any) -> None:
            self.events.append("no synchronisation")

    return harness(backend_class=Backend)


@caught_by("evaluation/run-device-time-of-a-preparation")
def the_harness_forgets_to_synchronise_after_preparations(patch: pytest.MonkeyPatch) -> Any:
    class Loop(Trial):
        def _prepare(self, key: Any) -> None:
            real = self.backend.synchronize
            self.backend.synchronize = lambda *trees: None  # type: ignore[method-assign]
            try:
                super()._prepare(key)
            finally:
                self.backend.synchronize = real  # type: ignore[method-assign]

    return harness(Loop)


def moved(before: Clock, after: Clock, account: str) -> Clock:
    """Charges to the submission what an account has grown by."""
    grown = getattr(after, account) - getattr(before, account)
    changes: dict[str, Any] = {
        account: getattr(before, account),
        "submission_ns": after.submission_ns + grown,
    }
    return replace(after, **changes)


@caught_by("evaluation/run-evaluation-is-free")
def the_harness_charges_evaluations(patch: pytest.MonkeyPatch) -> Any:
    class Loop(Trial):
        def _evaluate(self, key: Any) -> None:
            before = self.clock
            super()._evaluate(key)
            self.clock = moved(before, self.clock, "evaluation_ns")

    return harness(Loop)


@caught_by("evaluation/run-logging-is-free")
def the_harness_charges_logging(patch: pytest.MonkeyPatch) -> Any:
    class Loop(Trial):
        def _evaluate(self, key: Any) -> None:
            before = self.clock
            super()._evaluate(key)
            self.clock = moved(before, self.clock, "logging_ns")

    return harness(Loop)


@caught_by("evaluation/run-preparation-is-charged")
def the_harness_prepares_for_nothing(patch: pytest.MonkeyPatch) -> Any:
    class Loop(Trial):
        def _prepare(self, key: Any) -> None:
            before = self.clock.submission_ns
            super()._prepare(key)
            self.clock = replace(self.clock, submission_ns=before)

    return harness(Loop)


@caught_by("evaluation/run-no-evaluation-after-the-budget")
def the_harness_never_looks_at_the_budget(patch: pytest.MonkeyPatch) -> Any:
    patch.setattr(loop, "time_check_is_due", lambda **arguments: False)
    return harness()


@caught_by("evaluation/run-three-failed-evaluations")
def the_harness_swallows_failed_evaluations(patch: pytest.MonkeyPatch) -> Any:
    class Loop(Trial):
        def _evaluate(self, key: Any) -> None:
            super()._evaluate(key)
            self.progress = replace(self.progress, failed_evaluations_in_row=0)

    return harness(Loop)


@caught_by("evaluation/run-resume-carries-the-accounts")
def the_harness_resumes_with_empty_accounts(patch: pytest.MonkeyPatch) -> Any:
    class Loop(Trial):
        def _restore(self, stored: Mapping[str, Any]) -> Mapping[str, float]:
            return dict.fromkeys(super()._restore(stored), 0.0)

    return harness(Loop)


@caught_by("evaluation/run-resume-keeps-the-goals")
def the_harness_resumes_without_its_goals(patch: pytest.MonkeyPatch) -> Any:
    right = snapshot.unpack_progress
    patch.setattr(
        snapshot,
        "unpack_progress",
        lambda stored: replace(right(stored), validation_goal_reached=False),
    )
    return harness()


@caught_by("evaluation/run-resume-keeps-the-failures")
def the_harness_resumes_without_its_failures(patch: pytest.MonkeyPatch) -> Any:
    right = snapshot.unpack_progress
    patch.setattr(
        snapshot,
        "unpack_progress",
        lambda stored: replace(right(stored), failed_evaluations_in_row=0),
    )
    return harness()


@caught_by("evaluation/run-resume-keeps-the-period")
def the_harness_resumes_with_a_new_period(patch: pytest.MonkeyPatch) -> Any:
    right = snapshot.unpack_progress
    patch.setattr(
        snapshot,
        "unpack_progress",
        lambda stored: replace(right(stored), last_evaluation_end_seconds=0.0),
    )
    return harness()
