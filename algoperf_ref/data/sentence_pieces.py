"""What the tokenizers of text and of speech ask of SentencePiece."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from algoperf_ref.data.files import atomic_file
from algoperf_ref.data.tfds_store import INSTALL_HINT
from algoperf_ref.errors import UserError

UNKNOWN, START, END = 0, 1, 2
"""Ids of the special pieces in all tokenizers of the benchmark."""

_QUIET = 2  # log errors only


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


def special_ids(processor: Any) -> tuple[int, int, int]:
    """Returns a model's ids of the unknown piece, the start and the end."""
    return (processor.unk_id(), processor.bos_id(), processor.eos_id())


def train_unigram(path: Path, lines: Iterable[str], pieces: int, **options: Any) -> None:
    """Trains a unigram model that covers all characters, and writes it.

    Nothing is drawn: the same lines in the same order give the same file.

    Args:
      path: of the model.
      lines: text.
      pieces: how many it should have.
      **options: further options of the library.

    Raises:
      UserError: the text does not make as many pieces.
    """
    trainer = import_sentencepiece().SentencePieceTrainer
    model = io.BytesIO()
    try:
        trainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=pieces,
            character_coverage=1.0,
            minloglevel=_QUIET,
            **options,
        )
    except RuntimeError as error:
        said = str(error).rsplit("] ", 1)[-1]
        raise UserError(
            f"no tokenizer of {pieces:,} pieces can be trained on this text ({said}); is it "
            "complete?"
        ) from error
    with atomic_file(path) as file:
        file.write(model.getvalue())
