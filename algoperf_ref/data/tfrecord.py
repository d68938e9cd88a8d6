"""TFRecord files read, and converted to array_record, without TensorFlow.

A record is: length (uint64, little-endian), masked CRC-32C of the length, data, masked CRC-32C of
the data. The converted data set holds the same serialised examples in the same shards.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from algoperf_ref.data.files import atomic_directory, read_json, write_json
from algoperf_ref.data.tfds_store import INSTALL_HINT
from algoperf_ref.errors import UserError

_SHARD = re.compile(r"(?P<stem>.+)\.tfrecord-(?P<number>\d+-of-\d+)$")
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


class DamagedRecordError(UserError):
    """A TFRecord file is cut off or a checksum does not match."""


def records(path: Path, crc32c: Callable[[bytes], int] | None) -> Iterator[bytes]:
    """The records of one file.

    Args:
      path: a TFRecord file.
      crc32c: CRC-32C function for the data; None checks the lengths only.

    Raises:
      DamagedRecordError: if the file is cut off or a checksum is wrong.
    """
    with path.open("rb") as file:
        number = 0
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise _damaged(path, number, "is cut off")
            length, length_checksum = _HEADER.unpack(header)
            if masked(_crc32c_of_length(header[:8])) != length_checksum:
                raise _damaged(path, number, "has a wrong length checksum")
            data = _exactly(file, length, path, number)
            (data_checksum,) = _FOOTER.unpack(_exactly(file, _FOOTER.size, path, number))
            if crc32c is not None and masked(crc32c(data)) != data_checksum:
                raise _damaged(path, number, "has a wrong data checksum")
            yield data
            number += 1


def _exactly(file: BinaryIO, size: int, path: Path, number: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise _damaged(path, number, "is cut off")
    return data


def _damaged(path: Path, number: int, what: str) -> DamagedRecordError:
    return DamagedRecordError(f"{path}: record {number} {what}; fetch the file again")


def masked(crc: int) -> int:
    """The masking that TFRecord applies to a CRC."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def data_crc32c() -> Callable[[bytes], int] | None:
    """A fast CRC-32C from the google-crc32c package, or None if it is not installed."""
    try:
        import google_crc32c
    except ImportError:
        return None
    value: Callable[[bytes], int] = google_crc32c.value
    return value


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)  # reflected Castagnoli polynomial
        table.append(byte)
    return tuple(table)


def _crc32c_of_length(data: bytes) -> int:
    # In Python, because lengths are eight bytes and must be checked even without google-crc32c:
    # a damaged length would read the rest of the file as nonsense.
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def convert(
    source: Path, target: Path, progress: Callable[[int], object] = lambda examples: None
) -> bool:
    """Converts a prepared tfds data set from tfrecord to array_record.

    Finished shards of an interrupted conversion are kept and not converted again.

    Args:
      source: the version directory with `dataset_info.json` and the tfrecord shards; not changed.
      target: the version directory to make.
      progress: called with the number of records after each shard.

    Returns:
      Whether the checksums of the data were checked (needs google-crc32c).

    Raises:
      UserError: if shards are missing, damaged or hold another number of records than declared.
    """
    try:
        from array_record.python import (  # type: ignore[import-untyped]
            array_record_module,
        )
    except ImportError as error:
        raise UserError(f"converting needs array-record ({error}): {INSTALL_HINT}") from error
    declared = shard_lengths(source)
    crc32c = data_crc32c()
    staging = target.parent / f".{target.name}.converting"
    origin = {"source": str(source.resolve()), "info": read_json(source / "dataset_info.json")}
    if read_json(staging / "origin.json") != origin:
        # Shards of another source must not be mixed with those of this one.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write_json(staging / "origin.json", origin)
    for name, expected in declared.items():
        match = _SHARD.match(name)
        if match is None:
            raise UserError(f"{source}: {name} is not a tfrecord shard name")
        finished = staging / f"{match['stem']}.array_record-{match['number']}"
        if not finished.exists():
            partial = finished.with_name(f".{finished.name}.partial")
            # One record per chunk: examples are read one at a time, in any order.
            writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1")
            count = 0
            for record in records(source / name, crc32c):
                writer.write(record)
                count += 1
            writer.close()
            if count != expected:
                raise UserError(
                    f"{source / name}: {count} records, but dataset_info.json declares {expected}; "
                    "fetch the file again"
                )
            partial.rename(finished)
        progress(expected)
    with atomic_directory(target) as complete:
        for path in source.iterdir():
            if path.is_file() and not _SHARD.match(path.name) and path.suffix == ".json":
                shutil.copy(path, complete / path.name)
        info = json.loads((source / "dataset_info.json").read_text(encoding="utf-8"))
        write_json(complete / "dataset_info.json", info | {"fileFormat": "array_record"})
        for path in staging.glob("*.array_record-*"):
            path.rename(complete / path.name)
    shutil.rmtree(staging)
    return crc32c is not None


def shard_lengths(version_dir: Path) -> dict[str, int]:
    """Declared records of every tfrecord shard file of a prepared data set, all of which exist.

    Raises:
      UserError: if `dataset_info.json` or a shard is missing.
    """
    info = read_json(version_dir / "dataset_info.json")
    if not isinstance(info, dict) or not info.get("splits"):
        raise UserError(
            f"{version_dir}: no dataset_info.json with splits; is this a tfds data set?"
        )
    lengths = {}
    for split in info["splits"]:
        shards = split["shardLengths"]
        for number, length in enumerate(shards):
            name = f"{info['name']}-{split['name']}.tfrecord-{number:05d}-of-{len(shards):05d}"
            if not (version_dir / name).is_file():
                raise UserError(f"{version_dir}: {name} is missing; fetch the data set again")
            lengths[name] = int(length)
    return lengths
