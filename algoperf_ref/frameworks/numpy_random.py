"""The benchmark's numpy emulation of splittable random keys, used with PyTorch.

Source: harness contract, section 1.4. Keys are numpy ``int32`` arrays of shape (2,), or lists of
two integers where :func:`fold_in` made them.
"""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import numpy.typing as npt

_MODULUS = 2**31 - 1

SeedLike = Any
"""An integer, or a sequence of integers."""


def split(seed: SeedLike, num: int = 2) -> npt.NDArray[np.int32]:
    """Returns ``int32[num, 2]``: one key per row."""
    return _draws(seed, 2 * num).reshape(num, 2)


def prng_key(seed: SeedLike) -> npt.NDArray[np.int32]:
    """Returns the key of a seed: the first row of ``split(seed)``."""
    key: npt.NDArray[np.int32] = split(seed)[0]
    return key


PRNGKey = prng_key
"""Its name in the submission API."""


def fold_in(seed: SeedLike, data: int) -> list[int]:
    """Returns ``[draw of the seed, data]``."""
    if isinstance(seed, (int, np.integer)):
        return [int(_draws(seed, 1)[0]), int(data)]
    return [_first_draw(*(int(word) for word in seed)), int(data)]


def keys_of_steps(seed: SeedLike, start: int, steps: int, num: int) -> npt.NDArray[np.int32]:
    """Returns the keys of consecutive steps, several times as fast as step by step.

    Args:
      seed: the key of the trial, two integers.
      start: first step, 0 or more.
      steps: number of steps.
      num: keys per step.

    Returns:
      ``int32[steps, num, 2]``: row ``i`` is ``split(fold_in(seed, start + i), num)``.
    """
    first = fold_in(seed, start)[0]
    size = 8 * num  # bytes of a step's draws
    generator = random.Random(0)
    stream = bytearray()
    for step in range(start, start + steps):
        generator.seed(first | step << 32)
        stream += generator.getrandbits(8 * size).to_bytes(size, "little")
    keys = (np.frombuffer(stream, "<u4") & _MODULUS).astype(np.int32).reshape(steps, num, 2)
    for row in np.flatnonzero((keys == _MODULUS).any(axis=(1, 2))):
        keys[row] = split([first, start + int(row)], num)
    if start == 0:
        keys[0] = split([first, 0], num)
    return keys


@functools.lru_cache(maxsize=64)
def _first_draw(*words: int) -> int:
    """The draw of a key does not depend on the data: a trial folds every step into one key."""
    return int(_draws(words, 1)[0])


def _draws(seed: SeedLike, count: int) -> npt.NDArray[np.int32]:
    """Returns the first ``count`` draws below 2**31 - 1 of ``RandomState(seed)``.

    Keys are made on every training step, and making a ``RandomState`` takes 0.2 ms. Python's
    generator is the same Mersenne Twister and takes a key of two words in the same way, in a
    tenth of the time. Only where the upper word is 0, which it leaves out, is it another stream;
    and numpy draws again instead of giving 2**31 - 1.
    """
    if isinstance(seed, (int, np.integer)):
        return _reference_draws(int(seed) % _MODULUS, count)
    words = [int(word) % _MODULUS for word in seed]
    if len(words) == 2 and words[1] != 0:
        stream = random.Random(words[0] | words[1] << 32).getrandbits(32 * count)
        draws = [stream >> 32 * i & _MODULUS for i in range(count)]
        if _MODULUS not in draws:
            return np.array(draws, np.int32)
    return _reference_draws(words, count)


def _reference_draws(seed: int | list[int], count: int) -> npt.NDArray[np.int32]:
    return np.random.RandomState(seed).randint(0, _MODULUS, dtype=np.int32, size=count)
