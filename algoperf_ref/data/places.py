"""What the places of every data set have in common: a directory for each tier."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import ClassVar, Self

from algoperf_ref.data.datasets import TIERS


@dataclass(frozen=True)
class TierPlaces:
    """Places of one tier of a data set under a data directory.

    Attributes:
      dataset: name of the data set, set by the subclass.
      data_dir: directory of all data sets.
      tier: ``full`` or ``mini``.
    """

    dataset: ClassVar[str]
    data_dir: Path
    tier: str

    @classmethod
    def of(cls, data_dir: str | PathLike[str], tier: str) -> Self:
        """Accepts "full", "mini" or a string enum of these values."""
        value = str(getattr(tier, "value", tier))
        if value not in TIERS:
            raise ValueError(f"unknown tier {value!r}, expected one of {TIERS}")
        return cls(Path(data_dir).expanduser(), value)

    @property
    def root(self) -> Path:
        """The directory that everything of this tier lies in."""
        base = self.data_dir if self.tier == "full" else self.data_dir / "mini"
        return base / self.dataset

    @property
    def manifest(self) -> Path:
        """What was made, and from what."""
        return self.root / "manifest.json"

    def prepare_command(self) -> str:
        """The command that prepares this tier."""
        return (
            f"python -m algoperf_ref.data prepare {self.dataset} --tier {self.tier} "
            f"--data_dir {self.data_dir}"
        )
