"""What a trial is made of: its settings, its input queue, where it records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
      checkpoint_every_steps: steps between further checkpoints; 0 makes none.
      checkpoint_every_seconds: time between further checkpoints; 0 makes none.
      trace: records some steps with the framework's profiler, None for no trace.
      facts: further facts for the event log, as JSON values.
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
    checkpoint_every_steps: int = 0
    checkpoint_every_seconds: float = 0.0
    trace: StepTrace | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class StepTrace(Protocol):
    """Starts and stops a trace at its steps."""

    def before_step(self, global_step: int) -> None:
        """Called before every step with the number of steps done."""
        ...


class Recorder(Protocol):
    """Where a trial's rows and checkpoints go; see :class:`algoperf_ref.harness.study.Files`."""

    def evaluation(self, metrics: Metrics, global_step: int) -> None:
        """Logs the row of an evaluation; may add keys to ``metrics``."""
        ...

    def happened(
        self,
        event: str,
        global_step: int,
        reading_ns: int | None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Notes an event of the clock; called on every step, so it only remembers it."""
        ...

    @property
    def wants_flush(self) -> bool:
        """True if enough events are remembered to be written."""
        ...

    def flush(self) -> None:
        """Writes what :meth:`happened` remembered."""
        ...

    def final(self, score: float, global_step: int) -> None:
        """Logs the last row."""
        ...

    @property
    def wants_checkpoints(self) -> bool:
        """False if gathering the state would be wasted."""
        ...

    def check_space(self, training_state: Mapping[str, Any]) -> None:
        """Raises ``UserError`` if the disk has no room for checkpoints of this state."""
        ...

    def checkpoint(self, state: Mapping[str, Any], global_step: int) -> None:
        """Copies the state and stores it, possibly after returning."""
        ...

    def finish(self) -> None:
        """Waits until everything is written."""
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
