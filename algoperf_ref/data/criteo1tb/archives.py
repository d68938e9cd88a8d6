"""The published download: one file for each day, unpacked and cut into the files of the log."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from algoperf_ref.data.criteo1tb import index
from algoperf_ref.data.criteo1tb.index import LineCounter, line_feeds
from algoperf_ref.data.criteo1tb.layout import DayFile, Layout
from algoperf_ref.data.files import atomic_file
from algoperf_ref.errors import UserError

_SUFFIXES = (".gz", "", ".csv", ".csv.gz", ".txt", ".txt.gz")
_BLOCK = 4 << 20  # bytes


def find(places: list[Path], day: int) -> Path | None:
    """The file of a whole day; None if there is none in these directories."""
    for place in places:
        for suffix in _SUFFIXES:
            path = place / f"day_{day}{suffix}"
            if path.is_file():
                return path
    return None


def cut(
    archive: Path,
    layout: Layout,
    parts: Mapping[DayFile, int],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Cuts the file of a day into files of the log, and notes where their lines begin.

    Those that are there already are kept; an interrupted cut is simply repeated.

    Args:
      archive: the file of the day, perhaps compressed by gzip.
      layout: where the files go.
      parts: all files of this day in order, with their numbers of lines.
      progress: called with the number of bytes of the archive that were read since the last call.

    Raises:
      UserError: the file of the day is damaged, or has another number of lines.
    """
    text = _Text(archive, progress)
    try:
        for file, lines in parts.items():
            done = index.load(layout.text(file), layout.index(file))
            if done is not None and done.lines == lines:
                text.skip(lines)
                continue
            counter = LineCounter()
            with atomic_file(layout.text(file)) as out:
                for piece in text.lines(lines):
                    counter.add(piece)
                    out.write(piece)
                if counter.lines != lines:
                    raise UserError(
                        f"{archive} ends within {file.name}, after {counter.lines:,} of its "
                        f"{lines:,} lines: download it again"
                    )
            index.save(layout.text(file), layout.index(file), counter)
        if not text.at_end():
            raise UserError(
                f"{archive} has more than the {sum(parts.values()):,} lines of this day: download "
                "it again"
            )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{archive} is damaged ({error}): download it again") from error
    finally:
        text.close()


class _Text:
    """The unpacked text of an archive, taken a number of lines at a time."""

    def __init__(self, archive: Path, progress: Callable[[int], object] | None) -> None:
        self._raw = archive.open("rb")
        packed = archive.suffix == ".gz"
        self._file: IO[bytes] = gzip.GzipFile(fileobj=self._raw) if packed else self._raw  # type: ignore[assignment]
        self._progress = progress
        self._read = 0
        self._block = memoryview(b"")

    def lines(self, count: int) -> Iterator[memoryview]:
        """The next lines, in pieces; fewer at the end of the text."""
        while count > 0 and self._fill():
            feeds = line_feeds(self._block)
            end = int(feeds[count - 1]) + 1 if len(feeds) >= count else len(self._block)
            count -= min(len(feeds), count)
            piece, self._block = self._block[:end], self._block[end:]
            yield piece

    def skip(self, count: int) -> None:
        for _ in self.lines(count):
            pass

    def at_end(self) -> bool:
        return not self._fill()

    def close(self) -> None:
        self._file.close()
        self._raw.close()

    def _fill(self) -> bool:
        if not self._block:
            self._block = memoryview(self._file.read(_BLOCK))
            if self._progress is not None:
                self._progress(self._raw.tell() - self._read)
                self._read = self._raw.tell()
        return bool(self._block)
