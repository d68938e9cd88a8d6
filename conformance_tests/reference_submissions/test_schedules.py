"""The learning-rate schedules against the golden ones, in both array namespaces."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from reference_submissions._common.schedules import warmup_cosine, warmup_linear_constant
from reference_submissions._common.settings import target_setting, tuned
from spec import workloads

CASES = json.loads((Path(__file__).parents[1] / "golden/lr_schedules.json").read_text())["cases"]


def _schedule(case, xp):
    warmup, total = case["warmup_steps"], case["step_hint_argument"]
    if "end_factor" not in case:
        return warmup_cosine(warmup, total, xp=xp)
    decay = int((total - warmup) * case["decay_steps_factor"])
    return warmup_linear_constant(warmup, decay, case["end_factor"], xp=xp)


def _rates(case, namespace) -> np.ndarray:
    if namespace == "numpy":
        factor = _schedule(case, np)
        return np.array([case["learning_rate"] * float(factor(n)) for n in case["steps"]])
    import jax
    import jax.numpy as jnp

    rates = jax.jit(_schedule(case, jnp))(jnp.asarray(case["steps"], jnp.int32))
    return case["learning_rate"] * np.asarray(rates)


@pytest.mark.parametrize("namespace", ["numpy", "jax"])
@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_rates_are_the_golden_ones_up_to_and_beyond_the_end(case, namespace):
    peak = case["learning_rate"]
    np.testing.assert_allclose(_rates(case, namespace), case["jax"], rtol=1e-5, atol=1e-7 * peak)


@pytest.mark.parametrize(
    "case", [c for c in CASES if isinstance(c.get("pytorch"), list)], ids=range(4)
)
def test_rates_are_those_of_the_official_pytorch_twin_up_to_the_end(case):
    """Beyond the end the official twin rises again; its first rate is 1e-10 of the peak, not 0."""
    end, peak = case["step_hint_argument"] + 1, case["learning_rate"]
    ours, official = _rates(case, "numpy"), np.array(case["pytorch"])
    np.testing.assert_allclose(ours[:end], official[:end], rtol=1e-5, atol=1e-7 * peak)
    assert (ours[end:] == 0.0).all()
    assert official[end + 1 :].max() > 0.0


@pytest.mark.parametrize(
    "case", [c for c in CASES if "workload" in c], ids=lambda case: case["workload"]
)
def test_warm_up_and_horizon_of_a_workload_are_the_golden_ones(case):
    """The horizon is the step hint for submissions, 3/4 of it for target setting."""
    point = namedtuple("Hyperparameters", "learning_rate warmup_factor")(
        case["learning_rate"], case["warmup_factor"]
    )
    step_hint = case["step_hint_argument"]
    assert workloads.get(case["workload"]).step_hint == step_hint
    assert tuned(point, step_hint).total_steps == step_hint
    assert tuned(point, step_hint).warmup_steps == case["warmup_steps"]
    horizon = case["target_setting_step_hint_0.75"]
    assert target_setting(point, step_hint).total_steps == horizon


@pytest.mark.parametrize("bad", [{"warmup_steps": -1}, {"total_steps": -2}])
def test_a_negative_number_of_steps_is_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        warmup_cosine(**{"warmup_steps": 1, "total_steps": 2, **bad})
