"""What holds for every learning-rate schedule of the reference submissions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reference_submissions._common.schedules import warmup_cosine, warmup_linear_constant

steps = st.integers(0, 10_000)
fractions = st.floats(0.0, 1.0)


@given(total=st.integers(1, 10_000), warmup_fraction=fractions, step=steps)
def test_a_cosine_factor_lies_between_0_and_1_and_stays_0_after_the_end(
    total, warmup_fraction, step
):
    warmup = int(warmup_fraction * (total - 1))
    factor = warmup_cosine(warmup, total)
    assert 0.0 <= factor(step) <= 1.0
    assert factor(total + step) == 0.0


@given(total=st.integers(2, 1_000), warmup_fraction=fractions)
def test_a_cosine_schedule_rises_to_its_peak_at_the_end_of_the_warm_up_and_falls_from_there(
    total, warmup_fraction
):
    warmup = int(warmup_fraction * (total - 1))
    factors = warmup_cosine(warmup, total)(np.arange(total + 2))
    assert factors[warmup] == 1.0
    assert (np.diff(factors[: warmup + 1]) > 0).all()
    assert (np.diff(factors[warmup:]) <= 0).all()


@given(warmup=steps, decay=steps, end=fractions, step=steps)
def test_a_linear_factor_lies_between_0_and_1_and_ends_at_its_end_factor(warmup, decay, end, step):
    factor = warmup_linear_constant(warmup, decay, end)
    assert 0.0 <= factor(step) <= 1.0
    np.testing.assert_allclose(factor(warmup + max(decay, 1) + step), end, rtol=0, atol=1e-12)


@given(warmup=st.integers(0, 200), decay=st.integers(1, 500), end=fractions)
def test_a_linear_schedule_falls_by_equal_amounts_after_its_warm_up(warmup, decay, end):
    factors = warmup_linear_constant(warmup, decay, end)(np.arange(warmup, warmup + decay + 1))
    np.testing.assert_allclose(np.diff(factors), (end - 1.0) / decay, rtol=0, atol=1e-12)


@given(warmup=st.integers(1, 500), total=steps, share=fractions)
def test_both_schedules_have_the_same_warm_up(warmup, total, share):
    step = int(share * (warmup - 1))
    cosine, linear = warmup_cosine(warmup, total), warmup_linear_constant(warmup, total, 0.0)
    assert cosine(step) == linear(step) == step / warmup
