"""The tokenizer: one vocabulary of pieces for both languages.

Source: Workload facts (wmt), 5 and 7.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.files import atomic_file
from algoperf_ref.data.tfds_store import INSTALL_HINT
from algoperf_ref.data.wmt.pairs import Pair
from algoperf_ref.errors import MissingDataError, UserError

UNKNOWN, START, END = 0, 1, 2
"""Ids of special pieces; padding has the id of unknown pieces."""
TRAINING_BYTES = 10**7
"""Text that a tokenizer is trained on, German and English lines in turn."""


def import_sentencepiece() -> Any:
    """The sentencepiece module.

    Raises:
      UserError: it is not installed.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise UserError(f"the tokenizer needs sentencepiece ({error}): {INSTALL_HINT}") from error
    return sentencepiece


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
        special = tuple(getattr(self._processor, name)() for name in ("unk_id", "bos_id", "eos_id"))
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
    """Trains a unigram model and writes it; the same lines give the same bytes.

    Args:
      path: of the model; must not exist.
      lines: text.
      vocabulary: number of pieces.

    Raises:
      UserError: the text is too small for so many pieces.
    """
    sentencepiece = import_sentencepiece()
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=vocabulary,
            model_type="unigram",
            character_coverage=1.0,
            num_threads=1,  # sums of floats depend on how many there are
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(
            f"no tokenizer of {vocabulary:,} pieces can be trained on this text ({error})"
        ) from error
    with atomic_file(path) as file:
        file.write(model.getvalue())
