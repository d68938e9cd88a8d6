"""Laws of tuning: even spread, prefixes, round trips, fair dealing, distinct seeds."""

from __future__ import annotations

import json
import keyword
import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.halton import NUM_DROPPED_POINTS, odd_primes_below, primes
from spec.search_space import FeasiblePoints, Range, Scaling
from spec.tuning import (
    MAX_SEED,
    SearchSpaceError,
    halton_points,
    quasi_random_points,
    space_point,
    trial_points,
    trial_seed,
    validate_search_space,
)

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
scalars = st.one_of(
    st.integers(-1000, 1000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(max_size=5),
    st.none(),
)
bounds = st.floats(min_value=1e-6, max_value=1e6)
ranges = st.tuples(bounds, bounds, st.sampled_from(["linear", "log"])).filter(
    lambda entry: entry[0] < entry[1]
)
dimensions = st.one_of(
    st.lists(scalars, min_size=1, max_size=4).map(lambda points: {"feasible_points": points}),
    ranges.map(lambda entry: dict(zip(("min", "max", "scaling"), entry, strict=True))),
)
dict_spaces = st.dictionaries(names, dimensions, min_size=1, max_size=5)
list_spaces = st.lists(names, min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.lists(
        st.fixed_dictionaries(dict.fromkeys(keys, scalars)), min_size=1, max_size=8
    )
)
numbered_lists = st.integers(1, 12).map(lambda n: [{"index": index} for index in range(n)])
units = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)
seeds = st.integers(0, MAX_SEED)


# The sequence.


def _slow_coordinate(index: int, base: int) -> float:
    """The definition, in exact fractions: permuted digits mirrored at the point, plus the shift."""
    generator = np.random.RandomState(base)
    permuted = list(range(1, base))
    generator.shuffle(permuted)
    shift = Fraction(generator.random_sample())
    digits = []
    while index:
        digits.append(index % base)
        index //= base
    inverse = sum(
        Fraction([0, *permuted][digit], base ** (place + 1)) for place, digit in enumerate(digits)
    )
    return float((inverse + shift) % 1)


@pytest.mark.clause("TUNE-2")
@given(st.integers(1, 40), st.integers(1, 9))
def test_points_agree_with_the_definition_in_exact_fractions(
    num_points: int, num_dims: int
) -> None:
    last = halton_points(num_points, num_dims)[-1]
    index = NUM_DROPPED_POINTS + num_points
    for coordinate, base in zip(last, primes(num_dims), strict=True):
        assert 0.0 <= coordinate < 1.0
        assert coordinate == pytest.approx(_slow_coordinate(index, base), abs=1e-15)


@pytest.mark.clause("TUNE-2")
def test_points_with_several_digits_agree_with_the_definition_too() -> None:
    points = halton_points(1900, 1)
    (base,) = primes(1)
    for number in (base - 100, base - 99, base, 2 * base - 100, 1900):
        expected = _slow_coordinate(NUM_DROPPED_POINTS + number, base)
        assert points[number - 1] == (pytest.approx(expected, abs=1e-15),)


@pytest.mark.clause("TUNE-2")
@given(st.integers(0, 2))
@settings(max_examples=3)
def test_as_many_points_as_the_base_are_spread_evenly(dimension: int) -> None:
    base = primes(3)[dimension]
    first = base - NUM_DROPPED_POINTS - 1  # From here on the higher digit is the same.
    block = sorted(point[dimension] for point in halton_points(first + base, 3)[first:])
    gaps = [after - before for before, after in pairwise(block)]
    gaps.append(block[0] + 1.0 - block[-1])
    assert all(abs(gap - 1.0 / base) < 1e-12 for gap in gaps)


@pytest.mark.clause("TUNE-2", "TUNE-4")
@given(dict_spaces | list_spaces, st.integers(0, 12), st.integers(0, 12))
def test_more_points_extend_the_list_and_change_nothing_before(
    space: Any, few: int, more: int
) -> None:
    assert quasi_random_points(space, few + more)[:few] == quasi_random_points(space, few)


@pytest.mark.clause("TUNE-1")
@given(st.integers(2, 3000))
def test_the_sieve_agrees_with_trial_division(limit: int) -> None:
    found = odd_primes_below(limit)
    slow = [n for n in range(3, limit) if all(n % d for d in range(2, math.isqrt(n) + 1)) and n % 2]
    assert found == slow


# From coordinates to values.


@pytest.mark.clause("TUNE-3")
@given(ranges, units, units)
def test_values_stay_in_their_range_and_keep_the_order_of_coordinates(
    entry: tuple[float, float, str], one: float, other: float
) -> None:
    low, high, scaling = entry
    dimension = Range(low, high, Scaling(scaling))
    first, second = sorted((one, other))
    assert space_point(dimension, 0.0) == low
    values = space_point(dimension, first), space_point(dimension, second)
    assert values[0] <= values[1] * (1 + 1e-15)
    for value in values:
        assert low * (1 - 1e-12) <= value <= high * (1 + 1e-12)


@pytest.mark.clause("TUNE-3")
@given(ranges, units, st.sampled_from([0.125, 0.5, 2.0, 1024.0]))
def test_scaling_both_bounds_scales_every_value(
    entry: tuple[float, float, str], u: float, factor: float
) -> None:
    low, high, scaling = entry
    value = space_point(Range(low, high, Scaling(scaling)), u)
    scaled = space_point(Range(low * factor, high * factor, Scaling(scaling)), u)
    assert scaled == pytest.approx(value * factor, rel=1e-12)


@pytest.mark.clause("TUNE-3")
@given(ranges, units)
def test_a_log_range_is_a_linear_range_of_logarithms(
    entry: tuple[float, float, str], u: float
) -> None:
    low, high, _ = entry
    value = space_point(Range(low, high, Scaling.LOG), u)
    assert math.log(value) == pytest.approx(
        (1 - u) * math.log(low) + u * math.log(high), rel=1e-9, abs=1e-9
    )


@pytest.mark.clause("TUNE-3")
@given(st.integers(1, 50), units)
def test_feasible_points_share_the_unit_interval_equally(count: int, u: float) -> None:
    chosen = space_point(FeasiblePoints(tuple(range(count))), u)
    exact = Fraction(u) * count
    assert chosen <= exact + Fraction(1, 10**9)
    assert exact < chosen + 1 + Fraction(1, 10**9)


# The schema.


@pytest.mark.clause("TUNE-8")
@given(dict_spaces | list_spaces)
def test_a_space_written_as_json_reads_back_as_itself(space: Any) -> None:
    checked = validate_search_space(json.loads(json.dumps(space)))
    assert validate_search_space(json.loads(json.dumps(checked.to_json()))) == checked
    assert checked.to_json() == space


json_values = st.recursive(
    scalars | st.just(math.nan) | st.sampled_from(["min", "log", "linear"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["min", "max", "scaling", "feasible_points", "lr", "a b"]), inner
        )
    ),
    max_leaves=12,
)


@pytest.mark.clause("TUNE-8")
@given(json_values)
@settings(max_examples=300)
def test_anything_is_either_refused_by_name_or_can_be_sampled(space: Any) -> None:
    try:
        checked = validate_search_space(space)
    except SearchSpaceError:
        return  # No other exception may come out of it.
    points = quasi_random_points(checked, 2)
    assert [tuple(point) for point in points] == [checked.names] * len(points)
    json.dumps(points, allow_nan=False)


@pytest.mark.clause("TUNE-8")
@given(dict_spaces, st.data())
def test_a_broken_entry_is_named_in_the_error(space: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(space)))
    broken: Any = data.draw(
        st.sampled_from(
            [
                {"min": 1.0, "max": 0.5, "scaling": "linear"},
                {"min": 0.0, "max": 0.5, "scaling": "log"},
                {"min": 0.1, "max": 0.5},
                {"min": 0.1, "max": math.nan, "scaling": "log"},
                {"feasible_points": []},
                {},
                None,
            ]
        )
    )
    with pytest.raises(SearchSpaceError, match=repr(name)):
        validate_search_space({**space, name: broken})


# Dealing points to studies.


def _keys(points: list[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(point, sort_keys=True) for point in points)


@pytest.mark.clause("TUNE-5")
@given(dict_spaces, st.integers(1, 6), st.integers(1, 5), seeds, seeds)
def test_the_studies_together_use_each_quasi_random_point_once(
    space: dict[str, Any], num_trials: int, num_studies: int, seed: int, other_seed: int
) -> None:
    dealt: Counter[str] = Counter()
    for study in range(num_studies):
        arguments = {"num_trials": num_trials, "study": study, "num_studies": num_studies}
        points = trial_points(space, seed=seed, **arguments)
        dealt += _keys(points)
        assert len(points) == num_trials
        assert points == trial_points(
            space, num_trials=num_trials, seed=seed, study=study, num_studies=num_studies + 3
        )
        assert _keys(points) == _keys(trial_points(space, seed=other_seed, **arguments))
    assert dealt == _keys(quasi_random_points(space, num_trials * num_studies))


@pytest.mark.clause("TUNE-6")
@given(numbered_lists, st.integers(1, 8), st.integers(1, 6), seeds)
def test_a_list_is_dealt_evenly_and_never_twice_within_a_study(
    space: list[dict[str, int]], num_trials: int, num_studies: int, seed: int
) -> None:
    used: Counter[int] = Counter({point["index"]: 0 for point in space})
    for study in range(num_studies):
        points = trial_points(
            space, num_trials=num_trials, seed=seed, study=study, num_studies=num_studies
        )
        indices = [point["index"] for point in points]
        assert len(set(indices)) == len(indices) == min(num_trials, len(space))
        used.update(indices)
    assert max(used.values()) - min(used.values()) <= 1
    if num_trials * num_studies <= len(space):
        assert max(used.values()) == 1


# Seeds.


@pytest.mark.clause("TUNE-7")
@given(
    seeds,
    st.sets(st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1)), max_size=200),
)
def test_different_trials_of_a_run_have_different_seeds(
    run_seed: int, trials: set[tuple[int, int]]
) -> None:
    derived = {trial_seed(run_seed, study, trial) for study, trial in trials}
    assert len(derived) == len(trials)
    assert all(0 <= seed <= MAX_SEED for seed in derived)


@pytest.mark.clause("TUNE-7")
@given(seeds, seeds, st.integers(0, 4), st.integers(1, 20))
def test_a_trial_seed_is_a_function_of_the_run_seed_and_spreads_its_bits(
    run_seed: int, other: int, study: int, trial: int
) -> None:
    seed = trial_seed(run_seed, study, trial)
    assert seed == trial_seed(run_seed, study, trial)
    # For one trial, run seeds go through a hash: equal results would be a rare accident.
    assert (seed == trial_seed(other, study, trial)) == (run_seed == other)
