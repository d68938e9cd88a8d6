"""For every storable tree: what is decoded is what was encoded, types and bits included."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections import OrderedDict
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref.records import codec
from algoperf_ref.records.codec import StoredNamedTuple


class Moments(NamedTuple):
    mu: Any
    nu: Any


class Empty(NamedTuple):
    pass


NATIVE = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(max_len=4),
    hnp.byte_string_dtypes(max_len=4),
    hnp.array_dtypes(hnp.scalar_dtypes(), max_size=3),
)
ML_DTYPES = st.sampled_from(
    [
        np.dtype(getattr(ml_dtypes, name))
        for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "int4")
    ]
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@st.composite
def ml_arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(SHAPES)
    values = draw(hnp.arrays(np.float32, shape, elements=st.floats(-7, 7, width=16)))
    return values.astype(draw(ML_DTYPES))


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    array = draw(st.one_of(hnp.arrays(NATIVE, SHAPES), ml_arrays()))
    return draw(
        st.sampled_from([array, np.asfortranarray(array) if array.ndim else array, array[...].T])
    )


NUMPY_SCALARS = st.one_of(
    hnp.arrays(hnp.scalar_dtypes(), ()).map(lambda array: array[()]),
    ml_arrays().filter(lambda array: array.size).map(lambda array: array.flat[0]),
    st.text(max_size=3).map(np.str_),
    st.binary(max_size=3).map(np.bytes_),
)
HASHABLE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=-(10**400), max_value=10**400),
        st.floats(),
        st.complex_numbers(),
        st.text(st.characters(), max_size=5),
        st.binary(max_size=5),
        st.integers(-5, 5).map(np.int32),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner), st.tuples(inner), st.frozensets(inner, max_size=3)
    ),
    max_leaves=4,
)


def trees(keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.one_of(HASHABLE, arrays(), NUMPY_SCALARS),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
            st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
            st.sets(HASHABLE, max_size=3),
            st.builds(Moments, inner, inner),
            st.just(Empty()),
        ),
        max_leaves=8,
    )


TREES = trees(HASHABLE)
# A NaN key can be stored but never looked up, so it has no counterpart in a template.
TEMPLATES = trees(st.one_of(st.text(max_size=3), st.integers(), st.tuples(st.text(max_size=1))))


def same(a: Any, b: Any) -> bool:
    """Equality of types and bits; dictionaries in order; classes of named tuples by name."""
    if hasattr(type(a), "_fields") and isinstance(b, StoredNamedTuple):
        name = f"{type(a).__module__}.{type(a).__qualname__}"
        return (name, a._fields) == (b.class_name, b.fields) and same(tuple(a), b.values)
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        layouts = [x.flags.f_contiguous and not x.flags.c_contiguous for x in (a, b)]
        fortran_kept = layouts[0] == layouts[1]
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) and fortran_kept
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return bool(a == b)


def through_json(tree: Any) -> Any:
    encoded = codec.encode(tree)
    return codec.decode(json.loads(json.dumps(encoded.structure)), encoded.arrays)


@given(TREES)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_tree_comes_back_with_its_types_and_bits(tree: Any) -> None:
    assert same(tree, through_json(tree))


@given(TEMPLATES)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_template_gives_named_tuples_their_classes_back(tree: Any) -> None:
    restored = codec.restore_like(tree, through_json(tree))
    assert same_with_classes(tree, restored)


def same_with_classes(a: Any, b: Any) -> bool:
    """As :func:`same`, where containers that a template reaches have their own classes."""
    if type(a) in (Moments, Empty):
        return type(a) is type(b) and all(map(same_with_classes, a, b))
    if type(a) in (dict, OrderedDict):
        if type(a) is not type(b):
            return False
        return same(list(a), list(b)) and all(map(same_with_classes, a.values(), b.values()))
    if type(a) in (list, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_with_classes, a, b))
    return same(a, b)


@given(TREES)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_equal_trees_have_equal_structures(tree: Any) -> None:
    first, second = codec.encode(tree), codec.encode(tree)
    assert json.dumps(first.structure) == json.dumps(second.structure)
    assert all(dtype.dtype.kind != "O" for dtype in first.arrays)


@given(hnp.arrays(NATIVE, SHAPES), st.data())
def test_arrays_that_are_not_contiguous_keep_their_values(
    array: np.ndarray, data: st.DataObject
) -> None:
    steps = [data.draw(st.sampled_from([1, -1, 2])) for _ in array.shape]
    view = array[tuple(slice(None, None, step) for step in steps)]
    back = through_json(view)
    assert back.dtype == view.dtype
    assert back.shape == view.shape
    assert back.tobytes() == view.tobytes()


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*sorted(codec._DECODERS), "other"]), inner, max_size=2),
    ),
    max_leaves=6,
)


@given(JSON_VALUES)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_foreign_structure_decodes_or_is_refused_and_never_fails_otherwise(value: Any) -> None:
    # Any other exception fails the test.
    with contextlib.suppress(codec.CodecError):
        decoded = codec.decode(value, [np.zeros(2), np.zeros(())])
        assert isinstance(value, dict) or type(decoded) is type(value)


@given(st.floats())
def test_every_double_keeps_its_bits(value: float) -> None:
    back = through_json([value])[0]
    assert struct.pack(">d", back) == struct.pack(">d", value)
    assert math.isnan(back) == math.isnan(value)
