"""The fast keys are those of numpy's legacy generator, for every seed."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from algoperf_ref.frameworks import numpy_random

WORDS = st.integers(-(2**31), 2**31 - 1)
MODULUS = 2**31 - 1


def draws(seed: int | list[int], count: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, MODULUS, dtype=np.int32, size=count)


@given(st.lists(WORDS, min_size=1, max_size=3), st.integers(1, 6))
@example([5, 0], 4)
@example([0, 0], 4)
@example([0, 7], 4)
@example([MODULUS, MODULUS], 4)
@example([-1, -1], 4)
def test_split_is_numpys_for_any_words(seed: list[int], num: int) -> None:
    expected = draws([word % MODULUS for word in seed], 2 * num).reshape(num, 2)
    split = numpy_random.split(np.array(seed, np.int64), num)
    assert split.dtype == np.int32
    np.testing.assert_array_equal(split, expected)


@given(st.integers(0, 2**32 - 1))
def test_an_integer_seed_is_numpys_too(seed: int) -> None:
    np.testing.assert_array_equal(numpy_random.prng_key(seed), draws(seed % MODULUS, 2))


@given(st.lists(WORDS, min_size=2, max_size=2), st.integers(0, 2**31))
def test_fold_in_pairs_a_draw_with_the_data(seed: list[int], data: int) -> None:
    assert numpy_random.fold_in(seed, data) == [draws([w % MODULUS for w in seed], 1)[0], data]


@given(
    st.lists(WORDS, min_size=2, max_size=2),
    st.sampled_from([0, 16, 1 << 20]),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_keys_of_steps_are_those_made_one_by_one(
    seed: list[int], start: int, steps: int, num: int
) -> None:
    expected = [
        numpy_random.split(numpy_random.fold_in(seed, step), num)
        for step in range(start, start + steps)
    ]
    keys = numpy_random.keys_of_steps(seed, start, steps, num)
    assert keys.dtype == np.int32
    np.testing.assert_array_equal(keys, expected)
