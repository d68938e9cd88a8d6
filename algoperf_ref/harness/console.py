"""What a person sees of a running trial: a progress bar and a row per evaluation."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from algoperf_ref.harness.results import TrialResult
from spec.evaluation import Goal
from spec.workloads import Direction

REFRESH_SECONDS = 0.5
"""How often the progress bar is redrawn; a redraw costs about 0.2 ms, charged to logging."""


class Observer(Protocol):
    """Told about a trial by the loop, outside the submission's time."""

    def started(self, title: str, goal: Goal, budget_seconds: float, first_step: int) -> None:
        """The first step is about to begin."""
        ...

    def wants_step(self, global_step: int) -> bool:
        """Asked after every step; must cost next to nothing."""
        ...

    def stepped(self, global_step: int, submission_seconds: float) -> None:
        """A step has ended, and :meth:`wants_step` said yes."""
        ...

    def evaluated(self, global_step: int, metrics: Mapping[str, float]) -> None:
        """An evaluation has ended."""
        ...

    def noticed(self, message: str) -> None:
        """Something the user should know, such as a failed evaluation."""
        ...

    def ended(self, result: TrialResult) -> None:
        """The trial is over."""
        ...


class Quiet:
    """Shows nothing."""

    def started(self, title: str, goal: Goal, budget_seconds: float, first_step: int) -> None:
        """Shows nothing."""

    def wants_step(self, global_step: int) -> bool:
        """Never."""
        return False

    def stepped(self, global_step: int, submission_seconds: float) -> None:
        """Shows nothing."""

    def evaluated(self, global_step: int, metrics: Mapping[str, float]) -> None:
        """Shows nothing."""

    def noticed(self, message: str) -> None:
        """Shows nothing."""

    def ended(self, result: TrialResult) -> None:
        """Shows nothing."""


class Console:
    """A table row per evaluation; on a terminal also a progress bar, else plain lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Args:
        stream: where to write; standard error by default.
        """
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._bar: Any = None
        self._goal: Goal | None = None
        self._best: float | None = None
        self._last: float | None = None
        self._next_refresh = 0.0
        self._first: tuple[int, float] = (0, 0.0)
        self._budget_seconds = 0.0

    def started(self, title: str, goal: Goal, budget_seconds: float, first_step: int) -> None:
        """Prints title, targets and the table's head."""
        self._goal, self._best, self._last = goal, None, None
        self._budget_seconds = budget_seconds
        self._first = (first_step, time.monotonic())
        comparison = "<=" if goal.direction is Direction.MINIMIZE else ">="
        targets = f"validation {goal.metric_name} {comparison} {goal.validation_target:g}"
        if goal.test_target is not None:
            targets += f", test {comparison} {goal.test_target:g}"
        self._print(title)
        self._print(f"  target: {targets}; budget {budget_seconds:g} s")
        self._print(
            f"  {'step':>8} {'time [s]':>10} {'eval [s]':>9} "
            f"{'train':>9} {'validation':>10} {'test':>9}"
        )
        if self._is_terminal:
            # tqdm's monitor thread would run beside the submission, on its time.
            tqdm.monitor_interval = 0
            self._bar = tqdm(
                total=budget_seconds,
                file=self._stream,
                leave=False,
                bar_format="  {percentage:3.0f}% of budget |{bar}| {desc}",
            )

    def wants_step(self, global_step: int) -> bool:
        """Says whether the progress bar is due to be redrawn."""
        return self._bar is not None and time.monotonic() >= self._next_refresh

    def stepped(self, global_step: int, submission_seconds: float) -> None:
        """Redraws the progress bar."""
        now = time.monotonic()
        self._next_refresh = now + REFRESH_SECONDS
        first_step, first_time = self._first
        rate = (global_step - first_step) / max(now - first_time, 1e-9)
        text = f"step {global_step}, {rate:.1f} steps/s, {submission_seconds:.1f} s"
        if self._goal is not None and self._last is not None and self._best is not None:
            target = self._goal.validation_target
            text += f", validation {self._last:.4f} (best {self._best:.4f}, target {target:g})"
        self._bar.set_description_str(text, refresh=False)
        self._bar.n = min(submission_seconds, self._budget_seconds)
        self._bar.refresh()

    def evaluated(self, global_step: int, metrics: Mapping[str, float]) -> None:
        """Prints the table row of an evaluation."""
        goal = self._goal
        assert goal is not None, "started() comes first"
        values = [metrics.get(f"{s}/{goal.metric_name}") for s in ("train", "validation", "test")]
        self._last = values[1]
        if self._last is not None:
            better = min if goal.direction is Direction.MINIMIZE else max
            self._best = self._last if self._best is None else better(self._best, self._last)
        cells = ["-" if value is None else f"{value:.5f}" for value in values]
        self._print(
            f"  {global_step:>8} {metrics['accumulated_submission_time']:>10.2f} "
            f"{metrics['accumulated_eval_time']:>9.2f} "
            f"{cells[0]:>9} {cells[1]:>10} {cells[2]:>9}"
        )

    def noticed(self, message: str) -> None:
        """Prints a line."""
        self._print(f"  note: {message}")

    def ended(self, result: TrialResult) -> None:
        """Removes the bar and prints how the trial ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        summary = (
            f"  {result.status.value} after {result.global_step} steps: "
            f"{result.submission_seconds:.2f} s submission, "
            f"{result.evaluation_seconds:.2f} s evaluation, {result.logging_seconds:.2f} s logging"
        )
        if result.clock == "steps":
            summary += " (simulated time)"
        self._print(summary)
        if result.message:
            self._print(f"  {result.message}")

    def _print(self, line: str) -> None:
        if self._bar is not None:
            tqdm.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)
