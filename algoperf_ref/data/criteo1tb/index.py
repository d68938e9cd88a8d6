"""Where the lines of a file begin: every so many lines, a byte offset, so that any can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.files import atomic_file
from algoperf_ref.errors import MissingDataError

STRIDE = 512
"""Lines from one stored offset to the next."""

_FORMAT = 1
# The numbers before the offsets: format, stride, lines, bytes, time of the last change in ns.
_HEADER = 5
_BLOCK = 8 << 20  # bytes
_LINE_FEED = 10


class LineCounter:
    """Notes where lines begin, from a text that is handed over piece by piece."""

    def __init__(self) -> None:
        self._marks = [np.zeros(1, np.int64)]
        self._bytes = 0
        self._feeds = 0
        self._last = _LINE_FEED

    def add(self, text: bytes | memoryview) -> None:
        """Takes the next piece of the text."""
        if not text:
            return
        feeds = line_feeds(text)
        first = -(self._feeds + 1) % STRIDE
        self._marks.append(self._bytes + feeds[first::STRIDE] + 1)
        self._feeds += len(feeds)
        self._bytes += len(text)
        self._last = text[-1]

    @property
    def lines(self) -> int:
        """Lines so far; the last need not have ended."""
        return self._feeds + (self._last != _LINE_FEED)

    def offsets(self) -> NDArray[np.int64]:
        """Where lines 0, STRIDE, 2 * STRIDE, ... begin, then where the last line ends."""
        marks = np.concatenate(self._marks)
        return np.append(marks[: -(-self.lines // STRIDE)], self._bytes)


def line_feeds(text: bytes | memoryview) -> NDArray[np.int64]:
    """Places of the line feeds in a text."""
    return np.flatnonzero(np.frombuffer(text, np.uint8) == _LINE_FEED)


@dataclass(frozen=True)
class LineIndex:
    """The index of one file.

    Attributes:
      path: the file.
      lines: its number of lines.
      offsets: where lines 0, STRIDE, ... begin, then its size; int64.
    """

    path: Path
    lines: int
    offsets: NDArray[np.int64]

    def read(self, first: int, last: int) -> bytes:
        """Reads lines.

        Args:
          first: number of the first line, from 0.
          last: number after that of the last line, greater than ``first``.

        Raises:
          MissingDataError: the file is not what was indexed.
        """
        low, high = first // STRIDE, -(-last // STRIDE)
        start, stop = int(self.offsets[low]), int(self.offsets[high])
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            text = _read_all(file.read, stop - start)
        begin, end = 0, stop - start
        try:
            if skipped := first - low * STRIDE:
                head = memoryview(text)[: int(self.offsets[low + 1]) - start]
                begin = int(line_feeds(head)[skipped - 1]) + 1
            if last < min(high * STRIDE, self.lines):
                from_here = int(self.offsets[high - 1]) - start
                tail = memoryview(text)[from_here:]
                end = from_here + int(line_feeds(tail)[last - (high - 1) * STRIDE - 1]) + 1
        except IndexError as error:
            raise self.changed() from error
        if len(text) != stop - start:
            raise self.changed()
        return text if (begin, end) == (0, len(text)) else text[begin:end]

    def changed(self) -> MissingDataError:
        """The error that the file is no more what was indexed."""
        return MissingDataError(
            f"{self.path} has changed since it was indexed: put the right file back, or run "
            "`python -m algoperf_ref.data prepare criteo1tb` again"
        )


def _read_all(read: Callable[[int], bytes | None], size: int) -> bytes:
    parts = []
    while size > 0 and (part := read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def load(path: Path, place: Path) -> LineIndex | None:
    """Opens the stored index of a file.

    Args:
      path: the file.
      place: its index.

    Returns:
      The index; None if there is none, or if the file has another size or time of last change.
    """
    try:
        stored = np.load(place, mmap_mode="r")
        status = path.stat()
    except (OSError, ValueError, EOFError):
        return None
    if stored.dtype != np.int64 or stored.ndim != 1 or len(stored) <= _HEADER:
        return None
    form, stride, lines, size, changed = map(int, stored[:_HEADER])
    if (form, stride, size, changed) != (_FORMAT, STRIDE, status.st_size, status.st_mtime_ns):
        return None
    if len(stored) != _HEADER + -(-lines // STRIDE) + 1:
        return None
    return LineIndex(path, lines, stored[_HEADER:])


def save(path: Path, place: Path, counter: LineCounter) -> LineIndex:
    """Stores what was counted of a file."""
    status = path.stat()
    offsets = counter.offsets()
    header = [_FORMAT, STRIDE, counter.lines, status.st_size, status.st_mtime_ns]
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(place) as file:
        np.save(file, np.concatenate([np.array(header, np.int64), offsets]))
    return LineIndex(path, counter.lines, offsets)


def build(path: Path, place: Path, progress: Callable[[int], object] | None = None) -> LineIndex:
    """Counts the lines of a file and stores their offsets.

    Args:
      path: the file.
      place: where the index goes.
      progress: called with the number of bytes after each block.
    """
    counter = LineCounter()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            counter.add(block)
            if progress is not None:
                progress(len(block))
    return save(path, place, counter)
