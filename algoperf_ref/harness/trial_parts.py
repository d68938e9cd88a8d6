"""What a trial is made of: its settings, its input queue, where it records, how it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from algoperf_ref.frameworks.base import Key
from spec.evaluation import Goal, Progress
from spec.submission import TRAIN_STATE_KEYS
from spec.timing import Clock

Metrics = dict[str, Any]
"""Metrics of one evaluation by ``<split>/<metric>``, and the times that go with them."""


@dataclass(frozen=True)
class TrialSettings:
    """What distinguishes one trial from another.

    Attributes:
      hyperparameters: named tuple, or None under self-tuning.
      key: random key of the trial.
      budget_seconds: limit of the submission time.
      goal: metric and targets.
      global_batch_size: of training.
      eval_batch_size: of evaluations, global.
      data_dir: where the data sets are.
      imagenet_v2_data_dir: for the ImageNet workloads' test split.
      max_global_steps: step limit, None for none.
      skip_evaluations: never evaluate; the budget is then checked after every step.
      preemption_count: how often the trial was resumed.
      title: one line for people.
    """

    hyperparameters: Any
    key: Key
    budget_seconds: float
    goal: Goal
    global_batch_size: int
    eval_batch_size: int
    data_dir: str
    imagenet_v2_data_dir: str | None = None
    max_global_steps: int | None = None
    skip_evaluations: bool = False
    preemption_count: int = 0
    title: str = ""


class Recorder(Protocol):
    """Where a trial's rows and checkpoints go; see :class:`algoperf_ref.harness.study.Files`."""

    def evaluation(self, metrics: Metrics, global_step: int) -> None:
        """Logs the row of an evaluation; may add keys to ``metrics``."""
        ...

    def final(self, score: float, global_step: int) -> None:
        """Logs the last row."""
        ...

    @property
    def wants_checkpoints(self) -> bool:
        """False if gathering the state would be wasted."""
        ...

    def checkpoint(self, state: Mapping[str, Any], global_step: int) -> None:
        """Stores a checkpoint."""
        ...


class CountingQueue:
    """The input queue that submissions draw from; counts the batches, so a resume can skip them.

    The count is the position of the data stream: a submission may draw several batches per step.
    """

    def __init__(self, batches: Iterator[Any], drawn: int = 0) -> None:
        """Args:
        batches: infinite stream, already at position ``drawn``.
        drawn: batches drawn by earlier runs of the trial.
        """
        self._batches = batches
        self.drawn = drawn

    def __iter__(self) -> CountingQueue:
        """Returns itself."""
        return self

    def __next__(self) -> Any:
        """Returns the next batch."""
        batch = next(self._batches)
        self.drawn += 1
        return batch


class SubmissionFailed(Exception):
    """A function of the submission raised; the original exception is the cause."""

    def __init__(self, function: str, global_step: int, error: BaseException) -> None:
        """Args:
        function: name of the submission function.
        global_step: steps done before.
        error: what it raised.
        """
        super().__init__(
            f"the submission's {function} raised {type(error).__name__} "
            f"after {global_step} steps: {error}"
        )


class RunState(Protocol):
    """What :class:`TrainState` shows of a trial."""

    clock: Clock
    progress: Progress


class TrainState(Mapping[str, Any]):
    """The submission's live, read-only view of the run: ``train_state`` (contract, section 5).

    Values are looked up when they are asked for, so that a step costs nothing here.
    """

    def __init__(self, run: RunState) -> None:
        """Args:
        run: the trial to look at.
        """
        self._run = run

    def __getitem__(self, key: str) -> Any:
        """Returns the value of one of :data:`spec.submission.TRAIN_STATE_KEYS`."""
        return _TRAIN_STATE[key](self._run)

    def __iter__(self) -> Iterator[str]:
        """Yields the keys, in the order of the contract."""
        return iter(TRAIN_STATE_KEYS)

    def __len__(self) -> int:
        """Returns the number of keys."""
        return len(TRAIN_STATE_KEYS)

    def __repr__(self) -> str:
        """Shows the values of now."""
        return f"TrainState({dict(self)})"


_TRAIN_STATE: Mapping[str, Callable[[RunState], Any]] = {
    "validation_goal_reached": lambda run: run.progress.validation_goal_reached,
    "test_goal_reached": lambda run: run.progress.test_goal_reached,
    "is_time_remaining": lambda run: run.progress.is_time_remaining,
    "last_eval_time": lambda run: run.progress.last_evaluation_end_seconds or 0.0,
    "training_complete": lambda run: run.progress.training_complete,
    "accumulated_submission_time": lambda run: run.clock.submission_seconds,
    "accumulated_eval_time": lambda run: run.clock.evaluation_seconds,
    "accumulated_logging_time": lambda run: run.clock.logging_seconds,
    "last_step_end_time": lambda run: run.clock.last_reading_seconds,
}
