"""What a submission may be made of and do."""

from __future__ import annotations

import dataclasses

import pytest

from spec import submission, validity
from spec.clauses import load_all
from spec.validity import ANYWHERE, PERMISSIONS, Check, Permission

OWN = (
    "get_batch_size",
    "init_optimizer_state",
    "update_params",
    "prepare_for_eval",
    "data_selection",
)


@pytest.mark.clause("VALID-1")
def test_only_the_five_functions_may_be_replaced() -> None:
    assert validity.check_functions(OWN) == []
    found = validity.check_functions(["update_params", "model_fn", "loss_fn", "model_fn"])
    assert [sentence.split()[0] for sentence in found] == ["model_fn", "loss_fn"]
    assert "prepare_for_eval" in found[0]


@pytest.mark.clause("VALID-1", "VALID-2")
@pytest.mark.parametrize(
    ("name", "callable_"),
    [
        ("init_model_fn", True),
        ("model_fn", True),
        ("loss_fn", True),
        ("step_hint", True),
        ("target_metric_name", True),
        ("eval_model", True),
        ("_build_input_queue", False),
        ("_model", False),
    ],
)
def test_fixed_functions_may_be_called_but_for_the_input_queue_and_never_replaced(
    name: str, callable_: bool
) -> None:
    assert validity.may_call(name) is callable_
    assert len(validity.check_functions([name])) == 1


@pytest.mark.clause("VALID-2")
def test_every_public_member_of_a_workload_may_be_used() -> None:
    members = {name for name in dir(submission.Workload) if not name.startswith("_")}
    assert {"model_fn", "step_hint", "param_shapes"} <= members
    assert all(validity.may_call(name) for name in members)


def test_the_rows_are_consistent() -> None:
    book = load_all()
    assert len({row.name for row in PERMISSIONS}) == len(PERMISSIONS)
    assert len({row.statement for row in PERMISSIONS}) == len(PERMISSIONS)
    for row in PERMISSIONS:
        assert row.subject in (ANYWHERE, *OWN)
        assert book[row.clause].checked_on == "submission"
        assert book[row.clause].implementation == "spec.permission_table.PERMISSIONS"
    declared = {c.id for c in book.values() if c.implementation.endswith(".PERMISSIONS")}
    assert {row.clause for row in PERMISSIONS} == declared
    with pytest.raises(dataclasses.FrozenInstanceError):
        PERMISSIONS[0].allowed = False  # type: ignore[misc]


def verdicts(clause: str) -> dict[str, bool]:
    return {row.name: row.allowed for row in validity.permissions(clause=clause)}


# What the documents say of each use, read from them apart from the table.
DOCUMENTED = {
    "VALID-3": "+batch_size_by_workload +batch_size_tried_out",
    "VALID-4": "+optimizer_state -initial_parameters",
    "VALID-5": "+own_forward_passes +stored_outputs +restart_model +elapsed_time +target_metric "
    "+regularisation +per_example_losses +synchronise_losses +dropout_tuning +step_hint "
    "+split_steps +loss_type +line_search -hyperparameters_by_workload -more_dropout",
    "VALID-6": "+swap_parameters +swap_model_state +swap_optimizer_state +own_evaluations",
    "VALID-7": "+own_batches +echoing +biased_sampling +generic_changes -special_changes",
    "VALID-8": "+parallelism +device_information",
    "VALID-9": "+one_good_setting -needs_an_engineer -some_losses",
    "VALID-10": "+memory_by_shape +approximation_by_shape +depth_by_order +rule_by_layer_type "
    "-shape_fingerprint",
    "VALID-11": "+automatic_hyperparameters +inner_loop_tuning +learned_update_rule +learned_list "
    "+tuned_choice +schedule_from_curvature +batch_size_during_training",
    "VALID-12": "-stored_parameters -stored_hyperparameters",
    "VALID-13": "-rule_by_workload -schedule_by_workload -learned_detector",
    "VALID-14": "+public_api +overlapping_transfers +packages_for_ideas -own_kernels "
    "-framework_overhead -compiler_changes",
    "VALID-15": "-background_work",
}


@pytest.mark.parametrize(
    "clause",
    [
        pytest.param("VALID-3", marks=pytest.mark.clause("VALID-3")),
        pytest.param("VALID-4", marks=pytest.mark.clause("VALID-4")),
        pytest.param("VALID-5", marks=pytest.mark.clause("VALID-5")),
        pytest.param("VALID-6", marks=pytest.mark.clause("VALID-6")),
        pytest.param("VALID-7", marks=pytest.mark.clause("VALID-7")),
        pytest.param("VALID-8", marks=pytest.mark.clause("VALID-8")),
        pytest.param("VALID-9", marks=pytest.mark.clause("VALID-9")),
        pytest.param("VALID-10", marks=pytest.mark.clause("VALID-10")),
        pytest.param("VALID-11", marks=pytest.mark.clause("VALID-11")),
        pytest.param("VALID-12", marks=pytest.mark.clause("VALID-12")),
        pytest.param("VALID-13", marks=pytest.mark.clause("VALID-13")),
        pytest.param("VALID-14", marks=pytest.mark.clause("VALID-14")),
        pytest.param("VALID-15", marks=pytest.mark.clause("VALID-15")),
    ],
)
def test_uses_are_allowed_and_disallowed_as_documented(clause: str) -> None:
    assert verdicts(clause) == {use[1:]: use[0] == "+" for use in DOCUMENTED[clause].split()}


@pytest.mark.clause("VALID-13", "VALID-12", "VALID-5")
def test_what_only_intent_decides_is_left_to_a_reviewer() -> None:
    by_name = {row.name: row for row in PERMISSIONS}
    for name in ("stored_hyperparameters", "learned_detector", "line_search", "shape_fingerprint"):
        assert by_name[name].check is Check.REVIEW
    for name in ("background_work", "restart_model", "own_evaluations"):
        assert by_name[name].check is Check.DYNAMIC
    for name in ("batch_size_by_workload", "rule_by_workload", "own_kernels"):
        assert by_name[name].check is Check.STATIC


def test_rows_can_be_selected_by_any_of_their_properties() -> None:
    disallowed: tuple[Permission, ...] = validity.permissions(
        subject="update_params", allowed=False
    )
    assert [row.name for row in disallowed] == ["hyperparameters_by_workload", "more_dropout"]
    assert validity.permissions() == PERMISSIONS
    assert validity.permissions(clause="VALID-1") == ()


GOOD_EXTERNAL = ["submission.py", "helpers/shampoo.py", "tuning_search_space.json"]


@pytest.mark.clause("VALID-16", "VALID-17")
@pytest.mark.parametrize(
    ("names", "tuning", "needs_packages", "problems"),
    [
        (GOOD_EXTERNAL, "external", False, []),
        (["submission.py", "a.py", "b/c.py"], "self", False, []),
        (["submission.py", "utilities.py", "wmt/zero.json"], "self", False, []),
        ([*GOOD_EXTERNAL, "requirements.txt"], "external", True, []),
        (GOOD_EXTERNAL, "external", True, ["requirements.txt is missing"]),
        ([], "self", False, ["submission.py is missing"]),
        (["src/submission.py"], "self", False, ["submission.py is missing"]),
        (["submission.py"], "external", False, ["tuning_search_space.json is missing"]),
        (GOOD_EXTERNAL, "self", False, ["tuning_search_space.json: a self-tuning submission"]),
        (
            [*GOOD_EXTERNAL, "wmt/tuning_search_space.json"],
            "external",
            False,
            ["one search space serves all workloads, not tuning_search_space.json, wmt/"],
        ),
        ([], "external", True, ["submission.py", "tuning_search_space.json", "requirements.txt"]),
    ],
)
def test_files(names: list[str], tuning: str, needs_packages: bool, problems: list[str]) -> None:
    found = validity.check_files(names, tuning, needs_packages=needs_packages)
    assert len(found) == len(problems)
    for sentence, start in zip(found, problems, strict=True):
        assert sentence.startswith(start)


@pytest.mark.clause("VALID-17")
def test_a_submission_is_taken_to_need_no_packages_unless_it_is_said() -> None:
    assert validity.check_files(GOOD_EXTERNAL, "external") == []


@pytest.mark.clause("VALID-18")
def test_environment_variables_must_be_left_alone() -> None:
    before = {"XLA_FLAGS": "--a", "HOME": "/x", "TF": "1"}
    assert validity.environment_changes(before, dict(before)) == []
    after = {"XLA_FLAGS": "--b", "HOME": "/x", "CUDNN": ""}
    assert validity.environment_changes(before, after) == [
        "CUDNN was added",
        "TF was removed",
        "XLA_FLAGS was changed from '--a' to '--b'",
    ]


@pytest.mark.clause("VALID-19")
@pytest.mark.parametrize("identifier", ["Apache-2.0", "apache-2.0", " Apache-2.0\n"])
def test_apache_2_is_accepted(identifier: str) -> None:
    assert validity.check_licence(identifier) == []


@pytest.mark.clause("VALID-19")
@pytest.mark.parametrize(
    ("identifier", "found"),
    [(None, "no licence"), ("MIT", "'MIT'"), ("Apache-1.1", "'Apache-1.1'"), ("", "''")],
)
def test_no_other_licence_is_accepted(identifier: str | None, found: str) -> None:
    assert validity.check_licence(identifier) == [
        f"a submission is licensed under Apache-2.0, this one has {found}"
    ]


@pytest.mark.clause("VALID-20")
@pytest.mark.parametrize(
    ("same_code", "same_hyperparameters", "same_submitter", "justified", "problem"),
    [
        (True, True, False, True, "exact copy"),
        (True, True, True, True, "exact copy"),
        (True, False, True, False, "needs a justification"),
        (True, False, True, True, None),
        (True, False, False, False, None),  # a published algorithm with another search space
        (False, True, True, False, None),
        (False, False, True, False, None),
    ],
)
def test_entering_again(
    same_code: bool,
    same_hyperparameters: bool,
    same_submitter: bool,
    justified: bool,
    problem: str | None,
) -> None:
    found = validity.resubmission_problem(
        same_code=same_code,
        same_hyperparameters=same_hyperparameters,
        same_submitter=same_submitter,
        justified=justified,
    )
    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.clause("VALID-20")
def test_nothing_is_justified_unless_it_is_said() -> None:
    assert validity.resubmission_problem(
        same_code=True, same_hyperparameters=False, same_submitter=True
    )


PINNED = {"jax": "0.10.2", "torch": "2.13.0", "ml_dtypes": "0.6.0"}


@pytest.mark.clause("VALID-21")
@pytest.mark.parametrize(
    "line",
    [
        "",
        "jax",
        "JAX==0.10.2",
        "jax[cuda12]==0.10.2",
        "jax==0.10.2.0",
        "jax >= 0.4, < 0.11",
        "jax~=0.10.1",
        "jax~=0.9",  # every 0.x from 0.9 on
        "jax==0.10.*",
        "jax!=0.10.1",
        "jax!=0.11.*",
        "jax===0.10.2",
        "jax (>=0.10)",
        "ml-dtypes==0.6",
        "torch<=2.13 ; python_version > '3.10'",
        "jax \\\n  ==0.10.2",
    ],
)
def test_requirements_that_leave_the_pins_alone(line: str) -> None:
    assert validity.check_requirements(line, PINNED) == []


@pytest.mark.clause("VALID-21")
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("jax==0.10.3", "jax==0.10.3 conflicts with the pinned 0.10.2"),
        ("Jax>0.10.2", "jax>0.10.2 conflicts"),
        ("jax<0.10.2", "jax<0.10.2 conflicts"),
        ("jax>=0.4,<0.10", "jax<0.10 conflicts"),
        ("jax~=0.10.3", "jax~=0.10.3 conflicts"),
        ("jax~=0.9.1", "jax~=0.9.1 conflicts"),
        ("jax!=0.10.*", "jax!=0.10.* conflicts"),
        ("jax==0.1.*", "jax==0.1.* conflicts"),
        ("torch==2.13.0+cpu", "torch==2.13.0+cpu conflicts"),
        ("ml.dtypes<0.6", "ml-dtypes<0.6 conflicts with the pinned 0.6.0"),
        ("torch @ https://example.org/torch.whl", "torch is pinned to 2.13.0 and cannot come from"),
        ("jax>=0.10rc1", "whether jax>=0.10rc1 allows the pinned 0.10.2 has to be decided by hand"),
        ("jax==x.*", "has to be decided by hand"),
        ("jax 0.10.2", "'0.10.2' is no version specifier"),
        ("-r more.txt", "'-r more.txt' names no package"),
        ("./local", "names no package"),
        ("# ok\n\njax==1", "line 3: jax==1 conflicts"),
        ("jax \\\n==1", "line 1: jax==1 conflicts"),
    ],
)
def test_requirements_that_conflict_or_cannot_be_judged(line: str, problem: str) -> None:
    found = validity.check_requirements(line, PINNED)
    assert len(found) == 1
    assert problem in found[0]
    assert found[0].startswith("line ")


@pytest.mark.clause("VALID-22")
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("backpack>=1  # batch statistics, to calibrate the step size", []),
        ("# batch statistics, to calibrate the step size\nbackpack>=1", []),
        ("backpack>=1", [1]),
        ("backpack>=1 #", [1]),
        ("# about nothing below\n\nbackpack", [3]),
        ("# about the first\nbackpack\nother", [3]),
        ("# two lines\n#\nbackpack", []),
        ("backpack@https://example.org/a#egg=1", [1]),
        ("jax\ntorch", []),
    ],
)
def test_an_added_package_has_a_comment_on_its_line_or_above(text: str, lines: list[int]) -> None:
    found = validity.check_requirements(text, PINNED)
    assert [sentence.split(":")[0] for sentence in found] == [f"line {n}" for n in lines]
    assert all("without a comment" in sentence for sentence in found)


@pytest.mark.clause("VALID-21")
@pytest.mark.parametrize(
    ("operator", "allowed", "conflicting"),
    [
        ("==", ("2.4.6", "2.4.*", "2.*"), ("2.4.5", "2.4.7", "2.5.*")),
        ("!=", ("2.4.5", "2.4.7", "2.5.*"), ("2.4.6", "2.4.*")),
        ("===", ("2.4.6",), ("2.4.5", "2.4.7")),
        ("<", ("2.4.7", "3"), ("2.4.6", "2.4.5", "2.4")),
        ("<=", ("2.4.6", "2.4.7"), ("2.4.5", "2.3.9")),
        (">", ("2.4.5", "2.3.9"), ("2.4.6", "2.4.7")),
        (">=", ("2.4.6", "2.4.5", "2"), ("2.4.7", "2.5")),
        ("~=", ("2.4.6", "2.4.0", "2.3", "2.4"), ("2.4.7", "2.5", "2.3.0", "1.0")),
    ],
)
def test_each_operator_just_around_the_pin(
    operator: str, allowed: tuple[str, ...], conflicting: tuple[str, ...]
) -> None:
    for wanted in allowed:
        assert validity.check_requirements(f"numpy{operator}{wanted}", {"numpy": "2.4.6"}) == []
    for wanted in conflicting:
        (found,) = validity.check_requirements(f"numpy{operator}{wanted}", {"numpy": "2.4.6"})
        assert "conflicts with the pinned 2.4.6" in found


@pytest.mark.clause("VALID-21")
def test_a_version_goes_on_with_zeros() -> None:
    pinned = {"numpy": "2.4"}
    assert validity.check_requirements("numpy==2.4.0.*", pinned) == []
    for digit in (1, 9):
        assert len(validity.check_requirements(f"numpy==2.4.{digit}.*", pinned)) == 1


@pytest.mark.clause("VALID-21")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("num\\\npy==2.4.5\n", 1),
        ("numpy==2.4.5\\", 1),
        ("numpy\nnum\\\npy\\\n==2.4.5", 2),
        ("numpy \\\n>2\n\nnumpy==2.4.5\n", 4),
    ],
)
def test_lines_are_joined_by_backslashes_and_numbered_by_their_start(text: str, line: int) -> None:
    (found,) = validity.check_requirements(text, {"numpy": "2.4.6"})
    assert found == f"line {line}: numpy==2.4.5 conflicts with the pinned 2.4.6"
