"""Every wrong option is one sentence that names the flag."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.harness.batch_size import evaluation_batch_size, training_batch_size
from algoperf_ref.harness.hyperparameters import read_search_space, to_namedtuple
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.time_source import StepTime
from conformance_tests.support.fakes import fake_functions

GOOD = RunOptions("submission.py", "ogbg", "jax", tuning_search_space="space.json")


def test_good_options_pass() -> None:
    GOOD.check()
    replace(GOOD, tuning_ruleset="self", tuning_search_space=None).check()
    replace(GOOD, rng_seed=0, clock="steps", step_seconds=0.5, study=0).check()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tier": "huge"}, "--tier is 'huge': choose one of full, mini"),
        ({"rules": "v0.7"}, "--rules is 'v0.7'"),
        ({"tuning_ruleset": "none"}, "--tuning_ruleset is 'none'"),
        ({"clock": "sun"}, "--clock is 'sun'"),
        ({"num_tuning_trials": 0}, "--num_tuning_trials is 0"),
        ({"max_global_steps": 0}, "--max_global_steps is 0"),
        ({"rng_seed": -1}, "--rng_seed is -1"),
        ({"rng_seed": 2**32}, "--rng_seed is 4294967296; it must be at most 4294967295"),
        ({"step_seconds": 1.0}, "--step_seconds is given: it needs --clock=steps"),
        ({"step_seconds": 0.0, "clock": "steps"}, "--step_seconds is 0.0"),
        ({"hparam_start_index": 1}, "leave no trial"),
        ({"tuning_search_space": None}, "--tuning_search_space is missing"),
        ({"tuning_ruleset": "self"}, "the self-tuning ruleset has no search space"),
        (
            {"tuning_ruleset": "self", "tuning_search_space": None, "num_tuning_trials": 2},
            "a self-tuning study is one run",
        ),
    ],
)
def test_a_wrong_option_is_named(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as error:
        replace(GOOD, **changes).check()
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not valid JSON"),
        ('{"learning_rate": {"min": 1.0, "max": 0.1, "scaling": "log"}}', "learning_rate"),
        ('{"learning_rate": {"min": 0.1, "max": 1.0}}', "scaling"),
        ("[]", "space.json"),
        ('"adam"', "space.json"),
    ],
)
def test_a_wrong_search_space_is_named_with_its_file_and_field(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = tmp_path / "space.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_search_space(path)
    assert str(path) in str(error.value)
    assert expected in str(error.value)


def test_a_missing_search_space_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.json: No such file"):
        read_search_space(tmp_path / "nothing.json")


def test_hyperparameters_have_attributes_and_asdict() -> None:
    point = to_namedtuple({"learning_rate": 0.1, "name": "adam", "nesterov": True, "n": 3})
    assert type(point).__name__ == "Hyperparameters"
    assert point.learning_rate == 0.1
    assert hasattr(point, "nesterov")
    assert not hasattr(point, "beta1")
    assert json.loads(json.dumps(point._asdict())) == point._asdict()
    assert to_namedtuple(None) is None


def batch_size(returned: Any, divisor: int = 1, num_devices: int = 1) -> int:
    module: Any = fake_functions(get_batch_size=lambda name: returned)
    return training_batch_size(module, "ogbg", "ogbg", divisor=divisor, num_devices=num_devices)


def test_the_batch_size_is_asked_for_the_variant_and_then_for_its_base() -> None:
    asked: list[str] = []

    def get_batch_size(name: str) -> int:
        asked.append(name)
        if name != "ogbg":
            raise ValueError(name)
        return 512

    module: Any = fake_functions(get_batch_size=get_batch_size)
    size = training_batch_size(module, "ogbg_gelu", "ogbg", divisor=16, num_devices=1)
    assert size == 32
    assert asked == ["ogbg_gelu", "ogbg"]


@pytest.mark.parametrize("returned", [0, -8, 2.5, "8", None, True])
def test_a_batch_size_that_is_no_positive_integer_is_told(returned: Any) -> None:
    with pytest.raises(UserError, match="positive integer"):
        batch_size(returned)


def test_an_indivisible_batch_size_names_both_numbers() -> None:
    assert batch_size(12, num_devices=4) == 12
    with pytest.raises(UserError, match=r"training batch size 10 .* devices 4"):
        batch_size(10, num_devices=4)
    with pytest.raises(UserError, match=r"evaluation batch size 10 .* devices 4"):
        evaluation_batch_size(10, num_devices=4)


def test_a_small_batch_size_does_not_vanish_in_the_mini_tier() -> None:
    assert batch_size(8, divisor=16) == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_must_cost_something(seconds: float) -> None:
    with pytest.raises(ValueError, match="step_seconds"):
        StepTime(seconds)
