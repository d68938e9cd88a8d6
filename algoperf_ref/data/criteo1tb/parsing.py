"""From lines of text to the numbers that the model gets.

A line has 40 fields with tabs between: a label, 13 counts, 26 categories. An empty field and the
field ``-1`` are missing. Counts become ``log(max(count, 0) + 1)``; a category becomes the bucket
that its text, followed by the number of its column, is hashed into, as a float32 (which rounds
buckets above 2**24: the benchmark's targets were set with that). Workload facts, criteo1tb, 5.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from algoperf_ref.data.criteo1tb import categories

NUM_DENSE = 13
NUM_INPUTS = NUM_DENSE + len(categories.NUM_BUCKETS)
NUM_FIELDS = 1 + NUM_INPUTS

Floats = NDArray[np.float32]


class Damage(NamedTuple):
    """A line that cannot be used.

    Attributes:
      row: its place among the lines that were parsed together, from 0.
      reason: what is wrong with it.
    """

    row: int
    reason: str


_NAMES = [str(number) for number in range(NUM_FIELDS)]
_NUMBERS, _TEXTS = _NAMES[: 1 + NUM_DENSE], _NAMES[1 + NUM_DENSE :]
_PARSE = csv.ParseOptions(
    delimiter="\t",
    quote_char=False,
    double_quote=False,
    escape_char=False,
    newlines_in_values=False,
    ignore_empty_lines=True,  # which then shows in the number of rows
)
_CONVERT = csv.ConvertOptions(
    check_utf8=False,  # only text that is not ASCII needs a check, and gets it here
    column_types=dict.fromkeys(_NUMBERS, pa.float32()) | dict.fromkeys(_TEXTS, pa.binary()),
    null_values=["", "-1"],
    strings_can_be_null=False,
)
# A line whose fields are all missing: takes the place of a damaged one.
_EMPTY_LINE = b"\t" * (NUM_FIELDS - 1)
# What the reader certainly takes for a number; anything else is given to it, to decide.
_SURELY_A_NUMBER = re.compile(rb"(-?\d{1,9}(\.\d{1,9})?)?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse(text: bytes, inputs: Floats, targets: Floats) -> list[Damage]:
    """Parses lines; a damaged one becomes a row of zeros.

    What becomes of a line does not depend on the lines around it.

    Args:
      text: as many whole lines as there are rows; only the last may lack its line break.
      inputs: gets counts and buckets, float32 [rows, 39].
      targets: gets the labels, float32 [rows].

    Returns:
      The damaged lines, in order.

    Raises:
      ValueError: the text has another number of lines.
    """
    # Text that is not ASCII may be no UTF-8; the log is ASCII, so this costs nothing there.
    if text.isascii() and _parse_sound(text, inputs, targets):
        return []
    lines: list[bytes] = []
    damaged: list[Damage] = []
    for row, line in enumerate(split_lines(text)):
        reason = damage_of(line)
        lines.append(line.removesuffix(b"\r") if reason is None else _EMPTY_LINE)
        if reason is not None:
            damaged.append(Damage(row, reason))
    if len(lines) != len(targets):
        raise ValueError(f"{len(lines)} lines, expected {len(targets)}")
    if not _parse_sound(b"\n".join([*lines, b""]), inputs, targets):
        raise AssertionError("lines that are sound one by one are not sound together")
    rows = [row for row, _ in damaged]
    inputs[rows] = 0.0
    targets[rows] = 0.0
    return damaged


def split_lines(text: bytes) -> list[bytes]:
    """The lines of a text, without line feeds; the last may lack its own."""
    return text.removesuffix(b"\n").split(b"\n")


def damage_of(line: bytes) -> str | None:
    """What is wrong with a line; None if it is sound."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is not UTF-8"
    if line.startswith(_BYTE_ORDER_MARK):  # which the reader would skip, but not everywhere
        return "it begins with a byte order mark"
    line = line.removesuffix(b"\r")
    if b"\r" in line:
        return "there is a carriage return within it"
    fields = line.split(b"\t")
    if len(fields) != NUM_FIELDS:
        return f"it has {len(fields)} fields, not {NUM_FIELDS}"
    for number, field in enumerate(fields[: 1 + NUM_DENSE]):
        if not _SURELY_A_NUMBER.fullmatch(field) and not _is_number(field):
            name = f"count {number}" if number else "the label"
            return f"{name} is {field[:40].decode(errors='replace')!r}, not a number"
    return None


def _is_number(field: bytes) -> bool:
    line = field + _EMPTY_LINE + b"\n"
    return _parse_sound(line, np.empty((1, NUM_INPUTS), np.float32), np.empty(1, np.float32))


def _parse_sound(text: bytes, inputs: Floats, targets: Floats) -> bool:
    """Parses lines; False if one of them, not known which, may be damaged."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
        if b"\r" in text:  # the reader would break the line there
            return False
    read = csv.ReadOptions(column_names=_NAMES, use_threads=False, block_size=len(text) + 1)
    try:
        table = csv.read_csv(pa.BufferReader(text), read, _PARSE, _CONVERT)
    except pa.ArrowInvalid:
        return False
    if table.num_rows != len(targets):
        return False
    columns = [column.chunk(0) for column in table.columns]
    numbers = np.empty((1 + NUM_DENSE, len(targets)), np.float32)
    for row, column in zip(numbers, columns, strict=False):
        _fill(row, column)
    if not np.isfinite(numbers).all():
        return False
    dense = numbers[1:]
    np.maximum(dense, 0.0, out=dense)
    dense += np.float32(1.0)
    # In float64, then rounded: every processor has the same, whatever its float32 logarithm.
    np.log(dense, out=dense, dtype=np.float64, casting="same_kind")
    targets[:] = numbers[0]
    inputs[:, :NUM_DENSE] = dense.T
    categories.buckets(
        [_texts(column) for column in columns[len(numbers) :]], inputs[:, NUM_DENSE:]
    )
    return True


def _fill(row: Floats, column: Any) -> None:
    """Copies a column of numbers; missing ones become 0."""
    valid, values = column.buffers()
    row[:] = np.frombuffer(values, np.float32, len(row))
    if column.null_count:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), count=len(row), bitorder="little")
        row[bits == 0] = 0.0


def _texts(column: Any) -> categories.TextColumn:
    _, starts, text = column.buffers()
    return categories.TextColumn(
        np.zeros(0, np.uint8) if text is None else np.frombuffer(text, np.uint8),
        np.frombuffer(starts, np.int32, len(column) + 1),
    )
