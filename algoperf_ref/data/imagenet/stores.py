"""Encoded images by number, from any of three forms, in the same order: that of their file names.

What is in a folder of a million files, or in records that only reading reveals, is written down in
an index the first time.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.files import atomic_file
from algoperf_ref.data.imagenet import packed
from algoperf_ref.data.imagenet.decoding import UnusableImage
from algoperf_ref.data.imagenet.layout import Layout, class_folders
from algoperf_ref.data.tfds_store import import_tfds
from algoperf_ref.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png")
"""Of image files, in small letters."""

_INDEX_FORMAT = 1
_MANY = 20_000  # files whose reading shows progress


class ImageStore(Protocol):
    """The images of a part of the data.

    Attributes:
      form: ``folder``, ``tfds`` or ``packed``.
      place: where they lie.
      names: bare file names in order, bytes [images].
      labels: numbers of the classes, int32 [images].
    """

    form: str
    place: Path
    names: NDArray[np.bytes_]
    labels: NDArray[np.int32]

    def describe(self, example: int) -> str:
        """What to call an image in a message."""

    def read(self, example: int) -> bytes:
        """The content of the file of an image; any thread may call this.

        Raises:
          UnusableImage: it cannot be read; names it.
        """


def name_order(names: NDArray[np.bytes_], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """The documented order of examples: by bare file name, then by label; int64 [images]."""
    return np.lexsort((labels, names)).astype(np.int64)


def open_store(layout: Layout, part: str) -> ImageStore:
    """Opens a part in the form that is quickest to read.

    Raises:
      MissingDataError: there is none.
      UserError: it is not as it should be, or tensorflow-datasets is needed and not installed.
    """
    if packed.is_complete(layout.packed(part)):
        return packed.PackedStore(layout.packed(part))
    version_dir = layout.tfds(part, "array_record")
    if version_dir is not None:
        return TfdsStore(version_dir, part, layout.index(part, "tfds"))
    folder = layout.folder(part)
    if folder is None:
        raise layout.missing(part)
    classes = class_folders(folder, part)
    if part == "validation":
        # A class is numbered by its place among those of the training images.
        classes = class_folders(layout.folder("train") or folder, "train")
    return FolderStore(folder, part, classes, layout.index(part, "folder"))


class FolderStore:
    """Images in a folder for each class; see :class:`ImageStore`."""

    form = "folder"

    def __init__(self, folder: Path, part: str, classes: Sequence[str], index: Path) -> None:
        """
        Args:
          folder: with a folder for each class.
          part: that it is.
          classes: names of the class folders by label; of test images, the names are the labels.
          index: file that remembers the names, as long as no class folder has changed.

        Raises:
          UserError: there is a class that is not known.
        """
        self.place = folder
        self._classes = class_folders(folder, part)
        numbers = {name: number for number, name in enumerate(classes)}
        if part == "test":
            numbers = {name: int(name) for name in self._classes}
        unknown = [name for name in self._classes if name not in numbers]
        if unknown:
            raise UserError(
                f"{folder} has a folder {unknown[0]}, a class that the training images do not have"
            )
        changed = [
            (folder / name).stat().st_mtime_ns for name in self._classes
        ]  # of a folder, this changes with the files in it
        stamp = {
            "classes": np.array(self._classes, "U"),
            "changed": np.array(changed, np.int64),
        }
        found = _read_index(index, stamp)
        if found is None:
            found = self._look(part)
            _write_index(index, stamp | found)
        self.names, self._folders = found["names"], found["folders"]
        by_folder = np.array([numbers[name] for name in self._classes], np.int32)
        self.labels = by_folder[self._folders]
        order = name_order(self.names, self.labels)
        self.names, self.labels = self.names[order], self.labels[order]
        self._folders = self._folders[order]

    def _look(self, part: str) -> dict[str, NDArray[Any]]:
        from tqdm import tqdm

        names: list[bytes] = []
        counts = []
        for name in tqdm(
            self._classes, f"list {part}", unit=" folders", leave=False, disable=None, delay=2
        ):
            files = [
                one.name.encode()
                for one in (self.place / name).iterdir()
                if one.suffix.lower() in SUFFIXES and one.name[0] != "."
            ]
            names.extend(files)
            counts.append(len(files))
        return {
            "names": np.array(names, np.bytes_),
            "folders": np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        }

    def describe(self, example: int) -> str:
        return str(self._path(example))

    def _path(self, example: int) -> Path:
        folder = self._classes[int(self._folders[example])]
        return Path(self.place, folder, self.names[example].decode())

    def read(self, example: int) -> bytes:
        path = self._path(example)
        try:
            return path.read_bytes()
        except OSError as error:
            raise UnusableImage(f"{path} cannot be read ({error.strerror or error})") from error


class TfdsStore:
    """Images of a tfds preparation in array_record format; see :class:`ImageStore`."""

    form = "tfds"

    def __init__(self, version_dir: Path, part: str, index: Path) -> None:
        """
        Args:
          version_dir: with `dataset_info.json` and the record files.
          part: that is read.
          index: file that remembers names and labels.

        Raises:
          UserError: tensorflow-datasets is not installed, or there is no such split.
        """
        tfds = import_tfds()
        self.place = version_dir
        self._part = part
        builder = tfds.builder_from_directory(str(version_dir))
        if part not in builder.info.splits:
            raise UserError(f"{version_dir} has no {part} split; prepare it again")
        self._source = builder.as_data_source(part, decoders={"image": tfds.decode.SkipDecoding()})
        info = (version_dir / "dataset_info.json").stat()
        stamp = {"changed": np.array([info.st_mtime_ns, info.st_size, len(self._source)])}
        found = _read_index(index, stamp)
        if found is None:
            found = self._look()
            _write_index(index, stamp | found)
        order = name_order(found["names"], found["labels"])
        self.names, self.labels = found["names"][order], found["labels"][order]
        self._records = order

    def _look(self) -> dict[str, NDArray[Any]]:
        from tqdm import tqdm

        names, labels = [], []
        for number in tqdm(
            range(len(self._source)),
            f"read {self._part} once",
            unit=" images",
            leave=False,
            disable=True if len(self._source) < _MANY else None,
        ):
            record = self._source[number]
            # Of test images, the file name has the folder of the class before it.
            names.append(record["file_name"].rpartition(b"/")[2])
            labels.append(int(record["label"]))
        return {"names": np.array(names, np.bytes_), "labels": np.array(labels, np.int32)}

    def describe(self, example: int) -> str:
        return f"{self.place}: {self._part} image {self.names[example].decode()}"

    def read(self, example: int) -> bytes:
        try:
            data: bytes = self._source[int(self._records[example])]["image"]
        # The reader raises RuntimeError, ValueError or IndexError, as it likes.
        except Exception as error:
            said = " ".join(str(error).split())
            raise UnusableImage(f"{self.describe(example)} cannot be read ({said})") from error
        return data


def _read_index(path: Path, stamp: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
    """The arrays of an index file, if it is of the same stamp; else None."""
    try:
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError):
        return None
    if int(found.pop("format", -1)) != _INDEX_FORMAT:
        return None
    if not all(name in found and np.array_equal(found[name], stamp[name]) for name in stamp):
        return None
    return found


def _write_index(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            np.savez(file, format=np.array(_INDEX_FORMAT), **arrays)  # type: ignore[arg-type]
    except OSError as error:
        # Read-only data serve as well, only slower at every start.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
