"""With one set of initial weights, a submission takes both frameworks along the same path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from algoperf_ref import workloads
from algoperf_ref.harness.hyperparameters import read_search_space, to_namedtuple
from algoperf_ref.harness.loading import loaded_submission
from algoperf_ref.workloads.ogbg import data
from algoperf_ref.workloads.ogbg.sizes import GraphNetworkSizes
from conformance_tests.support.molecules import packed
from conformance_tests.workloads.samples import transplant

NADAMW = Path(__file__).parents[2] / "reference_submissions" / "external_tuning" / "nadamw"
STEPS = 6


def test_nadamw_trains_the_twins_to_the_same_weights() -> None:
    points = read_search_space(NADAMW / "tuning_search_space.json").points
    assert points is not None
    point = to_namedtuple(points[0])  # without dropout, whose random numbers differ
    jax_workload: Any = workloads.load("ogbg", "jax", "mini")
    torch_workload: Any = workloads.load("ogbg", "pytorch", "mini")
    sizes = GraphNetworkSizes.of(jax_workload.spec)
    params, _ = jax_workload.init_model_fn(jax_workload.backend.seed_key(0))
    model, _ = torch_workload.init_model_fn(torch_workload.backend.seed_key(0))
    initial = transplant(jax.device_get(params), sizes)
    model.load_state_dict({name: torch.tensor(np.asarray(w)) for name, w in initial.items()})

    batches = data.training_batches(packed(96), data_seed=5, global_batch_size=16, num_shards=1)
    with loaded_submission(NADAMW, "jax") as ours, loaded_submission(NADAMW, "pytorch") as theirs:
        jax_state = ours.module.init_optimizer_state(jax_workload, params, None, point, None)
        torch_state = theirs.module.init_optimizer_state(torch_workload, model, None, point, None)
        for step, batch in zip(range(STEPS), batches, strict=False):
            common: dict[str, Any] = {
                "current_params_types": None,
                "model_state": None,
                "hyperparameters": point,
                "loss_type": None,
                "eval_results": [],
                "global_step": step,
                "rng": jax_workload.backend.seed_key(step),
            }
            jax_state, params, _ = ours.module.update_params(
                workload=jax_workload,
                current_param_container=params,
                batch=jax_workload.backend.place_batch(batch),
                optimizer_state=jax_state,
                **common,
            )
            torch_state, model, _ = theirs.module.update_params(
                workload=torch_workload,
                current_param_container=model,
                batch=torch_workload.backend.place_batch(batch),
                optimizer_state=torch_state,
                **common,
            )
    weights = transplant(jax.device_get(params), sizes)
    moved = 0.0
    for name, weight in model.state_dict().items():
        np.testing.assert_allclose(weights[name], weight.numpy(), rtol=1e-4, atol=1e-5)
        moved = max(moved, float(np.abs(weights[name] - initial[name]).max()))
    assert moved > 1e-3
