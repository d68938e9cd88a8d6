"""Laws of the clause registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance_tests.clauses_plugin import Citations, problems
from spec import clauses
from spec.clauses import CHAPTERS, VERSIONS, Clause, ClauseError, Source

chapters = st.sampled_from(list(CHAPTERS))
ids = st.builds("{}-{}".format, chapters, st.integers(1, 10**6))
versions = st.lists(st.sampled_from(VERSIONS), min_size=1, unique=True).map(tuple)
texts = st.text(st.characters(codec="ascii"), min_size=1).filter(str.strip)
sources = st.lists(st.builds(Source, texts, texts), min_size=1, max_size=3).map(tuple)


@contextmanager
def empty_registry() -> Iterator[dict[str, Clause]]:
    with mock.patch.object(clauses, "_REGISTRY", {}) as registry:
        yield registry


@given(ids, texts, sources, versions, texts)
def test_a_clause_is_what_was_declared_and_declaring_it_again_changes_nothing(
    clause_id: str,
    statement: str,
    declared: tuple[Source, ...],
    held: tuple[str, ...],
    implementation: str,
) -> None:
    with empty_registry() as registry:
        first, second = (
            clauses.rule(
                clause_id, statement, source=declared, versions=held, implementation=implementation
            )
            for _ in range(2)
        )
        assert registry == {clause_id: first}
        assert first == second
        assert first.statement.split() == statement.split()
        assert (first.sources, first.versions) == (declared, held)
        assert first.id.startswith(f"{first.chapter}-")


@given(ids, texts, texts)
def test_an_id_belongs_to_one_implementation(clause_id: str, first: str, second: str) -> None:
    with empty_registry() as registry:
        source = Source("Decisions", "1")
        clauses.rule(clause_id, "Statement.", source=source, implementation=first)
        if first == second:
            clauses.rule(clause_id, "Statement.", source=source, implementation=second)
        else:
            with pytest.raises(ClauseError, match="is used by"):
                clauses.rule(clause_id, "Statement.", source=source, implementation=second)
        assert registry[clause_id].implementation == first


@given(st.text(max_size=12))
def test_only_ids_of_a_chapter_and_a_positive_number_are_accepted(clause_id: str) -> None:
    chapter, _, number = clause_id.partition("-")
    fits = (
        chapter in CHAPTERS and number.isascii() and number.isdigit() and not number.startswith("0")
    )
    with empty_registry() as registry:
        try:
            clauses.rule(
                clause_id, "Statement.", source=Source("Decisions", "1"), implementation="spec.x"
            )
        except ClauseError:
            assert not fits
        else:
            assert fits
        assert (clause_id in registry) == fits


@given(st.sets(ids, max_size=6), st.sets(ids, max_size=6))
def test_citations_are_right_exactly_if_they_are_the_rule_book(
    declared: set[str], cited: set[str]
) -> None:
    book = {
        clause_id: Clause(clause_id, "S.", (Source("Decisions", "1"),), VERSIONS, "spec.x")
        for clause_id in declared
    }
    found = problems(book, Citations({clause_id: frozenset({"t"}) for clause_id in cited}))
    assert len(found) == len(declared ^ cited)
    assert all(any(clause_id in problem for problem in found) for clause_id in declared ^ cited)
