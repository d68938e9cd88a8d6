"""Laws of the tables of sentences and of the scan of the tests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import coverage
from spec.citations import citations
from spec.clauses import load_all
from spec.sentences_table import SentenceError, parse_sentences

IDS = sorted(load_all())
words = st.text("abc |`_<", min_size=1, max_size=8).map(str.strip).filter(bool)
clause_lists = st.lists(st.sampled_from(IDS), unique=True, min_size=1, max_size=3)
covered = st.fixed_dictionaries(
    {"section": words, "sentence": words, "clauses": clause_lists, "reason": st.just("")}
)
reasoned = st.fixed_dictionaries(
    {"section": words, "sentence": words, "clauses": st.just([]), "reason": words}
)
tables = st.lists(
    covered | reasoned,
    min_size=1,
    max_size=6,
    unique_by=lambda row: (row["section"], row["sentence"]),
)


@given(tables)
def test_a_table_is_read_back_in_its_order(table: list[dict[str, Any]]) -> None:
    read = parse_sentences("f.json", json.dumps({"document": "D", "sentences": table}), IDS)
    assert [sentence.number for sentence in read] == list(range(1, len(table) + 1))
    assert [
        {
            "section": sentence.section,
            "sentence": sentence.text,
            "clauses": list(sentence.clauses),
            "reason": sentence.reason,
        }
        for sentence in read
    ] == table


@given(tables, st.data())
def test_a_table_with_one_wrong_row_is_an_error_that_names_it(
    table: list[dict[str, Any]], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(table) - 1))
    table[index] = data.draw(
        st.sampled_from(
            [
                {**table[index], "clauses": ["NONE-1"], "reason": ""},
                {**table[index], "clauses": [], "reason": ""},
                {**table[index], "clauses": [IDS[0]], "reason": "both"},
                {**table[index], "page": 3},
                {**table[index], "section": ""},
                {name: table[index][name] for name in ("section", "sentence", "reason")},
            ]
        )
    )
    with pytest.raises(SentenceError, match=rf"^f\.json, row {index + 1}: "):
        parse_sentences("f.json", json.dumps({"document": "D", "sentences": table}), IDS)


@given(tables, st.dictionaries(st.sampled_from(IDS), st.lists(words, max_size=5)))
def test_every_row_has_filled_cells_and_the_tests_of_its_own_clauses(
    table: list[dict[str, Any]], tests: dict[str, list[str]]
) -> None:
    sentences = parse_sentences("f.json", json.dumps({"document": "D", "sentences": table}), IDS)
    joined = coverage.rows(sentences, load_all(), tests)
    for row in joined:
        assert row.how
        assert all(row.tested_by)
        assert row.tests is not None
        assert set(row.tests) == {t for id in row.sentence.clauses for t in tests.get(id, ())}
        shown = [test for test in row.tested_by if test in row.tests]
        assert len(shown) == min(len(row.tests), coverage.SHOWN_TESTS)
    assert [row.tests for row in coverage.rows(sentences, load_all(), None)] == [None] * len(table)


@given(tables)
def test_a_clause_is_unreached_or_named_by_a_sentence(table: list[dict[str, Any]]) -> None:
    document = "Rules v0.6"
    text = json.dumps({"document": document, "sentences": table})
    missing = coverage.unreached(document, parse_sentences("f.json", text, IDS), load_all())
    named = {id for row in table for id in row["clauses"]}
    of_document = {
        id for id, c in load_all().items() if any(s.document == document for s in c.sources)
    }
    assert set(missing) == of_document - named


functions = st.dictionaries(
    st.text("abc", min_size=1, max_size=4).map("test_{}".format),
    st.lists(st.sampled_from(IDS), max_size=3),
    max_size=4,
)


@given(functions, functions, st.lists(st.sampled_from(IDS), max_size=2))
def test_the_scan_finds_what_was_written(
    plain: dict[str, list[str]], in_class: dict[str, list[str]], on_class: list[str]
) -> None:
    def define(tests: dict[str, list[str]], indent: str, self: str) -> list[str]:
        return [
            line
            for name, ids in tests.items()
            for line in (
                *(f"{indent}@pytest.mark.clause({id!r})" for id in ids),
                f"{indent}def {name}({self}): ...",
            )
        ]

    source = [
        "import pytest",
        *define(plain, "", ""),
        *([f"@pytest.mark.clause(*{on_class})"] if on_class else []),
        "class TestThings:",
        "    size = 3",
        *define(in_class, "    ", "self"),
    ]
    expected = {name: set(ids) for name, ids in plain.items() if ids}
    expected |= {
        f"TestThings::{name}": {*ids, *on_class}
        for name, ids in in_class.items()
        if ids or on_class
    }
    assert citations("\n".join(source)) == expected
