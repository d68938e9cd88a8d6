"""What changed between two versions of the rules."""

from __future__ import annotations

import enum
import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest

from spec import __main__ as cli
from spec import clauses, diff, submission, workloads
from spec.diff import ABSENT, Change

# Literal values, independent of the tables. Source: scoring semantics, section 1 (maximum runtime
# in seconds and step hint, v0.5 then v0.6).
BUDGETS = {
    "criteo1tb": (7703, 7703, 10666, 10666),
    "fastmri": (8859, 4430, 36189, 18094),
    "imagenet_resnet": (63008, 66159, 186666, 195999),
    "imagenet_vit": (77520, 69768, 186666, 167999),
    "librispeech_conformer": (61068, 58015, 80000, 76000),
    "librispeech_deepspeech": (55506, 44405, 48000, 38400),
    "ogbg": (18477, 12011, 80000, 52000),
    "wmt": (48151, 43336, 133333, 120000),
}
PAIRS = list(itertools.permutations(clauses.VERSIONS, 2))


def change(old: str, new: str, kind: str, subject: str, field: str) -> tuple[Any, Any] | None:
    found = [c for c in diff.diff(old, new) if c.place == (kind, subject, field)]
    assert len(found) <= 1
    return (found[0].before, found[0].after) if found else None


@pytest.mark.clause("WORK-2")
@pytest.mark.parametrize("old", ["v0.5", "paper2023"])
def test_every_budget_and_step_hint_that_changed_is_found(old: str) -> None:
    for name, (runtime, new_runtime, hint, new_hint) in BUDGETS.items():
        expected = None if runtime == new_runtime else (runtime, new_runtime)
        assert change(old, "v0.6", "workloads", name, "max_allowed_runtime_sec") == expected
        expected = None if hint == new_hint else (hint, new_hint)
        assert change(old, "v0.6", "workloads", name, "step_hint") == expected


@pytest.mark.clause("WORK-11")
def test_variants_change_as_their_base_workloads_do() -> None:
    changed = diff.diff("v0.5", "v0.6")
    for name in workloads.names("variant"):
        base = workloads.base_name(name)
        of_base, own = (
            [(c.field, c.before, c.after) for c in changed if c.subject == subject and in_kind(c)]
            for subject in (base, name)
        )
        assert own == of_base


def in_kind(change: Change) -> bool:
    return change.kind in ("workloads", "variants")


@pytest.mark.clause("RULE-1", "RULE-2", "RULE-7", "RULE-8")
@pytest.mark.parametrize(
    ("old", "new", "field", "before", "after"),
    [
        ("v0.5", "v0.6", "self_tuning_budget_factor", 3.0, 1.5),
        ("v0.5", "v0.6", "num_studies.external", 5, 3),
        ("v0.5", "v0.6", "num_studies.self", 5, 3),
        ("v0.5", "v0.6", "dropout_per_call", False, True),
        ("v0.5", "v0.6", "held_out", "one_per_dataset", "none"),
        ("v0.6", "v0.5", "num_studies.external", 3, 5),
        ("paper2023", "v0.5", "num_trials.external", 20, 5),
        ("paper2023", "v0.6", "external_time_splits", ("test",), ("validation",)),
        ("paper2023", "v0.5", "qualification_workloads", (), ("criteo1tb", "ogbg", "wmt")),
    ],
)
def test_rules_that_changed_are_found(
    old: str, new: str, field: str, before: Any, after: Any
) -> None:
    assert change(old, new, "rules", "ruleset", field) == (before, after)


@pytest.mark.clause("WORK-1", "RULE-3", "RULE-9")
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_what_never_changed_is_not_listed(old: str, new: str) -> None:
    changed = {c.field for c in diff.diff(old, new)}
    assert not changed & {
        "validation_target_value",
        "test_target_value",
        "eval_period_time_sec",
        "num_train_examples",
        "r_max",
        "hardware",
        "num_trials.self",
        "stop_splits",
        "version",
    }
    assert not [field for field in changed if field.startswith(("rate.", "model_config."))]


@pytest.mark.clause("DROP-5", "DROP-6")
def test_the_dropout_argument_moved_from_init_to_every_call() -> None:
    name = "wmt"
    assert change("v0.5", "v0.6", "dropout", name, "argument.main") == (
        "init_model_fn: dropout_rate",
        "model_fn: dropout_rate",
    )
    assert change("v0.5", "v0.6", "dropout", name, "argument.attention") == (
        "init_model_fn: aux_dropout_rate",
        "model_fn: dropout_rate",
    )
    # A place that no argument reaches did not move.
    recurrent = change("v0.5", "v0.6", "dropout", "librispeech_deepspeech", "argument.recurrent")
    assert recurrent is None


@pytest.mark.clause("SUB-3", "SUB-4")
def test_the_parameter_type_that_was_added_is_found() -> None:
    found = {c.subject: (c.before, c.after) for c in diff.diff("v0.5", "v0.6") if "param" in c.kind}
    assert found == {"ATTENTION_KV": (ABSENT, 13), "ATTENTION_BIAS": (13, 14)}
    assert submission.ParameterType.ATTENTION_KV.value == 13


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_clauses_of_one_version_only_are_listed(old: str, new: str) -> None:
    found = {
        c.subject: (c.before is not ABSENT, c.after is not ABSENT)
        for c in diff.diff(old, new)
        if c.kind == "clauses"
    }
    expected = {
        id: (old in clause.versions, new in clause.versions)
        for id, clause in clauses.load_all().items()
        if (old in clause.versions) != (new in clause.versions)
    }
    assert found == expected
    assert found


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_every_change_cites_clauses_of_one_of_the_two_versions(old: str, new: str) -> None:
    book = clauses.load_all()
    for one in diff.diff(old, new):
        assert one.clauses, f"no clause speaks of {one.place}"
        assert {v for id in one.clauses for v in book[id].versions} & {old, new}
        assert one.kind in diff.KINDS


def test_fields_that_name_clauses_exist() -> None:
    known = {
        (kind, name.split(".")[0])
        for version in clauses.VERSIONS
        for kind, _, name in diff.values(version)
    }
    assert set(diff.CLAUSES_OF_FIELDS) <= known
    assert {id for ids in diff.CLAUSES_OF_FIELDS.values() for id in ids} <= set(clauses.load_all())


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    size: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outer:
    inner: Inner
    by_colour: dict[str, int]
    colour: Colour


def test_dataclasses_and_mappings_are_taken_apart() -> None:
    whole = Outer(Inner(3, ("a",)), {"x": 1, "y": 2}, Colour.RED)
    assert dict(diff.flatten(whole)) == {
        "inner.size": 3,
        "inner.names": ("a",),
        "by_colour.x": 1,
        "by_colour.y": 2,
        "colour": Colour.RED,
    }


def test_a_value_that_only_changed_its_type_is_a_change() -> None:
    place = ("rules", "ruleset", "x")
    assert diff.compare({place: 1}, {place: True})
    assert diff.compare({place: None}, {}) == (Change(*place, None, ABSENT),)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(("diff", *arguments)) == 0
    return capsys.readouterr().out


def test_the_command_prints_a_line_for_every_change(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "v0.5", "V0.6").splitlines()
    assert lines[0].startswith("v0.5 -> v0.6: ")
    assert "ruleset.self_tuning_budget_factor: 3 -> 1.5 [RULE-1]" in lines
    assert "fastmri.max_allowed_runtime_sec: 8859 -> 4430 [WORK-2]" in lines
    assert not [line for line in lines if line.startswith("fastmri_tanh")]
    inherited = sum(c.kind == "variants" for c in diff.diff("v0.5", "v0.6"))
    assert lines[1].startswith(f"{inherited} of them are variants")


def test_the_command_says_that_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "v0.6", "v0.6") == "v0.6 -> v0.6: 0 values changed\n"


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "paper2023", "v0.5", "--format", "markdown").splitlines()
    assert lines[0] == "| kind | subject | value | paper2023 | v0.5 | clauses |"
    assert r"| rules | ruleset | num\_trials.external | 20 | 5 | RULE-2 |" in lines
    assert {line.replace(r"\|", "").count("|") for line in lines} == {7}


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_json_output_holds_every_change(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(run(capsys, old, new, "--format", "json"))
    assert (shown["old"], shown["new"]) == (old, new)
    changes = diff.diff(old, new)
    assert [(c["kind"], c["subject"], c["field"]) for c in shown["changes"]] == [
        c.place for c in changes
    ]
    for one, row in zip(changes, shown["changes"], strict=True):
        assert ("before" in row) == (one.before is not ABSENT)
        assert ("after" in row) == (one.after is not ABSENT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("v0.5", "v0.7"), "unknown ruleset version 'v0.7'; did you mean v0.6 or v0.5?"),
        (("paper", "v0.6"), "unknown ruleset version 'paper'; did you mean paper2023?"),
        (("v0.5",), "the following arguments are required: NEW"),
        (("v0.5", "v0.6", "--version", "v0.6"), "leave out --version"),
        (("v0.5", "v0.6", "--format", "html"), "unknown format 'html'"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = cli.main(("diff", *arguments))
    except SystemExit as error:
        status = int(error.code or 0)
    output = capsys.readouterr()
    assert (status, output.out) == (2, "")
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert message in output.err


def test_an_unknown_version_is_an_error_of_the_function_too() -> None:
    with pytest.raises(clauses.UnknownVersion, match=r"'v0\.7'; known: paper2023, v0\.5, v0\.6"):
        diff.diff("v0.6", "v0.7")
