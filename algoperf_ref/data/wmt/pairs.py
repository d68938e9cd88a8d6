"""Sentence pairs from a tfds preparation or from parallel text; both give the same examples."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from algoperf_ref.data import tfds_store
from algoperf_ref.data.wmt.layout import LANGUAGES, SPLITS, TFDS
from algoperf_ref.errors import MissingDataError, UserError

Pair = tuple[str, str]
"""A German sentence and its English translation."""


class PairSource(Protocol):
    """All splits of a place.

    Attributes:
      name: what it is, for the manifest.
    """

    name: str

    def count(self, split: str) -> int:
        """Number of pairs of a split."""
        ...

    def pairs(self, split: str) -> Iterator[Pair]:
        """The pairs of a split, in order."""
        ...


class ParallelText:
    """Files ``<split>.de`` and ``<split>.en`` with a sentence on each line, UTF-8.

    Args:
      root: their directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = "parallel text"

    def count(self, split: str) -> int:
        """Number of pairs of a split; see :class:`PairSource`.

        Raises:
          UserError: the two files have different numbers of lines.
        """
        counts = [self._num_lines(split, language) for language in LANGUAGES]
        if counts[0] != counts[1]:
            german, english = (self._file(split, language) for language in LANGUAGES)
            raise UserError(
                f"{german} has {counts[0]:,} lines and {english} has {counts[1]:,}: line for line "
                "they must be translations of each other; fetch both files again"
            )
        return counts[0]

    def pairs(self, split: str) -> Iterator[Pair]:
        """The pairs of a split; see :class:`PairSource`.

        Raises:
          UserError: a line is not UTF-8, or the files have different numbers of lines.
        """
        self.count(split)
        german, english = (_lines(self._file(split, language)) for language in LANGUAGES)
        return zip(german, english, strict=True)

    @functools.cache  # noqa: B019  (there are six files, and one object in a preparation)
    def _num_lines(self, split: str, language: str) -> int:
        return _count_lines(self._file(split, language))

    def _file(self, split: str, language: str) -> Path:
        path = self._root / f"{split}.{language}"
        if not path.is_file():
            raise MissingDataError(f"{path} is missing; bring it, or the tfds preparation")
        return path


class TfdsPairs:
    """The official layout: ``wmt17_translate`` and ``wmt14_translate`` in array_record format.

    Args:
      root: the directory that both lie in.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = f"tfds {TFDS['train']}, {TFDS['test']}"

    def count(self, split: str) -> int:
        """Number of pairs of a split; see :class:`PairSource`."""
        return len(tfds_store.read(self._root / TFDS[split], split))

    def pairs(self, split: str) -> Iterator[Pair]:
        """The pairs of a split; see :class:`PairSource`.

        Raises:
          UserError: a sentence is not UTF-8.
        """
        version_dir = self._root / TFDS[split]
        source = tfds_store.read(version_dir, split)
        for number in range(len(source)):
            example = source[number]
            german, english = (
                _decode(example[language], f"{version_dir}, {split} example {number:,}")
                for language in LANGUAGES
            )
            yield german, english


def find(place: Path) -> PairSource | None:
    """Returns the pairs that lie in a directory, None if there are none.

    Raises:
      UserError: there is a tfds preparation, but in tfrecord format.
    """
    formats = {tfds_store.file_format(place / version) for version in TFDS.values()}
    if formats == {"array_record"}:
        return TfdsPairs(place)
    if any((place / f"{split}.{language}").exists() for split in SPLITS for language in LANGUAGES):
        return ParallelText(place)
    if "tfrecord" in formats:
        raise UserError(
            f"{place} holds tfds preparations in tfrecord format, which only TensorFlow reads; "
            f"python -m algoperf_ref.data convert wmt --source {place} makes readable ones"
        )
    return None


def _count_lines(path: Path) -> int:
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield _decode(line.rstrip(b"\r\n"), f"{path}, line {number:,}")


def _decode(sentence: bytes | str, place: str) -> str:
    if isinstance(sentence, str):
        return sentence
    try:
        return sentence.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: not UTF-8 ({error.reason}); fetch the file again") from error
