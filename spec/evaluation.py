"""When a trial is evaluated, when a target counts as reached, and when a trial ends.

The training loop asks these pure functions for every decision. Between two steps it does::

    while end_reason(progress, max_global_steps) is None:
        ... one step ...
        progress = progress.after_step(max_global_steps, completed)
        due = not skipped and is_due(
            seconds_since_last_evaluation=progress.seconds_since_last_evaluation(now),
            eval_period_seconds=period, training_complete=progress.training_complete)
        if due:
            ... prepare_for_eval, timed ...
        if time_check_is_due(evaluation_due=due, evaluations_skipped=skipped):
            progress = progress.after_time_check(submission_seconds, budget_seconds)
        if due and progress.is_time_remaining:
            ... evaluate, then after_evaluation(...) or after_failed_evaluation(...) ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from spec.clauses import Source, clause, rule
from spec.goals import Goal, MissingMetric, evaluation_problem, target_reached
from spec.timing import seconds_between

__all__ = [
    "MAX_FAILED_EVALUATIONS_IN_ROW",
    "EndReason",
    "Goal",
    "MissingMetric",
    "Progress",
    "end_reason",
    "evaluation_problem",
    "is_due",
    "target_reached",
    "time_check_is_due",
    "time_remains",
]

MAX_FAILED_EVALUATIONS_IN_ROW = 3
rule(
    "EVAL-1",
    "A run ends when three evaluations in a row have failed.",
    source=Source("Decisions", "9"),
    implementation="spec.evaluation.MAX_FAILED_EVALUATIONS_IN_ROW",
)


class EndReason(StrEnum):
    """Why a trial has ended."""

    TARGETS_REACHED = "targets_reached"
    OUT_OF_TIME = "out_of_time"
    STEP_LIMIT = "step_limit"
    TRAINING_COMPLETE = "training_complete"
    EVALUATION_FAILED = "evaluation_failed"


@clause(
    "EVAL-2",
    """The first evaluation is due after the first step, further ones when at least the evaluation
    period has passed since the end of the last evaluation, looked at between steps only; one
    more is due when training is complete.""",
    source=(
        Source("Rules v0.6", "Evaluation during training"),
        Source("Harness contract", "5.1"),
        Source("Decisions", "4"),
    ),
)
def is_due(
    *,
    seconds_since_last_evaluation: float | None,
    eval_period_seconds: float,
    training_complete: bool,
) -> bool:
    """Says between two steps whether to prepare for an evaluation now.

    Args:
      seconds_since_last_evaluation: wall seconds from the end of the last evaluation (failed
        ones count) to the end of the step; None if there was none.
      eval_period_seconds: the workload's evaluation period.
      training_complete: the submission has declared itself done, or the step limit is reached.

    Returns:
      True if an evaluation is due.
    """
    if training_complete or seconds_since_last_evaluation is None:
        return True
    return seconds_since_last_evaluation >= eval_period_seconds


@clause(
    "EVAL-3",
    """A submission has time left while its submission time is strictly below the budget; only
    then is it evaluated, and only then does reaching a target count.""",
    source=(
        Source("Harness contract", "5"),
        Source("Scoring semantics", "2"),
        Source("Decisions", "4"),
    ),
)
def time_remains(submission_seconds: float, budget_seconds: float) -> bool:
    """Says whether a submission is still inside its budget.

    The text of the rules evaluates a submission whose runtime "does not exceed" the limit; the
    harness and the scorer's rule are strict, and one comparison has to serve both.

    Args:
      submission_seconds: the submission account of the clock.
      budget_seconds: the runtime limit of the workload under the ruleset in use.

    Returns:
      True if ``submission_seconds < budget_seconds``.
    """
    return submission_seconds < budget_seconds


@clause(
    "EVAL-4",
    """The budget is compared with the submission time when an evaluation is due, after the timed
    preparation for it; when evaluations are skipped it is compared after every step.""",
    source=(Source("Harness contract", "5.1 and 9 (items 3, 7, 21)"), Source("Decisions", "4")),
)
def time_check_is_due(*, evaluation_due: bool, evaluations_skipped: bool = False) -> bool:
    """Says between two steps whether to compare the submission time with the budget.

    Args:
      evaluation_due: the answer of :func:`is_due` (ignored when evaluations are skipped).
      evaluations_skipped: the run was asked to do without evaluations. Without a check after
        every step such a run would never stop by time.

    Returns:
      True if :meth:`Progress.after_time_check` has to be called now.
    """
    return evaluation_due or evaluations_skipped


@clause(
    "EVAL-7",
    "A goal that has been reached stays reached, whatever later evaluations give.",
    source=(Source("Harness contract", "5"), Source("Decisions", "5")),
)
@dataclass(frozen=True, slots=True)
class Progress:
    """What the loop knows about a trial. Every method returns the next state.

    Attributes:
      global_step: steps done.
      is_time_remaining: result of the last time check.
      validation_goal_reached: latched.
      test_goal_reached: latched.
      training_complete: the submission said so, or the step limit was reached.
      last_evaluation_end_seconds: clock reading at the end of the last evaluation, failed ones
        included; None if there was none.
      failed_evaluations_in_row: since the last good evaluation.
    """

    global_step: int = 0
    is_time_remaining: bool = True
    validation_goal_reached: bool = False
    test_goal_reached: bool = False
    training_complete: bool = False
    last_evaluation_end_seconds: float | None = None
    failed_evaluations_in_row: int = 0

    def seconds_since_last_evaluation(self, now: float) -> float | None:
        """Wall seconds since the end of the last evaluation, None if there was none."""
        if self.last_evaluation_end_seconds is None:
            return None
        return seconds_between(self.last_evaluation_end_seconds, now)

    def after_step(self, max_global_steps: int | None = None, completed: bool = False) -> Progress:
        """A step has ended.

        Args:
          max_global_steps: the step limit, None for none.
          completed: the submission raised ``TrainingCompleteError``; the step counts.

        Returns:
          The next state.
        """
        step = self.global_step + 1
        done = (
            self.training_complete
            or completed
            or (max_global_steps is not None and step >= max_global_steps)
        )
        return Progress(
            step,
            self.is_time_remaining,
            self.validation_goal_reached,
            self.test_goal_reached,
            done,
            self.last_evaluation_end_seconds,
            self.failed_evaluations_in_row,
        )

    def after_time_check(self, submission_seconds: float, budget_seconds: float) -> Progress:
        """The submission time has been compared with the budget (see :func:`time_remains`)."""
        return replace(self, is_time_remaining=time_remains(submission_seconds, budget_seconds))

    def after_evaluation(self, metrics: Mapping[str, float], goal: Goal, now: float) -> Progress:
        """An evaluation has ended.

        Args:
          metrics: by ``<split>/<metric>``. If a target metric is not finite the evaluation
            counts as a failed one (:func:`evaluation_problem`).
          goal: the targets.
          now: reading of the clock at the end of the evaluation, before it is logged.

        Returns:
          The next state.

        Raises:
          MissingMetric: a metric with a target is absent.
        """
        failed = evaluation_problem(metrics, goal) is not None
        validation = metrics[f"validation/{goal.metric_name}"]
        on_validation = target_reached(validation, goal.validation_target, goal.direction)
        on_test = goal.test_target is None or target_reached(
            metrics[f"test/{goal.metric_name}"], goal.test_target, goal.direction
        )
        return replace(
            self,
            validation_goal_reached=self.validation_goal_reached or on_validation,
            test_goal_reached=self.test_goal_reached or on_test,
            last_evaluation_end_seconds=now,
            failed_evaluations_in_row=self.failed_evaluations_in_row + 1 if failed else 0,
        )

    def after_failed_evaluation(self, now: float) -> Progress:
        """An evaluation gave no metrics (for example out of memory).

        Args:
          now: reading of the clock when it had failed. The period runs from here, so that the
            retry comes at the next eligible evaluation and not after the next step.

        Returns:
          The next state; nothing but the time and the count has changed.
        """
        return replace(
            self,
            last_evaluation_end_seconds=now,
            failed_evaluations_in_row=self.failed_evaluations_in_row + 1,
        )

    def resumed_at(self, now: float, seconds_since_last_evaluation: float = 0.0) -> Progress:
        """A stored run goes on under a new clock; the time in between is not counted.

        Args:
          now: reading of the new clock at the start.
          seconds_since_last_evaluation: how much of the evaluation period had passed when the
            run was stored.

        Returns:
          The state whose evaluation period goes on, if there was an evaluation.
        """
        if self.last_evaluation_end_seconds is None:
            return self
        return replace(self, last_evaluation_end_seconds=now - seconds_since_last_evaluation)


@clause(
    "EVAL-8",
    """A run ends when both goals have been reached, when its budget is used up, at the step limit
    or when the submission declares training complete (with one last evaluation if time
    remains), or when evaluations keep failing.""",
    source=(
        Source("Rules v0.6", "Evaluation during training"),
        Source("Harness contract", "5"),
        Source("Decisions", "5 and 9"),
    ),
)
def end_reason(progress: Progress, max_global_steps: int | None = None) -> EndReason | None:
    """Says whether the run is over; asked before every step, so after a due evaluation.

    If several reasons hold, the one named is the first of: targets reached, out of time,
    evaluations failed, step limit, training complete.

    Args:
      progress: the state of the trial.
      max_global_steps: the step limit, None for none.

    Returns:
      The reason, or None if another step is to be made.
    """
    if progress.validation_goal_reached and progress.test_goal_reached:
        return EndReason.TARGETS_REACHED
    if not progress.is_time_remaining:
        return EndReason.OUT_OF_TIME
    if progress.failed_evaluations_in_row >= MAX_FAILED_EVALUATIONS_IN_ROW:
        return EndReason.EVALUATION_FAILED
    if max_global_steps is not None and progress.global_step >= max_global_steps:
        return EndReason.STEP_LIMIT
    if progress.training_complete:
        return EndReason.TRAINING_COMPLETE
    return None
