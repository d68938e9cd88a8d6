"""Dropout of the recommendation model: an argument of every call, behind one layer only.

Nothing non-linear follows it. So each logit lies on a line through two known points: what remains
at rate 1, and the logit without dropout.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance_tests.workloads import criteo_samples, samples
from conformance_tests.workloads.criteo_samples import SMALL_SIZES
from conformance_tests.workloads.samples import FRAMEWORKS

CASES = tuple(SMALL_SIZES)
per_model = pytest.mark.parametrize(
    ("case", "framework"), [(case, framework) for case in CASES for framework in FRAMEWORKS]
)


@functools.cache
def compiled(case: str, framework: str, training: bool) -> Callable[..., Any]:
    """(parameters, inputs, key, rate) -> logits; in JAX the rate is traced."""
    model = criteo_samples.build(framework, SMALL_SIZES[case])

    def forward(params: Any, inputs: Any, key: Any, rate: Any) -> Any:
        return model.forward(params, inputs, training=training, key=key, dropout_rate=rate)

    return samples.fast_jit(forward) if framework == "jax" else forward


def logits_of(
    case: str,
    framework: str,
    params: dict[str, Any],
    inputs: np.ndarray,
    rate: float,
    seed: int = 0,
    training: bool = True,
) -> np.ndarray:
    backend = samples.backend(framework)
    key = backend.seed_key(seed)
    backend.seed_global_generators(key)
    placed = backend.place_batch(inputs)
    loaded = criteo_samples.load_weights(framework, SMALL_SIZES[case], params)
    return samples.to_numpy(compiled(case, framework, training)(loaded, placed, key, rate))


@functools.cache
def some_params(case: str) -> dict[str, Any]:
    return criteo_samples.random_params(SMALL_SIZES[case])


@pytest.mark.clause("DROP-5", "SUB-2")
@per_model
def test_dropout_is_off_in_evaluation_and_at_rate_zero(case: str, framework: str) -> None:
    run = functools.partial(logits_of, case, framework, some_params(case), criteo_samples.inputs(8))
    expected = run(rate=0.0, training=False)
    np.testing.assert_array_equal(run(rate=0.5, seed=1, training=False), expected)
    np.testing.assert_allclose(run(rate=0.0), expected, rtol=0, atol=1e-5)


@pytest.mark.clause("DROP-5")
@per_model
def test_a_rate_changes_the_training_pass_reproducibly(case: str, framework: str) -> None:
    run = functools.partial(logits_of, case, framework, some_params(case), criteo_samples.inputs(8))
    first = run(rate=0.3, seed=2)
    np.testing.assert_array_equal(run(rate=0.3, seed=2), first)
    assert not np.allclose(run(rate=0.3, seed=3), first)
    assert not np.allclose(run(rate=0.6, seed=2), first)


@pytest.mark.clause("DROP-5")
@per_model
def test_dropout_stands_at_the_documented_place_only(case: str, framework: str) -> None:
    """With one unit behind the logit there are two values: that unit dropped, or scaled by 2.

    Dropout anywhere else would give other values. Source: Workload facts (criteo1tb), 2 and 3.
    """
    params = dict(some_params(case))
    kernel = np.zeros_like(params["Dense_7"]["kernel"])
    kernel[3] = 1.0
    params["Dense_7"] = {"kernel": kernel, "bias": np.float32([0.25])}
    # Mostly active, and still different for each row.
    before = params["Dense_6"]
    params["Dense_6"] = {"kernel": 0.05 * before["kernel"], "bias": 2 + 0 * before["bias"]}
    inputs = criteo_samples.inputs(64)
    run = functools.partial(logits_of, case, framework, params, inputs)
    dropped, full, halved = run(rate=1.0), run(rate=0.0), run(rate=0.5)
    is_active = np.abs(full - dropped) > 1e-3
    assert is_active.sum() > 10
    scaled = dropped + 2 * (full - dropped)
    is_dropped = np.isclose(halved, dropped, rtol=0, atol=1e-5)
    is_scaled = np.isclose(halved, scaled, rtol=0, atol=1e-5)
    assert (is_dropped | is_scaled).all()
    assert 0.2 < is_dropped[is_active].mean() < 0.8
    if case == "resnet":  # The residual model's unit keeps its input; elsewhere the bias remains.
        assert len(np.unique(dropped)) > 10
    else:
        np.testing.assert_array_equal(dropped, 0.25)


@pytest.mark.clause("DROP-5")
@per_model
def test_the_expected_logit_is_that_without_dropout(case: str, framework: str) -> None:
    """One row, many masks: the mean lies within five standard errors."""
    inputs = np.repeat(criteo_samples.inputs(1), 4000, axis=0)
    logits = logits_of(case, framework, some_params(case), inputs, 0.3)
    expected = logits_of(case, framework, some_params(case), inputs[:1], 0.0)
    assert logits.std() > 0
    assert abs(logits.mean() - expected.item()) < 5 * logits.std() / np.sqrt(len(logits))
