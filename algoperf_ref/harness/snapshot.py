"""What a checkpoint holds beside the training state, and how it is read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from algoperf_ref.harness.trial_parts import Metrics
from spec.evaluation import Progress
from spec.timing import Clock


def pack(
    progress: Progress,
    clock: Clock,
    eval_results: Sequence[tuple[int, Metrics]],
    *,
    completed_by_submission: bool,
    batches_drawn: int,
    preemption_count: int,
) -> dict[str, Any]:
    """Returns the state of the run as plain containers.

    Args:
      progress: what the rules know of the run.
      clock: its accounts are carried over; the reading itself means nothing in another process.
      eval_results: all evaluations so far.
      completed_by_submission: the submission declared its training complete. A step limit, the
        other way to complete it, can be raised when the run is resumed.
      batches_drawn: position of the data stream.
      preemption_count: resumes so far.
    """
    return {
        "global_step": progress.global_step,
        "batches_drawn": batches_drawn,
        "preemption_count": preemption_count,
        "accounts": {
            "submission_seconds": clock.submission_seconds,
            "evaluation_seconds": clock.evaluation_seconds,
            "logging_seconds": clock.logging_seconds,
        },
        "progress": {
            "is_time_remaining": progress.is_time_remaining,
            "validation_goal_reached": progress.validation_goal_reached,
            "test_goal_reached": progress.test_goal_reached,
            "training_complete": completed_by_submission,
            "failed_evaluations_in_row": progress.failed_evaluations_in_row,
            # None if there was none.
            "seconds_since_last_evaluation": progress.seconds_since_last_evaluation(
                clock.last_reading_seconds
            ),
        },
        "eval_results": [[step, dict(metrics)] for step, metrics in eval_results],
    }


def unpack_progress(stored: Mapping[str, Any]) -> Progress:
    """Returns the progress, with the last evaluation on a clock that reads 0 now."""
    old = stored["progress"]
    passed = old["seconds_since_last_evaluation"]
    return Progress(
        global_step=int(stored["global_step"]),
        is_time_remaining=bool(old["is_time_remaining"]),
        validation_goal_reached=bool(old["validation_goal_reached"]),
        test_goal_reached=bool(old["test_goal_reached"]),
        training_complete=bool(old["training_complete"]),
        failed_evaluations_in_row=int(old["failed_evaluations_in_row"]),
        last_evaluation_end_seconds=None if passed is None else -float(passed),
    )


def unpack_eval_results(stored: Mapping[str, Any]) -> Iterator[tuple[int, Metrics]]:
    """Yields ``(global_step, metrics)``, in order."""
    for step, metrics in stored["eval_results"]:
        yield int(step), dict(metrics)
