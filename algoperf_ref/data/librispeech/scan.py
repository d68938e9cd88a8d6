"""Making the index of a part: every utterance is looked at once, so that no epoch meets a bad one.

FLAC files are decoded to the end, since only that shows whether they are complete.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import in_order
from algoperf_ref.data.librispeech.audio import UnusableAudio, open_array, read_flac
from algoperf_ref.data.librispeech.index import LeftOut, PartIndex, of_utterances
from algoperf_ref.data.librispeech.layout import MAX_CHARACTERS
from algoperf_ref.data.librispeech.tokenizer import UNKNOWN, Tokenizer, problem_of
from algoperf_ref.data.librispeech.trees import Tree, Utterance
from algoperf_ref.errors import UserError

_AHEAD = 64
_NAME = re.compile(r"\w+-\w+-\w+")


class _Seen(NamedTuple):
    """What is known of an utterance.

    Attributes:
      name: of the utterance.
      problem: why it cannot be used, in a sentence.
      long_transcript: whether it is left out for its transcript.
      samples: its length, if it was looked at.
      pieces: its target.
      unknown: characters that the tokenizer does not know.
    """

    name: str
    problem: str | None = None
    long_transcript: bool = False
    samples: int = 0
    pieces: Sequence[int] | NDArray[np.int32] = ()
    unknown: str = ""


def index_tree(
    tree: Tree,
    tokenizer: Tokenizer,
    *,
    max_audio_length: int,
    workers: int,
    progress: Callable[[], object] = lambda: None,
) -> PartIndex:
    """Makes the index of a part as it is downloaded.

    Args:
      tree: what is in its folder.
      tokenizer: makes the targets.
      max_audio_length: in samples; longer utterances are left out.
      workers: threads that decode.
      progress: called after every utterance.

    Returns:
      The index of the utterances that can be used and are not too long.

    Raises:
      UserError: soundfile is not installed.
    """

    def look(utterance: Utterance) -> _Seen:
        name, text, path = utterance
        if len(text) > MAX_CHARACTERS:
            return _Seen(name, long_transcript=True)
        try:
            samples = len(read_flac(path))
        except UnusableAudio as error:
            return _Seen(name, problem=str(error))
        pieces = tokenizer.encode(text)
        unknown = tokenizer.unknown_characters(text) if UNKNOWN in pieces else ""
        return _Seen(name, samples=samples, pieces=pieces, unknown=unknown)

    seen = []
    for one in in_order(look, tree.utterances, workers, _AHEAD):
        seen.append(one)
        progress()
    return _index(seen, tree.unusable, tokenizer, max_audio_length)


def index_official(
    folder: Path,
    tokenizer: Tokenizer,
    *,
    max_audio_length: int,
    workers: int,
    progress: Callable[[], object] = lambda: None,
) -> PartIndex:
    """Makes the index of a part of the official preparation; samples are not read.

    Args:
      folder: with the arrays, beside the list of their names.
      tokenizer: that made the targets.
      max_audio_length, workers, progress: see :func:`index_tree`.

    Returns:
      The index of the utterances that can be used and are not too long.

    Raises:
      UserError: the list of names is damaged.
    """

    def look(name: str) -> _Seen:
        try:
            samples = len(open_array(folder / f"{name}_audio.npy"))
            path = folder / f"{name}_targets.npy"
            pieces = np.array(open_array(path), np.int32)
        except UnusableAudio as error:
            return _Seen(name, problem=str(error))
        if problem := problem_of(pieces, tokenizer):
            return _Seen(name, problem=f"{path} {problem}")
        return _Seen(name, samples=samples, pieces=pieces)

    seen = []
    for one in in_order(look, official_names(folder), workers, _AHEAD):
        seen.append(one)
        progress()
    return _index(seen, [], tokenizer, max_audio_length)


def official_names(folder: Path) -> list[str]:
    """The names in the list of a part of the official preparation, in its order.

    Args:
      folder: of the arrays.

    Raises:
      UserError: the list is damaged; names the line.
    """
    path = folder.with_name(f"{folder.name}.csv")
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})") from error
    if not rows or rows[0][1:] != ["id"]:
        raise UserError(f"{path}: the first line is not ',id'")
    names: dict[str, None] = {}
    for number, row in enumerate(rows[1:], 2):
        name = row[1] if len(row) == 2 else ""
        if not _NAME.fullmatch(name) or name in names:
            kind = "is there twice" if name in names else "has no name of an utterance"
            raise UserError(f"{path}: line {number} {kind}; get the file again")
        names[name] = None
    return list(names)


def _index(
    seen: list[_Seen], unusable: list[str], tokenizer: Tokenizer, max_audio_length: int
) -> PartIndex:
    bad = [*unusable, *(one.problem for one in seen if one.problem is not None)]
    looked_at = [one for one in seen if one.problem is None and not one.long_transcript]
    good = [one for one in looked_at if one.samples <= max_audio_length]
    return of_utterances(
        [one.name for one in good],
        [one.samples for one in good],
        [one.pieces for one in good],
        tokenizer.digest,
        LeftOut(
            found=len(seen) + len(unusable),
            long_transcripts=sum(one.long_transcript for one in seen),
            long_audio=len(looked_at) - len(good),
            unusable=bad,
            unknown={one.name: one.unknown for one in good if one.unknown},
        ),
    )
