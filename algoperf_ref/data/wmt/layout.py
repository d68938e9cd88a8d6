"""Where the sentence pairs of a tier lie.

The root of a tier holds the tfds preparations or the parallel text, the tokenizer, and the tokens::

    wmt17_translate/de-en/1.0.0/   train          or   train.de, train.en
    wmt14_translate/de-en/1.0.0/   others         or   validation.de, ..., test.en
    wmt_sentencepiece_model
    tokens/{train,validation,test}/
    manifest.json

Source: Workload facts (wmt), 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from algoperf_ref.data.places import TierPlaces

DATASET = "wmt"
LANGUAGES = ("de", "en")
"""Of the inputs and of the targets."""
SPLITS = ("train", "validation", "test")
TFDS: Mapping[str, str] = {
    "train": "wmt17_translate/de-en/1.0.0",
    "validation": "wmt14_translate/de-en/1.0.0",
    "test": "wmt14_translate/de-en/1.0.0",
}
"""tfds preparation of each split, whose own split has the same name."""
VOCABULARY: Mapping[str, int] = {"full": 32_000, "mini": 2_000}
"""Pieces of the tokenizer, by tier."""
MAX_LENGTH: Mapping[str, int] = {"full": 256, "mini": 32}
"""Pieces of the longest sentence, with its end, by tier."""


@dataclass(frozen=True)
class Layout(TierPlaces):
    """Places of one tier under a data directory."""

    dataset = DATASET

    @property
    def tokenizer(self) -> Path:
        """The SentencePiece model."""
        return self.root / "wmt_sentencepiece_model"

    def text(self, split: str, language: str) -> Path:
        """A file of the parallel text."""
        return self.root / f"{split}.{language}"

    def tokens(self, split: str) -> Path:
        """The directory of a split's tokens."""
        return self.root / "tokens" / split
