"""Prints how far a submission for ``jax.pmap`` gets from one for ``jax.jit`` in a few steps.

Is a program of its own, since the number of devices is fixed when JAX starts.
"""

from __future__ import annotations

import json
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from algoperf_ref import workloads  # noqa: E402
from algoperf_ref.errors import UserError  # noqa: E402
from algoperf_ref.frameworks.jax_per_device import PerDeviceWorkload  # noqa: E402
from algoperf_ref.harness.loading import loaded_submission  # noqa: E402

STEPS, ROWS = 3, 8
POINT = {"learning_rate": 0.05, "dropout_rate": 0.0}


def train(workload: Any, file: Path, batch: Any) -> tuple[Any, Any]:
    """Returns the initial and the last parameters."""
    hyperparameters = namedtuple("Hyperparameters", POINT)(**POINT)
    key = workload.backend.seed_key(0)
    with loaded_submission(file, "jax") as submission:
        module = submission.module
        params, model_state = workload.init_model_fn(key)
        initial = jax.tree.map(np.asarray, params)
        state = module.init_optimizer_state(workload, params, model_state, hyperparameters, key)
        for step in range(STEPS):
            state, params, model_state = module.update_params(
                workload=workload,
                current_param_container=params,
                current_params_types=workload.model_params_types,
                model_state=model_state,
                hyperparameters=hyperparameters,
                batch=batch,
                loss_type=workload.loss_type,
                optimizer_state=state,
                eval_results=[],
                global_step=step,
                rng=key,
            )
        return initial, jax.tree.map(np.asarray, params)


def distance(first: Any, second: Any) -> float:
    """Returns the largest difference of two trees."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return float(max(np.abs(a - b).max() for a, b in pairs))


def main() -> None:
    """Prints one JSON object."""
    today: Any = workloads.load("criteo1tb", "jax", "mini")
    before = PerDeviceWorkload(today)
    batch = today.backend.place_batch(today.synthetic_batch(ROWS))
    support = ROOT / "conformance_tests" / "support"
    initial, expected = train(today, support / "jax_submission.py", batch)
    _, copies = train(before, support / "per_device_submission.py", before._divided(batch))
    first = jax.tree.map(lambda array: array[0], copies)
    try:
        PerDeviceWorkload(workloads.load("ogbg", "jax", "mini"))
        refusal = ""
    except UserError as error:
        refusal = str(error)
    found = {
        "devices": jax.device_count(),
        "copies_differ_by": distance(first, jax.tree.map(lambda array: array[-1], copies)),
        "moved_by": distance(initial, expected),
        "layouts_differ_by": distance(first, expected),
        "ogbg": refusal,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
