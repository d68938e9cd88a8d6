"""The test vectors: our rules give what the cases expect, and the cases keep to their format."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conformance_tests.support.json_schema import problems
from conformance_tests.support.scripted import harness_run
from conformance_tests.support.wrong import ours_but
from spec import cases, vectors
from spec.cases import AREAS, CHAPTERS, Case, Verdict, operations
from spec.cases.runner import run_case
from spec.clauses import BrokenRule, load_all

ALL = cases.load_all()
GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "halton.json").read_text()
)


def cited(selection: Any = ALL) -> list[Any]:
    """One parameter per case, which cites the clauses of the case."""
    return [
        pytest.param(case, marks=pytest.mark.clause(*case.clauses), id=case.id)
        for case in selection
    ]


@pytest.mark.parametrize("case", cited())
def test_the_rules_give_what_the_case_expects(case: Case) -> None:
    assert run_case(case) is None


@pytest.mark.parametrize("case", cited(c for c in ALL if c.operation == "evaluation.run"))
def test_the_harness_does_what_the_case_expects(case: Case) -> None:
    assert run_case(case, ours_but(evaluation_run=harness_run())) is None


# The cases as data.


def test_every_clause_of_the_six_chapters_has_cases_of_both_verdicts_or_a_reason() -> None:
    verdicts: dict[str, set[Verdict]] = {
        id: set() for id, clause in load_all().items() if clause.chapter in CHAPTERS
    }
    for case in ALL:
        for id in case.clauses:
            verdicts.setdefault(id, set()).add(case.verdict)
    own = {id: found for id, found in verdicts.items() if load_all()[id].chapter in CHAPTERS}
    assert [id for id, found in own.items() if not found] == []
    single = {id for id, found in own.items() if len(found) == 1}
    assert single == set(cases.one_verdict())


def test_cases_cite_clauses_that_exist_in_their_versions() -> None:
    clauses = load_all()
    for case in ALL:
        version = case.given.get("version", case.when.get("version"))
        for id in case.clauses:
            if version in ("paper2023", "v0.5", "v0.6") and case.verdict is Verdict.ACCEPTED:
                assert version in clauses[id].versions, (case.id, id)
            assert id in clauses
        assert case.error is None or case.error in case.clauses, case.id


def test_ids_are_unique_and_titles_and_situations_too() -> None:
    for key in (
        lambda case: case.id,
        lambda case: case.title,
        lambda case: (case.operation, json.dumps(cases.encode([case.given, case.when]))),
    ):
        assert [k for k, count in Counter(map(key, ALL)).items() if count > 1] == []


def test_a_rejected_case_has_an_accepted_one_next_to_it() -> None:
    by_id = {case.id: case for case in ALL}
    for case in ALL:
        if case.verdict is Verdict.ACCEPTED:
            assert case.near is None, case.id
            assert case.error is None, case.id
            continue
        assert case.near is not None, case.id
        near = by_id[case.near]
        assert near.verdict is Verdict.ACCEPTED, case.id
        assert near.operation == case.operation, case.id
        assert (near.given, near.when) != (case.given, case.when), case.id
        assert set(near.clauses) & set(case.clauses) or case.error, case.id


def test_a_case_has_the_area_of_its_file_and_names_an_operation_of_it() -> None:
    for area in AREAS:
        for case in cases.load(area):
            assert case.area == area == case.operation.split(".")[0]
            assert case.operation.replace(".", "_") in operations.__all__
    used = {case.operation.replace(".", "_") for case in ALL}
    assert used == set(operations.__all__)


def test_points_of_the_sequence_are_those_of_the_official_package() -> None:
    by_id = {case.id: case for case in ALL}
    for dims in ("1", "2"):
        points = by_id[f"tuning/halton-{dims}"].expect["points"]
        assert points == GOLDEN["raw_unshuffled"][dims][: len(points)]
    recorded = {
        (entry["space"], entry["num_trials"], entry["np_random_seed"]): entry["points"]
        for entry in GOLDEN["cases"]
    }
    for name, seed in (("tuning/study-order", 0), ("tuning/study-another-seed", 1)):
        case = by_id[name]
        assert case.given["space"] == GOLDEN["spaces"]["log1"]
        points = [list(point.values()) for point in case.expect["points"]]
        assert points == recorded["log1", 5, seed]


# The files.


def test_the_files_keep_to_the_schema() -> None:
    documents = vectors.documents()
    assert set(documents) == {"README.md", "schema.json", *(f"{area}.json" for area in AREAS)}
    schema = json.loads(documents["schema.json"])
    for area in AREAS:
        assert problems(json.loads(documents[f"{area}.json"]), schema) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"verdict": "maybe"}, "verdict"),
        ({"clauses": []}, "clauses"),
        ({"clauses": ["TIM-01"]}, "clauses"),
        ({"clauses": ["TIM-1", "TIM-1"]}, "clauses"),
        ({"id": "timing step"}, "id"),
        ({"extra": 1}, "extra"),
        ({"expect": {}}, "expect"),
        ({"expect": {"error": "ValueError"}}, "expect"),
        ({"tolerance": 0}, "tolerance"),
        ({"given": []}, "given"),
        ({"title": ...}, "title"),
    ],
)
def test_the_schema_refuses_other_files(change: dict[str, Any], problem: str) -> None:
    schema = json.loads(cases.text("schema.json"))
    content = json.loads(vectors.documents()["timing.json"])
    content["cases"][0].update(change)
    content["cases"][0] = {k: v for k, v in content["cases"][0].items() if v is not ...}
    [found] = problems(content, schema)
    assert problem in found


def test_the_stored_files_are_laid_out_as_the_exported_ones() -> None:
    for area in AREAS:
        assert cases.text(f"{area}.json") == vectors.layout(cases.raw(area))


def test_the_readme_explains_every_operation_argument_and_result() -> None:
    text = cases.text("README.md")
    words = set(re.findall(r"[a-z_]+", text))
    for case in ALL:
        assert f"`{case.operation}`" in text
        assert words >= {*case.given, *case.when, *case.expect} - {"error"} - {
            key for key in case.expect if key.endswith("_in_any_order")
        }, case.id
        assert words >= {key.removesuffix("_in_any_order") for key in case.expect}, case.id
    assert max(len(line) for line in text.splitlines()) <= 110


def test_the_files_alone_are_enough_to_run_the_cases(tmp_path: Path) -> None:
    """As a stranger would: plain JSON, and the three strings that stand for numbers."""
    numbers = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}

    def number(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: number(element) for key, element in value.items()}
        if isinstance(value, list):
            return [number(element) for element in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    vectors.write(tmp_path)
    ran = 0
    for path in sorted(tmp_path.glob("*.json")):
        content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
        for case in content.get("cases", []):
            operation = getattr(operations, case["operation"].replace(".", "_"))
            arguments = number({**case["given"], **case["when"]})
            if "error" in case["expect"]:
                with pytest.raises(BrokenRule):
                    operation(**arguments)
            else:
                operation(**arguments)
            ran += 1
    assert ran == len(ALL)
