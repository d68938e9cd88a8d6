"""The plain way to read the click log: one line after the other, split at its tabs.

It makes numbers of all fields too, with the hash that is built into Python, which is far quicker
than one written in Python would be; its buckets are therefore others than ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.criteo1tb.categories import NUM_BUCKETS


def read(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Labels and inputs of all lines, float32 [lines, 40]."""
    rows = []
    for path in paths:
        with path.open(encoding="ascii") as file:
            for line in file:
                fields = line.rstrip("\n").split("\t")
                row = [_number(fields[0])]
                row += [math.log(max(_number(field), 0.0) + 1.0) for field in fields[1:14]]
                row += [
                    hash(field + str(column)) % NUM_BUCKETS[column]
                    for column, field in enumerate(fields[14:])
                ]
                rows.append(row)
    return np.array(rows, np.float32)


def _number(field: str) -> float:
    return 0.0 if field in ("", "-1") else float(field)


def read_bytes(paths: Sequence[Path]) -> int:
    """Reads the bytes and does nothing with them; returns how many they are."""
    total = 0
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while block := file.read(1 << 20):
                total += len(block)
    return total
