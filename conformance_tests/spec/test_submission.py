"""The submission API."""

from __future__ import annotations

import dataclasses
import typing
from types import ModuleType
from typing import Any

import pytest

from spec import submission
from spec.submission import ForwardPassMode, LossType, ParameterType, ShapeTuple

GOOD = """
def get_batch_size(workload_name): ...
def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng): ...
def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng): ...
def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng, train_state=None): ...
def prepare_for_eval(workload, current_param_container, current_params_types, model_state,
                     hyperparameters, loss_type, optimizer_state, eval_results, global_step,
                     rng): ...
"""

PARAMETER_TYPES = (
    "WEIGHT BIAS CONV_WEIGHT BATCH_NORM_SCALE BATCH_NORM_BIAS LAYER_NORM_SCALE "
    "LAYER_NORM_BIAS EMBEDDING ATTENTION_Q ATTENTION_K ATTENTION_V ATTENTION_OUT "
    "ATTENTION_QKV ATTENTION_KV ATTENTION_BIAS"
)
ALIASES = (
    "Workload ParameterContainer ParameterTypeTree ModelAuxiliaryState Hyperparameters "
    "OptimizerState RandomState LossType Tensor UpdateReturn ShapeTuple ParameterShapeTree "
    "ParameterKey Timing Steps Shape ModelInitState InitOptimizerFn UpdateParamsFn "
    "PrepareForEvalFn DataSelectionFn"
)


def module(source: str) -> ModuleType:
    made = ModuleType("submission_under_test")
    exec(source, made.__dict__)
    return made


@pytest.mark.clause("SUB-1")
def test_losses_have_the_official_integers() -> None:
    assert {kind.value: kind.name for kind in LossType} == {
        0: "SOFTMAX_CROSS_ENTROPY",
        1: "SIGMOID_CROSS_ENTROPY",
        2: "MEAN_SQUARED_ERROR",
        3: "CTC_LOSS",
        4: "MEAN_ABSOLUTE_ERROR",
    }


@pytest.mark.clause("SUB-2")
def test_modes_have_the_official_integers() -> None:
    assert (ForwardPassMode(0), ForwardPassMode(1)) == (ForwardPassMode.TRAIN, ForwardPassMode.EVAL)


@pytest.mark.clause("SUB-3")
def test_parameter_types_have_the_official_integers() -> None:
    names = PARAMETER_TYPES.split()
    assert [kind.name for kind in ParameterType] == names
    assert [kind.value for kind in ParameterType] == list(range(15))
    assert dict(submission.parameter_type_values()) == {n: i for i, n in enumerate(names)}


@pytest.mark.clause("SUB-4")
@pytest.mark.parametrize("version", ["paper2023", "v0.5"])
def test_before_v0_6_the_attention_bias_was_13(version: str) -> None:
    values = submission.parameter_type_values(version)
    assert values["ATTENTION_BIAS"] == 13
    assert "ATTENTION_KV" not in values
    assert sorted(values.values()) == list(range(14))


@pytest.mark.clause("SUB-5")
def test_a_shape_is_compared_by_its_tuple_and_is_no_container() -> None:
    shape = ShapeTuple((3, 4))
    assert shape.shape_tuple == (3, 4)
    assert shape == ShapeTuple((3, 4))
    assert shape != ShapeTuple((4, 3))
    assert shape != (3, 4)
    assert not isinstance(shape, tuple)
    assert not hasattr(shape, "__iter__")
    with pytest.raises(TypeError, match="unhashable"):
        hash(shape)
    assert repr(shape) == "ShapeTuple((3, 4))"


@pytest.mark.clause("SUB-6")
def test_training_complete_is_an_exception_of_its_own() -> None:
    assert issubclass(submission.TrainingCompleteError, Exception)
    assert not issubclass(submission.TrainingCompleteError, RuntimeError | ValueError)


@pytest.mark.clause("SUB-7", "SUB-8", "SUB-9")
def test_a_complete_submission_has_no_problems() -> None:
    assert submission.check_submission(module(GOOD)) == []


@pytest.mark.clause("SUB-9")
def test_a_submission_need_not_take_the_train_state() -> None:
    assert submission.check_submission(module(GOOD.replace(", train_state=None", ""))) == []
    without_default = GOOD.replace("train_state=None", "train_state")
    assert submission.check_submission(module(without_default)) == []
    assert submission.OPTIONAL_PARAMETERS["update_params"] == ("train_state",)


@pytest.mark.clause("SUB-8")
def test_prepare_for_eval_may_be_missing_but_must_fit_if_it_is_there() -> None:
    made = module(GOOD)
    delattr(made, "prepare_for_eval")
    assert submission.check_submission(made) == []
    made.__dict__["prepare_for_eval"] = lambda workload: None
    [problem] = submission.check_submission(made)
    assert problem.startswith("prepare_for_eval does not take the keyword current_param_container")
    assert "batch" not in submission.OPTIONAL_FUNCTIONS["prepare_for_eval"]


@pytest.mark.clause("SUB-7")
@pytest.mark.parametrize("name", list(submission.REQUIRED_FUNCTIONS))
def test_a_missing_function_is_named_with_its_parameters(name: str) -> None:
    made = module(GOOD)
    delattr(made, name)
    expected = ", ".join(submission.REQUIRED_FUNCTIONS[name])
    assert submission.check_submission(made) == [f"{name} is missing: define {name}({expected})"]


@pytest.mark.clause("SUB-7")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("(workload_name)", "()", "get_batch_size cannot be called with 1 arguments"),
        ("batch, loss_type", "loss_type", "update_params does not take the keyword batch; exp"),
        ("batch, loss_type", "batch, data, loss_type", "update_params requires data, which is"),
        (
            "model_params, model_state, hyperparameters, rng",
            "model_state, model_params, hyperparameters, rng",
            "init_optimizer_state has parameter 'model_state' in the place of 'model_params'",
        ),
        ("global_step, rng): ...\ndef update", "rng): ...\ndef update", "data_selection cannot"),
    ],
)
def test_a_wrong_signature_is_described(old: str, new: str, expected: str) -> None:
    problems = submission.check_submission(module(GOOD.replace(old, new, 1)))
    assert expected in problems[0]


@pytest.mark.clause("SUB-7")
def test_positional_functions_may_name_their_parameters_as_they_like() -> None:
    renamed = GOOD.replace("current_param_container", "model_params", 1)
    assert submission.check_submission(module(renamed)) == []


@pytest.mark.clause("SUB-7")
def test_a_value_in_the_place_of_a_function_is_a_problem() -> None:
    made = module(GOOD)
    made.update_params = 3  # type: ignore[attr-defined]
    made.get_batch_size = dict.fromkeys  # type: ignore[attr-defined]
    problems = submission.check_submission(made)
    assert problems[-1] == "update_params is not a function but a int"
    assert len(problems) <= 2


class _Odd:
    """Can be called; what it says of its signature is no signature."""

    __signature__ = "whatever you like"

    def __call__(self, *args: object) -> None:
        """Does nothing."""


@pytest.mark.clause("SUB-7")
@pytest.mark.parametrize("function", [dict, _Odd()])
def test_a_function_without_a_readable_signature_is_a_problem(function: object) -> None:
    made = module(GOOD)
    made.update_params = function  # type: ignore[attr-defined]
    [problem] = submission.check_submission(made)
    assert problem.startswith("update_params has no readable signature; expected update_params(")


@pytest.mark.clause("SUB-11")
def test_a_submission_must_not_choose_the_evaluation_batch_size() -> None:
    made = module(GOOD + "def get_eval_batch_size(workload_name): ...\n")
    [problem] = submission.check_submission(made)
    assert problem.startswith("get_eval_batch_size is not part of the API")


@pytest.mark.clause("SUB-10")
def test_the_train_state_has_the_documented_keys() -> None:
    assert set(submission.TRAIN_STATE_KEYS) == {
        "validation_goal_reached",
        "test_goal_reached",
        "is_time_remaining",
        "last_eval_time",
        "training_complete",
        "accumulated_submission_time",
        "accumulated_eval_time",
        "accumulated_logging_time",
        "last_step_end_time",
    }


def test_the_names_that_submissions_annotate_with_exist() -> None:
    for name in ALIASES.split():
        alias: Any = getattr(submission, name)
        assert typing.Optional[alias] is not None  # noqa: UP045 - as submissions write it


def test_the_workload_protocol_has_what_the_workload_table_has() -> None:
    from spec.workloads import WorkloadSpec

    shared = {field.name for field in dataclasses.fields(WorkloadSpec)} & set(
        dir(submission.Workload)
    )
    assert {"step_hint", "loss_type", "eval_batch_size", "test_target_value"} <= shared
