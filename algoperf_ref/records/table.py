"""A CSV file that grows by rows and, rarely, by columns.

The first row's keys, sorted, become the header; later new columns are appended at the right, and
missing cells are empty (harness contract, section 6). A row costs one write; a new column rewrites
the file atomically. A line cut short by a kill is dropped when the file is opened again.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from algoperf_ref.errors import UserError
from algoperf_ref.records.files import CannotWrite, write_text
from algoperf_ref.records.scalars import Scalar

_LINE_BREAKS = str.maketrans({"\n": " ", "\r": " ", "\0": " "})  # A row stays one line.


class Table:
    """One CSV file, open for appending.

    Attributes:
      path: the file; created with the first row.
    """

    def __init__(self, path: Path) -> None:
        """Opens the table.

        Args:
          path: an existing file goes on, repaired if its end is torn (with a warning).

        Raises:
          UserError: the file exists and cannot be read or repaired.
        """
        self.path = path
        self._columns: list[str] = []
        self._known: set[str] = set()
        self._num_rows = 0
        self._file: TextIO | None = None
        try:
            lines = _repaired_lines(path)
        except OSError as error:
            raise UserError(f"cannot open {path}: {error.strerror or error}") from error
        if lines:
            self._set_columns(_cells(lines[0]))
            self._num_rows = len(lines) - 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(self._columns)

    @property
    def num_rows(self) -> int:
        """Number of rows, the header not counted."""
        return self._num_rows

    def append(self, row: Mapping[str, Scalar | None]) -> None:
        """Appends one row and hands it to the operating system.

        Args:
          row: column name -> value; None leaves the cell empty.

        Raises:
          UserError: the file cannot be written, for example because the disk is full.
        """
        row = {name.translate(_LINE_BREAKS): value for name, value in row.items()}
        try:
            if not self._known.issuperset(row):
                self._add_columns(sorted(row.keys() - self._known))
            if self._file is None:
                self._file = self.path.open(
                    "a", newline="", encoding="utf-8", errors="backslashreplace"
                )
            self._file.write(_line([row.get(name) for name in self._columns]))
            self._file.flush()
        except OSError as error:
            raise CannotWrite(f"cannot write to {self.path}: {error.strerror or error}") from error
        self._num_rows += 1

    def rows(self) -> list[dict[str, str]]:
        """Returns all rows as text, column name -> cell."""
        return [dict(zip(self._columns, _cells(line), strict=True)) for line in self._lines()[1:]]

    def keep(self, indices: Iterable[int]) -> None:
        """Rewrites the file atomically with only these rows (0-based), in file order."""
        wanted = set(indices)
        lines = self._lines()
        kept = [line for index, line in enumerate(lines[1:]) if index in wanted]
        self._rewrite([*lines[:1], *kept])
        self._num_rows = len(kept)

    def close(self, *, to_disk: bool = False) -> None:
        """Closes the file; a later append opens it again.

        Args:
          to_disk: also waits until the content is on the disk.
        """
        if self._file is not None:
            if to_disk:
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _set_columns(self, columns: list[str]) -> None:
        self._columns = columns
        self._known = set(columns)

    def _add_columns(self, new: list[str]) -> None:
        lines = self._lines()
        columns = [*self._columns, *new]
        padding = "," * len(new)
        self._rewrite([_line(columns), *[f"{line[:-1]}{padding}\n" for line in lines[1:]]])
        self._set_columns(columns)

    def _lines(self) -> list[str]:
        return _split(self.path.read_bytes()) if self._columns else []

    def _rewrite(self, lines: list[str]) -> None:
        self.close()
        write_text(self.path, "".join(lines))


def _line(values: Sequence[Scalar | None]) -> str:
    """One CSV line; floats are written so that they read back exactly."""
    out = io.StringIO()
    clean = [v.translate(_LINE_BREAKS) if isinstance(v, str) else v for v in values]
    csv.writer(out, lineterminator="\n").writerow(clean)
    return out.getvalue()


def _cells(line: str) -> list[str]:
    return next(csv.reader([line]))


def _split(content: bytes) -> list[str]:
    # Only at "\n": str.splitlines knows further breaks, which may stand inside a cell.
    return [line + "\n" for line in content.decode("utf-8").split("\n")[:-1]]


def _repaired_lines(path: Path) -> list[str]:
    """Reads the lines of a table and cuts a damaged end off the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    raw = content.split(b"\n")[:-1]  # A line counts only with its line break.
    if raw and not _is_sound(raw[0], None):
        raise UserError(f"{path} does not begin with a CSV header: move it away")
    num_columns = len(_cells(raw[0].decode("utf-8"))) if raw else 0
    while len(raw) > 1 and not _is_sound(raw[-1], num_columns):
        raw.pop()
    end = sum(len(line) + 1 for line in raw)
    if end < len(content):
        warnings.warn(
            f"{path}: dropped a torn end of {len(content) - end} bytes "
            f"after {max(len(raw) - 1, 0)} complete rows",
            stacklevel=4,
        )
        os.truncate(path, end)
    return _split(content[:end])


def _is_sound(line: bytes, num_columns: int | None) -> bool:
    """Is this line text with the right number of cells (None: any number)?"""
    if not line or b"\0" in line:
        return False
    try:
        cells = _cells(line.decode("utf-8"))
    except (UnicodeDecodeError, csv.Error):
        return False
    return num_columns is None or len(cells) == num_columns
