"""Where the images lie, and reading the Python version of CIFAR-10 without trusting its pickles.

    <data_dir>/cifar/cifar-10-batches-py/{data_batch_1 ... data_batch_5, test_batch}
    <data_dir>/cifar/cifar-10-python.tar.gz       or this, as it is downloaded; slower

A folder ``cifar10`` serves as well. There is a full tier only.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.errors import MissingDataError, UserError

DATASET = "cifar"
FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILES = ("test_batch",)
PLACES = (DATASET, "cifar10")
"""Folders of the data directory that are looked into."""
SIDE = 32
"""Height and width of the images in pixels."""

# All that the pickles of the six files are made of, besides containers, numbers and strings.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    """Makes arrays, and nothing else that a pickle could ask for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        # numpy's own name of today, so that no warning is raised about the one of then.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def check_tier(tier: str) -> None:
    """Raises a UserError for the mini tier, which there is not, and ValueError for no tier."""
    value = str(getattr(tier, "value", tier))
    if value == "mini":
        raise UserError(
            "there is no mini tier of cifar, whose data no package carries; mnist and the other "
            "workloads have one"
        )
    if value != "full":
        raise ValueError(f"unknown tier {value!r}, expected 'full'")


def find(data_dir: str | PathLike[str]) -> Path | None:
    """The folder or archive of the images; None if there is none."""
    for place in PLACES:
        for name in (FOLDER, ARCHIVE):
            path = Path(data_dir).expanduser() / place / name
            if path.exists():
                return path
    return None


def read(place: Path, names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Reads some of the files.

    Args:
      place: the folder or the archive.
      names: of the files.

    Returns:
      Images, uint8 [images, 32, 32, 3], and labels, int32 [images], in the order of the files.

    Raises:
      UserError: a file is missing or damaged, or is not what it should be; names it.
    """
    found = contents(place, names)
    parts = [_unpacked(f"{place}: {name}", found[name]) for name in names]
    images, labels = (np.concatenate(one) for one in zip(*parts, strict=True))
    return images, labels


def contents(place: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Reads some of the files as bytes, by name.

    Raises:
      UserError: a file is missing, or the archive is damaged; names it.
    """
    try:
        if place.is_dir():
            return {name: (place / name).read_bytes() for name in names}
        found = {}
        with tarfile.open(place, "r:gz") as tar:
            for member in tar:
                name = Path(member.name).name
                content = tar.extractfile(member) if name in names else None
                if content is not None:
                    found[name] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{place} cannot be read ({error}); download {ARCHIVE} again") from error
    for name in names:
        if name not in found:
            raise UserError(f"{place} has no {name}; download {ARCHIVE} again")
    return found


def _unpacked(name: str, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        data, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"], np.int32)
    # A pickle that is damaged may raise nearly anything.
    except Exception as error:
        raise UserError(f"{name} cannot be read ({error}); download {ARCHIVE} again") from error
    if data.dtype != np.uint8 or data.shape != (len(labels), 3 * SIDE * SIDE):
        raise UserError(f"{name} holds {data.dtype} {list(data.shape)}, not images of CIFAR-10")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise UserError(f"{name} has labels outside of 0 to 9")
    return np.ascontiguousarray(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)), labels


def missing(data_dir: str | PathLike[str]) -> MissingDataError:
    """The error for data that are not there."""
    return MissingDataError(
        f"no {DATASET} images: get {ARCHIVE} from www.cs.toronto.edu/~kriz/cifar.html and put it, "
        f"or its folder {FOLDER}, into {Path(data_dir).expanduser() / DATASET}"
    )
