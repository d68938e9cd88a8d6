"""Damaged lines: shown, counted, and too many of them refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from algoperf_ref.errors import UserError

MAX_SHARE = 0.001
"""Share of the lines read that may be damaged."""
MIN_LINES = 10_000
"""Lines that must have been read before their share counts."""
SHOWN = 10
"""Damaged lines that are shown one by one."""

Report = Callable[[str], object]


class DamagedLinesWarning(UserWarning):
    """Some lines of the log cannot be used; they take part with weight 0."""


class DamagedLine(NamedTuple):
    """A line that cannot be used.

    Attributes:
      path: its file.
      line: its number in the file, from 0.
      reason: what is wrong with it.
    """

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line + 1}: {self.reason}"


def warn(message: str) -> None:
    """Reports through Python's warnings."""
    warnings.warn(message, DamagedLinesWarning, stacklevel=4)


class DamageLog:
    """What was met while a stream of lines was read; to be told of them in their order."""

    def __init__(self, report: Report = warn) -> None:
        """Args:
        report: gets one sentence for each of the first damaged lines, and one at the end.
        """
        self._report = report
        self.lines_read = 0
        self.lines_damaged = 0

    def add(self, damaged: Iterable[DamagedLine], lines_read: int) -> None:
        """Takes note of lines.

        Args:
          damaged: the damaged ones among them.
          lines_read: how many there were.

        Raises:
          UserError: too large a share of what has been read is damaged.
        """
        self.lines_read += lines_read
        last = None
        for last in damaged:
            self.lines_damaged += 1
            if self.lines_damaged <= SHOWN:
                self._report(f"{last}; it takes part with weight 0")
            if self.lines_damaged == SHOWN:
                self._report("further damaged lines are only counted")
        if (
            last is not None
            and self.lines_read >= MIN_LINES
            and self.lines_damaged > MAX_SHARE * self.lines_read
        ):
            raise UserError(
                f"{last}; {self.lines_damaged:,} of the {self.lines_read:,} lines read so far are "
                f"damaged, more than {MAX_SHARE:.1%}: get {last.path.name} anew, then repeat "
                "`python -m algoperf_ref.data prepare criteo1tb`"
            )

    def close(self) -> None:
        """Reports how many damaged lines there were, if not all of them were shown."""
        if self.lines_damaged > SHOWN:
            self._report(
                f"{self.lines_damaged:,} of the {self.lines_read:,} lines read are damaged; they "
                "took part with weight 0"
            )
