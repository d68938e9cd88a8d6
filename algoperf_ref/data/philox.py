"""Stateless random numbers: a pure function of a pair of 64-bit integers (Philox4x32-10).

They are those of the official input pipelines, so that the masks of the evaluation splits are the
official ones, number for number. Source: Workload facts, shared, 11.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_SCRAMBLE_KEY = (0x3EC8F720, 0x02461E29)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MANTISSA = np.uint32(0x7FFFFF)
_ONE = np.uint32(0x3F800000)  # the bits of 1.0

# Words are held in 64 bits, so that a product of two of them is exact.
_Words = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


def _block(
    counter: _Words, first_key: NDArray[np.uint64], second_key: NDArray[np.uint64]
) -> _Words:
    """Four random words from a counter of four words and a key of two."""
    c0, c1, c2, c3 = counter
    for number in range(_ROUNDS):
        k0 = (first_key + np.uint64(number * _WEYL[0] & 0xFFFFFFFF)) & _LOW
        k1 = (second_key + np.uint64(number * _WEYL[1] & 0xFFFFFFFF)) & _LOW
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
    return c0, c1, c2, c3


def _as_unsigned(seed_pair: ArrayLike) -> NDArray[np.uint64]:
    pair = np.asarray(seed_pair)
    if pair.shape[-1:] != (2,) or pair.dtype.kind not in "iu":
        raise ValueError(f"a seed is a pair of integers, not {pair.dtype} {list(pair.shape)}")
    # Negative numbers keep their bits.
    return pair.astype(np.int64).view(np.uint64) if pair.dtype.kind == "i" else pair.astype("u8")


def stateless_words(seed_pair: ArrayLike, n: int) -> NDArray[np.uint32]:
    """Returns random 32-bit words.

    Args:
      seed_pair: integers of at most 64 bits [..., 2]; every pair is a stream of its own.
      n: how many words of each stream.

    Returns:
      uint32 [..., n]; the first words of a stream do not depend on ``n``.

    Raises:
      ValueError: not a pair of integers.
    """
    pair = _as_unsigned(seed_pair)[..., None, :]
    first, second = pair[..., 0], pair[..., 1]
    keys = [np.full_like(first, key) for key in _SCRAMBLE_KEY]
    # A seed with few bits set would make a poor key, hence one block to scramble it.
    m0, m1, m2, m3 = _block((first & _LOW, first >> _32, second & _LOW, second >> _32), *keys)
    shape = (*m0.shape[:-1], -(-n // 4))
    number = np.broadcast_to(np.arange(shape[-1], dtype=np.uint64), shape)
    zero = np.zeros_like(number)
    words = np.stack(_block((number, zero, m2 + zero, m3 + zero), m0, m1), axis=-1)
    return words.reshape(*shape[:-1], 4 * shape[-1])[..., :n].astype(np.uint32)


def stateless_uniform(seed_pair: ArrayLike, n: int) -> NDArray[np.float32]:
    """Returns uniform random numbers, at least 0 and below 1.

    Args:
      seed_pair: integers of at most 64 bits [..., 2]; every pair is a stream of its own.
      n: how many numbers of each stream.

    Returns:
      float32 [..., n], multiples of 2**-23.

    Raises:
      ValueError: not a pair of integers.
    """
    bits = (stateless_words(seed_pair, n) & _MANTISSA) | _ONE
    return bits.view(np.float32) - np.float32(1)


def fold_in(seed_pair: ArrayLike, data: ArrayLike) -> NDArray[np.int64]:
    """Makes a new seed from a seed and a number.

    Args:
      seed_pair: integers of at most 64 bits [..., 2].
      data: integers [...], for example the numbers of examples.

    Returns:
      int64 [..., 2]: the first 64-bit number in the stream of the seed, and ``data``.

    Raises:
      ValueError: not a pair of integers.
    """
    words = stateless_words(seed_pair, 2).astype(np.uint64)
    first = (words[..., 0] | (words[..., 1] << _32)).view(np.int64)
    return np.stack(np.broadcast_arrays(first, np.asarray(data, np.int64)), axis=-1)
