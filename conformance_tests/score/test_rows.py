"""Reading one log: whole, damaged, huge."""

from __future__ import annotations

import io
import math
import tracemalloc

import pytest

from algoperf_ref.score import rows as rows_module
from algoperf_ref.score.rows import Rows, UnusableFile, read_rows

from .samples import COLUMN, HEADER

SECONDS = "accumulated_submission_time"


def read(content: str | bytes) -> Rows:
    data = content.encode() if isinstance(content, str) else content
    return read_rows(io.BytesIO(data), (SECONDS, COLUMN), ("preemption_count", "absent"))


def pairs(content: str | bytes) -> list[tuple[float, float]]:
    found = read(content)
    return list(zip(found.columns[SECONDS], found.columns[COLUMN], strict=True))


def test_a_whole_file_is_read_as_it_is() -> None:
    found = read(HEADER + "1.5,1,0,0.25\n3.5,9,1,0.5\n")
    assert {name: list(column) for name, column in found.columns.items()} == {
        SECONDS: [1.5, 3.5],
        COLUMN: [0.25, 0.5],
        "preemption_count": [0.0, 1.0],
    }
    assert found.num_malformed == 0
    assert len(found) == 2


@pytest.mark.parametrize(
    "content",
    [
        f"{COLUMN},x,{SECONDS}\n0.25,7,1.5\n",
        f"{COLUMN},x,{SECONDS}\r\n0.25,7,1.5\r\n",
        f"\ufeff{SECONDS},{COLUMN}\n1.5,0.25",
        f'"{SECONDS}","{COLUMN}","a,b"\n"1.5",0.25,"x, ""y"""\n',
        f" {SECONDS} , {COLUMN}\n 1.5 , 0.25\n",
    ],
    ids=["by name", "CRLF", "byte order mark, no last line break", "quoted", "spaces"],
)
def test_columns_are_found_by_name_in_all_ways_to_write_csv(content: str) -> None:
    assert pairs(content) == [(1.5, 0.25)]
    assert read(content).num_malformed == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n1,2\n", "empty"),
        ("a,b\n1,2\n", f"no column {SECONDS}, {COLUMN}"),
        (f"{COLUMN}\n1\n", f"no column {SECONDS}"),
        (b"\xff\xfe\x00\x01", "no column"),
        (b"\0" * 5000, "empty"),
        ('"' + "a" * 200_000, "no header"),
    ],
    ids=["zero bytes", "no header", "foreign", "no time", "binary", "zeros", "huge quoted cell"],
)
def test_an_unusable_file_says_why(content: str | bytes, reason: str) -> None:
    with pytest.raises(UnusableFile, match=reason):
        read(content)


def test_a_header_alone_is_a_log_without_rows() -> None:
    assert pairs(HEADER) == []
    assert pairs(HEADER.rstrip("\n")) == []


@pytest.mark.parametrize(
    "torn", ["3.5,9", "3.5,9,0,0.5,7\n", "\n", '"3.5,9,0,0.5\n', '3.5,9,0,"' + "1" * 200_000]
)
def test_a_torn_or_ragged_row_is_left_out(torn: str) -> None:
    content = HEADER + "1.5,1,0,0.25\n" + torn
    assert pairs(content) == [(1.5, 0.25)]
    assert read(content).num_malformed == 1


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (b"", math.nan),
        (b"nan", math.nan),
        (b"high", math.nan),
        (b"\xff", math.nan),
        (b"1_0", math.nan),
        ("١".encode(), math.nan),
        (b"0x10", math.nan),
        (b"0.\x005", 0.5),
        (b"-Infinity", -math.inf),
        (b"1e400", math.inf),
        (b" 7 ", 7.0),
    ],
)
def test_a_malformed_cell_is_not_a_number_and_spoils_no_other(cell: bytes, value: float) -> None:
    content = HEADER.encode() + b"1.5,1,0,0.25\n2.5,2,0,%s\n" % cell
    (first, second) = pairs(content)
    assert first == (1.5, 0.25)
    assert second[0] == 2.5
    assert second[1] == value or (math.isnan(value) and math.isnan(second[1]))


class Endless:
    """A file that goes on for ever with the same bytes."""

    def __init__(self, start: bytes, repeated: bytes, limit: int) -> None:
        self._rest, self._repeated, self.left = start, repeated, limit

    def read(self, size: int, /) -> bytes:
        """Returns ``size`` bytes while there is something left."""
        if self._rest:
            block, self._rest = self._rest, b""
            return block
        number = min(size, self.left) // len(self._repeated)
        self.left -= number * len(self._repeated)
        return self._repeated * number


def test_a_file_of_200_megabytes_is_read_in_bounded_memory() -> None:
    line = b"1.5,1,0,0.25" + b"," + b"7" * 310 + b"\n"
    header = HEADER.rstrip("\n").encode() + b",other\n"
    tracemalloc.start()
    try:
        found = read_rows(Endless(header, line, 200 << 20), (SECONDS, COLUMN))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) > 600_000
    assert peak < 64 << 20


@pytest.mark.parametrize(
    ("line", "reason"), [(b"1,1,0,1\n", "more than 1000000 rows"), (b"7", "a line of more than")]
)
def test_a_file_that_no_trial_can_have_written_is_given_up(line: bytes, reason: str) -> None:
    file = Endless(HEADER.encode(), line, 10 << 30)
    with pytest.raises(UnusableFile, match=reason):
        read_rows(file, (SECONDS, COLUMN))
    assert file.left > 9 << 30


def test_where_blocks_end_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    content = HEADER + "".join(f"{i}.5,{i},0,0.{i}\n" for i in range(50))
    whole = pairs(content)
    for size in (1, 7, 64):
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", size)
        assert pairs(content) == whole
