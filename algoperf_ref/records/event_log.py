"""Every event of a trial's clock, one JSON line each, for the audit (``events.jsonl``).

Lines are gathered in memory, which costs a step next to nothing, and written when the harness
logs, off the submission's time. A run that goes on from a checkpoint cuts off what came after
that checkpoint, as it does with the rows of the tables.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algoperf_ref.records.files import CannotWrite, replacing
from spec.records import EVENTS

MAX_BUFFERED = 8192
"""Events in memory at which the log asks to be flushed."""


class EventLog:
    """The event log of one trial directory; goes on with what an earlier process left there.

    Attributes:
      path: the file; created with the first flush.
      num_lines: lines in the file and in memory.
    """

    def __init__(self, directory: Path) -> None:
        """Opens the log.

        Args:
          directory: an existing trial directory. A torn last line is dropped with a warning.

        Raises:
          CannotWrite: the file cannot be read or repaired.
        """
        self.path = Path(directory) / EVENTS
        self._buffer: list[dict[str, Any]] = []
        try:
            self.num_lines = _repair(self.path)
        except OSError as error:
            raise CannotWrite(f"cannot open {self.path}: {error.strerror or error}") from error

    @property
    def is_full(self) -> bool:
        """True if it is time to flush."""
        return len(self._buffer) >= MAX_BUFFERED

    def append(self, event: dict[str, Any]) -> None:
        """Adds an event: JSON values, with its name as ``event``. Nothing is written yet."""
        self._buffer.append(event)
        self.num_lines += 1

    def flush(self) -> None:
        """Hands all events to the operating system.

        Raises:
          CannotWrite: the file cannot be written. The events stay in memory.
        """
        if not self._buffer:
            return
        text = "".join(f"{json.dumps(event)}\n" for event in self._buffer)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise CannotWrite(f"cannot write to {self.path}: {error.strerror or error}") from error
        self._buffer.clear()

    def truncate(self, num_lines: int, preemption_count: int) -> int:
        """Moves the events after the first ``num_lines`` to ``events.jsonl.discarded_<p>``.

        Args:
          num_lines: how many there were when the checkpoint was made.
          preemption_count: number of this resume.

        Returns:
          Number of events moved.

        Raises:
          CannotWrite: a file cannot be written.
        """
        self.flush()
        if num_lines >= self.num_lines:
            if num_lines > self.num_lines:
                warnings.warn(
                    f"{self.path} has {self.num_lines} events, {num_lines} when the checkpoint "
                    "was made",
                    stacklevel=2,
                )
            return 0
        lines = self.path.read_bytes().splitlines(keepends=True)
        late = lines[num_lines:]
        discarded = self.path.with_name(f"{self.path.name}.discarded_{preemption_count}")
        try:
            for path, content in ((discarded, late), (self.path, lines[:num_lines])):
                with replacing(path) as file:
                    file.writelines(content)
        except OSError as error:
            raise CannotWrite(f"cannot write to {self.path}: {error.strerror or error}") from error
        self.num_lines = num_lines
        return len(late)


def read_events(path: Path) -> list[Mapping[str, Any]]:
    """Reads an event log.

    Args:
      path: a file that :class:`EventLog` wrote. A torn last line is left out.

    Returns:
      The events, in order.

    Raises:
      OSError: the file cannot be read.
      ValueError: a line is damaged; the message names it.
    """
    events = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if not isinstance(event, dict) or "event" not in event:
            raise ValueError(f"{path}, line {number}: not an event")
        events.append(event)
    return events


def _repair(path: Path) -> int:
    """Cuts off a torn last line; returns the number of complete ones."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        warnings.warn(
            f"{path}: dropped a torn end of {len(content) - end} bytes",
            stacklevel=3,
        )
        os.truncate(path, end)
    return content.count(b"\n")
