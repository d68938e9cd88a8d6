"""The list of accepted survivors, and the parts of the session that need no tool and no run."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from conformance_tests.mutation.modules import (
    KINDS,
    ROOT,
    TESTS,
    Place,
    Survivor,
    load_survivors,
    path_of,
)
from conformance_tests.mutation.places import definitions, place
from conformance_tests.mutation.report import Result, problems, table

ROW = {"module": "timing", "function": "f", "diff": ["- a", "+ b"], "kind": "", "reason": ""}
SOURCE = '''"""Module."""

LIMIT = 3


class Outer:
    first: int = 0

    def inner(self, n: int) -> bool:
        return n < LIMIT
'''


@pytest.mark.parametrize("survivor", load_survivors(), ids=lambda one: one.place.function)
def test_every_accepted_survivor_is_in_the_code_and_has_its_reason(survivor: Survivor) -> None:
    assert survivor.place.module in TESTS
    assert survivor.kind in KINDS
    assert survivor.reason.endswith(".")
    source = path_of(survivor.place.module).read_text(encoding="utf-8")
    lines = source.splitlines()
    if survivor.place.function:
        found = [extent for name, extent in definitions(source) if name == survivor.place.function]
        assert found, f"spec.{survivor.place.module} has no {survivor.place.function}"
        lines = [lines[number - 1] for extent in found for number in extent]
    before = [text[2:] for text in survivor.place.diff if text.startswith("- ")]
    after = [text[2:] for text in survivor.place.diff if text.startswith("+ ")]
    assert before
    assert after
    assert len(before) + len(after) == len(survivor.place.diff)
    assert set(before) <= {line.strip() for line in lines}


def test_no_survivor_is_listed_twice() -> None:
    places = [survivor.place for survivor in load_survivors()]
    assert len(set(places)) == len(places)


def test_every_module_and_test_file_exists() -> None:
    for module, tests in TESTS.items():
        assert path_of(module).is_file()
        for test in tests:
            assert (ROOT / test).is_file(), test


@pytest.mark.parametrize("module", TESTS)
def test_a_module_is_tested_by_files_that_reach_it(module: str) -> None:
    wanted = f"spec.{module}"
    reached: set[str] = set()
    for test in TESTS[module]:
        for imported in _imports(ROOT / test):
            reached |= {imported} | (
                _imports(path_of(imported.removeprefix("spec.")))
                if path_of(imported.removeprefix("spec.")).is_file()
                else set()
            )
    assert wanted in reached


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "spec":
            found |= {f"spec.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spec."):
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("row", [{**ROW, "line": 3}, {**ROW, "reason": 7}, {**ROW, "diff": "- a"}])
def test_a_malformed_entry_is_an_error(row: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "survivors.json"
    path.write_text(json.dumps([ROW]))
    assert load_survivors(path) == [Survivor(Place("timing", "f", ("- a", "+ b")), "", "")]
    path.write_text(json.dumps([row]))
    with pytest.raises(ValueError, match=r"survivors\.json: an entry "):
        load_survivors(path)


def test_a_place_stays_the_same_when_lines_move() -> None:
    expected = Place("m", "Outer.inner", ("- return n < LIMIT", "+ return n <= LIMIT"))
    moved = SOURCE.replace("LIMIT = 3", "# A comment.\n\nLIMIT = 3")
    for source in (SOURCE, moved):
        assert place("m", source, source.replace("n < LIMIT", "n <= LIMIT")) == expected
    assert place("m", SOURCE, SOURCE.replace("= 3", "= 4")).function == ""
    assert place("m", SOURCE, SOURCE.replace("int = 0", "int = 1")).function == "Outer"


def test_new_survivors_and_entries_without_one_are_problems() -> None:
    listed, new = Place("timing", "f", ("- a", "+ b")), Place("timing", "f", ("- a", "+ c"))
    elsewhere = Place("goals", "g", ("- a", "+ b"))
    accepted = [Survivor(found, "equivalent", "It is.") for found in (listed, elsewhere)]
    assert problems([Result("timing", 9, (listed,), 1.0)], accepted) == []
    missing, stale = problems([Result("timing", 9, (new,), 1.0)], accepted)
    assert missing.startswith("not in the list: ")
    assert '"+ c"' in missing
    assert stale.startswith("in the list, but no survivor: spec.timing: f")
    header, row = table([Result("timing", 9, (new,), 1.4)])
    assert header.split() == ["module", "mutants", "killed", "survived", "seconds"]
    assert row.split() == ["timing", "9", "8", "1", "1"]
