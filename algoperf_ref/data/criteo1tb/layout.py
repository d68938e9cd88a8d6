"""Where the click logs of each tier lie under a data directory, and which files make a split.

<data_dir>/criteo1tb/            full tier
<data_dir>/mini/criteo1tb/       mini tier
  day_D_NN                       the log: part NN of day D, lines of 40 fields
  index/day_D_NN.npy             where its lines begin
  converted/day_D_NN/            the same lines as numbers; only after `convert`
  manifest.json                  what was prepared, from what, with which checksums
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from algoperf_ref.data.places import TierPlaces

DATASET = "criteo1tb"
SPLITS = ("train", "validation", "test")
"""The splits that share no line."""
EVAL_TRAIN = "eval_train"
"""The training files again, in the order in which a sample of them is evaluated."""

_NAME = re.compile(r"day_(\d{1,2})_(\d{2})")


class DayFile(NamedTuple):
    """One file of the log; sorts by day, then by part."""

    day: int
    part: int

    @property
    def name(self) -> str:
        return f"day_{self.day}_{self.part:02d}"

    @classmethod
    def of(cls, name: str) -> DayFile | None:
        """The file of that name; None if it is no name of a file of the log."""
        match = _NAME.fullmatch(name)
        found = cls(int(match[1]), int(match[2])) if match else None
        return found if found is not None and found.name == name else None


NUM_DAYS = 24
HELD_OUT_DAY = NUM_DAYS - 1
NUM_TEST_FILES = 19
"""Files of the held-out day that are test data; the rest of its 36 are validation data."""
NUM_HELD_OUT_FILES = 36

_LINES_PER_FILE = 5_000_000
# Lines of the 24 files day_0 to day_23 as they are published.
_LINES_PER_DAY = (
    195_841_983, 199_563_535, 196_792_019, 181_115_208, 152_115_810, 172_548_507, 204_846_845,
    200_801_003, 193_772_492, 198_424_372, 185_778_055, 153_588_700, 169_003_364, 194_216_520,
    194_081_279, 187_154_596, 177_984_934, 163_382_602, 142_061_091, 156_534_237, 193_627_464,
    192_215_183, 189_747_893, 178_274_637,
)  # fmt: skip


def full_inventory() -> dict[DayFile, int]:
    """The files of the full tier and their numbers of lines."""
    return {
        DayFile(day, part): min(_LINES_PER_FILE, lines - part * _LINES_PER_FILE)
        for day, lines in enumerate(_LINES_PER_DAY)
        for part in range(-(-lines // _LINES_PER_FILE))
    }


def split_of(file: DayFile) -> str:
    """The split that a file belongs to (Workload facts, criteo1tb, 5)."""
    if file.day != HELD_OUT_DAY:
        return "train"
    return "test" if file.part < NUM_TEST_FILES else "validation"


def files_of(split: str, files: Iterable[DayFile]) -> list[DayFile]:
    """Those of the files that make a split, in order.

    Raises:
      ValueError: there is no such split.
    """
    if split not in (*SPLITS, EVAL_TRAIN):
        raise ValueError(f"unknown split {split!r}, expected one of {(*SPLITS, EVAL_TRAIN)}")
    wanted = "train" if split == EVAL_TRAIN else split
    return sorted(file for file in files if split_of(file) == wanted)


def lines_per_split(inventory: Mapping[DayFile, int]) -> dict[str, int]:
    """Sums the lines of the files of each split."""
    counts = dict.fromkeys(SPLITS, 0)
    for file, lines in inventory.items():
        counts[split_of(file)] += lines
    return counts


@dataclass(frozen=True)
class Layout(TierPlaces):
    """Places of one tier under a data directory."""

    dataset = DATASET

    @property
    def downloads(self) -> Path:
        return self.data_dir / "downloads"

    def text(self, file: DayFile) -> Path:
        return self.root / file.name

    def index(self, file: DayFile) -> Path:
        return self.root / "index" / f"{file.name}.npy"

    def converted(self, file: DayFile) -> Path:
        return self.root / "converted" / file.name

    def found(self) -> list[DayFile]:
        """The files of the log that are there, in order."""
        if not self.root.is_dir():
            return []
        return sorted(filter(None, (DayFile.of(path.name) for path in self.root.iterdir())))


def named(files: Sequence[DayFile], limit: int = 8) -> str:
    """Names of files for a sentence; of many, the first few and how many more."""
    names = ", ".join(file.name for file in files[:limit])
    more = len(files) - limit
    return f"{names} and {more} more" if more > 0 else names
