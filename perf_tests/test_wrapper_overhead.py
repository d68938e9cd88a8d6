"""What ``model_fn`` and ``loss_fn`` add to a training step of the same module without them.

A step is forward and backward pass, and one update of the statistics of batch normalisation. Both
are timed in turn, in processor time, until the median ratio is on one side of the budget with 99 %
confidence; a test that cannot tell fails and says so.
"""

from __future__ import annotations

import gc
import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from algoperf_ref import frameworks, workloads
from perf_tests.deciding import Verdict, decide
from spec.submission import ForwardPassMode

BUDGET = 1.02
# What the reference submissions train with.
MINI_ROWS = {
    "criteo1tb": 256,
    "fastmri": 8,
    "imagenet_resnet": 32,
    "imagenet_vit": 32,
    "librispeech_conformer": 16,
    "librispeech_deepspeech": 16,
    "ogbg": 32,
    "wmt": 16,
}
# A step of a model of the full tier takes seconds on a CPU. Two rows of wmt are 512 tokens.
FULL_ROWS = {
    "imagenet_resnet": 4,
    "imagenet_vit": 4,
    "librispeech_conformer": 4,
    "librispeech_deepspeech": 4,
    "wmt": 2,
}
# The sums of a step in another order.
LOSS_TOLERANCE = 1e-4
CASES = [
    (name, tier, count)
    for tier, rows in (("mini", MINI_ROWS), ("full", FULL_ROWS))
    for name, count in rows.items()
]


def _wrapped_step(workload: Any, batch: Any, rate: float, key: Any) -> Callable[..., Any]:
    """The same step through the functions that a submission calls."""

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        logits, state = workload.model_fn(
            params, batch, state, ForwardPassMode.TRAIN, key, True, dropout_rate=rate
        )
        loss = workload.loss_fn(batch["targets"], logits, batch["weights"])
        return loss["summed"] / loss["n_valid_examples"], state

    if workload.framework == "jax":
        import jax

        compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
        return lambda params, state: compiled(params, state, batch, key)

    def step(module: Any, state: None) -> float:
        module.zero_grad()
        value, _ = loss(module, state, batch, key)
        value.backward()
        return float(value.item())

    return step


def _steps(name: str, tier: str, framework: str, rows: int) -> tuple[Callable[[], float], ...]:
    """Both steps on the same batch; each returns its loss."""
    workload: Any = workloads.load(name, framework, tier)
    key = workload.backend.seed_key(0)
    params, state = workload.init_model_fn(key)
    batch = workload.backend.place_batch(workload.synthetic_batch(rows))
    # Without dropout, so that both have the same loss.
    rate = 0.0
    inputs = workload._model_inputs(batch)
    twin = importlib.import_module(
        f"perf_tests.twins.bare_step_{'jax' if framework == 'jax' else 'torch'}"
    )
    made = (
        _wrapped_step(workload, batch, rate, key),
        twin.bare_step(workload, inputs, batch, rate, key),
    )

    def loss_of(step: Callable[..., Any]) -> Callable[[], float]:
        if framework == "pytorch":
            return lambda: step(params, state)

        def run() -> float:
            import jax

            (loss, _), _ = jax.block_until_ready(step(params, state))
            return float(loss)

        return run

    return loss_of(made[0]), loss_of(made[1])


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
@pytest.mark.parametrize(("name", "tier", "rows"), CASES)
def test_the_functions_of_the_api_add_little_to_a_step(
    benchmark: BenchmarkFixture, name: str, tier: str, rows: int, framework: str
) -> None:
    if framework == "pytorch":
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
    ours, twin = _steps(name, tier, framework, rows)
    if "librispeech" not in name:  # SpecAugment draws other masks in each step
        assert ours() == pytest.approx(twin(), rel=LOSS_TOLERANCE)
    sizes = (
        {"rounds": 20, "most_rounds": 200} if tier == "mini" else {"rounds": 9, "most_rounds": 45}
    )
    # Batch normalisation moves its statistics in PyTorch's modules, which does no harm here.
    found = benchmark.pedantic(decide, args=(ours, twin, BUDGET), kwargs=sizes, rounds=1)
    figures = {
        "step_milliseconds": round(1e3 * found.ours, 2),
        "bare_milliseconds": round(1e3 * found.twin, 2),
        "ratio": round(found.ratio, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "rounds": found.rounds,
    }
    benchmark.extra_info.update(figures)
    print(f"\n{name} ({tier}, {framework}, {rows} rows): {json.dumps(figures)}")
    gc.collect()
    assert found.verdict is Verdict.WITHIN, (found.verdict, figures)


def test_the_bounds_hold_the_median_as_often_as_they_say() -> None:
    from perf_tests.deciding import bounds_of_median

    random = np.random.RandomState(0)
    held = 0
    for _ in range(2_000):
        low, high = bounds_of_median(random.exponential(size=25).tolist(), 0.95)
        held += low <= np.log(2) <= high
    assert 0.95 <= held / 2_000 <= 0.99
    assert bounds_of_median([1.0, 2.0], 0.99)[1] == float("inf")
