"""What is in a part: names, lengths and pieces of its utterances, in the order of the names."""

from __future__ import annotations

import errno
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.files import atomic_file

_FORMAT = 1
_ARRAYS = ("names", "samples", "lengths", "pieces")


@dataclass(frozen=True)
class LeftOut:
    """Why utterances of a part are not in its index, and what is odd about those that are.

    Attributes:
      found: utterances that there are in all.
      long_transcripts: left out for the length of their transcripts.
      long_audio: left out for their length in samples.
      unusable: left out because something is wrong with them: a sentence for each.
      unknown: name of an utterance -> its characters that the tokenizer does not know; it stays in.
    """

    found: int = 0
    long_transcripts: int = 0
    long_audio: int = 0
    unusable: Sequence[str] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PartIndex:
    """The utterances of a part.

    Attributes:
      names: str [utterances], sorted, for example ``84-121123-0000``.
      samples: length of each in samples, int64 [utterances].
      lengths: pieces of each, with the end, int64 [utterances].
      pieces: all of them one after the other, int32 [sum of lengths].
      tokenizer: checksum of the tokenizer that made them.
      left_out: what is not there.
    """

    names: NDArray[np.str_]
    samples: NDArray[np.int64]
    lengths: NDArray[np.int64]
    pieces: NDArray[np.int32]
    tokenizer: str
    left_out: LeftOut

    def __post_init__(self) -> None:
        ends = np.cumsum(self.lengths, dtype=np.int64)
        object.__setattr__(self, "_starts", ends - self.lengths)
        if not len(self.names) == len(self.samples) == len(self.lengths):
            raise ValueError("columns of different lengths")
        if (int(ends[-1]) if len(ends) else 0) != len(self.pieces):
            raise ValueError("the number of pieces is not the sum of the lengths")

    def __len__(self) -> int:
        return len(self.names)

    def target(self, number: int) -> NDArray[np.int32]:
        """The pieces of an utterance, int32 [pieces]."""
        start = int(self._starts[number])  # type: ignore[attr-defined]
        return self.pieces[start : start + int(self.lengths[number])]


def of_utterances(
    names: Sequence[str],
    samples: Sequence[int],
    targets: Sequence[Sequence[int] | NDArray[np.integer[Any]]],
    tokenizer: str,
    left_out: LeftOut,
) -> PartIndex:
    """Makes an index of utterances in any order; see :class:`PartIndex`."""
    order = sorted(range(len(names)), key=names.__getitem__)
    parts = [np.asarray(targets[number], np.int32) for number in order]
    return PartIndex(
        names=np.array([names[number] for number in order], np.str_),
        samples=np.array([samples[number] for number in order], np.int64),
        lengths=np.array([len(part) for part in parts], np.int64),
        pieces=np.concatenate(parts) if parts else np.zeros(0, np.int32),
        tokenizer=tokenizer,
        left_out=left_out,
    )


def write(path: Path, index: PartIndex, **more: int) -> None:
    """Stores an index.

    Args:
      path: of the file.
      index: what to store.
      more: further numbers, which :func:`read` gives back.
    """
    columns: dict[str, Any] = {name: getattr(index, name) for name in _ARRAYS}
    columns |= {name: np.array(number) for name, number in more.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.savez(
            file,
            format=np.array(_FORMAT),
            tokenizer=np.array(index.tokenizer),
            left_out=np.array(json.dumps(vars(index.left_out), ensure_ascii=False)),
            **columns,
        )


def read(path: Path) -> tuple[PartIndex, dict[str, int]] | None:
    """The stored index and further numbers; None if there is none, or it cannot be used."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
        if int(found.pop("format")) != _FORMAT:
            return None
        index = PartIndex(
            **{name: found.pop(name) for name in _ARRAYS},
            tokenizer=str(found.pop("tokenizer")),
            left_out=LeftOut(**json.loads(str(found.pop("left_out")))),
        )
        return index, {name: int(number) for name, number in found.items()}
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EIO):
            raise
        return None
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
