"""The training loop does what the contract says, in its order, on its clock."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks import numpy_random
from algoperf_ref.harness.failures import SubmissionFailed
from algoperf_ref.harness.files import NoFiles
from algoperf_ref.harness.results import Status
from conformance_tests.support.fakes import (
    METRIC,
    FakeTime,
    FakeWorkload,
    fake_functions,
    fake_submission,
    fake_trial,
)
from spec.submission import REQUIRED_FUNCTIONS, TRAIN_STATE_KEYS, TrainingCompleteError
from spec.timing import Event


def evaluated_steps(trial: Any) -> list[int]:
    return [step for step, _ in trial.eval_results]


@pytest.mark.clause("EVAL-2")
def test_the_first_evaluation_comes_after_step_1_and_then_one_each_period() -> None:
    trial = fake_trial()  # a step costs 1 s, the period is 10 s
    assert trial.run() is Status.TARGETS_REACHED
    assert evaluated_steps(trial) == [1, 11, 21, 31, 41, 51]
    assert trial.eval_results[-1][1][f"validation/{METRIC}"] == 0.51


@pytest.mark.clause("EVAL-8")
def test_a_run_goes_on_until_the_test_target_is_reached_too() -> None:
    class Workload(FakeWorkload):
        def eval_model(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            metrics = super().eval_model(*args, **kwargs)
            metrics[f"test/{METRIC}"] -= 0.2
            return metrics

    trial = fake_trial(Workload())
    assert trial.run() is Status.TARGETS_REACHED
    assert evaluated_steps(trial)[-1] == 71


@pytest.mark.clause("EVAL-3", "EVAL-4")
def test_the_budget_is_looked_at_when_an_evaluation_is_due_and_no_evaluation_follows_it() -> None:
    trial = fake_trial(FakeWorkload(evaluate=lambda step: 0.0), budget_seconds=25.0)
    assert trial.run() is Status.OUT_OF_TIME
    assert evaluated_steps(trial) == [1, 11, 21]
    assert trial.progress.global_step == 31  # over by less than one period
    assert trial.clock.submission_seconds == 31.0


@pytest.mark.clause("EVAL-3")
def test_a_submission_time_equal_to_the_budget_gets_no_evaluation() -> None:
    trial = fake_trial(FakeWorkload(evaluate=lambda step: 0.0), budget_seconds=11.0)
    assert trial.run() is Status.OUT_OF_TIME
    assert evaluated_steps(trial) == [1]


@pytest.mark.clause("EVAL-4")
def test_without_evaluations_the_budget_still_ends_the_run() -> None:
    trial = fake_trial(skip_evaluations=True, budget_seconds=25.0)
    assert trial.run() is Status.OUT_OF_TIME
    assert trial.progress.global_step == 25
    assert evaluated_steps(trial) == []


@pytest.mark.clause("EVAL-8")
def test_the_step_limit_ends_the_run_with_an_evaluation() -> None:
    trial = fake_trial(max_global_steps=7)
    assert trial.run() is Status.STEP_LIMIT
    assert evaluated_steps(trial) == [1, 7]


@pytest.mark.clause("SUB-6", "EVAL-8")
def test_training_complete_counts_the_step_keeps_the_state_and_grants_a_last_evaluation() -> None:
    normal = fake_functions().update_params

    def update_params(**arguments: Any) -> Any:
        if arguments["global_step"] == 4:
            raise TrainingCompleteError
        return normal(**arguments)

    trial = fake_trial(submission=fake_submission(update_params=update_params))
    assert trial.run() is Status.TRAINING_COMPLETE
    assert evaluated_steps(trial) == [1, 5]
    assert trial._params == {"w": 4.0}


def test_training_complete_raised_by_another_function_is_a_failure() -> None:
    def prepare_for_eval(**arguments: Any) -> Any:
        raise TrainingCompleteError("not here")

    trial = fake_trial(submission=fake_submission(prepare_for_eval=prepare_for_eval))
    with pytest.raises(SubmissionFailed, match="prepare_for_eval raised TrainingCompleteError"):
        trial.run()


@pytest.mark.parametrize(
    "function", ["init_optimizer_state", "data_selection", "update_params", "prepare_for_eval"]
)
def test_a_function_that_raises_is_named_with_its_step_and_cause(function: str) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("beta3")

    trial = fake_trial(submission=fake_submission(**{function: broken}))
    with pytest.raises(SubmissionFailed, match=rf"{function} raised KeyError after \d steps"):
        trial.run()


def test_missing_data_is_the_users_error_not_the_submissions() -> None:
    class Workload(FakeWorkload):
        def build_input_queue(self, *args: Any, **kwargs: Any) -> Any:
            raise UserError("no data; run prepare")
            yield

    with pytest.raises(UserError, match="no data"):
        fake_trial(Workload()).run()


@pytest.mark.clause("TIM-1", "TIM-2")
def test_every_second_goes_to_the_account_of_what_was_done() -> None:
    time = FakeTime()
    workload = FakeWorkload(evaluate=lambda step: float(step >= 3))
    workload.spec = workload.spec  # the period of 10 s
    normal = fake_functions()

    def data_selection(*args: Any) -> Any:
        time.pass_seconds(2.0)
        return normal.data_selection(*args)

    def update_params(**arguments: Any) -> Any:
        time.pass_seconds(3.0)
        return normal.update_params(**arguments)

    def prepare_for_eval(**arguments: Any) -> Any:
        time.pass_seconds(4.0)
        return (
            arguments["optimizer_state"],
            arguments["current_param_container"],
            arguments["model_state"],
        )

    class Recorder(NoFiles):
        wants_checkpoints = True

        def evaluation(self, metrics: Any, global_step: int) -> None:
            time.pass_seconds(0.25)

        def checkpoint(self, state: Any, global_step: int) -> None:
            time.pass_seconds(0.5)

        def final(self, score: float, global_step: int) -> None:
            time.pass_seconds(7.0)

    workload.on_evaluate = lambda: time.pass_seconds(100.0)
    workload.backend.on_synchronize = lambda: time.pass_seconds(1.0)
    trial = fake_trial(
        workload,
        fake_submission(
            data_selection=data_selection,
            update_params=update_params,
            prepare_for_eval=prepare_for_eval,
        ),
        time_source=time,
        recorder=Recorder(),
        budget_seconds=1000.0,
    )
    assert trial.run() is Status.TARGETS_REACHED
    # Two evaluations: after step 1, and after step 3, since two steps of 6 s exceed the period.
    assert evaluated_steps(trial) == [1, 3]
    assert trial.clock.submission_seconds == 3 * (2 + 3 + 1) + 2 * (4 + 1)
    assert trial.clock.evaluation_seconds == 2 * 100
    assert trial.clock.logging_seconds == 2 * (0.25 + 0.5)
    assert trial.clock.total_seconds == time.readings[-1][1] - 1000.0


@pytest.mark.clause("TIM-1")
def test_the_clock_is_read_after_the_device_is_idle() -> None:
    time = FakeTime()
    workload = FakeWorkload(evaluate=lambda step: 1.0)
    order: list[str] = []
    workload.backend.on_synchronize = lambda: order.append("synchronize")
    original = time.read

    def read(event: Event) -> float:
        order.append(event.name)
        return original(event)

    time.read = read  # type: ignore[method-assign]

    def prepare_for_eval(**a: Any) -> Any:
        return a["optimizer_state"], a["current_param_container"], a["model_state"]

    fake_trial(workload, fake_submission(prepare_for_eval=prepare_for_eval), time_source=time).run()
    assert order == ["synchronize", "STEP_ENDED", "synchronize", "PREPARED", "EVALUATED", "LOGGED"]


def test_keys_are_used_in_the_order_of_the_contract() -> None:
    received: dict[str, Any] = {}
    normal = fake_functions()

    def init_optimizer_state(*args: Any) -> Any:
        received["init"] = args[4]
        return normal.init_optimizer_state(*args)

    def data_selection(*args: Any) -> Any:
        received[f"select {args[6]}"] = args[7]
        return normal.data_selection(*args)

    def update_params(**arguments: Any) -> Any:
        received[f"update {arguments['global_step']}"] = arguments["rng"]
        return normal.update_params(**arguments)

    def prepare_for_eval(**arguments: Any) -> Any:
        received[f"prepare {arguments['global_step']}"] = arguments["rng"]
        return arguments["optimizer_state"], arguments["current_param_container"], None

    workload = FakeWorkload()
    key = numpy_random.prng_key(7)
    fake_trial(
        workload,
        fake_submission(
            init_optimizer_state=init_optimizer_state,
            data_selection=data_selection,
            update_params=update_params,
            prepare_for_eval=prepare_for_eval,
        ),
        key=key,
        max_global_steps=2,
    ).run()

    data, init, model, rng = numpy_random.split(key, 4)
    first = numpy_random.split(numpy_random.fold_in(rng, 0), 4)
    second = numpy_random.split(numpy_random.fold_in(rng, 1), 4)
    np.testing.assert_array_equal(workload.keys["data"], data)
    np.testing.assert_array_equal(received["init"], init)
    np.testing.assert_array_equal(workload.keys["model"], model)
    np.testing.assert_array_equal(received["select 0"], first[0])
    np.testing.assert_array_equal(received["update 0"], first[1])
    np.testing.assert_array_equal(received["prepare 1"], first[2])
    np.testing.assert_array_equal(workload.keys["eval 1"], first[3])
    np.testing.assert_array_equal(received["update 1"], second[1])


def test_functions_are_called_with_exactly_the_contracts_arguments() -> None:
    calls: dict[str, Any] = {}
    normal = fake_functions()

    def spy(name: str) -> Any:
        def function(*args: Any, **kwargs: Any) -> Any:
            calls[name] = (args, kwargs)
            if name == "prepare_for_eval":
                return kwargs["optimizer_state"], kwargs["current_param_container"], None
            return getattr(normal, name)(*args, **kwargs)

        return function

    names = ("init_optimizer_state", "data_selection", "update_params", "prepare_for_eval")
    fake_trial(submission=fake_submission(**{n: spy(n) for n in names}), max_global_steps=1).run()
    for name in ("init_optimizer_state", "data_selection"):
        args, kwargs = calls[name]
        assert len(args) == len(REQUIRED_FUNCTIONS[name])
        assert not kwargs
    args, kwargs = calls["update_params"]
    assert not args
    assert set(kwargs) == {*REQUIRED_FUNCTIONS["update_params"], "train_state"}
    assert set(calls["prepare_for_eval"][1]) == set(REQUIRED_FUNCTIONS["update_params"]) - {"batch"}


def test_train_state_is_left_out_for_the_old_signature() -> None:
    seen: list[set[str]] = []
    normal = fake_functions().update_params

    def update_params(**arguments: Any) -> Any:
        seen.append(set(arguments))
        return normal(**arguments)

    submission = fake_submission(takes_train_state=False, update_params=update_params)
    fake_trial(submission=submission, max_global_steps=1).run()
    assert seen == [set(REQUIRED_FUNCTIONS["update_params"])]


@pytest.mark.clause("SUB-10")
def test_train_state_is_a_live_read_only_view() -> None:
    states: list[Any] = []
    accounts: list[float] = []
    normal = fake_functions().update_params

    def update_params(**arguments: Any) -> Any:
        states.append(arguments["train_state"])
        accounts.append(arguments["train_state"]["accumulated_submission_time"])
        return normal(**arguments)

    fake_trial(submission=fake_submission(update_params=update_params), max_global_steps=3).run()
    assert accounts == [0.0, 1.0, 2.0]
    assert states[0]["accumulated_submission_time"] == 3.0
    assert tuple(states[0]) == TRAIN_STATE_KEYS
    assert len(dict(states[0])) == len(states[0])
    assert states[0]["training_complete"]  # at the step limit
    with pytest.raises(TypeError):
        states[0]["training_complete"] = False
    with pytest.raises(KeyError):
        states[0]["time_left"]


def test_eval_results_are_the_live_list_with_times_and_step() -> None:
    seen: list[int] = []
    normal = fake_functions().update_params

    def update_params(**arguments: Any) -> Any:
        seen.append(len(arguments["eval_results"]))
        return normal(**arguments)

    submission = fake_submission(update_params=update_params)
    trial = fake_trial(submission=submission, max_global_steps=3)
    trial.run()
    assert seen == [0, 1, 1]
    step, metrics = trial.eval_results[0]
    assert step == 1
    assert metrics["score"] == metrics["accumulated_submission_time"] == 1.0
    assert metrics["global_step"] == 1
    assert metrics["preemption_count"] == 0


def test_data_selection_may_return_the_queue_and_draw_several_batches_per_step() -> None:
    normal = fake_functions().update_params

    def data_selection(workload: Any, input_queue: Any, *rest: Any) -> Any:
        return input_queue

    def update_params(**arguments: Any) -> Any:
        next(arguments["batch"])
        return normal(**{**arguments, "batch": next(arguments["batch"])})

    trial = fake_trial(
        submission=fake_submission(data_selection=data_selection, update_params=update_params),
        max_global_steps=3,
    )
    trial.run()
    assert trial._queue.drawn == 6


@pytest.mark.clause("EVAL-1", "EVAL-6")
def test_a_failing_evaluation_is_retried_a_period_later_and_ends_the_run_after_three() -> None:
    def evaluate(step: int) -> float:
        raise RuntimeError("out of memory")

    notices: list[str] = []

    class Observer:
        def __getattr__(self, name: str) -> Any:
            return lambda *args: notices.append(args[0]) if name == "noticed" else False

    workload = FakeWorkload(evaluate=evaluate)
    trial = fake_trial(workload, observer=Observer())
    assert trial.run() is Status.EVALUATION_FAILED
    steps = [e for e in workload.events if e.startswith("evaluate")]
    assert steps == ["evaluate 1", "evaluate 11", "evaluate 21"]
    assert "out of memory" in notices[0]
    assert trial.eval_results == []


@pytest.mark.clause("EVAL-1", "EVAL-6")
def test_a_good_evaluation_forgives_the_failures_before_it() -> None:
    values = {1: math.nan, 11: math.nan, 21: 0.1, 31: math.nan, 41: math.nan, 51: 0.6}
    trial = fake_trial(FakeWorkload(evaluate=values.__getitem__))
    assert trial.run() is Status.TARGETS_REACHED
    assert evaluated_steps(trial) == list(values)


def test_an_evaluation_bug_of_the_workload_is_not_taken_for_a_failed_evaluation() -> None:
    def evaluate(step: int) -> float:
        raise NotImplementedError("no such split")

    with pytest.raises(NotImplementedError):
        fake_trial(FakeWorkload(evaluate=evaluate)).run()


def test_the_harness_keeps_no_reference_to_what_a_submission_was_given() -> None:
    import weakref

    class Parameters(dict):  # type: ignore[type-arg]
        pass

    alive: list[Any] = []

    def update_params(**arguments: Any) -> Any:
        new = Parameters(w=arguments["current_param_container"]["w"] + 1)
        alive.append(weakref.ref(new))
        return arguments["optimizer_state"], new, None

    fake_trial(submission=fake_submission(update_params=update_params), max_global_steps=4).run()
    assert [ref() is None for ref in alive[:-1]] == [True] * 3
