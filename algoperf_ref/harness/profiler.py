"""Time per part of the training loop, on request; names of the harness contract, section 7."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from algoperf_ref.records.files import write_text

PROFILE = "profile.json"


class Profiler(Protocol):
    """Times named parts."""

    def profile(self, name: str) -> AbstractContextManager[None]:
        """Returns a context that times what runs in it."""
        ...


class NoProfiler:
    """Times nothing and costs next to nothing."""

    _nothing = nullcontext()

    def profile(self, name: str) -> AbstractContextManager[None]:
        """Returns a context that does nothing."""
        return self._nothing


class TimingProfiler:
    """Keeps the wall time of every call of every part, on the host's clock.

    A part whose work the device does later is charged only for handing it over; the loop waits
    for the device inside ``Update parameters``.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    @contextmanager
    def profile(self, name: str) -> Iterator[None]:
        """Times one call, also if it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.setdefault(name, []).append(time.perf_counter() - start)

    def summary(self) -> list[dict[str, Any]]:
        """Returns per part: mean and deviation of a call in seconds, calls, total, percent.

        The longest part stands first; percentages are of the parts' sum.
        """
        whole = sum(map(sum, self._seconds.values()))
        rows = []
        for name, seconds in self._seconds.items():
            total = sum(seconds)
            rows.append(
                {
                    "part": name,
                    "mean_seconds": float(np.mean(seconds)),
                    "std_seconds": float(np.std(seconds)),
                    "calls": len(seconds),
                    "total_seconds": total,
                    "percent": 100.0 * total / whole if whole else 0.0,
                }
            )
        return sorted(rows, key=lambda row: -row["total_seconds"])

    def table(self) -> list[str]:
        """Returns the summary as lines of text."""
        head = ("part", "mean [s]", "std [s]", "calls", "total [s]", "%")
        lines = ["{:<24}{:>12}{:>12}{:>9}{:>12}{:>7}".format(*head)]
        for row in self.summary():
            lines.append(
                f"{row['part']:<24}{row['mean_seconds']:>12.6f}{row['std_seconds']:>12.6f}"
                f"{row['calls']:>9}{row['total_seconds']:>12.3f}{row['percent']:>7.1f}"
            )
        return lines

    def write(self, directory: Path) -> Path:
        """Writes ``profile.json`` and returns its path."""
        path = directory / PROFILE
        write_text(path, json.dumps(self.summary(), indent=2) + "\n")
        return path
