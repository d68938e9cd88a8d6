"""What the harness adds to a step: our loop beside the same submission's bare loop."""

from __future__ import annotations

import time
from typing import Any

import pytest

from algoperf_ref import frameworks
from conformance_tests.support.fakes import FakeWorkload, fake_submission, fake_trial
from perf_tests.interleaved import measure

STEPS = 200
ROUNDS = 40
# At most 2 % of a step of 5 ms, or 100 microseconds.
BUDGET_SECONDS = max(0.02 * 5e-3, 100e-6)


def jax_update() -> tuple[Any, Any]:
    """A donating, compiled step on thirty parameters, as reference submissions have."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def step(params: Any, momenta: Any, inputs: Any) -> Any:
        gradients = jax.tree.map(lambda p: p - inputs.mean(), params)
        momenta = jax.tree.map(lambda m, g: 0.9 * m + g, momenta, gradients)
        return jax.tree.map(lambda p, m: p - 0.1 * m, params, momenta), momenta

    zeros = {f"w{i}": jnp.zeros((64,)) for i in range(30)}
    return zeros, step


def torch_update() -> tuple[Any, Any]:
    """The same with PyTorch's multi-tensor operations."""
    import torch

    def step(params: Any, momenta: Any, inputs: Any) -> Any:
        values, velocity = list(params.values()), list(momenta.values())
        gradients = torch._foreach_sub(values, inputs.mean().item())
        torch._foreach_mul_(velocity, 0.9)
        torch._foreach_add_(velocity, gradients)
        torch._foreach_add_(values, velocity, alpha=-0.1)
        return params, momenta

    return {f"w{i}": torch.zeros(64) for i in range(30)}, step


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_the_loop_adds_at_most_its_budget_to_a_step(framework: str, benchmark: Any) -> None:
    backend: Any = frameworks.create(framework)
    zeros, step = jax_update() if framework == "jax" else torch_update()

    class Workload(FakeWorkload):
        def build_input_queue(self, *args: Any, **kwargs: Any) -> Any:
            queue = super().build_input_queue(*args, **kwargs)
            batch = backend.place_batch({k: v.astype("float32") for k, v in next(queue).items()})
            while True:
                yield batch

        def init_model_fn(self, rng: Any) -> tuple[Any, Any]:
            return dict(zeros), None

    def init_optimizer_state(*args: Any) -> Any:
        return dict(zeros)

    def update_params(**a: Any) -> Any:
        inputs = a["batch"]["inputs"]
        params, momenta = step(a["current_param_container"], a["optimizer_state"], inputs)
        return momenta, params, None

    workload = Workload(evaluate=lambda step: 0.0)
    workload.backend = backend
    workload.eval_period_time_sec = 10**6
    submission = fake_submission(
        init_optimizer_state=init_optimizer_state, update_params=update_params
    )

    from algoperf_ref.harness.time_source import WallTime

    def ours() -> None:
        fake_trial(
            workload,
            submission,
            time_source=WallTime(),
            key=backend.seed_key(1),
            max_global_steps=STEPS,
            budget_seconds=1e9,
        ).run()

    def bare() -> None:
        # What a submitter would time by hand: the same functions, and a synchronised device.
        module = submission.module
        queue = workload.build_input_queue(None, "train", "", 8)
        params, model_state = workload.init_model_fn(None)
        optimizer_state = module.init_optimizer_state(workload, params, model_state, None, None)
        key = backend.seed_key(1)
        for global_step in range(STEPS):
            batch = module.data_selection(
                workload, queue, optimizer_state, params, model_state, None, global_step, key
            )
            optimizer_state, params, model_state = module.update_params(
                workload=workload,
                current_param_container=params,
                current_params_types=None,
                model_state=model_state,
                hyperparameters=None,
                batch=batch,
                loss_type=None,
                optimizer_state=optimizer_state,
                eval_results=[],
                global_step=global_step,
                rng=key,
            )
            backend.synchronize(optimizer_state, params, model_state)

    # The wall clock is what a submission is scored by, so it is held to the budget. Processor time
    # of the loop's thread, which a machine shared with others disturbs less, is reported beside it.
    wall = benchmark.pedantic(lambda: measure(ours, bare, ROUNDS), rounds=1, iterations=1)
    processor = measure(ours, bare, ROUNDS, time.thread_time).difference / STEPS
    per_step = wall.difference / STEPS
    benchmark.extra_info["overhead_microseconds_per_step"] = round(per_step * 1e6, 1)
    benchmark.extra_info["processor_microseconds_per_step"] = round(processor * 1e6, 1)
    benchmark.extra_info["share_of_budget"] = round(per_step / BUDGET_SECONDS, 2)
    print(
        f"\n{framework}: {per_step * 1e6:.0f} us per step on the wall clock (processor time: "
        f"{processor * 1e6:.0f} us); budget {BUDGET_SECONDS * 1e6:.0f} us"
    )
    assert per_step <= BUDGET_SECONDS
