"""Fixtures of the reference submissions' tests."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import pytest

from conformance_tests.reference_submissions.quadratic import (
    JaxQuadratic,
    TorchQuadratic,
    Tree,
    as_hyperparameters,
)

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def golden() -> Any:
    """The golden trajectories: ``<run>/<framework>/<a, b or c>``, shape (10, ...)."""
    return np.load(GOLDEN / "optimizer.npz")


@pytest.fixture(scope="session")
def golden_runs() -> dict[tuple[str, str], dict[str, Any]]:
    """Run and framework -> recorded hyperparameters and learning rates."""
    runs = json.loads((GOLDEN / "optimizer.json").read_text())["runs"]
    return {(run["name"], run["framework"]): run for run in runs}


@pytest.fixture
def make_workload(golden: Any):
    """Framework -> a new quadratic workload."""
    problem = {
        part: {k: golden[f"{part}/{k}"] for k in "abc"} for part in ("init", "target", "curv")
    }
    return lambda framework: {"jax": JaxQuadratic, "pytorch": TorchQuadratic}[framework](problem)


@pytest.fixture
def submission():
    """(path, framework) -> submission module."""

    def load(path: str, framework: str) -> ModuleType:
        return importlib.import_module(f"reference_submissions.{path}.submission_{framework}")

    return load


@pytest.fixture
def drive():
    """Runs a submission through the calls of the harness; parameters after every step."""

    def run(module: Any, workload: Any, hyperparameters: Any, num_steps: int = 10) -> list[Tree]:
        hyperparameters = as_hyperparameters(hyperparameters)
        params, model_state = workload.init()
        key = workload.key()
        state = module.init_optimizer_state(workload, params, model_state, hyperparameters, key)
        queue = iter(workload.batch, object())
        trajectory = []
        for step in range(num_steps):
            batch = module.data_selection(
                workload, queue, state, params, model_state, hyperparameters, step, key
            )
            common = {
                "workload": workload,
                "current_params_types": None,
                "hyperparameters": hyperparameters,
                "loss_type": workload.loss_type,
                "eval_results": [],
                "rng": key,
            }
            state, params, model_state = module.update_params(
                current_param_container=params,
                model_state=model_state,
                batch=batch,
                optimizer_state=state,
                global_step=step,
                train_state=MappingProxyType({}),
                **common,
            )
            state, params, model_state = module.prepare_for_eval(
                current_param_container=params,
                model_state=model_state,
                optimizer_state=state,
                global_step=step + 1,
                **common,
            )
            trajectory.append(workload.values(params))
        return trajectory

    return run
