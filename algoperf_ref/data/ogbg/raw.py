"""The raw download of ogbg-molpcba (`pcba.zip`, or its unpacked folder) as packed graphs."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.packed import MISSING_LABEL, PackedGraphs
from algoperf_ref.errors import UserError

ZIP_NAME = "pcba.zip"
# SHA-256 of the published file, as tensorflow-datasets 4.9.10 records it for ogbg_molpcba.
ZIP_SHA256 = "0bb12da2f3ec8b0bb80564114a6174fad2df6a3a0d3c19470b3a27813a7d4e53"

# Split -> file in split/scaffold.
_SPLIT_FILES = {"train": "train", "validation": "valid", "test": "test"}
_COLUMNS = (
    "num-node-list",
    "num-edge-list",
    "node-feat",
    "edge-feat",
    "edge",
    "graph-label",
)
_FILES = tuple(f"raw/{name}.csv.gz" for name in _COLUMNS) + tuple(
    f"split/scaffold/{name}.csv.gz" for name in _SPLIT_FILES.values()
)
NUM_FILES = len(_FILES)
# Folder names under which the archive and the OGB package unpack it.
_FOLDERS = (".", "pcba", "ogbg_molpcba", "molpcba")
_LABELS = {"": MISSING_LABEL, "nan": MISSING_LABEL, "0": 0, "0.0": 0, "1": 1, "1.0": 1}


def find(places: Sequence[Path]) -> Path | None:
    """The first raw data folder, or `pcba.zip`, in or directly under some places."""
    for place in places:
        if place.name.endswith(".zip") and place.is_file():
            return place
        for folder in _FOLDERS:
            if (place / folder / _FILES[0]).is_file():
                return place / folder
        if (place / ZIP_NAME).is_file():
            return place / ZIP_NAME
    return None


def checksum(source: Path) -> str:
    """SHA-256 over the raw files, the same for a folder and for an archive of them."""
    total = hashlib.sha256()
    with _opener(source) as open_file:
        for name in _FILES:
            with open_file(name) as file:
                while block := file.read(1 << 20):
                    total.update(block)
    return total.hexdigest()


def check_archive(source: Path) -> None:
    """Compares an archive with the published checksum; a folder cannot be compared.

    Raises:
      UserError: if it differs.
    """
    if source.is_file():
        found = hashlib.sha256(source.read_bytes()).hexdigest()
        if found != ZIP_SHA256:
            raise UserError(
                f"{source}: SHA-256 is {found}, the published archive has {ZIP_SHA256}; "
                "download it again"
            )


def read_splits(
    source: Path, progress: Callable[[str], object] = lambda name: None
) -> dict[str, PackedGraphs]:
    """Reads all splits; within a split, graphs stand in ascending order of their number.

    Args:
      source: the folder with raw/ and split/, or the zip archive.
      progress: called with the name of each file that was read.

    Raises:
      UserError: if a file is missing or malformed, or the splits are not a partition.
    """
    with _opener(source) as open_file:

        def read(name: str, parse: Callable[[IO[str]], NDArray[Any]]) -> NDArray[Any]:
            try:
                with (
                    open_file(name) as stored,
                    gzip.open(stored) as unpacked,
                    io.TextIOWrapper(unpacked, "ascii") as text,
                ):
                    values = parse(text)
            except (OSError, EOFError, ValueError) as error:
                raise UserError(f"{source}: {name} is malformed ({error})") from error
            progress(name)
            return values

        def integers(name: str) -> NDArray[np.int64]:
            return read(name, lambda text: np.loadtxt(text, np.int64, ndmin=1))

        columns = {
            "num_nodes": integers("raw/num-node-list.csv.gz"),
            "num_bonds": integers("raw/num-edge-list.csv.gz"),
            "node_features": read("raw/node-feat.csv.gz", _table),
            "bond_features": read("raw/edge-feat.csv.gz", _table),
            "bonds": read("raw/edge.csv.gz", _table),
            "labels": read("raw/graph-label.csv.gz", _labels),
        }
        members = {
            split: np.sort(integers(f"split/scaffold/{name}.csv.gz"))
            for split, name in _SPLIT_FILES.items()
        }
    try:
        everything = PackedGraphs.from_columns(**columns)
    except ValueError as error:
        raise UserError(f"{source}: the files contradict each other: {error}") from error
    together = np.sort(np.concatenate(list(members.values())))
    if not np.array_equal(together, np.arange(len(everything))):
        raise UserError(f"{source}: split/scaffold does not name every graph exactly once")
    return {split: everything.take(numbers) for split, numbers in members.items()}


def _table(text: IO[str]) -> NDArray[Any]:
    # Single precision holds all categories and node numbers within a molecule exactly.
    return np.loadtxt(text, np.float32, delimiter=",", ndmin=2)


def _labels(text: IO[str]) -> NDArray[np.int8]:
    rows = []
    for number, line in enumerate(text, start=1):
        try:
            rows.append(
                np.array([_LABELS[cell] for cell in line.rstrip("\r\n").split(",")], np.int8)
            )
        except KeyError as error:
            raise ValueError(f"line {number}: {error} is not a label") from error
    return np.stack(rows)


@contextlib.contextmanager
def _opener(source: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """Gives a function that opens one of `_FILES`."""

    def missing(name: str) -> UserError:
        return UserError(f"{source}: {name} is missing; download and unpack {ZIP_NAME} again")

    if source.is_dir():

        def open_path(name: str) -> IO[bytes]:
            if not (source / name).is_file():
                raise missing(name)
            return (source / name).open("rb")

        yield open_path
        return
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        raise UserError(f"{source}: not a zip archive; download it again") from error
    with archive:
        stored: Mapping[str, str] = {
            name.partition("/")[2] if name.partition("/")[2] in _FILES else name: name
            for name in archive.namelist()
        }

        def open_member(name: str) -> IO[bytes]:
            if name not in stored:
                raise missing(name)
            return archive.open(stored[name])

        yield open_member
