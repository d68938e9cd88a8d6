"""The benchmark's numpy emulation of splittable random keys, used with PyTorch.

Source: harness contract, section 1.4. Keys are numpy ``int32`` arrays of shape (2,), or lists of
two integers where :func:`fold_in` made them.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

_MODULUS = 2**31 - 1

SeedLike = Any
"""An integer, or a sequence of integers."""


class _Reused(threading.local):
    """One generator per thread: making one asks the system for entropy, which takes 0.2 ms."""

    def __init__(self) -> None:
        self.generator = np.random.RandomState(0)


_REUSED = _Reused()


def _generator(seed: SeedLike) -> np.random.RandomState:
    """Returns a generator in the state of ``RandomState(seed)``, valid until the next call."""
    generator = _REUSED.generator
    if isinstance(seed, (int, np.integer)):
        generator.seed(int(seed) % _MODULUS)
    else:
        generator.seed([int(word) % _MODULUS for word in seed])
    return generator


def split(seed: SeedLike, num: int = 2) -> npt.NDArray[np.int32]:
    """Returns ``int32[num, 2]``: one key per row."""
    # A flat draw is the same stream, and a third cheaper than one of a two-dimensional size.
    return _generator(seed).randint(0, _MODULUS, dtype=np.int32, size=2 * num).reshape(num, 2)


def prng_key(seed: SeedLike) -> npt.NDArray[np.int32]:
    """Returns the key of a seed: the first row of ``split(seed)``."""
    key: npt.NDArray[np.int32] = split(seed)[0]
    return key


def fold_in(seed: SeedLike, data: int) -> list[int]:
    """Returns ``[draw of the seed, data]``."""
    return [int(_generator(seed).randint(0, _MODULUS, dtype=np.int32)), int(data)]
