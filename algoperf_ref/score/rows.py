"""Reading the rows of one evaluation log, in bounded memory and whatever the file holds.

Splitting lines at commas is what CSV is here: the logs hold numbers. It is as fast as numpy's own
reader and twice as fast as the ``csv`` module, pyarrow and polars are slower on thousands of
small files. A line with a quote goes to ``csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from algoperf_ref.score.sources import Reader
from spec.hits import Column

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20
MAX_ROWS = 1_000_000
"""A trial has some hundred evaluations; a longer file is damaged, and is not kept in memory."""


class UnusableFile(Exception):
    """A file is no evaluation log; the message says why."""


@dataclass(frozen=True)
class Rows:
    """The rows of a log.

    Attributes:
      columns: float64 arrays by column name; a malformed or empty cell is NaN, a column that the
        file does not have is absent.
      num_malformed: rows with a wrong number of cells, which are left out.
    """

    columns: Mapping[str, Column]
    num_malformed: int

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read_rows(file: Reader, required: Sequence[str], optional: Sequence[str] = ()) -> Rows:
    """Reads columns of a CSV file with a header.

    Args:
      file: the file; undecodable bytes make a cell malformed.
      required: names of columns that must be there.
      optional: names of columns to read if they are there.

    Returns:
      The rows in file order.

    Raises:
      UnusableFile: empty, a required column is missing, or absurdly long.
      OSError: and what else reading raises, see :data:`algoperf_ref.score.sources.READ_ERRORS`.
    """
    blocks = _blocks(file)
    first = next(blocks, [b""])
    header = _header(first[0])
    if not any(header):
        raise UnusableFile("empty")
    missing = [name for name in required if name not in header]
    if missing:
        raise UnusableFile(f"no column {', '.join(missing)}")
    names = [name for name in dict.fromkeys((*required, *optional)) if name in header]
    picker = _Picker([header.index(name) for name in names], len(header))
    tables = [picker.table(first[1:])]
    num_rows = len(tables[0])
    for lines in blocks:
        tables.append(picker.table(lines))
        num_rows += len(tables[-1])
        if num_rows > MAX_ROWS:
            raise UnusableFile(f"more than {MAX_ROWS} rows")
    table = np.concatenate(tables) if len(tables) > 1 else tables[0]
    return Rows({name: table[:, i] for i, name in enumerate(names)}, picker.num_malformed)


class _Picker:
    """Turns lines into numbers of the wanted columns."""

    def __init__(self, positions: list[int], width: int) -> None:
        self._positions = positions
        self._width = width
        self._pick: Callable[[list[bytes]], tuple[bytes, ...]] = itemgetter(*positions)
        if len(positions) == 1:  # `itemgetter` returns no tuple for a single column
            self._pick = lambda cells: (cells[positions[0]],)
        self.num_malformed = 0

    def table(self, lines: list[bytes]) -> Column:
        """Returns the (rows, columns) table of some lines."""
        cells: list[bytes] = []
        width, pick = self._width, self._pick
        for line in lines:
            split = line.split(b",")
            if b'"' in line:
                split = _quoted(line)
            if len(split) == width:
                cells.extend(pick(split))
            else:
                self.num_malformed += 1
        return np.array(_numbers(cells), dtype=np.float64).reshape(-1, len(self._positions))


def _blocks(file: Reader) -> Iterator[list[bytes]]:
    """Yields the lines of a file, many at a time; NUL bytes are left out."""
    rest = b""
    while block := file.read(BLOCK_BYTES):
        if b"\0" in block:
            block = block.replace(b"\0", b"")
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE_BYTES:
            raise UnusableFile(f"a line of more than {MAX_LINE_BYTES} bytes")
        if lines:
            yield lines
    if rest:
        yield [rest]


def _header(line: bytes) -> list[str]:
    text = line.decode("utf-8-sig", errors="replace").strip()
    try:
        return [name.strip() for name in next(csv.reader([text]), [""])]
    except csv.Error as error:
        raise UnusableFile(f"no header ({error})") from error


def _quoted(line: bytes) -> list[bytes]:
    try:
        cells = next(csv.reader([line.decode("utf-8", errors="replace")]), [])
    except csv.Error:
        return []
    return [cell.encode() for cell in cells]


def _numbers(cells: list[bytes]) -> list[float]:
    if b"_" not in b",".join(cells):
        try:
            return list(map(float, cells))
        except ValueError:
            return [_number(cell) for cell in cells]
    return [_number(cell) for cell in cells]


def _number(cell: bytes) -> float:
    try:
        # Python reads 1_000 as a number, no log means one by it.
        return float("nan") if b"_" in cell else float(cell)
    except ValueError:
        return float("nan")
