"""The table of deviations: complete, well-formed, and true about what the project has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.workloads import registry
from spec import __main__ as cli
from spec import clauses, deviations, workloads
from spec.deviations import DONE, TO_COME, Deviation, load, problems, select

ROOT = Path(clauses.__file__).parents[1]


def exists(row: Deviation) -> bool:
    """Whether the project has the part that a row is about."""
    if row.part.startswith(deviations.WORKLOAD_PART):
        return row.part.removeprefix(deviations.WORKLOAD_PART) in registry.names("full")
    return (ROOT / row.part).is_file()


def test_the_table_has_no_problem() -> None:
    assert problems(load(), clauses.load_all()) == []
    assert len(load()) >= 150


def test_every_decision_is_a_row_or_a_clause() -> None:
    in_rows = {number for row in load() for number in row.decisions}
    assert in_rows == set(range(1, deviations.NUM_DECISIONS + 1))


@pytest.mark.parametrize("name", workloads.names("base"))
def test_every_base_workload_has_rows_of_both_frameworks(name: str) -> None:
    rows = select(load(), name)
    assert len(rows) >= 8
    assert {framework for row in rows for framework in row.frameworks} == {"jax", "pytorch"}


def test_a_row_says_done_exactly_if_the_part_is_there() -> None:
    # A part that has just been added fails here: look at its rows, then set their status.
    wrong = [f"{row.id} ({row.part})" for row in load() if (row.status == DONE) != exists(row)]
    assert not wrong


def test_parts_are_files_or_base_workloads() -> None:
    for row in load():
        if row.part.startswith(deviations.WORKLOAD_PART):
            name = row.part.removeprefix(deviations.WORKLOAD_PART)
            assert name in workloads.names("base")
            assert {workloads.base_name(own) for own in row.workloads} >= {name}
        else:
            assert not Path(row.part).is_absolute()
            assert row.part.split("/")[0] in ("spec", "algoperf_ref", "constraints")


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("229.4143", "29.4143"),
        ("Dense_17", "decoder"),
        ("get_eval_batch_size", "error"),
        ("Only the newest checkpoint", "two newest"),
        ("strictly better, the scorer also if it is equal", "Equality counts"),
        ("hidden global generator", "before every step"),
        ("same five points in each study", "none twice"),
        ("smallest evaluation number", "fastest in time"),
        ("printed tensors", "the true rate is logged beside it"),
    ],
)
def test_known_deviations_are_in_the_table(official: str, ours: str) -> None:
    assert any(official in row.official and ours in row.ours for row in load())


def test_numbers_of_the_table_are_those_of_the_rules() -> None:
    (fastmri,) = [row for row in load() if "0.7344" in row.rules]
    assert str(workloads.get("fastmri", "v0.5").validation_target_value) in fastmri.ours
    (wmt,) = [row for row in load() if "229.4143" in row.official]
    assert str(workloads.get("wmt_attention_temp").test_target_value) in wmt.ours
    (criteo,) = [row for row in load() if "8,192 in PyTorch" in row.official]
    assert f"{workloads.get('criteo1tb').eval_batch_size:,} in both" in criteo.ours


GOOD = Deviation(
    id="DEV-1",
    area="timing",
    workloads=("ogbg",),
    frameworks=("jax",),
    official="Does one thing.",
    rules="Say another.",
    ours="The other.",
    effect="None.",
    decisions=(3,),
    clauses=("TIM-1",),
    sources=("Decisions, 3",),
    status=DONE,
    part="spec/timing.py",
)


def test_a_good_row_has_no_problem() -> None:
    assert problems([GOOD], ["TIM-1"]) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "DEV-3"}, "row 1 has the id DEV-3, not DEV-1"),
        ({"official": ""}, "DEV-1 has an empty official"),
        ({"effect": " "}, "DEV-1 has a blank or unclean text in effect"),
        ({"rules": "Two  blanks."}, "DEV-1 has a blank or unclean text in rules"),
        ({"ours": "No stop"}, "DEV-1 has no full stop after ours"),
        ({"sources": ()}, "DEV-1 has an empty sources"),
        ({"sources": ("",)}, "DEV-1 has a blank or unclean text in sources"),
        ({"frameworks": ()}, "DEV-1 has an empty frameworks"),
        ({"frameworks": ("tf",)}, "DEV-1 names an unknown framework in tf"),
        ({"decisions": (24,)}, "DEV-1 cites decision 24, which does not exist"),
        ({"clauses": ("TIM-9",)}, "DEV-1 cites clause TIM-9, which does not exist"),
        ({"workloads": ("gnn",)}, "DEV-1 names the unknown workload gnn"),
        ({"status": "planned"}, "DEV-1 has the status planned, not one of done, to come"),
    ],
)
def test_a_bad_row_is_found(change: dict[str, Any], message: str) -> None:
    assert message in problems([replace(GOOD, **change)], ["TIM-1"])


def test_a_row_that_repeats_another_is_found() -> None:
    assert problems([GOOD, replace(GOOD, id="DEV-2")], ["TIM-1"]) == [
        "DEV-2 says the same as DEV-1"
    ]


def test_rows_are_chosen_by_workload_and_framework() -> None:
    rows = [
        GOOD,
        replace(GOOD, id="DEV-2", workloads=("ogbg_gelu",), frameworks=("pytorch",)),
        replace(GOOD, id="DEV-3", workloads=(), frameworks=("jax", "pytorch")),
        replace(GOOD, id="DEV-4", workloads=("wmt", "ogbg_silu")),
    ]

    def chosen(**choice: str) -> str:
        return " ".join(row.id.removeprefix("DEV-") for row in select(rows, **choice))

    assert chosen() == "1 2 3 4"
    assert chosen(workload="ogbg") == "1 2 4"
    assert chosen(workload="ogbg_gelu") == "1 2"
    assert chosen(workload="ogbg_model_size") == "1"
    assert chosen(workload="fastmri") == ""
    assert chosen(framework="pytorch") == "2 3"
    assert chosen(workload="wmt", framework="jax") == "4"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(("deviations", *arguments)) == 0
    return capsys.readouterr().out


def test_the_command_prints_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys)
    heads = [line for line in text.splitlines() if line.startswith("DEV-")]
    assert [head.split()[0] for head in heads] == [row.id for row in load()]
    assert all(head.endswith((f"[{DONE}]", f"[{TO_COME}]")) for head in heads)
    assert max(map(len, text.splitlines())) <= 100


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "--workload", "WMT_attention_temp", "--format", "markdown").splitlines()
    assert len(lines) == 2 + len(select(load(), "wmt_attention_temp"))
    assert {line.replace(r"\|", "").count("|") for line in lines} == {9}
    assert "29.4143" in "".join(lines)


def test_the_json_output_is_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(run(capsys, "--format", "json"))
    stored = json.loads((Path(deviations.__file__).parent / "deviations.json").read_text("utf-8"))
    assert shown == stored


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workload", "ogb"), "unknown workload 'ogb'; did you mean ogbg"),
        (("--framework", "torch"), "unknown framework 'torch'; did you mean pytorch"),
        (("--format", "csv"), "unknown format 'csv'"),
        (("--version", "v0.6"), "leave out --version"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(("deviations", *arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert message in output.err
