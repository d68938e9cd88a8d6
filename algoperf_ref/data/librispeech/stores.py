"""Utterances of a part in the forms that they may lie in; all give the same samples and pieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from algoperf_ref.data.librispeech import index as indexes
from algoperf_ref.data.librispeech import packed, trees
from algoperf_ref.data.librispeech.audio import Samples, UnusableAudio, read_array, read_flac
from algoperf_ref.data.librispeech.index import PartIndex
from algoperf_ref.data.librispeech.layout import Layout
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.errors import UserError

LIMIT = "max_audio_length"
"""Name of the limit that an index was made with, in its file."""


class Store(Protocol):
    """The utterances of a part.

    Attributes:
      form: one of :data:`~algoperf_ref.data.librispeech.layout.FORMS`.
      place: where they lie.
      index: what there is.
    """

    form: str
    place: Path
    index: PartIndex

    def describe(self, number: int) -> str:
        """Where an utterance lies, for messages."""

    def read(self, number: int) -> Samples:
        """Samples of an utterance, int16 [samples]; any thread may call this.

        Raises:
          UnusableAudio: they cannot be read, or have changed since the preparation.
        """


class FlacStore:
    """Utterances as they are downloaded; see :class:`Store`."""

    form = "flac"

    def __init__(self, place: Path, index: PartIndex) -> None:
        self.place = place
        self.index = index

    def describe(self, number: int) -> str:
        return str(trees.path_of(self.place, str(self.index.names[number])))

    def read(self, number: int) -> Samples:
        path = trees.path_of(self.place, str(self.index.names[number]))
        return _unchanged(read_flac(path), path, self.index, number)


class ArrayStore:
    """Utterances of the official preparation; see :class:`Store`."""

    form = "npy"

    def __init__(self, place: Path, index: PartIndex) -> None:
        self.place = place
        self.index = index

    def describe(self, number: int) -> str:
        return str(self._path(number))

    def _path(self, number: int) -> Path:
        return self.place / f"{self.index.names[number]}_audio.npy"

    def read(self, number: int) -> Samples:
        path = self._path(number)
        return _unchanged(read_array(path), path, self.index, number)


def _unchanged(samples: Samples, path: Path, index: PartIndex, number: int) -> Samples:
    if len(samples) != index.samples[number]:
        raise UnusableAudio(
            f"{path} has {len(samples)} samples, but had {index.samples[number]} at preparation: "
            "put the file back, or delete the folder index and prepare again"
        )
    return samples


def find_store(layout: Layout, part: str) -> Store | None:
    """Opens a part in the first form that is ready.

    Args:
      layout: of the tier.
      part: of the data.

    Returns:
      The store; None if no form is ready.

    Raises:
      UserError: the packed form is damaged; names the file.
    """
    if packed.is_complete(layout.packed(part)):
        return packed.PackedStore(layout.packed(part))
    for kind, place in ((FlacStore, layout.tree(part)), (ArrayStore, layout.official(part))):
        if place is None:
            continue
        found = indexes.read(layout.index(part, kind.form))
        if found is not None and found[1].get(LIMIT) == layout.max_audio_length:
            return kind(place, found[0])
    return None


def open_stores(layout: Layout, parts: Sequence[str], tokenizer: Tokenizer) -> list[Store]:
    """Opens parts, each in the first form that is ready.

    Args:
      layout: of the tier.
      parts: of the data.
      tokenizer: of the tier.

    Raises:
      MissingDataError: a part is not ready.
      UserError: a part is damaged, or was prepared with another tokenizer.
    """
    stores = {part: find_store(layout, part) for part in parts}
    missing = [part for part, store in stores.items() if store is None]
    if missing:
        raise layout.missing(missing)
    opened = [store for store in stores.values() if store is not None]
    for store in opened:
        if store.index.tokenizer != tokenizer.digest:
            raise UserError(
                f"{store.place} was prepared with another tokenizer than {tokenizer.path}: put "
                f"back the file that was there"
                + (
                    f", or delete {store.place} and convert again"
                    if store.form == "packed"
                    else f", or prepare again with: {layout.prepare_command()}"
                )
            )
    return opened
