"""Finished slices in memory, up to a number of bytes.

The mask of a slice stays the same for a whole run, so a finished slice can be used again exactly.
What is in stays in, and when the cache is full, further slices are made anew each time: epochs are
shuffled, and of a shuffled epoch, dropping the slices used longest ago would keep fewer hits.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SHARE = 4


class FinishedSlice(NamedTuple):
    """A slice as it goes into a batch.

    Attributes:
      input: normalised magnitudes, float32 [height, width].
      target: normalised target, float32 [height, width].
      mean, std: what both were normalised with.
    """

    input: NDArray[np.float32]
    target: NDArray[np.float32]
    mean: np.float32
    std: np.float32


def default_cache_bytes(num_processes: int = 1) -> int:
    """A quarter of the memory that is available now.

    Args:
      num_processes: processes on this machine that share it, each with a cache of its own.

    Returns:
      Bytes for each process.
    """
    import psutil

    available = int(psutil.virtual_memory().available)
    limit = _read_number("/sys/fs/cgroup/memory.max")
    used = _read_number("/sys/fs/cgroup/memory.current")
    if limit is not None and used is not None:  # in a container, the machine's figure is too high
        available = min(available, max(limit - used, 0))
    return available // _SHARE // max(num_processes, 1)


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # another system, or "max"
        return None


class SliceCache:
    """A bounded store of finished slices that splits share; any thread may use it.

    A split has slices of one seed at a time: those of the seed before go when another comes.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        """
        Args:
          max_bytes: bound of all splits together; 0 keeps nothing; None takes
            :func:`default_cache_bytes`.
        """
        self.max_bytes = default_cache_bytes() if max_bytes is None else max_bytes
        self.bytes = 0
        self._splits: dict[str, tuple[int, dict[int, FinishedSlice]]] = {}
        self._lock = threading.Lock()

    def get(self, split: str, seed: int, example: int) -> FinishedSlice | None:
        """A slice that is kept, else None; its arrays must not be changed."""
        with self._lock:
            return self._slices(split, seed).get(example)

    def put(self, split: str, seed: int, example: int, finished: FinishedSlice) -> bool:
        """Keeps copies of a slice's arrays, if there is room.

        Returns:
          Whether it is kept now.
        """
        size = finished.input.nbytes + finished.target.nbytes
        with self._lock:
            slices = self._slices(split, seed)
            if example in slices:
                return True
            if self.bytes + size > self.max_bytes:
                return False
            self.bytes += size
            slices[example] = finished._replace(
                input=finished.input.copy(), target=finished.target.copy()
            )
            return True

    def _slices(self, split: str, seed: int) -> dict[int, FinishedSlice]:
        known, slices = self._splits.get(split, (seed, {}))
        if known != seed:
            self.bytes -= sum(one.input.nbytes + one.target.nbytes for one in slices.values())
            slices = {}
        self._splits[split] = (seed, slices)
        return slices
