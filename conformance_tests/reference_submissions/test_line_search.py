"""Gradient descent with a line search: the rates that are tried, and the step that is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance_tests.reference_submissions.quadratic import Logger
from conformance_tests.reference_submissions.training import FRAMEWORKS, Training
from reference_submissions._common import line_search

each = pytest.mark.parametrize("framework", FRAMEWORKS)
TOLERANCE = 5e-6  # of the golden trajectories


@pytest.fixture
def start(make_workload, submission):
    """framework -> a training on the quadratic, whose curvatures are multiplied."""

    def make(framework: str, curvature: float = 1.0) -> Training:
        workload = make_workload(framework)
        workload.curv = {k: curvature * v for k, v in workload.curv.items()}
        params, model_state = workload.init()
        module = submission("self_tuning.line_search", framework)
        batch, key = workload.batch(), workload.key()
        return Training(module, workload, None, params, model_state, batch, key)

    return make


def _rate(training: Training) -> float:
    if training.workload.framework == "jax":
        return float(training.state[0].learning_rate)
    return float(training.state["learning_rate"])


def _loss_and_gradient(training: Training, point: dict[str, np.ndarray]) -> tuple[float, Any]:
    curv = {k: np.asarray(v, np.float64) for k, v in training.workload.curv.items()}
    target = training.workload.problem["target"]
    off = {k: point[k] - target[k] for k in point}
    loss = sum(float((curv[k] * off[k] ** 2).sum()) / 2 for k in point)
    return loss, {k: curv[k] * off[k] for k in point}


def _plain(training: Training, point: Any, rate: float) -> tuple[Any, float]:
    """One step by the rule, in float64; the new point and the rate."""
    loss, grads = _loss_and_gradient(training, point)
    square = sum(float((g**2).sum()) for g in grads.values())
    rate = min(line_search.INCREASE * rate, line_search.LARGEST_RATE)
    for tries in range(line_search.MAX_TRIES):
        if tries:
            rate *= line_search.DECREASE
        there = {k: point[k] - rate * grads[k] for k in point}
        reached, _ = _loss_and_gradient(training, there)
        if reached <= loss - line_search.SUFFICIENT * rate * square:
            return there, rate
    return point, rate


@each
@pytest.mark.parametrize("curvature", [0.05, 1.0, 30.0])
def test_steps_are_those_of_armijos_rule(framework, curvature, start):
    training = start(framework, curvature)
    point = {k: v.astype(np.float64) for k, v in training.workload.problem["init"].items()}
    rate, losses = line_search.FIRST_RATE, []
    for _ in range(10):
        losses.append(_loss_and_gradient(training, point)[0])
        point, rate = _plain(training, point, rate)
        training.steps(1)
        ours = training.workload.values(training.params)
        assert _rate(training) == pytest.approx(rate, rel=1e-6)
        assert max(np.abs(ours[k] - point[k]).max() for k in point) < TOLERANCE
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


@each
def test_where_no_rate_will_do_the_parameters_stay(framework, start):
    training = start(framework, 1e9)
    training.steps(1)
    ours, initial = (
        training.workload.values(training.params),
        training.workload.problem["init"],
    )
    assert all((ours[k] == initial[k]).all() for k in initial)
    smallest = line_search.DECREASE ** (line_search.MAX_TRIES - 1)
    expected = line_search.INCREASE * line_search.FIRST_RATE * smallest
    assert _rate(training) == pytest.approx(expected, rel=1e-5)


@each
def test_a_rate_never_grows_beyond_its_limit(framework, start):
    training = start(framework, 1e-6)
    for _ in range(12):
        training.steps(1)
    assert _rate(training) == pytest.approx(line_search.LARGEST_RATE)


def test_every_try_draws_the_random_numbers_of_the_first_pass_in_pytorch(start):
    import torch

    training, draws = start("pytorch", 30.0), []
    plain = training.workload.model_fn

    def drawing(*args: Any, **options: Any) -> Any:
        draws.append(torch.rand(2).tolist())
        return plain(*args, **options)

    training.workload.model_fn = drawing
    torch.manual_seed(0)
    training.steps(1)
    of_first_step = len(draws)
    assert of_first_step > 3
    assert all(drawn == draws[0] for drawn in draws)
    training.steps(1)
    assert draws[of_first_step] != draws[0]
    assert all(drawn == draws[of_first_step] for drawn in draws[of_first_step:])


@each
def test_only_the_first_pass_updates_batch_norm(framework, start):
    training = start(framework, 30.0)
    training.steps(1)
    updates = [call["update_batch_norm"] for call in training.workload.model_calls]
    assert updates[0]
    assert len(updates) > 1
    assert not any(updates[1:])


@each
def test_the_rate_that_was_found_is_logged(framework, start):
    training = start(framework)
    training.workload.metrics_logger = Logger()
    training.steps(1)
    ((step, row),) = training.workload.metrics_logger.rows
    assert step == 0
    assert row["lr"] == pytest.approx(_rate(training))
    assert row["loss"] > 0
    assert row["grad_norm"] > 0
