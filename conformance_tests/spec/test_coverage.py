"""The rules sentence by sentence: the tables, the scan of the tests, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance_tests.spec.test_cli import fail, run
from spec import citations, clauses, coverage
from spec.sentences_table import SentenceError, load_sentences, parse_sentences

ROOT = Path(clauses.__file__).parents[1]
RULES = "Rules v0.6"


def row(**changes: Any) -> dict[str, Any]:
    return {"section": "1", "sentence": "A.", "clauses": ["TIM-1"], "reason": ""} | changes


def file(*sentences: Any, **changes: Any) -> str:
    return json.dumps({"document": "D", "sentences": list(sentences), **changes})


def test_every_cell_of_the_table_is_filled() -> None:
    table = coverage.rows(load_sentences(), clauses.load_all(), citations.citing_tests())
    assert len(table) > 200
    for line in table:
        sentence = line.sentence
        assert all((sentence.document, sentence.section, sentence.text, line.how))
        assert all(line.tested_by)
        assert bool(sentence.clauses) != bool(sentence.reason)


def test_every_sentence_with_clauses_has_a_test() -> None:
    tests = citations.citing_tests()
    assert tests is not None
    table = coverage.rows(load_sentences(), clauses.load_all(), tests)
    assert [line.sentence for line in table if line.clauses and not line.tests] == []


def test_every_clause_with_a_source_in_the_rules_is_reached_from_one_of_their_sentences() -> None:
    assert coverage.unreached(RULES, load_sentences(), clauses.load_all()) == ()


def test_a_clause_without_a_sentence_is_reported() -> None:
    sentences = parse_sentences("d.json", file(row(), document=RULES), ["TIM-1"])
    book = clauses.load_all()
    missing = coverage.unreached(RULES, sentences, book)
    assert "EVAL-2" in missing
    assert "TIM-1" not in missing
    assert coverage.unreached("Another document", sentences, book) == ()


def test_sentences_are_numbered_in_the_order_of_the_file() -> None:
    text = file(row(), row(sentence="B.", clauses=[], reason="on paper"))
    first, second = parse_sentences("d.json", text, ["TIM-1"])
    assert (first.number, first.clauses, first.reason) == (1, ("TIM-1",), "")
    assert (second.number, second.clauses, second.reason) == (2, (), "on paper")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"^d\.json: Expecting"),
        ("[]", r"^d\.json: is not an object with the fields document, sentences"),
        (file(row(), author="me"), r"^d\.json: unknown field author"),
        (json.dumps({"document": "D"}), r"^d\.json: missing field sentences"),
        (file(row(), document=""), r"^d\.json: document is not a text"),
        (file(), r"^d\.json: sentences is not a list with at least one row"),
        (file(row(), row(note="x")), r"^d\.json, row 2: unknown field note"),
        (file("A."), r"^d\.json, row 1: is not an object"),
        (file({"section": "1"}), r"^d\.json, row 1: missing field sentence, clauses, reason"),
        (file(row(section=" 1")), r"^d\.json, row 1: section is not a text"),
        (file(row(sentence=3)), r"^d\.json, row 1: sentence is not a text"),
        (file(row(clauses="TIM-1")), r"^d\.json, row 1: clauses is not a list of clause ids"),
        (file(row(clauses=[1])), r"^d\.json, row 1: clauses is not a list of clause ids"),
        (file(row(reason="on paper")), r"^d\.json, row 1: has both clauses and a reason"),
        (file(row(clauses=[])), r"^d\.json, row 1: has neither clauses nor a reason"),
        (file(row(clauses=[], reason=" ")), r"^d\.json, row 1: reason is not a text without"),
        (file(row(clauses=["TIM-1", "TIM-99"])), r"^d\.json, row 1: unknown clauses TIM-99$"),
        (file(row(clauses=["TIM-1", "TIM-1"])), r"^d\.json, row 1: names a clause twice"),
        (file(row(), row(sentence="B."), row()), r"^d\.json, row 3: repeats row 1$"),
        ('{"document": "D", "document": "E"}', r"^d\.json: an object has the field document twice"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_file_and_row(text: str, message: str) -> None:
    with pytest.raises(SentenceError, match=message):
        parse_sentences("d.json", text, ["TIM-1"])


MARKED = '''
import pytest
from pytest import mark

IDS = ("A-1", "A-2")
whole = pytest.mark.clause("A-3")
CASES = [1, pytest.param(2, marks=pytest.mark.clause("A-4"))]

@pytest.mark.clause("A-5", "A-6")
@mark.clause("A-7")
def test_decorated(): ...

@pytest.mark.clause(*IDS)
def test_ids_by_name(): ...

@whole
def test_marker_by_name(): ...

@pytest.mark.parametrize("x", CASES)
def test_parameter_by_name(x): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=[pytest.mark.clause("A-8")])])
def test_parameter(x): ...

@pytest.mark.slow
def test_uncited():
    """Speaks of pytest.mark.clause("A-9")."""

class TestClass:
    pytestmark = [pytest.mark.clause("A-10")]

    @pytest.mark.clause("A-11")
    def test_method(self): ...

class Base:
    @pytest.mark.clause("A-12")
    def test_inherited(self): ...

TestMade = pytest.mark.clause("A-13")(Base)

@pytest.mark.clause("A-14")
def helper(): ...
'''


def test_markers_are_found_wherever_they_may_stand() -> None:
    assert citations.citations(MARKED) == {
        "test_decorated": {"A-5", "A-6", "A-7"},
        "test_ids_by_name": {"A-1", "A-2"},
        "test_marker_by_name": {"A-3"},
        "test_parameter_by_name": {"A-4"},
        "test_parameter": {"A-8"},
        "TestClass::test_method": {"A-10", "A-11"},
        "TestMade": {"A-13"},
    }


def test_a_marker_of_the_module_holds_for_all_its_tests() -> None:
    found = citations.citations(f"{MARKED}\npytestmark = pytest.mark.clause('A-20')")
    assert found["test_uncited"] == {"A-20"}
    assert found["TestClass::test_method"] == {"A-10", "A-11", "A-20"}


def test_tests_are_looked_for_in_both_folders(tmp_path: Path) -> None:
    assert citations.citing_tests(tmp_path) is None
    for name in ("conformance_tests/a/test_x.py", "property_tests/test_y.py", "tests/test_z.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("import pytest\n@pytest.mark.clause('A-1')\ndef test_it(): ...\n")
    (tmp_path / "conformance_tests/support.py").write_text("def test_it(): ...")
    assert citations.citing_tests(tmp_path) == {
        "A-1": ("conformance_tests/a/test_x.py::test_it", "property_tests/test_y.py::test_it")
    }


def test_json_names_every_sentence_and_all_tests(capsys: pytest.CaptureFixture[str]) -> None:
    output = json.loads(run(capsys, "coverage", "--format", "json", "--document", RULES.lower()))
    assert output["tests_installed"] is True
    assert output["unreached_clauses"] == {RULES: []}
    expected = [s for s in load_sentences() if s.document == RULES]
    assert [line["sentence"] for line in output["sentences"]] == [s.text for s in expected]
    assert [tuple(c["id"] for c in line["clauses"]) for line in output["sentences"]] == [
        s.clauses for s in expected
    ]
    due = next(line for line in output["sentences"] if {"EVAL-2"} <= ids(line))
    assert any(test.startswith("property_tests/test_evaluation.py::") for test in due["tests"])


def ids(line: dict[str, Any]) -> set[str]:
    return {clause["id"] for clause in line["clauses"]}


def test_markdown_is_one_table_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "coverage", "--format", "markdown", "--document", RULES).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == sum(s.document == RULES for s in load_sentences()) + 2
    assert {line.replace(r"\|", "").count("|") for line in table} == {7}
    assert not any("|  |" in line for line in table)
    assert lines[-1].startswith(f"{RULES}: ")
    assert lines[-1].endswith("every clause is reached.")


def test_text_gives_each_sentence_its_clauses_or_reason_and_tests(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = run(capsys, "coverage", "--document", RULES).splitlines()
    mine = [s for s in load_sentences() if s.document == RULES]
    assert sum(line.startswith("     clauses:") for line in lines) == sum(
        bool(s.clauses) for s in mine
    )
    assert sum(line.startswith("     reason:") for line in lines) == sum(
        bool(s.reason) for s in mine
    )
    assert sum(line.startswith("     tests:") for line in lines) == len(mine)
    assert "RULES V0.6, EVALUATION DURING TRAINING" in lines


def test_uncovered_keeps_sentences_without_clause_or_test(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = json.loads(run(capsys, "coverage", "--uncovered", "--format", "json"))
    table = coverage.rows(load_sentences(), clauses.load_all(), citations.citing_tests())
    expected = [line.sentence.text for line in table if not line.tests]
    assert [line["sentence"] for line in output["sentences"]] == expected
    assert {s.text for s in load_sentences() if s.reason} <= set(expected)
    text = run(capsys, "coverage", "--uncovered", "--document", RULES)
    shown = sum(line.sentence.document == RULES for line in table if not line.tests)
    assert f" ({shown} of them shown)" in text


def test_a_version_keeps_sentences_with_a_clause_that_holds_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = json.loads(run(capsys, "coverage", "--version", "paper2023", "--format", "json"))
    book = clauses.load_all()
    assert [line["sentence"] for line in output["sentences"]] == [
        s.text
        for s in load_sentences()
        if any("paper2023" in book[id].versions for id in s.clauses)
    ]


def test_without_the_tests_a_header_says_so_and_no_cell_is_empty(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "citing_tests", lambda: None)
    text = run(capsys, "coverage", "--document", RULES)
    assert text.startswith("The tests (conformance_tests and property_tests) are not installed")
    assert "     tests:   not installed\n" in text
    table = run(capsys, "coverage", "--document", RULES, "--format", "markdown")
    assert table.startswith("The tests (")
    assert "|  |" not in table
    output = json.loads(run(capsys, "coverage", "--document", RULES, "--format", "json"))
    assert output["tests_installed"] is False
    assert all(line["tests"] is None for line in output["sentences"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--document", "Rules v0.7"), "unknown document 'Rules v0.7'; did you mean Rules v0.6"),
        (("--format", "html"), "unknown format 'html'"),
        (("--version", "v9"), "unknown ruleset version 'v9'"),
        (("--document",), "expected one argument"),
        (("--covered",), "unrecognized arguments: --covered"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fail(capsys, "coverage", *arguments)


def test_a_reader_that_has_enough_does_no_harm() -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "spec", "coverage"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE
    ) as process:
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 0
