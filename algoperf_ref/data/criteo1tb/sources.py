"""Files that lines are read from as numbers: the log itself, or its conversion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from algoperf_ref.data.criteo1tb.damage import DamagedLine, DamageLog
from algoperf_ref.data.criteo1tb.index import LineIndex
from algoperf_ref.data.criteo1tb.parsing import NUM_INPUTS, Floats, parse
from algoperf_ref.data.files import atomic_directory, read_json
from algoperf_ref.errors import MissingDataError

AT_A_TIME = 8192
"""Lines that are best read together: few enough for the caches, many enough to be quick."""

# Another format, or another meaning of the same text, makes another conversion.
_FORMAT = 1


class Source(Protocol):
    """A file of lines.

    Attributes:
      path: where it is.
      lines: how many it has.
    """

    @property
    def path(self) -> Path: ...

    @property
    def lines(self) -> int: ...

    def read(self, first: int, inputs: Floats, targets: Floats) -> list[DamagedLine]:
        """Reads lines.

        Args:
          first: number of the first line, from 0.
          inputs: gets counts and buckets of as many lines as it has rows, float32 [rows, 39].
          targets: gets their labels, float32 [rows].

        Returns:
          The damaged ones, whose rows are zero.

        Raises:
          MissingDataError: the file is not what it was when it was prepared.
        """
        ...


class TextSource:
    """A file of the log."""

    def __init__(self, index: LineIndex) -> None:
        self._index = index
        self.path = index.path
        self.lines = index.lines

    def read(self, first: int, inputs: Floats, targets: Floats) -> list[DamagedLine]:
        """See :class:`Source`."""
        text = self._index.read(first, first + len(targets))
        try:
            damaged = parse(text, inputs, targets)
        except ValueError as error:
            raise self._index.changed() from error
        return [DamagedLine(self.path, first + row, reason) for row, reason in damaged]


class ConvertedSource:
    """The conversion of a file: its numbers, one after another, as they are in memory."""

    def __init__(self, path: Path, place: Path, about: dict[str, Any]) -> None:
        """Args:
        path: the file of the log.
        place: the directory of its conversion.
        about: its ``about.json``.
        """
        self.path = path
        self.lines = int(about["lines"])
        self._place = place
        self._damaged = [
            DamagedLine(path, int(line), str(reason)) for line, reason in about["damaged"]
        ]
        self._starts = {
            name: _start_of_numbers(place / name, shape)
            for name, shape in (
                ("inputs.npy", (self.lines, NUM_INPUTS)),
                ("targets.npy", (self.lines,)),
            )
        }

    def read(self, first: int, inputs: Floats, targets: Floats) -> list[DamagedLine]:
        """See :class:`Source`."""
        for name, array in (("inputs.npy", inputs), ("targets.npy", targets)):
            size = array.nbytes // len(array)
            with (self._place / name).open("rb") as file:
                file.seek(self._starts[name] + first * size)
                if file.readinto(array.data.cast("B")) != array.nbytes:
                    raise MissingDataError(
                        f"{self._place / name} ends too early: delete {self._place} and run "
                        "`python -m algoperf_ref.data convert criteo1tb` again"
                    )
        last = first + len(targets)
        return [one for one in self._damaged if first <= one.line < last]


def _start_of_numbers(path: Path, shape: tuple[int, ...]) -> int:
    array = np.load(path, mmap_mode="r")
    if array.dtype != np.float32 or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"{path} is not float32 {list(shape)}")
    return int(array.offset)


def open_converted(path: Path, place: Path) -> ConvertedSource | None:
    """Opens the conversion of a file.

    Args:
      path: the file of the log; need not be there any more.
      place: the directory of its conversion.

    Returns:
      The source; None if there is none, or if it was made from a file of another size or time of
      last change.
    """
    about = read_json(place / "about.json")
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        return None
    if path.exists() and about.get("made_from") != _identity(path):
        return None
    try:
        return ConvertedSource(path, place, about)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def convert(source: TextSource, place: Path) -> Iterator[int]:
    """Writes the conversion of a file; it is there when the iterator has ended.

    Args:
      source: the file.
      place: the directory of its conversion.

    Yields:
      The number of lines of each stretch, when it is written.

    Raises:
      UserError: too many lines are damaged.
    """
    log = DamageLog(lambda _: None)
    damaged: list[DamagedLine] = []
    with atomic_directory(place) as partial:
        with (
            (partial / "inputs.npy").open("wb") as wide,
            (partial / "targets.npy").open("wb") as thin,
        ):
            _write_header(wide, (source.lines, NUM_INPUTS))
            _write_header(thin, (source.lines,))
            for first in range(0, source.lines, AT_A_TIME):
                rows = min(AT_A_TIME, source.lines - first)
                inputs = np.empty((rows, NUM_INPUTS), np.float32)
                targets = np.empty(rows, np.float32)
                found = source.read(first, inputs, targets)
                log.add(found, rows)
                damaged += found
                wide.write(inputs.data.cast("B"))
                thin.write(targets.data.cast("B"))
                yield rows
        about = {
            "format": _FORMAT,
            "made_from": _identity(source.path),
            "lines": source.lines,
            "damaged": [[one.line, one.reason] for one in damaged],
        }
        (partial / "about.json").write_text(json.dumps(about) + "\n", encoding="utf-8")


def _write_header(file: Any, shape: tuple[int, ...]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _identity(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
