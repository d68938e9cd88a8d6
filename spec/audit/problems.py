"""A disagreement between a log and the rules, and a list of them that cannot grow for ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_LISTED = 100
"""Problems of one trial that are listed; further ones are counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One disagreement.

    Attributes:
      file: name of the file in the trial directory.
      place: where in it, for example ``line 12`` or ``row 3`` (the first row after the header
        is row 1); empty for the file as a whole.
      field: name of the field or column, empty if there is no single one.
      text: what is wrong.
      clause: id of the rule, empty if the file is damaged.
    """

    file: str
    place: str
    field: str
    text: str
    clause: str

    def __str__(self) -> str:
        where = ", ".join(filter(None, (self.file, self.place, self.field)))
        return f"{where}: {self.text}" + (f" [{self.clause}]" if self.clause else "")


@dataclass
class Problems:
    """The problems of one trial.

    Attributes:
      listed: the first :data:`MAX_LISTED`.
      count: all of them.
    """

    listed: list[Problem] = field(default_factory=list)
    count: int = 0

    def add(self, file: str, place: str, field: str, text: str, clause: str) -> None:
        """Adds one; for the arguments see :class:`Problem`."""
        self.count += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(Problem(file, place, field, text, clause))

    def __iter__(self) -> Iterator[Problem]:
        """Iterates over the listed ones."""
        return iter(self.listed)

    def __len__(self) -> int:
        """Returns the number of all."""
        return self.count
