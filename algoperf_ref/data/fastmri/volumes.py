"""HDF5 files of the official layout: what is in one, and reading single slices.

A file has the data sets `kspace`, complex64 [slices, rows, columns], and `reconstruction_esc`,
float32 [slices, height, width], and the attribute `max`. In the official files both lie in one
piece, uncompressed, so that a slice is read as plain bytes at a known place: without the HDF5
library, whose global lock would make threads wait for each other, and without keeping files open.
Files that are chunked or compressed are read by the library.
"""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from algoperf_ref.errors import UserError

KSPACE, TARGET, MAXIMUM = "kspace", "reconstruction_esc", "max"
_DTYPES: dict[str, np.dtype[Any]] = {
    KSPACE: np.dtype("<c8"),
    TARGET: np.dtype("<f4"),
}


class UnusableVolume(UserError):
    """A file that cannot be read, or does not hold what it should; the message names it."""


@dataclass(frozen=True)
class Volume:
    """What is in a file.

    Attributes:
      name: folder and name of the file.
      bytes: its size.
      mtime_ns: when it was last changed; with the size, tells whether this is still true.
      slices: number of slices.
      rows, columns: of the k-space.
      height, width: of the target image.
      volume_max: attribute `max`, 0 if there is none, as in the official pipeline.
      kspace_offset, target_offset: where the data sets begin in the file; None if not in one piece.
    """

    name: str
    bytes: int
    mtime_ns: int
    slices: int
    rows: int
    columns: int
    height: int
    width: int
    volume_max: float
    kspace_offset: int | None
    target_offset: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise UserError('reading fastMRI needs h5py: pip install "algoperf-ref[data]"') from error
    return h5py


def inspect(root: Path, name: str) -> Volume:
    """Opens a file and checks its form; no slice is read.

    Args:
      root: directory of the tier.
      name: folder and name of the file.

    Raises:
      UnusableVolume: the file is truncated or no HDF5 file, or a data set is missing or of another
        shape or type.
      UserError: h5py is not installed.
    """
    path = root / name
    h5py = _h5py()
    try:
        stat = path.stat()
        with h5py.File(path, "r") as file:
            kspace, target = (_data_set(path, file, key) for key in (KSPACE, TARGET))
            maximum = float(file.attrs.get(MAXIMUM, 0.0))
            offsets = [_offset(data) for data in (kspace, target)]
            shapes = kspace.shape, target.shape
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise UnusableVolume(f"{path} cannot be read as HDF5 ({_one_line(error)})") from error
    (slices, rows, columns), (target_slices, height, width) = shapes
    if slices != target_slices or slices < 1:
        raise UnusableVolume(
            f"{path} has {slices} slices of {KSPACE}, but {target_slices} of {TARGET}"
        )
    if not (1 <= height <= rows and 1 <= width <= columns):
        raise UnusableVolume(
            f"{path}: the target, {height} x {width}, is larger than the k-space, "
            f"{rows} x {columns}"
        )
    return Volume(
        name=name,
        bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        slices=slices,
        rows=rows,
        columns=columns,
        height=height,
        width=width,
        volume_max=maximum,
        kspace_offset=offsets[0],
        target_offset=offsets[1],
    )


def _data_set(path: Path, file: Any, key: str) -> Any:
    data = file.get(key)
    if data is None or not hasattr(data, "shape"):
        raise UnusableVolume(f"{path} has no data set {key!r}")
    if len(data.shape) != 3:
        raise UnusableVolume(f"{path}: {key} has the shape {list(data.shape)}, expected three axes")
    if data.dtype != _DTYPES[key]:
        raise UnusableVolume(f"{path}: {key} is {data.dtype}, expected {_DTYPES[key].name}")
    return data


def _offset(data: Any) -> int | None:
    if data.chunks is not None or data.compression is not None or data.external:
        return None
    offset = data.id.get_offset()
    return None if offset is None else int(offset)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class Scratch(threading.local):
    """Memory that a thread uses again for every slice: new memory costs more than the reading."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array with arbitrary content; one asked for before by this name is overwritten."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size, np.uint8)
        return buffer[:size].view(dtype).reshape(shape)


def read_slice(
    root: Path, volume: Volume, number: int, scratch: Scratch | None = None
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Reads a slice; any thread may.

    Args:
      root: directory of the tier.
      volume: the file.
      number: of the slice in it, from 0.
      scratch: memory for the result, which the next call in this thread overwrites.

    Returns:
      The k-space, complex64 [rows, columns], and the target, float32 [height, width].

    Raises:
      UnusableVolume: the file cannot be read.
    """
    path = root / volume.name
    memory = scratch or Scratch()
    kspace = memory.array(KSPACE, (volume.rows, volume.columns), _DTYPES[KSPACE])
    target = memory.array(TARGET, (volume.height, volume.width), _DTYPES[TARGET])
    try:
        if volume.kspace_offset is None or volume.target_offset is None:
            with _h5py().File(path, "r") as file:
                file[KSPACE].read_direct(kspace, np.s_[number])
                file[TARGET].read_direct(target, np.s_[number])
        else:
            with path.open("rb", buffering=0) as raw:
                for into, offset in (
                    (kspace, volume.kspace_offset),
                    (target, volume.target_offset),
                ):
                    raw.seek(offset + number * into.nbytes)
                    got = _read_into(raw, into)
                    if got < into.nbytes:
                        raise EOFError(f"it ends {into.nbytes - got} bytes too early")
    except (OSError, RuntimeError, KeyError, TypeError, EOFError) as error:
        raise UnusableVolume(
            f"{path}: slice {number} cannot be read ({_one_line(error)}); check the data with: "
            "python -m algoperf_ref.data verify fastmri"
        ) from error
    return kspace, target


def _read_into(raw: Any, array: NDArray[Any]) -> int:
    view = array.reshape(-1).view(np.uint8).data
    got = 0
    while got < len(view):
        count = raw.readinto(view[got:])
        if not count:
            break
        got += count
    return got


def is_number(value: float) -> bool:
    """Whether a volume maximum can be used: finite and not negative."""
    return math.isfinite(value) and value >= 0
