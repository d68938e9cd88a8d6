"""Plays the event log of a trial through the clock and the rules of evaluation once more.

What the training loop decided is decided again here, event by event, by the same functions. After
a disagreement the replay goes on from what the log says, so that one error is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from spec.audit import events
from spec.audit.derived import NON_FINITE, End, Evaluation, Replay
from spec.audit.events import CLOCK_EVENTS, ENDED, STARTED, DamagedEvent, Start
from spec.clauses import Source, clause
from spec.evaluation import EndReason, Progress, end_reason, is_due, time_check_is_due
from spec.goals import evaluation_problem
from spec.records import EVENTS
from spec.timing import NANOSECONDS_PER_SECOND, Clock, ClockError, Event, IllegalEvent

RESUME_SLACK_SECONDS = 2e-9
"""A resumed run's first period is known to this: what had passed was a difference of readings."""

_CARRIED = ("submission_ns", "evaluation_ns", "logging_ns")
_CONSTANT = (
    *("workload", "framework", "rules", "clock", "eval_period_seconds", "budget_seconds", "goal"),
)
_CHECKPOINTED = frozenset({"step ended", "prepared", "evaluated", ENDED})
_PHASE_BEFORE = {Event.PREPARED: Event.STEP_ENDED, Event.EVALUATED: Event.PREPARED}


@clause(
    "REC-10",
    """The event log of a trial has every step once and in order; a resumed trial goes on at a state
    that was checkpointed, with the accounts, the step, the goals and the part of the evaluation
    period that had passed, under the same rules.""",
    source=(Source("Decisions", "3"), Source("Harness contract", "6")),
)
def replay(lines: Iterable[tuple[int, Mapping[str, Any]]]) -> Replay:
    """Plays an event log.

    Args:
      lines: number and content of every line; read once, none is kept.

    Returns:
      Times and decisions, and where the log disagrees with the rules. Nothing is raised for a
      damaged line, also if ``lines`` raises :class:`DamagedEvent`: the replay ends there.
    """
    player = _Player()
    line = 0
    try:
        for line, event in lines:
            player.play(line, event)
    except DamagedEvent as error:
        place = f"line {line if error.line is None else error.line}"
        player.result.problems.add(EVENTS, place, "", f"damaged: {error}", "")
        player.result.is_complete = False
    player.result.num_lines = line
    return player.result


class _Player:
    """The state of the replay between two lines."""

    def __init__(self) -> None:
        self.result = Replay()
        self._line = 0
        self._origin_ns = 0  # readings count from here, which keeps them exact as floats
        self._previous = ""
        self._expected: str | None = None  # "prepared" or "evaluated": what has to come next
        self._undecided = False
        self._slack = 0.0
        self._told_over = False
        self._completed = False

    def play(self, line: int, event: Mapping[str, Any]) -> None:
        """Takes the next line."""
        self._line = line
        name = event.get("event")
        if name == STARTED:
            self._started(events.start_of(event))
        elif self.result.start is None:
            raise DamagedEvent(f"the log does not begin with {STARTED!r}")
        elif name == ENDED:
            self._ended(events.text(event, "reason"), events.count(event, "step"))
        elif name in CLOCK_EVENTS:
            self._read(str(name), event)
        else:
            raise DamagedEvent(f"event is {name!r}, which is none")
        self._previous = str(name)

    def _started(self, start: Start) -> None:
        result = self.result
        before, old = result.start, result.progress
        if before is not None:
            self._settle()
            self._check_resume(before, start)
        carried = Clock.start(  # a checkpoint holds seconds
            0.0,
            result.clock.submission_seconds,
            result.clock.evaluation_seconds,
            result.clock.logging_seconds,
        )
        expected = (carried.submission_ns, carried.evaluation_ns, carried.logging_ns)
        for name, has, wanted in zip(_CARRIED, start.accounts_ns, expected, strict=True):
            self._agree(name, has, wanted)
        self._agree("step", start.step, old.global_step)
        for name in (
            *("failed_evaluations_in_row", "validation_goal_reached"),
            "test_goal_reached",
        ):
            self._agree(name, getattr(start, name), getattr(old, name))
        passed = old.seconds_since_last_evaluation(result.clock.last_reading_seconds)
        stated = start.seconds_since_last_evaluation
        same = passed == stated or (
            passed is not None
            and stated is not None
            and abs(passed - stated) <= RESUME_SLACK_SECONDS
        )
        if not same:
            self._agree("seconds_since_last_evaluation", stated, passed)
        result.start = start
        result.clock = Clock(*start.accounts_ns, last_reading_ns=0)
        result.progress = Progress(
            global_step=start.step,
            is_time_remaining=old.is_time_remaining,
            validation_goal_reached=start.validation_goal_reached,
            test_goal_reached=start.test_goal_reached,
            # A step limit, the other way to complete training, may have been raised.
            training_complete=self._completed,
            last_evaluation_end_seconds=None if stated is None else -stated,
            failed_evaluations_in_row=start.failed_evaluations_in_row,
        )
        self._origin_ns = start.reading_ns
        self._slack = 0.0 if stated is None else RESUME_SLACK_SECONDS
        self._undecided = self._told_over = result.has_ended = False

    def _check_resume(self, before: Start, start: Start) -> None:
        if self._previous not in _CHECKPOINTED:
            self._find(
                "", f"a start after {self._previous!r}, where no checkpoint is made", "REC-10"
            )
        if start.preemption_count <= before.preemption_count:
            text = f"{start.preemption_count} after {before.preemption_count}: it counts resumes"
            self._find("preemption_count", text, "REC-6")
        for name in _CONSTANT:
            old, new = getattr(before, name), getattr(start, name)
            if old != new:
                self._find(name, f"was {old} and is {new} after the resume", "REC-10")

    def _read(self, name: str, event: Mapping[str, Any]) -> None:
        step, reading_ns = events.count(event, "step"), events.reading(event)
        result, kind = self.result, CLOCK_EVENTS[name]
        if result.has_ended:
            self._find("", f"{name!r} after the end of the trial", "REC-10")
            result.has_ended = False
        if kind is Event.STEP_ENDED:
            self._settle()
            self._check_logged()
            self._before_step(step)
        elif kind is Event.LOGGED:
            self._settle()
        if kind is not Event.STEP_ENDED and step != result.progress.global_step:
            text = f"{name!r} of step {step} after step {result.progress.global_step}"
            self._find("step", text, "REC-10")
        self._advance(kind, (reading_ns - self._origin_ns) / NANOSECONDS_PER_SECOND)
        if kind is Event.STEP_ENDED:
            self._step_ended(event)
        elif kind is Event.PREPARED:
            self._prepared()
        elif kind is Event.EVALUATED:
            self._evaluated(event, reading_ns)

    def _before_step(self, step: int) -> None:
        result, start = self.result, self.result.start
        assert start is not None
        reason = end_reason(result.progress, start.max_global_steps)
        if reason is not None and not self._told_over:
            self._find("", f"step {step} after the trial was over ({reason.value})", "EVAL-8")
            self._told_over = True
        if step != result.progress.global_step + 1:
            text = f"step {step} follows step {result.progress.global_step}"
            self._find("step", text, "REC-10")
            result.progress = replace(result.progress, global_step=max(step - 1, 0))

    def _advance(self, kind: Event, now: float) -> None:
        result = self.result
        try:
            result.clock = result.clock.advance(kind, now)
        except IllegalEvent as error:
            self._find_broken("event", error)
            as_if = replace(result.clock, phase=_PHASE_BEFORE[kind])
            result.clock = as_if.advance(kind, max(now, as_if.last_reading_seconds))
        except ClockError as error:
            self._find_broken("reading_ns", error)
            result.clock = replace(
                result.clock, last_reading_ns=round(now * NANOSECONDS_PER_SECOND), phase=kind
            )

    def _step_ended(self, event: Mapping[str, Any]) -> None:
        result, start = self.result, self.result.start
        assert start is not None
        completed = event.get("completed", False)
        if not isinstance(completed, bool):
            raise DamagedEvent(f"completed is {completed!r:.40}, not true or false")
        self._completed |= completed
        result.progress = result.progress.after_step(start.max_global_steps, completed)
        passed = result.progress.seconds_since_last_evaluation(result.clock.last_reading_seconds)
        due = not start.skip_evaluations and is_due(
            seconds_since_last_evaluation=passed,
            eval_period_seconds=start.eval_period_seconds,
            training_complete=result.progress.training_complete,
        )
        self._expected = "prepared" if due else None
        self._undecided = (
            self._slack > 0.0
            and passed is not None
            and abs(passed - start.eval_period_seconds) <= self._slack
            and not result.progress.training_complete
            and not start.skip_evaluations
        )
        if not due and time_check_is_due(
            evaluation_due=due, evaluations_skipped=start.skip_evaluations
        ):
            self._check_time()

    def _prepared(self) -> None:
        result, start = self.result, self.result.start
        assert start is not None
        if self._expected is None and not self._undecided and self._previous == "step ended":
            why = "the run was to skip evaluations"
            if not start.skip_evaluations:
                why = (
                    f"the last evaluation ended less than the period of "
                    f"{start.eval_period_seconds:g} s before the end of step "
                    f"{result.progress.global_step}"
                )
            self._find("reading_ns", f"an evaluation that is not due: {why}", "EVAL-2")
        self._undecided = False
        self._check_time()
        self._expected = "evaluated" if result.progress.is_time_remaining else None

    def _check_time(self) -> None:
        result, start = self.result, self.result.start
        assert start is not None
        result.progress = result.progress.after_time_check(
            result.clock.submission_seconds, start.budget_seconds
        )

    def _evaluated(self, event: Mapping[str, Any], reading_ns: int) -> None:
        result, start = self.result, self.result.start
        assert start is not None
        if not result.progress.is_time_remaining:
            text = (
                f"evaluated at {result.clock.submission_seconds} s of submission time; the budget "
                f"is {start.budget_seconds:g} s"
            )
            self._find("event", text, "EVAL-3")
        self._expected = None
        result.clock = replace(result.clock, last_reading_ns=0)
        self._origin_ns, self._slack = reading_ns, 0.0
        problem, name = event.get("problem"), start.goal.metric_name
        if problem is not None:
            events.text(event, "problem")
        validation, test = events.metric(event, "validation"), events.metric(event, "test")
        metrics = {f"validation/{name}": validation, f"test/{name}": test}
        # Either the evaluation gave metrics that are not finite, or it gave none.
        gave = problem is None or problem.startswith(tuple(f"{metric} is " for metric in metrics))
        found = evaluation_problem(metrics, start.goal)
        if (found is None) != (problem is None):
            text = f"{problem!r}, but {found or 'the metrics are finite'}"
            self._find("problem", text, "EVAL-6")
        if gave:
            result.progress = result.progress.after_evaluation(metrics, start.goal, 0.0)
        else:
            result.progress = result.progress.after_failed_evaluation(0.0)
        result.evaluations.append(
            Evaluation(
                self._line,
                result.progress.global_step,
                start.preemption_count,
                result.clock,
                validation,
                test,
                has_row=gave,
            )
        )

    def _ended(self, reason: str, step: int) -> None:
        result, start = self.result, self.result.start
        assert start is not None
        self._settle()
        self._check_logged()
        if result.has_ended:
            self._find("", "the trial ends a second time", "REC-10")
        if step != result.progress.global_step:
            self._find(
                "step", f"ended at step {step} after {result.progress.global_step}", "REC-10"
            )
        by_rules = end_reason(result.progress, start.max_global_steps)
        if by_rules is None:
            self._find("reason", f"{reason}, but by the rules another step follows", "EVAL-8")
        elif by_rules.value != {NON_FINITE: EndReason.EVALUATION_FAILED.value}.get(reason, reason):
            self._find("reason", f"{reason}, but by the rules {by_rules.value}", "EVAL-8")
        result.ends.append(End(self._line, reason, step, result.clock.submission_seconds))
        result.has_ended = True

    def _settle(self) -> None:
        """Something came that is neither a preparation nor an evaluation: was one expected?"""
        step = self.result.progress.global_step
        if self._expected == "prepared" and not self._undecided:
            self._find("", f"the evaluation that was due after step {step} is skipped", "EVAL-2")
        elif self._expected == "evaluated":
            text = f"the evaluation after step {step} was prepared for and is skipped"
            self._find("", text, "EVAL-2")
        self._expected = None

    def _check_logged(self) -> None:
        if self._previous == "evaluated":
            text = "the evaluation before has no 'logged': its logging is in no account of its own"
            self._find("", text, "TIM-1")

    def _agree(self, name: str, has: object, wanted: object) -> None:
        if has != wanted:
            self._find(name, f"{has} is carried over, the events before give {wanted}", "REC-10")

    def _find_broken(self, field: str, error: ClockError) -> None:
        self._find(field, error.args[0], error.clause)

    def _find(self, field: str, text: str, clause: str) -> None:
        self.result.problems.add(EVENTS, f"line {self._line}", field, text, clause)
