"""Laws of the test vectors: the encoding loses nothing, and comparison is an equivalence."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spec.cases import decode, encode
from spec.cases.runner import matches

numbers = st.floats() | st.integers(min_value=-(2**53), max_value=2**53)
names = st.text(max_size=5).filter(lambda text: text not in ("inf", "-inf", "nan"))
leaves = numbers | names | st.booleans() | st.none()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


def through_json(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


def same(one: Any, other: Any) -> bool:
    """Equal in value and kind; an oracle that shares nothing with :func:`matches`."""
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


@given(values)
def test_what_goes_through_json_comes_back(value: Any) -> None:
    assert same(through_json(value), value)


@given(values)
def test_encoding_twice_changes_nothing_more(value: Any) -> None:
    assert encode(encode(value)) == encode(value)


@given(values)
def test_everything_matches_itself_after_json(value: Any) -> None:
    assert matches(value, through_json(value))
    assert matches([value], [value], any_order=True)


@given(values, values, st.sampled_from([0.0, 1e-9]))
def test_matching_is_symmetric(one: Any, other: Any, tolerance: float) -> None:
    assert matches(one, other, tolerance) == matches(other, one, tolerance)


@given(st.lists(values, max_size=5), st.randoms(use_true_random=False))
def test_any_order_is_any_order(elements: list[Any], random: Any) -> None:
    shuffled = random.sample(elements, len(elements))
    assert matches(elements, shuffled, any_order=True)
    assert not matches(elements, [*shuffled, "one more"], any_order=True)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(1e-12, 1e-3))
def test_the_tolerance_is_relative(value: float, tolerance: float) -> None:
    near, far = value * (1 + tolerance / 2), value * (1 + 2 * tolerance)
    if value == 0 or not math.isfinite(far) or abs(value) < 1e-290:
        return
    assert matches(value, near, tolerance)
    assert not matches(value, far, tolerance)
