"""Clock and evaluation driven together through arbitrary runs, against a model kept as a history.

The model knows nothing of the code under test: it stores what happened, in whole milliseconds, and
derives from that history, with sums and searches, what the rules demand at every moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spec.evaluation import EndReason, Goal, Progress, end_reason, is_due, time_check_is_due
from spec.timing import Account, Clock, Event
from spec.workloads import Direction

TARGET = 0.5
durations = st.integers(min_value=0, max_value=1000)
values = st.sampled_from([0.0, 0.4, TARGET, 0.6, math.nan, math.inf, -math.inf])


@dataclass
class History:
    """What happened: charges per account, and the moments that the rules refer to."""

    charges: list[tuple[Account, int]] = field(default_factory=list)
    steps: int = 0
    completed: bool = False
    since_evaluation: int | None = None  # milliseconds of this run since the last one's end
    evaluations: list[tuple[float, float] | None] = field(default_factory=list)  # None: failed
    submission_at_checks: list[int] = field(default_factory=list)

    def charge(self, account: Account, milliseconds: int) -> None:
        self.charges.append((account, milliseconds))
        if self.since_evaluation is not None:
            self.since_evaluation += milliseconds

    def total(self, *accounts: Account) -> int:
        return sum(amount for account, amount in self.charges if account in accounts)


@dataclass(frozen=True)
class Parameters:
    """What a trial is given, times in milliseconds."""

    period: int
    budget: int
    max_steps: int | None
    has_test: bool
    skipped: bool
    origin: int
    direction: Direction


origins = st.integers(0, 10**9)
parameters = st.builds(
    Parameters,
    period=st.sampled_from([0, 1, 500, 3000]),
    budget=st.sampled_from([1, 1000, 10_000, 10**6]),
    max_steps=st.none() | st.integers(1, 20),
    has_test=st.booleans(),
    skipped=st.sampled_from([False, False, False, True]),
    origin=origins,
    direction=st.sampled_from(list(Direction)),
)


class Run(RuleBasedStateMachine):
    """One trial: steps, preparations, evaluations good and failed, logging, and resumes."""

    @initialize(parameters=parameters)
    def start(self, parameters: Parameters) -> None:
        self.begin(parameters)

    @precondition(lambda self: self.phase == "between" and self.model_end() is not None)
    @rule(parameters=parameters)
    def start_another_trial(self, parameters: Parameters) -> None:
        self.begin(parameters)

    def begin(self, parameters: Parameters) -> None:
        self.period, self.budget = parameters.period, parameters.budget
        self.max_steps, self.skipped = parameters.max_steps, parameters.skipped
        self.has_test, self.direction = parameters.has_test, parameters.direction
        self.goal = Goal("m", self.direction, TARGET, TARGET if self.has_test else None)
        self.now = parameters.origin
        self.clock = Clock.start(self.now / 1000)
        self.progress = Progress()
        self.history = History()
        self.phase = "between"
        self.idle = False  # Set by logging and resuming, so that a trial gets on with its steps.
        self.reached_before = (False, False)

    # What the rules say, from the history alone.

    def model_due(self) -> bool:
        if self.skipped:
            return False
        history = self.history
        limit_hit = self.max_steps is not None and history.steps >= self.max_steps
        if history.completed or limit_hit or history.since_evaluation is None:
            return True
        return history.since_evaluation >= self.period

    def model_reaches(self, value: float) -> bool:
        if value in (math.inf, -math.inf) or value != value:
            return False
        return value <= TARGET if self.direction is Direction.MINIMIZE else value >= TARGET

    def model_end(self) -> EndReason | None:
        history = self.history
        good = [pair for pair in history.evaluations if pair is not None]
        on_validation = any(self.model_reaches(validation) for validation, _ in good)
        on_test = any(self.model_reaches(test) for _, test in good)
        if on_validation and (on_test or not self.has_test):
            return EndReason.TARGETS_REACHED
        if history.submission_at_checks and history.submission_at_checks[-1] >= self.budget:
            return EndReason.OUT_OF_TIME
        last_three = history.evaluations[-3:]
        if len(last_three) == 3 and all(self.model_failed(pair) for pair in last_three):
            return EndReason.EVALUATION_FAILED
        if self.max_steps is not None and history.steps >= self.max_steps:
            return EndReason.STEP_LIMIT
        return EndReason.TRAINING_COMPLETE if history.completed else None

    def model_failed(self, pair: tuple[float, float] | None) -> bool:
        if pair is None:
            return True
        needed = pair if self.has_test else pair[:1]
        return not all(math.isfinite(value) for value in needed)

    def pass_time(self, event: Event, account: Account, milliseconds: int) -> None:
        self.now += milliseconds
        self.clock = self.clock.advance(event, self.now / 1000)
        self.history.charge(account, milliseconds)

    # What can happen.

    @precondition(lambda self: self.phase == "between" and self.model_end() is None)
    @rule(duration=durations, completes=st.sampled_from([False] * 15 + [True]))
    def step(self, duration: int, completes: bool) -> None:
        self.idle = False
        self.pass_time(Event.STEP_ENDED, Account.SUBMISSION, duration)
        self.progress = self.progress.after_step(self.max_steps, completes)
        self.history.steps += 1
        self.history.completed = self.history.completed or completes
        due = not self.skipped and is_due(
            seconds_since_last_evaluation=self.progress.seconds_since_last_evaluation(
                self.now / 1000
            ),
            eval_period_seconds=self.period / 1000,
            training_complete=self.progress.training_complete,
        )
        assert due == self.model_due()
        self.phase = "due" if due else "between"
        if time_check_is_due(evaluation_due=False, evaluations_skipped=self.skipped):
            self.check_time()

    def check_time(self) -> None:
        submission = self.history.total(Account.SUBMISSION)
        self.history.submission_at_checks.append(submission)
        self.progress = self.progress.after_time_check(
            self.clock.submission_seconds, self.budget / 1000
        )
        assert self.progress.is_time_remaining == (submission < self.budget)

    @precondition(lambda self: self.phase == "due")
    @rule(duration=durations)
    def prepare(self, duration: int) -> None:
        self.pass_time(Event.PREPARED, Account.SUBMISSION, duration)
        assert time_check_is_due(evaluation_due=True, evaluations_skipped=self.skipped)
        self.check_time()
        self.phase = "prepared" if self.progress.is_time_remaining else "between"

    @precondition(lambda self: self.phase == "prepared")
    @rule(duration=durations, validation=values, test=values)
    def evaluate(self, duration: int, validation: float, test: float) -> None:
        assert self.history.total(Account.SUBMISSION) < self.budget
        self.pass_time(Event.EVALUATED, Account.EVALUATION, duration)
        metrics = {"validation/m": validation, "train/m": math.nan}
        if self.has_test:
            metrics["test/m"] = test
        self.progress = self.progress.after_evaluation(metrics, self.goal, self.now / 1000)
        self.history.evaluations.append((validation, test))
        self.history.since_evaluation = 0
        self.phase = "between"

    @precondition(lambda self: self.phase == "prepared")
    @rule(duration=durations)
    def fail_to_evaluate(self, duration: int) -> None:
        self.pass_time(Event.EVALUATED, Account.EVALUATION, duration)
        self.progress = self.progress.after_failed_evaluation(self.now / 1000)
        self.history.evaluations.append(None)
        self.history.since_evaluation = 0
        self.phase = "between"

    @precondition(lambda self: self.phase == "between" and not self.idle)
    @rule(duration=durations)
    def log(self, duration: int) -> None:
        self.idle = True
        self.pass_time(Event.LOGGED, Account.LOGGING, duration)

    @precondition(lambda self: self.phase == "between" and not self.idle)
    @rule(origin=origins)
    def resume(self, origin: int) -> None:
        self.idle = True
        self.now = origin
        self.clock = Clock.start(
            origin / 1000,
            submission_seconds=float(repr(self.clock.submission_seconds)),
            evaluation_seconds=float(repr(self.clock.evaluation_seconds)),
            logging_seconds=float(repr(self.clock.logging_seconds)),
        )
        self.progress = self.progress.resumed_at(origin / 1000)
        if self.history.since_evaluation is not None:
            self.history.since_evaluation = 0

    # What holds at every moment.

    @invariant()
    def accounts_are_conserved(self) -> None:
        history, clock = self.history, self.clock
        assert clock.submission_ns == history.total(Account.SUBMISSION) * 10**6
        assert clock.evaluation_ns == history.total(Account.EVALUATION) * 10**6
        assert clock.logging_ns == history.total(Account.LOGGING) * 10**6
        assert clock.total_ns == history.total(*Account) * 10**6

    @invariant()
    def goals_stay_reached(self) -> None:
        reached = (self.progress.validation_goal_reached, self.progress.test_goal_reached)
        pairs = zip(self.reached_before, reached, strict=True)
        assert all(after or not before for before, after in pairs)
        self.reached_before = reached

    @invariant()
    def the_run_ends_exactly_when_the_rules_say(self) -> None:
        if self.phase == "between":
            assert end_reason(self.progress, self.max_steps) is self.model_end()

    @invariant()
    def steps_are_counted(self) -> None:
        assert self.progress.global_step == self.history.steps


# Twice the examples of the profile: a trial needs many steps to meet its limits.
Run.TestCase.settings = settings(max_examples=2 * settings().max_examples)
TestRun = pytest.mark.clause(
    "TIM-1", "TIM-2", "EVAL-1", "EVAL-2", "EVAL-3", "EVAL-4", "EVAL-6", "EVAL-7", "EVAL-8"
)(Run.TestCase)
