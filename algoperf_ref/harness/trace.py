"""A trace of some training steps with the framework's own profiler."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from algoperf_ref.frameworks.base import Backend

TRACES = "traces"


class FrameworkTrace:
    """Records ``num_steps`` steps, beginning after the first one of the run, which compiles.

    Traced steps are slower and their time counts: a traced run is not a measurement.
    """

    def __init__(self, backend: Backend, directory: Path, num_steps: int) -> None:
        """Args:
        backend: whose profiler.
        directory: trial directory; the files go to ``traces`` below it.
        num_steps: steps to record, at least 1.
        """
        self._backend = backend
        self._directory = directory / TRACES
        self._num_steps = num_steps
        self._first: int | None = None
        self._context: AbstractContextManager[Any] | None = None

    def before_step(self, global_step: int) -> None:
        """Starts before the second step of the run, stops after the last one to record."""
        if self._first is None:
            self._first = global_step + 1
        elif global_step == self._first:
            self._context = self._backend.trace(self._directory)
            self._context.__enter__()
        elif global_step == self._first + self._num_steps:
            self.close()

    def close(self) -> None:
        """Stops recording, if it is still on, and writes the files."""
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)
