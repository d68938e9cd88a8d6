"""The converted form: plain samples of a part one after the other in a few large files.

    audio-00000.bin ...    samples of :data:`UTTERANCES_PER_FILE` utterances each, 16 bits, low
                           byte first
    index.npz              names, lengths and pieces

There is nothing to decode and no small file to open. Every large file appears in one rename, so
that an interrupted conversion goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from algoperf_ref.data.batches import in_order
from algoperf_ref.data.files import atomic_file, read_json, write_json
from algoperf_ref.data.librispeech import index as indexes
from algoperf_ref.data.librispeech.audio import Samples, UnusableAudio
from algoperf_ref.errors import UserError

if TYPE_CHECKING:
    from algoperf_ref.data.librispeech.stores import Store

UTTERANCES_PER_FILE = 4096
_INDEX = "index.npz"
_PER_FILE = "utterances_per_file"
_SAMPLE = np.dtype("<i2")
_AHEAD = 16


def is_complete(place: Path) -> bool:
    """Whether a conversion was finished there."""
    return (place / _INDEX).is_file()


class PackedStore:
    """Utterances of the converted form; see :class:`~.stores.Store`."""

    form = "packed"

    def __init__(self, place: Path) -> None:
        """
        Raises:
          UserError: the index or a file is damaged or missing; names it.
        """
        self.place = place
        found = indexes.read(place / _INDEX)
        if found is None:
            raise UserError(f"{place / _INDEX} is damaged; delete {place} and convert again")
        self.index, more = found
        self._per_file = more[_PER_FILE]
        samples = self.index.samples
        firsts = np.arange(0, len(samples), self._per_file)
        starts = np.cumsum(samples) - samples
        self._starts = starts - np.repeat(starts[firsts], self._per_file)[: len(samples)]
        for number, total in enumerate(np.add.reduceat(samples, firsts).tolist()):
            path = self._file(number)
            size = path.stat().st_size if path.is_file() else -1
            if size != total * _SAMPLE.itemsize:
                raise UserError(
                    f"{path} is {'missing' if size < 0 else 'cut off'}; delete {place} and "
                    "convert again"
                )

    def _file(self, number: int) -> Path:
        return self.place / _file_name(number)

    def describe(self, number: int) -> str:
        return f"{self.place}: {self.index.names[number]}"

    def read(self, number: int) -> Samples:
        count = int(self.index.samples[number])
        try:
            samples = np.fromfile(
                self._file(number // self._per_file),
                _SAMPLE,
                count,
                offset=int(self._starts[number]) * _SAMPLE.itemsize,
            )
        except OSError as error:
            raise UnusableAudio(
                f"{self.describe(number)} cannot be read ({error.strerror or error})"
            ) from error
        if len(samples) != count:
            raise UnusableAudio(f"{self.describe(number)} is cut off")
        return samples


def _file_name(number: int) -> str:
    return f"audio-{number:05d}.bin"


def write(
    store: Store,
    place: Path,
    *,
    utterances_per_file: int = UTTERANCES_PER_FILE,
    workers: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> None:
    """Converts the utterances of a store.

    Args:
      store: of any form.
      place: directory to make; appears when all is done.
      utterances_per_file: how many a large file holds.
      workers: threads that decode.
      progress: told how many utterances were done.

    Raises:
      UnusableAudio: an utterance cannot be read; names it.
    """
    staging = place.with_name(f".{place.name}.converting")
    origin = {
        "form": store.form,
        "place": str(store.place.resolve()),
        "tokenizer": store.index.tokenizer,
        "utterances": len(store.index),
        _PER_FILE: utterances_per_file,
    }
    if read_json(staging / "origin.json") != origin:
        # Parts of another source must not be mixed with those of this one.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write_json(staging / "origin.json", origin)
    for number, first in enumerate(range(0, len(store.index), utterances_per_file)):
        numbers = range(first, min(first + utterances_per_file, len(store.index)))
        path = staging / _file_name(number)
        if path.is_file():
            progress(len(numbers))
            continue
        with atomic_file(path) as file:
            for samples in in_order(store.read, numbers, workers, _AHEAD):
                file.write(samples.astype(_SAMPLE, copy=False).tobytes())
                progress(1)
    indexes.write(staging / _INDEX, store.index, **{_PER_FILE: utterances_per_file})
    (staging / "origin.json").unlink()
    shutil.rmtree(place, ignore_errors=True)
    staging.rename(place)
