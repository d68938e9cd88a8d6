"""Where the utterances of each tier lie under a data directory, and which parts make a split.

    <data_dir>/librispeech/                 full tier
    <data_dir>/mini/librispeech/            mini tier
      LibriSpeech/<part>/<speaker>/<chapter>/<utterance>.flac         as it is downloaded, with
      LibriSpeech/<part>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt    the transcripts
      <part>.csv                            the official preparation: names, and
      <part>/<utterance>_audio.npy          samples, int64 [samples], and
      <part>/<utterance>_targets.npy        pieces with their end, int32 [pieces]
      packed/<part>/                        converted, quick to read in any order
      spm_model.vocab                       the tokenizer, a SentencePiece model
      index/<part>-<form>.npz               lengths and pieces of every utterance
      manifest.json                         what was made, from what

The audio stays compressed as it was downloaded (about 60 GB; the official preparation takes 387 GB,
because it stores 16-bit samples in 64 bits), and the index holds everything else. A core decodes
about 2,500 seconds of audio in a second; ``convert`` stores plain 16-bit samples (about 110 GB),
which cost next to nothing to read. Of several forms of a part, the packed one is read first, then
FLAC, then the official one; all give the same examples.

Utterances count part after part, in each part in the order of their names. Source: Workload facts
(librispeech_data), 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from algoperf_ref.data.datasets import TIERS
from algoperf_ref.data.places import TierPlaces
from algoperf_ref.errors import MissingDataError

DATASET = "librispeech"
TREE = "LibriSpeech"
"""Folder that the downloaded archives unpack to."""
TOKENIZER = "spm_model.vocab"
"""File of the tokenizer: in spite of its name the model, not a list of pieces."""
TOKENIZER_PART = "train-clean-100"
"""The part whose transcripts the tokenizer is trained on."""

SPLITS = ("train", "validation", "test")
_FULL = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "validation": ("dev-clean", "dev-other"),
    "test": ("test-clean",),
}
SPLIT_PARTS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"full": _FULL, "mini": {**_FULL, "train": (TOKENIZER_PART,)}}
)
"""Parts of every split, by tier; ``eval_train`` has those of ``train``."""

MAX_AUDIO_LENGTH: Mapping[str, int] = MappingProxyType({"full": 320_000, "mini": 25_600})
"""Samples; longer utterances are left out. 20 and 1.6 seconds."""
MAX_CHARACTERS = 256
"""Characters of a transcript; utterances with more are left out."""
MAX_TARGET_LENGTH: Mapping[str, int] = MappingProxyType({"full": 256, "mini": 32})
"""Pieces with the end, that a row of a batch has room for."""

NUM_UTTERANCES: Mapping[str, int] = MappingProxyType(
    {
        "train-clean-100": 28_539,
        "train-clean-360": 104_014,
        "train-other-500": 148_688,
        "dev-clean": 2_703,
        "dev-other": 2_864,
        "test-clean": 2_620,
    }
)
"""Utterances of every part as downloaded, before any are left out."""

FORMS = ("packed", "flac", "npy")
"""How a part may lie on disk, in the order in which the forms are preferred."""


@dataclass(frozen=True)
class Layout(TierPlaces):
    """Places of one tier under a data directory."""

    dataset = DATASET

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts of the tier."""
        return tuple(part for split in SPLITS for part in SPLIT_PARTS[self.tier][split])

    def of_split(self, split: str) -> tuple[str, ...]:
        """Parts of a split.

        Raises:
          ValueError: no such split.
        """
        if split not in (*SPLITS, "eval_train"):
            raise ValueError(f"unknown split {split!r}, expected one of {(*SPLITS, 'eval_train')}")
        return SPLIT_PARTS[self.tier]["train" if split == "eval_train" else split]

    @property
    def tokenizer(self) -> Path:
        return self.root / TOKENIZER

    @property
    def max_audio_length(self) -> int:
        return MAX_AUDIO_LENGTH[self.tier]

    def index(self, part: str, form: str) -> Path:
        """File with what is in a part, in the form ``flac`` or ``npy``."""
        return self.root / "index" / f"{part}-{form}.npz"

    def packed(self, part: str) -> Path:
        return self.root / "packed" / part

    def tree(self, part: str) -> Path | None:
        """Folder of the speakers of a part as downloaded; None if there is none."""
        return find_tree(part, [self.root])

    def official(self, part: str) -> Path | None:
        """Folder of the official preparation of a part; None if there is none."""
        return find_official(part, [self.root])

    def missing(self, parts: Iterable[str]) -> MissingDataError:
        """The error for parts that are not there, or not ready."""
        message = f"no {self.tier} tier of {DATASET} ({', '.join(parts)}) in {self.root}"
        (other,) = (tier for tier in TIERS if tier != self.tier)
        if Layout(self.data_dir, other).manifest.is_file():
            message += f" (the {other} tier is there)"
        return MissingDataError(f"{message}; prepare it with: {self.prepare_command()}")


def find_tree(part: str, places: Iterable[Path]) -> Path | None:
    """The first folder of a part with FLAC files or transcripts, in or below some places."""
    for place in places:
        for folder in (place / TREE / part, place / part):
            if any(_has_files(chapter) for chapter in folder.glob("*/*")):
                return folder
    return None


def _has_files(chapter: Path) -> bool:
    return any(chapter.glob("*.flac")) or any(chapter.glob("*.trans.txt"))


def find_official(part: str, places: Iterable[Path]) -> Path | None:
    """The first folder of a part with arrays, beside its list of names."""
    for place in places:
        if (place / f"{part}.csv").is_file() and (place / part).is_dir():
            return place / part
    return None
