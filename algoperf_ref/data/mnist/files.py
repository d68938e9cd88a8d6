"""Where the digits lie, and their format: the four original files of MNIST.

<data_dir>/mnist/                    full tier, from the user's download
<data_dir>/mini/mnist/               mini tier, made from the digits of a Python package
  train-images-idx3-ubyte[.gz]       the splits `train` and `eval_train`, then `validation`
  train-labels-idx1-ubyte[.gz]
  t10k-images-idx3-ubyte[.gz]        the split `test`
  t10k-labels-idx1-ubyte[.gz]
  manifest.json                      what was made, from what
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.datasets import TIERS
from algoperf_ref.errors import MissingDataError, UserError

DATASET = "mnist"
COUNTS: Mapping[str, Mapping[str, int]] = {
    "full": {"train": 50_000, "validation": 10_000, "test": 10_000},
    "mini": {"train": 4_000, "validation": 500, "test": 500},
}
"""Digits of every split by tier. The package of the mini tier has 5,000 in all. Source: Workload
facts, dev_workloads, and mini_tier, part 2."""
KINDS = ("train", "t10k")
"""How the names of the files begin, of those for training and validation, and of the test files."""

_UNSIGNED_BYTES = 0x08


@dataclass(frozen=True)
class Layout:
    """Places of one tier under a data directory."""

    data_dir: Path
    tier: str

    @classmethod
    def of(cls, data_dir: str | PathLike[str], tier: str) -> Layout:
        """Accepts "full", "mini" or a string enum of these values."""
        value = str(getattr(tier, "value", tier))
        if value not in TIERS:
            raise ValueError(f"unknown tier {value!r}, expected one of {TIERS}")
        return cls(Path(data_dir).expanduser(), value)

    @property
    def root(self) -> Path:
        """The directory that everything of this tier lies in."""
        base = self.data_dir if self.tier == "full" else self.data_dir / "mini"
        return base / DATASET

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    def images(self, kind: str) -> Path | None:
        return find(self.root, f"{kind}-images-idx3-ubyte")

    def labels(self, kind: str) -> Path | None:
        return find(self.root, f"{kind}-labels-idx1-ubyte")

    def prepare_command(self) -> str:
        return (
            f"python -m algoperf_ref.data prepare {DATASET} --tier {self.tier} "
            f"--data_dir {self.data_dir}"
        )


def find(place: Path, name: str) -> Path | None:
    """A file of this name, plain or compressed, its parts joined by a hyphen or a dot."""
    for plain in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (place / f"{plain}{suffix}").is_file():
                return place / f"{plain}{suffix}"
    return None


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Reads a file in the format IDX, plain or compressed.

    Args:
      path: of the file.
      axes: how many it must have.

    Returns:
      uint8, read-only.

    Raises:
      UserError: it is damaged, or holds something else; names it.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        zeros, kind, found = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{found}I", data, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise UserError(f"{path} cannot be read ({error}); get it again") from error
    if (zeros, kind, found) != (0, _UNSIGNED_BYTES, axes):
        raise UserError(f"{path} is not an IDX file of bytes with {axes} axes")
    start = 4 + 4 * axes
    if len(data) - start != math.prod(shape):
        raise UserError(
            f"{path} has {len(data) - start:,} bytes of values, its head says "
            f"{math.prod(shape):,}; get it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    """Writes a compressed file in the format IDX, the same bytes every time."""
    head = struct.pack(f">HBB{values.ndim}I", 0, _UNSIGNED_BYTES, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes(), mtime=0))


def read(layout: Layout, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reads the digits of the files of a kind.

    Returns:
      Images, uint8 [digits, 28, 28], and labels, uint8 [digits].

    Raises:
      MissingDataError: a file is absent.
      UserError: a file is damaged, or the two do not fit each other.
    """
    paths = layout.images(kind), layout.labels(kind)
    if paths[0] is None or paths[1] is None:
        what = "images-idx3" if paths[0] is None else "labels-idx1"
        raise MissingDataError(
            f"no {kind}-{what}-ubyte.gz in {layout.root} ({layout.tier} tier of {DATASET}); "
            f"prepare it with: {layout.prepare_command()}"
        )
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
    if len(images) != len(labels):
        raise UserError(
            f"{paths[0]} has {len(images)} images, but {paths[1].name} has {len(labels)} labels"
        )
    if len(labels) and labels.max() > 9:
        raise UserError(f"{paths[1]} has a label {labels.max()}, expected 0 to 9")
    return images, labels
