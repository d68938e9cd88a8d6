"""The tokenizer: a SentencePiece model that makes pieces of transcripts, and transcripts of them.

Piece 0 is the unknown one, and at the same time the blank of the loss; 2 ends every target.
Source: Workload facts (librispeech_data), 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from algoperf_ref.data.sentence_pieces import (
    END,
    START,
    UNKNOWN,
    import_sentencepiece,
    special_ids,
    train_unigram,
)
from algoperf_ref.errors import MissingDataError, UserError

ASKED_PIECES: Mapping[str, int] = MappingProxyType({"full": 1024, "mini": 64})
"""Pieces that training is asked for. The few words of the mini tier do not make as many."""
MAX_CHARACTERS = 10_000_000
"""Training stops reading transcripts after as many; LibriSpeech's part has fewer."""


class Tokenizer:
    """A SentencePiece model.

    Attributes:
      path: its file.
    """

    def __init__(self, path: Path) -> None:
        """
        Args:
          path: file of the model.

        Raises:
          MissingDataError: there is no such file.
          UserError: it is no such model, or one with other special pieces.
        """
        processor = import_sentencepiece().SentencePieceProcessor
        self.path = path
        try:
            self._content = path.read_bytes()
        except FileNotFoundError as error:
            raise MissingDataError(
                f"{path}, the tokenizer, is missing: put back the one that the data were prepared "
                "with, or run the preparation, which trains one where there are transcripts"
            ) from error
        try:
            if not self._content:  # which the library would take for no model at all
                raise RuntimeError("the file is empty")
            self._processor = processor(model_proto=self._content)
        except RuntimeError as error:
            raise UserError(
                f"{path} is no SentencePiece model ({error}); put the tokenizer there, or delete it"
            ) from error
        found = special_ids(self._processor)
        if found != (UNKNOWN, START, END):
            raise UserError(
                f"{path} has the unknown, first and last piece {found}, the benchmark's tokenizer "
                f"{(UNKNOWN, START, END)}: it belongs to something else"
            )

    def __len__(self) -> int:
        """Number of pieces."""
        return int(self._processor.get_piece_size())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model, hexadecimal."""
        return hashlib.sha256(self._content).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The pieces of a transcript, with the end."""
        return [*self._processor.encode(text), END]

    def decode(self, ids: ArrayLike, lengths: ArrayLike) -> list[str]:
        """Makes texts of pieces; special pieces leave nothing, the unknown one ``" \u2047 "``.

        Args:
          ids: integers [rows, length]. A number that no piece has counts as the unknown one: a
            model may have more outputs than there are pieces.
          lengths: how many of each row count, [rows], of any real type.

        Returns:
          A text for each row.

        Raises:
          ValueError: there are not as many lengths as rows.
        """
        known = np.asarray(ids).astype(np.int64)
        known = np.where((known >= 0) & (known < len(self)), known, UNKNOWN)
        counts = np.asarray(lengths).astype(np.int64).tolist()
        rows = [row[:count] for row, count in zip(known.tolist(), counts, strict=True)]
        return list(self._processor.decode(rows)) if rows else []

    def unknown_characters(self, text: str) -> str:
        """The characters of a text that no piece has, each once and in order."""
        found = (
            character
            for character in dict.fromkeys(text)
            if not character.isspace() and UNKNOWN in self._processor.encode(character)
        )
        return "".join(found)


def train(
    texts: Iterable[str],
    path: Path,
    *,
    pieces: int,
    hard_limit: bool = True,
) -> None:
    """Trains a tokenizer: a unigram model that covers all characters, everything else as it comes.

    Nothing is drawn: the same texts in the same order give the same file.

    Args:
      texts: transcripts.
      path: of the model to write.
      pieces: how many it should have.
      hard_limit: whether fewer are an error.

    Raises:
      UserError: the texts do not make as many pieces.
    """
    lines = _first(texts, MAX_CHARACTERS)
    train_unigram(path, lines, pieces, hard_vocab_limit=hard_limit)


def _first(texts: Iterable[str], characters: int) -> Iterator[str]:
    """As many texts as it takes to reach a number of characters."""
    seen = 0
    for text in texts:
        yield text
        seen += len(text)
        if seen >= characters:
            return


def check_pieces(tokenizer: Tokenizer, tier: str) -> None:
    """Checks that a tokenizer is of a tier's size.

    Raises:
      UserError: it has another number of pieces.
    """
    asked = ASKED_PIECES[tier]
    fits = len(tokenizer) == asked if tier == "full" else len(tokenizer) <= asked
    if not fits:
        raise UserError(
            f"{tokenizer.path} has {len(tokenizer)} pieces, the {tier} tier's tokenizer "
            f"{'' if tier == 'full' else 'at most '}{asked}: put that there, or delete the file, "
            "so that the preparation trains one"
        )


def problem_of(pieces: NDArray[np.integer[Any]], tokenizer: Tokenizer) -> str | None:
    """What is wrong with a target, integers [pieces], in words; None if it can be used."""
    if len(pieces) == 0 or pieces[-1] != END:
        return "does not end with the last piece"
    if pieces.min() < 0 or pieces.max() >= len(tokenizer):
        return f"has a piece outside of the {len(tokenizer)} of the tokenizer"
    return None
