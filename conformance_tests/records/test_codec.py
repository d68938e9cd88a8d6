"""What the codec refuses, and what it says."""

from __future__ import annotations

import builtins
import collections
import enum
import json
from types import MappingProxyType
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from algoperf_ref.records import codec
from algoperf_ref.records.codec import CodecError, StoredNamedTuple


class ScaleByAdamState(NamedTuple):
    count: Any
    mu: Any


class Foreign:
    pass


class Level(enum.IntEnum):
    HIGH = 1


def test_an_unknown_type_is_named_with_its_place_in_the_tree() -> None:
    state = {"optimizer_state": {"optimizer": ScaleByAdamState(0, [1, Foreign()])}, "step": 3}
    with pytest.raises(CodecError) as caught:
        codec.encode(state)
    assert str(caught.value) == f"optimizer_state['optimizer'].mu[1]: {Foreign} cannot be stored"


@pytest.mark.parametrize(
    "value",
    [
        Level.HIGH,
        MappingProxyType({}),
        collections.defaultdict(list),
        np.array([object()]),
        np.ma.array([1.0], mask=[True]),
        lambda: None,
        type,
        np.zeros(2, dtype=[("x", ml_dtypes.bfloat16)]),
        range(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_types_that_would_lose_something_are_refused(value: Any) -> None:
    with pytest.raises(CodecError, match=r"^state: .*cannot be stored$"):
        codec.encode(value, name="state")


def test_a_tree_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CodecError, match="contains itself"):
        codec.encode(endless, name="state")


def test_the_deepest_tree_accepted_survives_json() -> None:
    tree: Any = 7
    for level in range(codec.MAX_DEPTH):
        tree = ({"k": tree}, (tree,), [tree])[level % 3]
    encoded = codec.encode(tree)
    assert codec.decode(json.loads(json.dumps(encoded.structure)), []) == tree
    with pytest.raises(CodecError, match="nested deeper than 100 levels"):
        codec.encode([tree])


def test_large_integers_have_no_digit_limit() -> None:
    number = -(7**9000)
    encoded = codec.encode(number)
    assert codec.decode(json.loads(json.dumps(encoded.structure)), []) == number


def test_sets_are_encoded_in_an_order_that_does_not_depend_on_insertion() -> None:
    colliding = [8 * i for i in range(50)]  # insertion decides who comes first in a bucket
    forward, backward = set(), set()
    for forward_member, backward_member in zip(colliding, reversed(colliding), strict=True):
        forward.add(forward_member)
        backward.add(backward_member)
    assert codec.encode(forward) == codec.encode(backward)


def test_named_tuples_decode_to_name_fields_and_values() -> None:
    encoded = codec.encode(ScaleByAdamState(1, {"w": 2}))
    stored = codec.decode(encoded.structure, encoded.arrays)
    assert isinstance(stored, StoredNamedTuple)
    assert stored.class_name == f"{__name__}.ScaleByAdamState"
    assert stored.asdict() == {"count": 1, "mu": {"w": 2}}


def stored_copy(tree: Any) -> Any:
    return codec.decode(*codec.encode(tree))


def test_restoring_reaches_named_tuples_in_every_container() -> None:
    state = {"a": [(ScaleByAdamState(1, ScaleByAdamState(2, None)),)], "b": 3}
    restored = codec.restore_like(state, stored_copy(state))
    assert restored == state
    assert type(restored["a"][0][0].mu) is ScaleByAdamState


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"s": (0, 0)}, r"^s: stored .*ScaleByAdamState, wanted <class 'tuple'>$"),
        ({"s": collections.namedtuple("Other", "count mu")(0, 0)}, "wanted .*Other"),
        ({"s": ScaleByAdamState(0, {"v": 0})}, r"^s\.mu: keys only on one side: 'v', 'w'$"),
        ({"s": ScaleByAdamState(0, [1])}, r"^s\.mu: stored <class 'dict'>, wanted <class 'list'>$"),
        ({}, "keys only on one side: 's'"),
    ],
)
def test_restoring_into_another_structure_names_the_difference(template: Any, message: str) -> None:
    stored = stored_copy({"s": ScaleByAdamState(1, {"w": 2})})
    with pytest.raises(CodecError, match=message):
        codec.restore_like(template, stored)


def test_restoring_a_list_of_another_length_is_an_error() -> None:
    with pytest.raises(CodecError, match=r"^the root: stored 1 entries, wanted 2$"):
        codec.restore_like([1, 2], [1])


def test_without_ml_dtypes_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = codec.encode(np.zeros(2, ml_dtypes.bfloat16))
    really_import = builtins.__import__

    def without_ml_dtypes(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "ml_dtypes":
            raise ImportError("No module named 'ml_dtypes'")
        return really_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ml_dtypes)
    with pytest.raises(CodecError, match="bfloat16 needs the package ml_dtypes"):
        codec.decode(encoded.structure, encoded.arrays)


@pytest.mark.parametrize(
    "structure",
    [
        {"list": []},
        {"a": 1, "b": 2},
        {},
        {"array": 5},
        {"dict": [[1]]},
        {"dict": [[[], 1]]},
        {"int": "seven"},
        {"scalar": ["O", ""]},
        {"ml_scalar": ["finfo", "AA=="]},
        {"namedtuple": ["x.Y", ["a"], []]},
    ],
    ids=str,
)
def test_a_malformed_structure_is_refused(structure: Any) -> None:
    with pytest.raises(CodecError):
        codec.decode(structure, [])
