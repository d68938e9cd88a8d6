"""Laws of the comparison: it is a difference, so it mirrors, composes and can be applied."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spec import diff
from spec.clauses import VERSIONS
from spec.diff import ABSENT, KINDS, Change

leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
places = st.tuples(st.sampled_from(KINDS), st.sampled_from("pqr"), st.sampled_from("xyz"))
tables = st.dictionaries(places, leaves, max_size=12)
versions = st.sampled_from(VERSIONS)


def exact(table: dict[Any, Any]) -> dict[Any, Any]:
    """The same table with types, since True == 1 in Python."""
    return {place: (type(value), value) for place, value in table.items()}


def essence(changes: tuple[Change, ...]) -> dict[Any, Any]:
    return {
        change.place: (type(change.before), change.before, type(change.after), change.after)
        for change in changes
    }


@given(tables, tables)
def test_applying_the_changes_gives_the_other_table(one: Any, other: Any) -> None:
    assert exact(diff.apply(one, diff.compare(one, other))) == exact(other)


@given(tables)
def test_a_table_does_not_differ_from_itself(table: Any) -> None:
    assert diff.compare(table, dict(table)) == ()


@given(tables, tables)
def test_the_reverse_comparison_is_the_mirror_image(one: Any, other: Any) -> None:
    forth, back = diff.compare(one, other), diff.compare(other, one)
    mirrored = {
        place: (new_type, new, old_type, old)
        for place, (old_type, old, new_type, new) in essence(forth).items()
    }
    assert mirrored == essence(back)


@given(tables, tables, tables)
def test_two_steps_lead_where_one_step_leads(one: Any, two: Any, three: Any) -> None:
    direct = diff.apply(one, diff.compare(one, three))
    in_steps = diff.apply(diff.apply(one, diff.compare(one, two)), diff.compare(two, three))
    assert exact(direct) == exact(in_steps)
    # Only what changed in a step can have changed on the whole way.
    steps = set(essence(diff.compare(one, two))) | set(essence(diff.compare(two, three)))
    assert set(essence(diff.compare(one, three))) <= steps


@given(tables, tables)
def test_every_change_is_a_difference_and_every_difference_a_change(one: Any, other: Any) -> None:
    changes = diff.compare(one, other)
    assert len({change.place for change in changes}) == len(changes)
    assert {change.place for change in changes} == {
        place
        for place in {*one, *other}
        if exact({place: one.get(place, ABSENT)}) != exact({place: other.get(place, ABSENT)})
    }
    order = [KINDS.index(change.kind) for change in changes]
    assert order == sorted(order)


@given(versions, versions, versions)
def test_the_versions_of_the_rules_obey_the_laws(one: str, two: str, three: str) -> None:
    changes = diff.diff(one, two)
    assert dict(diff.apply(diff.values(one), changes)) == dict(diff.values(two))
    assert (changes == ()) == (one == two)
    assert {c.place: (c.after, c.before) for c in changes} == {
        c.place: (c.before, c.after) for c in diff.diff(two, one)
    }
    there = diff.apply(diff.apply(diff.values(one), changes), diff.diff(two, three))
    assert there == dict(diff.values(three))


nested = st.recursive(
    leaves | st.tuples(leaves, leaves),
    lambda inner: st.dictionaries(st.sampled_from(["k1", "k2", "k3"]), inner, min_size=1),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["k1", "k2"]), nested, min_size=1))
def test_flattened_parts_are_found_again_by_their_names(tree: dict[str, Any]) -> None:
    parts = dict(diff.flatten(tree))
    for name, part in parts.items():
        found: Any = tree
        for key in name.split("."):
            found = found[key]
        assert found is part

    def count(node: Any) -> int:
        return sum(map(count, node.values())) if isinstance(node, dict) else 1

    assert len(parts) == count(tree)
