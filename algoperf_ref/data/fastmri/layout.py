"""Where the scans of each tier lie under a data directory, and which files make a split.

    <data_dir>/fastmri/              full tier
    <data_dir>/mini/fastmri/         mini tier
      knee_singlecoil_train/*.h5     the splits `train` and `eval_train`
      knee_singlecoil_val/*.h5       the splits `validation` and `test`
      index.json                     what is in the files, so that a run need not open them all
      manifest.json                  what was made, from what

Files count in sorted order. Full tier: the first 100 validation files are the validation split, the
others the test split. Mini tier: they alternate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from algoperf_ref.data.datasets import TIERS
from algoperf_ref.data.places import TierPlaces
from algoperf_ref.errors import MissingDataError

T = TypeVar("T")

DATASET = "fastmri"
TRAIN_FOLDER = "knee_singlecoil_train"
VALIDATION_FOLDER = "knee_singlecoil_val"
FOLDERS = (TRAIN_FOLDER, VALIDATION_FOLDER)
SPLIT_FOLDERS = {
    "train": TRAIN_FOLDER,
    "eval_train": TRAIN_FOLDER,
    "validation": VALIDATION_FOLDER,
    "test": VALIDATION_FOLDER,
}
"""Folder of every split."""

NUM_VALIDATION_FILES = 100
"""Of the full tier. Source: Workload facts, fastmri, 5."""


@dataclass(frozen=True)
class Layout(TierPlaces):
    """Places of one tier under a data directory."""

    dataset = DATASET

    @property
    def index(self) -> Path:
        return self.root / "index.json"

    def files(self, folder: str) -> list[Path]:
        """The HDF5 files of a folder in sorted order; none if there is no such folder."""
        return sorted(path for path in (self.root / folder).glob("*.h5") if path.name[0] != ".")

    def of_split(self, split: str, in_folder: Sequence[T]) -> list[T]:
        """Those that belong to a split, of what there is for each file of the split's folder."""
        if split in ("train", "eval_train"):
            return list(in_folder)
        first = split == "validation"
        if self.tier == "mini":
            return list(in_folder[0 if first else 1 :: 2])
        return list(in_folder[:NUM_VALIDATION_FILES] if first else in_folder[NUM_VALIDATION_FILES:])

    def missing(self, folder: str, split: str) -> MissingDataError:
        """The error for a split that has no file."""
        message = f"no {self.tier} tier of {DATASET} ({split} split): "
        if found := len(self.files(folder)):
            message += f"{self.root / folder} has only {found} .h5 files"
        else:
            message += f"no .h5 file in {self.root / folder}"
        (other,) = (tier for tier in TIERS if tier != self.tier)
        if Layout(self.data_dir, other).files(folder):
            message += f" (the {other} tier is there)"
        return MissingDataError(f"{message}; prepare it with: {self.prepare_command()}")
