"""FarmHash Fingerprint64 of many strings at once.

The published algorithm (Geoff Pike, FarmHash, 2014, MIT licence), in 64-bit arithmetic modulo
2**64. Strings of one length take the same path through it, so they are hashed together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_K0 = np.uint64(0xC3A5C85C97CB3127)
_K1 = np.uint64(0xB492B66FBE98F273)
_K2 = np.uint64(0x9AE16A3B2F90404F)
_SHIFT = np.uint64(47)
_MASK = 2**64 - 1


def fingerprint64(strings: NDArray[np.uint8]) -> Words:
    """Hashes strings of one length.

    Args:
      strings: their bytes, uint8 [strings, length].

    Returns:
      The fingerprints, uint64 [strings]; those of the FarmHash library, on any processor.
    """
    count, length = strings.shape
    if length == 0:
        return np.full(count, _K2)
    if length < 4:
        return _up_to_3(strings)
    if length < 8:
        first, last = _fetch32(strings, 0), _fetch32(strings, length - 4)
        start = np.uint64(length) + (first << np.uint64(3))
        return _hash_16(start, last, multiplier_of(length))
    if length <= 16:
        return hash_8_to_16(_fetch(strings, 0), _fetch(strings, length - 8), multiplier_of(length))
    if length <= 32:
        return _17_to_32(strings)
    if length <= 64:
        return _33_to_64(strings)
    return _longer(strings)


def hash_8_to_16(first: Words, last: Words, multiplier: np.uint64 | Words) -> Words:
    """Hashes strings of 8 to 16 bytes that are already in words.

    Args:
      first: their first eight bytes as little-endian numbers, uint64; overwritten.
      last: their last eight bytes, of the same shape; overwritten.
      multiplier: :func:`multiplier_of` the length; an array for strings of several lengths.

    Returns:
      The fingerprints, uint64.
    """
    first += _K2
    c = _rotated(last, 37)
    c *= multiplier
    c += first
    d = _rotated(first, 25)
    d += last
    d *= multiplier
    return _hash_16(c, d, multiplier)


def multiplier_of(length: int) -> np.uint64:
    """The multiplier that the algorithm uses for strings of a length, in bytes."""
    return np.uint64((int(_K2) + 2 * length) & _MASK)


def _fetch(strings: NDArray[np.uint8], start: int) -> Words:
    """Eight bytes of every string as a little-endian number."""
    part = np.ascontiguousarray(strings[:, start : start + 8])
    return part.view("<u8")[:, 0].astype(np.uint64)


def _fetch32(strings: NDArray[np.uint8], start: int) -> Words:
    part = np.ascontiguousarray(strings[:, start : start + 4])
    return part.view("<u4")[:, 0].astype(np.uint64)


def _rotated(words: Words, bits: int) -> Words:
    """Rotates to the right."""
    low = words >> np.uint64(bits)
    low |= words << np.uint64(64 - bits)
    return low


def _mix(words: Words) -> Words:
    return words ^ (words >> _SHIFT)


def _hash_16(u: Words, v: Words, multiplier: np.uint64 | Words) -> Words:
    """Hashes two words into one; overwrites the first."""
    u ^= v
    u *= multiplier
    u ^= u >> _SHIFT
    u ^= v
    u *= multiplier
    u ^= u >> _SHIFT
    u *= multiplier
    return u


def _up_to_3(strings: NDArray[np.uint8]) -> Words:
    length = strings.shape[1]
    first, middle, last = (
        strings[:, place].astype(np.uint64) for place in (0, length >> 1, length - 1)
    )
    y = first + (middle << np.uint64(8))
    z = np.uint64(length) + (last << np.uint64(2))
    return _mix(y * _K2 ^ z * _K0) * _K2


def _17_to_32(strings: NDArray[np.uint8]) -> Words:
    length = strings.shape[1]
    multiplier = multiplier_of(length)
    a = _fetch(strings, 0) * _K1
    b = _fetch(strings, 8)
    c = _fetch(strings, length - 8) * multiplier
    d = _fetch(strings, length - 16) * _K2
    u = _rotated(a + b, 43) + _rotated(c, 30) + d
    return _hash_16(u, a + _rotated(b + _K2, 18) + c, multiplier)


def _33_to_64(strings: NDArray[np.uint8]) -> Words:
    length = strings.shape[1]
    multiplier = multiplier_of(length)
    a = _fetch(strings, 0) * _K2
    b = _fetch(strings, 8)
    c = _fetch(strings, length - 8) * multiplier
    d = _fetch(strings, length - 16) * _K2
    y = _rotated(a + b, 43) + _rotated(c, 30) + d
    z = _hash_16(y.copy(), a + _rotated(b + _K2, 18) + c, multiplier)
    e = _fetch(strings, 16) * multiplier
    f = _fetch(strings, 24)
    g = (y + _fetch(strings, length - 32)) * multiplier
    h = (z + _fetch(strings, length - 24)) * multiplier
    u = _rotated(e + f, 43) + _rotated(g, 30) + h
    return _hash_16(u, e + _rotated(f + a, 18) + g, multiplier)


def _weak_32(strings: NDArray[np.uint8], start: int, a: Words, b: Words) -> tuple[Words, Words]:
    """Two words of state after 32 more bytes."""
    w, x, y, z = (_fetch(strings, start + 8 * number) for number in range(4))
    a = a + w
    b = _rotated(b + a + z, 21)
    c = a
    a = a + x + y
    return a + z, b + _rotated(a, 44) + c


def _longer(strings: NDArray[np.uint8]) -> Words:
    count, length = strings.shape
    seed = 81
    y = np.full(count, (seed * int(_K1) + 113) & _MASK, np.uint64)
    z = _mix(y * _K2 + np.uint64(113)) * _K2
    v = (np.zeros(count, np.uint64), np.zeros(count, np.uint64))
    w = (np.zeros(count, np.uint64), np.zeros(count, np.uint64))
    x = np.uint64((seed * int(_K2)) & _MASK) + _fetch(strings, 0)
    end = (length - 1) // 64 * 64
    for start in range(0, end, 64):
        x = _rotated(x + y + v[0] + _fetch(strings, start + 8), 37) * _K1
        y = _rotated(y + v[1] + _fetch(strings, start + 48), 42) * _K1
        x ^= w[1]
        y += v[0] + _fetch(strings, start + 40)
        z = _rotated(z + w[0], 33) * _K1
        v = _weak_32(strings, start, v[1] * _K1, x + w[0])
        w = _weak_32(strings, start + 32, z + w[1], y + _fetch(strings, start + 16))
        z, x = x, z
    multiplier = _K1 + ((z & np.uint64(0xFF)) << np.uint64(1))
    # The last 64 bytes, which overlap those before unless the length is a multiple of 64.
    start = length - 64
    w = (w[0] + np.uint64((length - 1) & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x = _rotated(x + y + v[0] + _fetch(strings, start + 8), 37) * multiplier
    y = _rotated(y + v[1] + _fetch(strings, start + 48), 42) * multiplier
    x ^= w[1] * np.uint64(9)
    y += v[0] * np.uint64(9) + _fetch(strings, start + 40)
    z = _rotated(z + w[0], 33) * multiplier
    v = _weak_32(strings, start, v[1] * multiplier, x + w[0])
    w = _weak_32(strings, start + 32, z + w[1], y + _fetch(strings, start + 16))
    z, x = x, z
    u = _hash_16(v[0].copy(), w[0], multiplier) + _mix(y) * _K0 + z
    return _hash_16(u, _hash_16(v[1].copy(), w[1], multiplier) + x, multiplier)
