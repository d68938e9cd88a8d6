"""When submission functions are called and what is passed; the harness is watched doing it."""

from __future__ import annotations

import functools
import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformance_tests.support.fakes import (
    FakeWorkload,
    fake_functions,
    fake_submission,
    fake_trial,
)
from spec import calls, submission
from spec.calls import CALLED_IN, TIMED_PHASES, Phase
from spec.data_order import UnevenShards
from spec.submission import ForwardPassMode
from spec.submission_functions import OPTIONAL_FUNCTIONS, REQUIRED_FUNCTIONS
from spec.timing import ACCOUNT_OF_EVENT, Account, Event


@pytest.mark.clause("SUB-12", "SUB-13")
def test_every_function_is_called_in_one_phase_and_none_in_evaluations() -> None:
    called = [function for functions in CALLED_IN.values() for function in functions]
    assert sorted(called) == sorted([*REQUIRED_FUNCTIONS, *OPTIONAL_FUNCTIONS])
    for phase in Phase:
        for function in called:
            if function in CALLED_IN[phase]:
                calls.check_call(function, phase)
            else:
                with pytest.raises(calls.CallOutOfPlace, match=f"{function} is not called in"):
                    calls.check_call(function, phase)
    assert CALLED_IN[Phase.EVALUATION] == ()


@pytest.mark.clause("SUB-12")
def test_the_timed_phases_are_those_whose_end_is_charged_to_the_submission() -> None:
    ends = {Phase.STEP: Event.STEP_ENDED, Phase.PREPARATION: Event.PREPARED}
    assert set(ends) == TIMED_PHASES
    assert {ACCOUNT_OF_EVENT[event] for event in ends.values()} == {Account.SUBMISSION}
    assert ACCOUNT_OF_EVENT[Event.EVALUATED] is not Account.SUBMISSION


@pytest.mark.clause("SUB-12", "SUB-13")
def test_the_harness_calls_every_function_in_its_phase_and_as_often_as_the_rules_say() -> None:
    log: list[tuple[str, Phase]] = []
    phase = Phase.TRIAL_SETUP

    def spy(name: str, own: Phase, function: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            current = Phase.EVALUATION if phase is Phase.EVALUATION else own
            log.append((name, current))
            return function(*args, **kwargs)

        return wrapped

    class Workload(FakeWorkload):
        def eval_model(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            nonlocal phase
            phase = Phase.EVALUATION
            log.append(("evaluation", phase))
            metrics = super().eval_model(*args, **kwargs)
            phase = Phase.STEP
            return metrics

    def prepare_for_eval(**arguments: Any) -> Any:
        return arguments["optimizer_state"], arguments["current_param_container"], None

    normal = vars(fake_functions(prepare_for_eval=prepare_for_eval))
    place = {name: phase for phase, names in CALLED_IN.items() for name in names}
    functions = {name: spy(name, place[name], function) for name, function in normal.items()}
    trial = fake_trial(Workload(), fake_submission(**functions), max_global_steps=25)
    trial.run()

    steps = trial.progress.global_step
    evaluations = [i for i, (name, _) in enumerate(log) if name == "evaluation"]
    names = [name for name, _ in log]
    assert steps == 25
    assert len(evaluations) == 4  # after steps 1, 11, 21 and the last
    assert names[0] == "init_optimizer_state"
    assert names.count("init_optimizer_state") == 1
    assert names.count("get_batch_size") == 0  # asked for before the trial
    assert names.count("prepare_for_eval") == len(evaluations)
    assert all(names[i - 1] == "prepare_for_eval" for i in evaluations)
    in_steps = [name for name in names if name in CALLED_IN[Phase.STEP]]
    assert in_steps == list(CALLED_IN[Phase.STEP]) * steps
    for name, where in log:
        if name != "evaluation":
            calls.check_call(name, where)


@pytest.mark.clause("SUB-14")
@pytest.mark.parametrize("returned", [({}, "params", None), [1, 2, 3]])
def test_three_values_are_accepted(returned: Any) -> None:
    calls.check_update_return(returned)


@pytest.mark.clause("SUB-14")
@pytest.mark.parametrize(
    ("returned", "found"),
    [(None, "NoneType"), ((1, 2), "2 values"), ((1, 2, 3, 4), "4 values"), ({}, "dict")],
)
def test_anything_else_is_named(returned: Any, found: str) -> None:
    with pytest.raises(calls.WrongReturn, match=f"got {found}"):
        calls.check_update_return(returned)


@pytest.mark.clause("SUB-15")
def test_a_loss_has_exactly_three_keys() -> None:
    good = {"summed": 1.0, "n_valid_examples": 2, "per_example": [0.5, 0.5]}
    calls.check_loss_result(good)
    for wrong in ({**good, "mean": 0.5}, {"summed": 1.0}, {}):
        with pytest.raises(calls.WrongLossKeys, match="summed, n_valid_examples, per_example"):
            calls.check_loss_result(wrong)


@pytest.mark.clause("SUB-17")
def test_only_a_training_pass_that_is_asked_to_updates_the_model_state() -> None:
    allowed = {
        (mode, update)
        for mode in ForwardPassMode
        for update in (False, True)
        if calls.may_change_model_state(mode, update)
    }
    assert allowed == {(ForwardPassMode.TRAIN, True)}


@pytest.mark.clause("SUB-21")
@pytest.mark.parametrize("name", list(calls.FIXED_SIGNATURES))
def test_the_protocol_of_a_workload_has_the_documented_parameters(name: str) -> None:
    parameters = inspect.signature(getattr(submission.Workload, name)).parameters
    assert tuple(parameters)[1:] == calls.FIXED_SIGNATURES[name]


@pytest.mark.clause("SUB-19")
@pytest.mark.parametrize(
    ("framework", "num_processes", "shape"),
    [
        ("jax", 1, (32, 3, 4)),
        ("jax", 8, (32, 3, 4)),
        ("pytorch", 1, (32, 3, 4)),
        ("pytorch", 8, (4, 3, 4)),
    ],
)
def test_the_shape_of_a_batch(framework: str, num_processes: int, shape: tuple[int, ...]) -> None:
    assert calls.batch_shape(framework, 32, num_processes, (3, 4)) == shape


@pytest.mark.clause("SUB-19")
def test_a_batch_of_an_unknown_framework_or_that_cannot_be_divided_is_an_error() -> None:
    with pytest.raises(calls.UnknownFramework, match="known: jax, pytorch"):
        calls.batch_shape("torch", 32, 1, ())
    with pytest.raises(UnevenShards):
        calls.batch_shape("pytorch", 30, 8, ())


class Averages:
    """Has state of its own."""

    def __init__(self) -> None:
        self.mean = 0.0

    def __call__(self) -> float:
        return self.mean


class Saved(Averages):
    def state_dict(self) -> dict[str, float]:
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.mean = state["mean"]


@pytest.mark.clause("SUB-20")
def test_values_with_state_need_state_dict() -> None:
    kept = {
        "optimizer": Saved(),
        "step": 3,
        "rates": [0.1, 0.2],
        "buffer": np.zeros(3),
        "schedule": functools.partial(max, 0),
        "function": len,
        "class": Averages,
        "nothing": None,
    }
    assert calls.check_optimizer_state(kept, "pytorch") == []
    lost = {**kept, "averages": Averages(), "more": SimpleNamespace(mean=1.0), 3: 4}
    assert calls.check_optimizer_state(lost, "pytorch") == [
        "the key 3 is not a string",
        "'averages' is a Averages without state_dict",
        "'more' is a SimpleNamespace without state_dict",
    ]


@pytest.mark.clause("SUB-20")
def test_the_form_of_an_optimizer_state() -> None:
    assert calls.check_optimizer_state(({"m": 0.0}, len), "jax") == []
    assert calls.check_optimizer_state({}, "jax") == ["the optimizer state is a dict, not a pair"]
    assert calls.check_optimizer_state((1, 2, 3), "jax") == [
        "the optimizer state is a tuple, not a pair"
    ]
    assert calls.check_optimizer_state(({}, len), "pytorch") == [
        "the optimizer state is a tuple, not a dictionary"
    ]


class HalfSaved(Averages):
    def state_dict(self) -> dict[str, float]:
        return {"mean": self.mean}


class Typed(Averages):
    """Has one of the two marks of an array, and is none."""

    dtype = "float32"


class Array(Averages):
    """An array of some library, whatever else it keeps."""

    dtype = "float32"
    shape = (3,)


@pytest.mark.clause("SUB-20")
def test_what_is_no_array_needs_both_functions_and_what_is_one_needs_none() -> None:
    def rate() -> float:
        return 0.1

    rate.calls = 3  # type: ignore[attr-defined]
    kept = {"array": Array(), "object": object(), "function with an attribute": rate}
    assert calls.check_optimizer_state(kept, "pytorch") == []
    lost = {"half": HalfSaved(), "typed": Typed()}
    assert calls.check_optimizer_state(lost, "pytorch") == [
        "'half' is a HalfSaved without state_dict",
        "'typed' is a Typed without state_dict",
    ]


@pytest.mark.clause("SUB-20")
@pytest.mark.parametrize("state", [(), (1,), (1, 2, 3), [1, 2]])
def test_a_jax_state_of_another_length_or_type_is_no_pair(state: object) -> None:
    assert len(calls.check_optimizer_state(state, "jax")) == 1
