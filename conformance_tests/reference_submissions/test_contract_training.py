"""What every reference submission does to state, batch and hyperparameters as it trains."""

from __future__ import annotations

import ast
import copy
from typing import Any

import numpy as np
import pytest

from algoperf_ref.records import codec
from conformance_tests.reference_submissions.quadratic import as_hyperparameters
from conformance_tests.reference_submissions.training import (
    FRAMEWORKS,
    PATHS,
    ROOT,
    Training,
    external_point,
)
from conformance_tests.workloads.samples import backend
from spec.submission import LossType

API = {"step_hint", "model_fn", "loss_fn", "metrics_logger"}
"""What a reference submission may read of a workload."""

EVERYWHERE = [(path, framework) for path in PATHS for framework in FRAMEWORKS]


@pytest.fixture
def start(make_workload, submission):
    """(path, framework) -> a training that has not made a step."""

    def make(path: str, framework: str, workload: Any = None, **changes: Any) -> Training:
        workload = workload or make_workload(framework)
        params, model_state = workload.init()
        batch = workload.batch()
        values = external_point(path)
        if values is not None:
            values = {**values, **changes}
        module = submission(path, framework)
        return Training(module, workload, values, params, model_state, batch, workload.key())

    return make


def _loss(workload: Any, values: dict[str, np.ndarray]) -> float:
    curv, target = workload.problem["curv"], workload.problem["target"]
    return sum(float((curv[k] * (values[k] - target[k]) ** 2).sum()) / 2 for k in values)


@pytest.mark.parametrize(("path", "framework"), EVERYWHERE)
def test_training_reduces_the_loss(path, framework, start):
    training = start(path, framework)
    before = _loss(training.workload, training.workload.values(training.params))
    training.steps(10)
    training.prepare_for_eval()
    after = _loss(training.workload, training.workload.values(training.params))
    assert after < 0.99 * before


@pytest.mark.parametrize(("path", "framework"), EVERYWHERE)
def test_training_goes_on_identically_from_a_checkpoint(path, framework, start):
    straight = start(path, framework, grad_clip=0.7)
    straight.steps(5)
    exported = backend(framework).export_state(
        straight.params, straight.state, straight.model_state
    )
    stored = codec.decode(*codec.encode(copy.deepcopy(exported)))
    straight.steps(5)

    resumed = start(path, framework, grad_clip=0.7)
    resumed.params, resumed.state, resumed.model_state = backend(framework).import_state(
        stored, resumed.params, resumed.state, resumed.model_state
    )
    resumed.global_step = 5
    resumed.steps(5)
    ours, expected = (t.workload.values(t.params) for t in (resumed, straight))
    assert all((ours[k] == expected[k]).all() for k in expected)


@pytest.mark.parametrize(("path", "framework"), EVERYWHERE)
def test_hyperparameters_and_batch_are_left_as_they_are(path, framework, start):
    training = start(path, framework)
    batch, arrays = training.batch, {k: np.array(v) for k, v in training.batch.items()}
    values = training.hyperparameters
    before = None if values is None else values._asdict()
    training.steps(2)
    assert training.batch is batch
    assert batch.keys() == arrays.keys()
    assert all((np.asarray(batch[k]) == arrays[k]).all() for k in arrays)
    assert (None if values is None else values._asdict()) == before


@pytest.mark.parametrize(("path", "framework"), EVERYWHERE)
def test_of_the_workload_only_the_submission_api_is_read(
    path, framework, make_workload, submission
):
    class Watched:
        def __init__(self, workload: Any) -> None:
            self.inside, self.names = workload, set()
            self.loss_type = workload.loss_type  # the harness reads it, not the submission

        def __getattr__(self, name: str) -> Any:
            self.names.add(name)
            return getattr(self.inside, name)

    workload = make_workload(framework)
    watched = Watched(workload)
    params, model_state = workload.init()
    training = Training(
        submission(path, framework),
        watched,
        external_point(path),
        params,
        model_state,
        workload.batch(),
        workload.key(),
    )
    training.steps(2)
    training.prepare_for_eval()
    assert watched.names <= API, watched.names - API


def test_the_name_of_a_workload_is_used_for_batch_sizes_only():
    for file in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tree.body = [
            part
            for part in tree.body
            if not (isinstance(part, ast.FunctionDef) and part.name == "get_batch_size")
        ]
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        used = (names | read) & {"workload_name", "_name", "target_metric_name"}
        assert not used, (file, used)


@pytest.mark.parametrize(("path", "framework"), EVERYWHERE)
def test_every_type_of_loss_is_trained_alike(path, framework, start, make_workload):
    results = []
    for types in (list(LossType), [LossType.MEAN_SQUARED_ERROR] * len(LossType)):
        workload = make_workload(framework)
        training = start(path, framework, workload=workload)
        for workload.loss_type in types:
            training.steps(1)
        results.append(workload.values(training.params))
    ours, expected = results
    assert all((ours[k] == expected[k]).all() for k in expected)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("path", [p for p in PATHS if p.startswith("external_tuning")])
def test_weight_decay_acts_on_every_parameter_and_a_gradient_of_zero_is_no_harm(
    path, framework, start, make_workload
):
    """The paper makes no exception for any type of parameter: a bias decays like a kernel."""
    ends = []
    for weight_decay in (0.0, 0.1):
        workload = make_workload(framework)
        workload.curv = {k: 0 * v for k, v in workload.curv.items()}
        training = start(path, framework, workload, weight_decay=weight_decay, learning_rate=0.1)
        training.steps(3)
        ends.append(workload.values(training.params))
    still, shrunk = ends
    for k, initial in workload.problem["init"].items():
        np.testing.assert_array_equal(still[k], initial)
        moved = initial != 0
        assert (np.abs(shrunk[k][moved]) < np.abs(initial[moved])).all()


def test_options_can_be_restored_from_before_there_was_a_radius(start):
    training = start("external_tuning.sam", "pytorch", rho=0.2)
    options = training.state["options"]
    older = {k: v for k, v in options.state_dict().items() if k != "rho"}
    options.load_state_dict({**older, "label_smoothing": 0.1})
    assert (options.rho, options.label_smoothing) == (0.2, 0.1)


def test_an_algorithm_has_defaults_of_its_own():
    from reference_submissions._common.settings import tuned

    point = as_hyperparameters({"learning_rate": 0.1, "warmup_steps": 1})
    assert tuned(point, 10, beta2=0.99).beta2 == 0.99
    given = as_hyperparameters({"learning_rate": 0.1, "warmup_steps": 1, "one_minus_beta2": 0.3})
    assert tuned(given, 10, beta2=0.99).beta2 == 0.7
