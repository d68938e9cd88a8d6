"""The benchmark's quasi-random points: a Halton sequence with permuted digits and a shift.

The points are a pure function of the number of points and dimensions. They are those of the
official package digit for digit, so a search space gives the same configurations here and there.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from spec.clauses import BrokenRule, Source, clause

NUM_DROPPED_POINTS = 100  # The first points of each sequence are generated and thrown away.
PRIME_LIMIT_STEP = 1000


class TuningError(BrokenRule):
    """A number, an index or a seed is out of range; the base of the errors of tuning."""


class NoDimensions(TuningError, clause="TUNE-1"):
    """A quasi-random sequence without a dimension."""


class NegativeNumberOfPoints(TuningError, clause="TUNE-2"):
    """Fewer than no points are asked for."""


@clause(
    "TUNE-1",
    """The bases of a d-dimensional sequence are the d odd primes just before the last one below
    1000 (991 for one dimension, 983 and 991 for two); the limit grows by 1000 where d + 1
    primes are not to be had.""",
    source=(Source("Harness contract", "4"), Source("Dahl et al. 2023", "4.4.1")),
)
def primes(num_dims: int) -> tuple[int, ...]:
    """Returns the bases of the dimensions.

    Args:
      num_dims: number of dimensions, at least 1.

    Returns:
      ``num_dims`` primes in increasing order; the last prime below the limit is left out.
    """
    if num_dims < 1:
        raise NoDimensions(f"a quasi-random sequence has at least 1 dimension, not {num_dims}")
    for limit in count(PRIME_LIMIT_STEP, PRIME_LIMIT_STEP):
        known = odd_primes_below(limit)
        if len(known) > num_dims:
            return tuple(known[-num_dims - 1 : -1])
    raise AssertionError("unreachable: there are infinitely many primes")


def odd_primes_below(limit: int) -> list[int]:
    """Lists the odd primes below a limit, in increasing order."""
    is_prime = np.ones(max(limit, 2), dtype=bool)
    is_prime[:3] = False
    is_prime[4::2] = False
    for factor in range(3, int(limit**0.5) + 1, 2):
        if is_prime[factor]:
            is_prime[factor * factor :: factor] = False
    return [int(n) for n in np.flatnonzero(is_prime)]


@clause(
    "TUNE-2",
    """Coordinate i of a dimension with base b is the radical inverse of i in base b with permuted
    digits (0 stays), plus a constant shift, modulo 1; permutation and shift come from a
    generator seeded with b, and the first 100 points are dropped.""",
    source=(Source("Harness contract", "4"), Source("Dahl et al. 2023", "4.4.1")),
)
def halton_points(num_points: int, num_dims: int) -> list[tuple[float, ...]]:
    """Returns the raw quasi-random points in sequence order.

    Args:
      num_points: number of points, at least 0. More points extend the list; they do not change
        the points before.
      num_dims: number of dimensions, at least 1.

    Returns:
      ``num_points`` tuples of ``num_dims`` floats in [0, 1).
    """
    if num_points < 0:
        raise NegativeNumberOfPoints(f"the number of points is {num_points}; it cannot be negative")
    columns = [_shifted_van_der_corput(num_points, base) for base in primes(num_dims)]
    return list(zip(*columns, strict=True))


def _shifted_van_der_corput(num_points: int, base: int) -> list[float]:
    generator = np.random.RandomState(base)
    digits = np.arange(1, base)
    generator.shuffle(digits)
    permuted = [0, *digits.tolist()]
    shift = generator.random_sample()
    first = NUM_DROPPED_POINTS + 1
    return [
        (_radical_inverse(index, permuted) + shift) % 1.0
        for index in range(first, first + num_points)
    ]


def _radical_inverse(index: int, permuted_digits: list[int]) -> float:
    # Digits are divided, not multiplied by a reciprocal, and added up from the least significant
    # one: that decides the last bit of the result, and the official points are meant bit for bit.
    base = len(permuted_digits)
    value, denominator = 0.0, 1
    while index > 0:
        index, digit = divmod(index, base)
        denominator *= base
        value += permuted_digits[digit] / denominator
    return value
