"""Every reference submission learns one batch of the real workloads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref import workloads
from conformance_tests.reference_submissions.training import (
    FRAMEWORKS,
    PATHS,
    Training,
    external_point,
)
from conformance_tests.workloads.samples import backend, to_numpy
from spec import tiers
from spec.submission import ForwardPassMode

ROWS = 16
STEPS = 12
# Momentum takes larger steps than the rules that divide by the size of the gradient.
LEARNING_RATES = {"heavy_ball": 0.02, "nesterov": 0.02, "lamb": 0.01}


def _loss(training: Training) -> float:
    """Mean loss of the batch at the parameters as they are, without dropout."""
    workload: Any = training.workload
    logits, _ = workload.model_fn(
        training.params,
        training.batch,
        training.model_state,
        ForwardPassMode.EVAL,
        training.key,
        update_batch_norm=False,
        dropout_rate=0.0,
    )
    loss = workload.loss_fn(training.batch["targets"], logits, training.batch.get("weights"))
    return float(to_numpy(loss["summed"]) / to_numpy(loss["n_valid_examples"]))


def _learns(name: str, path: str, framework: str, submission: Any) -> None:
    workload: Any = workloads.load(name, framework, "mini", backend=backend(framework))
    key = workload.backend.seed_key(0)
    params, model_state = workload.init_model_fn(key)
    batch = workload.backend.place_batch(workload.synthetic_batch(ROWS))
    values = external_point(path)
    if values is not None:
        rate = LEARNING_RATES.get(path.split(".")[-1], 0.003)
        values = {**values, "learning_rate": rate, "dropout_rate": 0.0}
    module = submission(path, framework)
    training = Training(module, workload, values, params, model_state, batch, key)
    before = _loss(training)
    training.steps(STEPS)
    training.prepare_for_eval()
    after = _loss(training)
    assert np.isfinite(after)
    assert after < before


@pytest.mark.parametrize("path", PATHS)
def test_a_submission_learns_a_batch_of_the_click_logs(path, submission):
    _learns("criteo1tb", path, "pytorch", submission)


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", tuple(tiers.MINI_ROWS))
def test_a_submission_learns_a_batch_of_every_mini_workload(name, path, framework, submission):
    _learns(name, path, framework, submission)
