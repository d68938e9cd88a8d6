"""The tokenizer: one vocabulary of pieces for both languages; padding has the unknown piece's id.

Source: Workload facts (wmt), 5 and 7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.sentence_pieces import (
    END,
    START,
    UNKNOWN,
    import_sentencepiece,
    special_ids,
    train_unigram,
)
from algoperf_ref.data.wmt.pairs import Pair
from algoperf_ref.errors import MissingDataError, UserError

TRAINING_BYTES = 10**7
"""Text that a tokenizer is trained on, German and English lines in turn."""


class Tokenizer:
    """A SentencePiece model.

    Args:
      path: its file.
      vocabulary: number of pieces that it must have.

    Attributes:
      sha256: checksum of the file.

    Raises:
      MissingDataError: there is no file.
      UserError: it is no model, or another one than the workload needs.
    """

    def __init__(self, path: Path, vocabulary: int) -> None:
        sentencepiece = import_sentencepiece()
        try:
            model = path.read_bytes()
        except OSError as error:
            raise MissingDataError(
                f"the tokenizer {path} cannot be read ({error.strerror}); prepare the data again"
            ) from error
        mend = "move it away and prepare the data again, which trains one"
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise UserError(f"{path} is no SentencePiece model; {mend}") from error
        found = self._processor.get_piece_size()
        if found != vocabulary:
            raise UserError(f"{path} has {found:,} pieces, expected {vocabulary:,}; {mend}")
        special = special_ids(self._processor)
        if special != (UNKNOWN, START, END):
            raise UserError(
                f"{path} has the ids {special} for unknown, start and end, expected "
                f"{(UNKNOWN, START, END)}; {mend}"
            )
        self.sha256 = hashlib.sha256(model).hexdigest()

    def encode(self, sentences: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Returns the ids of the pieces of every sentence, with the end."""
        ids: list[list[int]] = self._processor.encode(
            list(sentences), add_eos=True, num_threads=threads
        )
        return ids

    def decode(self, ids: NDArray[np.integer[Any]]) -> list[str]:
        """Returns the text of rows of ids.

        A row is cut behind its first end. Without an end only its first piece is left: the targets
        were set with it (DEV-186).

        Args:
          ids: integers ``[rows, length]``.
        """
        ends = np.argmax(np.asarray(ids) == END, axis=1) + 1
        rows = [row[:end].tolist() for row, end in zip(np.asarray(ids), ends, strict=True)]
        texts: list[str] = self._processor.decode(rows) if rows else []
        return texts


def training_lines(pairs: Iterable[Pair], size: int = TRAINING_BYTES) -> Iterator[str]:
    """German and English lines in turn, pair by pair, until they have ``size`` bytes.

    Args:
      pairs: in the order of the files.
      size: bytes of UTF-8, with a line end each.
    """
    written = 0
    for pair in pairs:
        for line in pair:
            yield line
            written += len(line.encode("utf-8")) + 1
        if written >= size:
            return


def train(path: Path, lines: Iterable[str], vocabulary: int) -> None:
    """Trains a tokenizer of this size; see :func:`sentence_pieces.train_unigram`."""
    # Sums of floats depend on the number of threads.
    train_unigram(path, lines, vocabulary, num_threads=1)
