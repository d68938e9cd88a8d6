"""The rule book on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spec import __main__ as cli
from spec import clauses

ROOT = Path(clauses.__file__).parents[1]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(arguments) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        status = cli.main(arguments)
    except SystemExit as error:
        status = int(error.code or 0)
    output = capsys.readouterr()
    assert status == 2
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err


def test_list_has_one_line_for_every_clause(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "list").splitlines()
    for clause in clauses.load_all().values():
        assert sum(line.startswith(f"{clause.id} ") for line in lines) == 1
    assert "WORKLOADS" in lines


def test_list_as_json_holds_everything_that_is_known_of_a_clause(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = json.loads(run(capsys, "list", "--format", "json"))
    loaded = clauses.load_all()
    assert [row["id"] for row in rows] == list(loaded)
    for row in rows:
        clause = loaded[row["id"]]
        assert row["statement"] == clause.statement
        assert tuple(row["versions"]) == clause.versions
        assert row["implementation"] == clause.implementation
        assert [
            clauses.Source(source["document"], source["section"]) for source in row["sources"]
        ] == list(clause.sources)


def test_list_as_markdown_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "list", "--format", "markdown").splitlines()
    assert len(lines) == len(clauses.load_all()) + 2
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert {line.replace(r"\|", "").count("|") for line in lines} == {6}


def test_markdown_keeps_angle_brackets_and_underscores(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, "show", "REC-4", "--format", "markdown")
    assert r"&lt;experiment\_dir>" in shown
    assert "`spec.records.trial_directory`" in shown


@pytest.mark.parametrize("chapter", list(clauses.CHAPTERS))
def test_list_can_be_limited_to_a_chapter(chapter: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "list", "--format", "json", "--chapter", chapter.lower()))
    expected = [id for id in clauses.load_all() if id.startswith(f"{chapter}-")]
    assert [row["id"] for row in rows] == expected


@pytest.mark.parametrize("version", clauses.VERSIONS)
def test_list_can_be_limited_to_a_version(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "list", "--format", "json", "--version", version))
    expected = [id for id, clause in clauses.load_all().items() if version in clause.versions]
    assert [row["id"] for row in rows] == expected


def test_show_tells_statement_source_versions_and_code(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(run(capsys, "show", "drop-6").split())
    assert shown.startswith("DROP-6 (dropout) Before v0.6")
    assert "source: Harness contract, 5, step 2 Dahl et al. 2023, Table 10" in shown
    assert shown.endswith("versions: paper2023, v0.5 code: spec.dropout.rates")


def test_show_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(run(capsys, "show", "WORK-7", "--format", "json", "--version", "v0.6"))
    assert shown["implementation"] == "spec.workload_table.base_name"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "WORK-99"), "unknown clause 'WORK-99'; did you mean WORK-9"),
        (("show", "nonsense"), "unknown clause 'nonsense'; known: RULE-1"),
        (
            ("show", "DROP-6", "--version", "v0.6"),
            "DROP-6 does not hold in v0.6; it holds in paper",
        ),
        (("list", "--version", "v06"), "unknown ruleset version 'v06'; did you mean v0.6?"),
        (("list", "--chapter", "TIME"), "unknown chapter 'TIME'; did you mean TIM"),
        (("list", "--format", "jsn"), "unknown format 'jsn'; did you mean json?"),
        (("lst",), "invalid choice: 'lst'"),
        ((), "arguments are required: COMMAND"),
        (("show",), "arguments are required: ID"),
        (("list", "--colour"), "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_argument_is_one_clear_line_and_status_2(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in fail(capsys, *arguments)


def test_a_wrongly_declared_clause_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_all() -> None:
        raise clauses.ClauseError("clause id TIM-1 is used by spec.a and by spec.b")

    monkeypatch.setattr(cli, "load_all", load_all)
    assert fail(capsys, "list") == "error: clause id TIM-1 is used by spec.a and by spec.b\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "spec", "list"],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_list_is_wrapped_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    unwrapped = run(capsys, "list")
    assert max(len(line) for line in unwrapped.splitlines()) > 90
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    wrapped = run(capsys, "list")
    assert max(len(line) for line in wrapped.splitlines()) <= 90
    assert wrapped.split() == unwrapped.split()
