"""The states of a run, explored: which state follows which, and on what condition.

Nothing here says what happens. The rules are called with every combination of their inputs, and
what they answer becomes the edges. Only the words of an edge are written here, and a test holds
them against every combination.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from spec.evaluation import (
    MAX_FAILED_EVALUATIONS_IN_ROW,
    EndReason,
    Goal,
    Progress,
    end_reason,
    is_due,
    time_check_is_due,
)
from spec.workloads import Direction


class UnexplainedEdge(LookupError):
    """The rules lead from one state to another for which this module has no words."""


TRAINING = "training"
TIME_CHECK = "time check"
EVALUATING = "evaluation"

PASSES = "passes"
"""The one metric of the explored evaluations; 1 reaches the target, 0 does not."""

_GOAL = Goal(PASSES, Direction.MAXIMIZE, validation_target=1.0, test_target=1.0)
_BUDGET_SECONDS = 1.0
_PERIOD_SECONDS = 1.0

OUTCOMES: Mapping[str, tuple[float, float] | None] = MappingProxyType(
    {
        "no target": (0.0, 0.0),
        "validation target": (1.0, 0.0),
        "test target": (0.0, 1.0),
        "both targets": (1.0, 1.0),
        "not finite": (float("nan"), 0.0),
        "no metrics": None,
    }
)
"""What an evaluation can give: values on (validation, test), None if it gave no metrics."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that decides what comes after a step.

    Attributes:
      before: what is known before the step; the run goes on.
      completed: the submission declares in this step that training is complete.
      at_limit: this step is the last one that the step limit allows.
      period_passed: the evaluation period has passed since the last evaluation.
      within_budget: the submission time is below the budget.
      skipped: the run does without evaluations.
      outcome: what an evaluation would give, a key of :data:`OUTCOMES`.
    """

    before: Progress
    completed: bool
    at_limit: bool
    period_passed: bool
    within_budget: bool
    skipped: bool
    outcome: str

    @property
    def first(self) -> bool:
        """There was no evaluation yet."""
        return self.before.last_evaluation_end_seconds is None

    @property
    def last_step(self) -> bool:
        """No step comes after this one."""
        return self.completed or self.at_limit

    @property
    def due(self) -> bool:
        """In words: the first step, or the period has passed, or the last step."""
        return not self.skipped and (self.first or self.period_passed or self.last_step)

    @property
    def fails(self) -> bool:
        """The evaluation fails."""
        return self.outcome in ("not finite", "no metrics")

    @property
    def reaches(self) -> bool:
        """After the evaluation both targets have been reached, now or earlier."""
        validation = self.outcome in ("validation target", "both targets")
        test = self.outcome in ("test target", "both targets")
        return (self.before.validation_goal_reached or validation) and (
            self.before.test_goal_reached or test
        )

    @property
    def gives_up(self) -> bool:
        """The evaluation fails and is one too many in a row."""
        failed = self.before.failed_evaluations_in_row + 1
        return self.fails and failed >= MAX_FAILED_EVALUATIONS_IN_ROW

    @property
    def over(self) -> bool:
        """The evaluation ends the run by itself."""
        return self.reaches or self.gives_up


@dataclass(frozen=True, slots=True)
class RunEdge:
    """A way from one state of a run to another.

    Attributes:
      before: :data:`TRAINING`, :data:`TIME_CHECK` or :data:`EVALUATING`.
      after: one of these, or the value of an :class:`spec.evaluation.EndReason`.
      words: when it is taken.
      holds: the same as a condition on the situation, given that ``before`` was entered.
    """

    before: str
    after: str
    words: str
    holds: Callable[[Situation], bool]


def _skip_words(end: str) -> str:
    return f"evaluations are skipped, the budget is not used up, and {end}"


EDGES: tuple[RunEdge, ...] = (
    RunEdge(
        TRAINING,
        TRAINING,
        "a step has ended and no evaluation is due",
        lambda s: not s.due and not s.skipped,
    ),
    RunEdge(
        TRAINING,
        TIME_CHECK,
        "a step has ended and an evaluation is due: it was the first step or the last one, or the "
        "evaluation period has passed; without evaluations, after every step",
        lambda s: s.due or s.skipped,
    ),
    RunEdge(
        TIME_CHECK,
        EVALUATING,
        "the budget is not used up",
        lambda s: s.within_budget and not s.skipped,
    ),
    RunEdge(
        TIME_CHECK,
        TRAINING,
        _skip_words("the step was not the last one"),
        lambda s: s.within_budget and s.skipped and not s.last_step,
    ),
    RunEdge(
        TIME_CHECK,
        EndReason.OUT_OF_TIME,
        "the budget is used up",
        lambda s: not s.within_budget,
    ),
    RunEdge(
        TIME_CHECK,
        EndReason.STEP_LIMIT,
        _skip_words("the step limit is reached"),
        lambda s: s.within_budget and s.skipped and s.at_limit,
    ),
    RunEdge(
        TIME_CHECK,
        EndReason.TRAINING_COMPLETE,
        _skip_words("the submission has declared training complete"),
        lambda s: s.within_budget and s.skipped and s.completed and not s.at_limit,
    ),
    RunEdge(
        EVALUATING,
        TRAINING,
        f"a target is still missing, fewer than {MAX_FAILED_EVALUATIONS_IN_ROW} evaluations in a "
        "row have failed, and the step was not the last one",
        lambda s: not s.over and not s.last_step,
    ),
    RunEdge(
        EVALUATING,
        EndReason.TARGETS_REACHED,
        "both targets have been reached, now or by an earlier evaluation",
        lambda s: s.reaches,
    ),
    RunEdge(
        EVALUATING,
        EndReason.EVALUATION_FAILED,
        f"this is failed evaluation number {MAX_FAILED_EVALUATIONS_IN_ROW} in a row",
        lambda s: s.gives_up and not s.reaches,
    ),
    RunEdge(
        EVALUATING,
        EndReason.STEP_LIMIT,
        "none of these, and the step limit is reached",
        lambda s: not s.over and s.at_limit,
    ),
    RunEdge(
        EVALUATING,
        EndReason.TRAINING_COMPLETE,
        "none of these, and the submission has declared training complete",
        lambda s: not s.over and s.completed and not s.at_limit,
    ),
)
"""The words of every edge, states in the order in which a run enters them."""


def path(situation: Situation) -> tuple[tuple[str, ...], Progress]:
    """Asks the rules what happens from one step to the next, or to the end.

    Args:
      situation: the inputs of the rules.

    Returns:
      The states that are entered, from :data:`TRAINING` to :data:`TRAINING` or to a reason
      to end, and the progress at the end of it.
    """
    # Steps, like readings of the clock, matter only by comparison: one before, one after.
    limit = situation.before.global_step + (1 if situation.at_limit else 2)
    progress = situation.before.after_step(limit, situation.completed)
    now = _PERIOD_SECONDS if situation.period_passed else 0.0
    due = not situation.skipped and is_due(
        seconds_since_last_evaluation=progress.seconds_since_last_evaluation(now),
        eval_period_seconds=_PERIOD_SECONDS,
        training_complete=progress.training_complete,
    )
    states = [TRAINING]
    if time_check_is_due(evaluation_due=due, evaluations_skipped=situation.skipped):
        states.append(TIME_CHECK)
        seconds = 0.0 if situation.within_budget else _BUDGET_SECONDS
        progress = progress.after_time_check(seconds, _BUDGET_SECONDS)
    if due and progress.is_time_remaining:
        states.append(EVALUATING)
        values = OUTCOMES[situation.outcome]
        if values is None:
            progress = progress.after_failed_evaluation(now)
        else:
            metrics = {f"validation/{PASSES}": values[0], f"test/{PASSES}": values[1]}
            progress = progress.after_evaluation(metrics, _GOAL, now)
    reason = end_reason(progress, limit)
    states.append(TRAINING if reason is None else reason.value)
    return tuple(states), progress


def situations(before: Progress) -> Iterator[Situation]:
    """All combinations of inputs after a state of knowledge."""
    flags = (False, True)
    for values in itertools.product(flags, flags, flags, flags, flags, OUTCOMES):
        yield Situation(before, *values)


def explore() -> Iterator[tuple[Situation, tuple[str, ...]]]:
    """Every situation that a run can come into, with the states that the rules lead through.

    States of knowledge that differ only in the number of steps or in the reading of the clock
    count as one; there are few, so that all are visited.
    """
    seen = {Progress()}
    waiting = [Progress()]
    while waiting:
        for situation in situations(waiting.pop()):
            states, progress = path(situation)
            yield situation, states
            if states[-1] != TRAINING:
                continue
            ended = progress.last_evaluation_end_seconds
            progress = replace(
                progress, global_step=0, last_evaluation_end_seconds=None if ended is None else 0.0
            )
            if progress not in seen:
                seen.add(progress)
                waiting.append(progress)


def run_edges() -> tuple[RunEdge, ...]:
    """The edges of a run that the rules lead along, in the order of :data:`EDGES`.

    Raises:
      UnexplainedEdge: :data:`EDGES` has no words for one of them.
    """
    taken = {pair for _, states in explore() for pair in itertools.pairwise(states)}
    unexplained = sorted(taken - {(edge.before, edge.after) for edge in EDGES})
    if unexplained:
        raise UnexplainedEdge(f"no words for the way from {' to '.join(unexplained[0])}")
    return tuple(edge for edge in EDGES if (edge.before, edge.after) in taken)
