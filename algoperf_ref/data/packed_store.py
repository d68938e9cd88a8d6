"""Packed graphs on disk: one .npy file per column, memory-mapped when read, with a checksum.

A split is a directory:
  <column>.npy   the columns of `PackedGraphs`
  packed.json    format, number of graphs, checksum over all columns, what it was made from
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from algoperf_ref.data.files import atomic_directory, read_json, write_json
from algoperf_ref.data.packed import PackedGraphs

FORMAT = 1
_INFO = "packed.json"


class PackedInfo(NamedTuple):
    """What packed.json says: number of graphs, checksum, and a name for what it was made from."""

    num_graphs: int
    sha256: str
    source: str


def digest(packed: PackedGraphs) -> str:
    """SHA-256 over names, types, shapes and bytes (little-endian) of all columns."""
    total = hashlib.sha256()
    for name in PackedGraphs.column_names():
        column = np.ascontiguousarray(getattr(packed, name))
        column = column.astype(column.dtype.newbyteorder("<"), copy=False)
        total.update(f"{name} {column.dtype.str} {column.shape}\n".encode())
        total.update(column.data)
    return total.hexdigest()


def save(directory: Path, packed: PackedGraphs, source: str) -> PackedInfo:
    """Writes a split, replacing what stood there, in one rename."""
    info = PackedInfo(len(packed), digest(packed), source)
    with atomic_directory(directory) as partial:
        for name in PackedGraphs.column_names():
            np.save(partial / f"{name}.npy", getattr(packed, name))
        write_json(partial / _INFO, {"format": FORMAT, **info._asdict()})
    return info


def info(directory: Path) -> PackedInfo | None:
    """What packed.json says; None if there is no packed split of this format."""
    stored: Any = read_json(directory / _INFO)
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        return None
    if not set(PackedInfo._fields) <= set(stored):
        return None
    return PackedInfo(*(stored[name] for name in PackedInfo._fields))


def load(directory: Path) -> PackedGraphs:
    """Memory-maps the columns of a split.

    Raises:
      OSError or ValueError: if a column is missing or damaged.
    """
    columns = {
        name: np.asarray(np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False))
        for name in PackedGraphs.column_names()
    }
    return PackedGraphs(**columns)
