"""The converted form: the files of a part one after the other in a few large ones, with an index.

    images-00000.bin ...   the content of :data:`IMAGES_PER_FILE` image files each, as it was
    index.npz              names, labels and sizes, in the order of the names

A million small files are slow to list, to copy and to read in random order; this is not. Every
large file appears in one rename, so that an interrupted conversion goes on where it was.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from algoperf_ref.data.files import atomic_file, read_json, write_json
from algoperf_ref.data.imagenet.decoding import UnusableImage
from algoperf_ref.errors import UserError

if TYPE_CHECKING:
    from algoperf_ref.data.imagenet.stores import ImageStore

IMAGES_PER_FILE = 8192
_INDEX = "index.npz"


def is_complete(place: Path) -> bool:
    """Whether a conversion was finished there."""
    return (place / _INDEX).is_file()


class PackedStore:
    """Images of the converted form; see :class:`~algoperf_ref.data.imagenet.stores.ImageStore`."""

    form = "packed"

    def __init__(self, place: Path) -> None:
        """
        Raises:
          UserError: the index or a file is damaged or missing; names it.
        """
        self.place = place
        try:
            with np.load(place / _INDEX) as file:
                self.names, self.labels = file["names"], file["labels"]
                sizes, self._per_file = file["sizes"], int(file["images_per_file"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{place / _INDEX} is damaged ({error}); convert again") from error
        self._sizes = sizes
        firsts = np.arange(0, len(sizes), self._per_file)
        ends = np.cumsum(sizes)
        starts = ends - sizes
        self._offsets = starts - np.repeat(starts[firsts], self._per_file)[: len(sizes)]
        for number, total in enumerate(np.add.reduceat(sizes, firsts).tolist()):
            path = self._file(number)
            found = path.stat().st_size if path.is_file() else -1
            if found != total:
                raise UserError(
                    f"{path} is {'missing' if found < 0 else 'cut off'}; delete {place} and "
                    "convert again"
                )

    def _file(self, number: int) -> Path:
        return self.place / _file_name(number)

    def describe(self, example: int) -> str:
        return f"{self.place}: {self.names[example].decode()}"

    def read(self, example: int) -> bytes:
        size = int(self._sizes[example])
        try:
            with self._file(example // self._per_file).open("rb", buffering=0) as file:
                file.seek(int(self._offsets[example]))
                data = file.read(size)
        except OSError as error:
            raise UnusableImage(
                f"{self.describe(example)} cannot be read ({error.strerror or error})"
            ) from error
        if len(data) != size:
            raise UnusableImage(f"{self.describe(example)} is cut off")
        return data


def _file_name(number: int) -> str:
    return f"images-{number:05d}.bin"


def write(store: ImageStore, place: Path, *, images_per_file: int = IMAGES_PER_FILE) -> None:
    """Converts the images of a store; nothing is decoded.

    Args:
      store: of any form.
      place: directory to make; appears when all is done.
      images_per_file: how many images a large file holds.

    Raises:
      UnusableImage: an image cannot be read; names it.
    """
    from tqdm import tqdm

    staging = place.with_name(f".{place.name}.converting")
    origin = {
        "form": store.form,
        "place": str(store.place.resolve()),
        "images": len(store.labels),
        "images_per_file": images_per_file,
    }
    if read_json(staging / "origin.json") != origin:
        # Parts of another source must not be mixed with those of this one.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write_json(staging / "origin.json", origin)
    total = len(store.labels)
    sizes = []
    with tqdm(
        total=total, desc=f"convert {place.name}", unit=" images", leave=False, disable=None
    ) as bar:
        for number, first in enumerate(range(0, total, images_per_file)):
            examples = range(first, min(first + images_per_file, total))
            known = staging / f"{number:05d}.npy"
            if not (staging / _file_name(number)).is_file():
                sizes_here = []
                with atomic_file(staging / _file_name(number)) as file:
                    for example in examples:
                        sizes_here.append(file.write(store.read(example)))
                    # Before the file gets its name, so that its sizes are known if it is there.
                    np.save(known, np.array(sizes_here, np.int64))
            sizes.append(np.load(known))
            bar.update(len(examples))
    with atomic_file(staging / _INDEX) as file:
        np.savez(
            file,
            names=store.names,
            labels=store.labels,
            sizes=np.concatenate(sizes) if sizes else np.zeros(0, np.int64),
            images_per_file=np.array(images_per_file),
        )
    for left in (*staging.glob("*.npy"), staging / "origin.json"):
        left.unlink()
    shutil.rmtree(place, ignore_errors=True)
    staging.rename(place)
