"""The learning-rate schedules of the paper, and the training code that uses them."""

from __future__ import annotations

import math

import pytest

from reference_submissions._common import schedules as code
from reference_submissions._common.settings import Settings
from spec.schedules import (
    SCHEDULES,
    IllegalSchedule,
    warmup_cosine_decay,
    warmup_linear_decay_constant,
)
from spec.target_setting import ALGORITHMS

STEPS = range(0, 130)


@pytest.mark.clause("TGT-11")
def test_every_target_setting_algorithm_has_a_schedule():
    assert set(SCHEDULES) == set(ALGORITHMS)
    assert set(SCHEDULES.values()) == {"warmup_cosine_decay", "warmup_linear_decay_constant"}


@pytest.mark.clause("TGT-12")
@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.0), (5, 1.0), (10, 2.0), (30, 1 + math.sqrt(0.5)), (50, 1.0), (90, 0.0), (99, 0.0)],
)
def test_warmup_and_cosine_by_hand(step, rate):
    """Ten steps up to 2, then half a cosine over eighty; a quarter of them is at step 30."""
    assert warmup_cosine_decay(step, 2.0, 90, 10) == pytest.approx(rate, abs=1e-12)


@pytest.mark.clause("TGT-13")
@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.0), (5, 1.0), (10, 2.0), (30, 1.1), (50, 0.2), (51, 0.2), (900, 0.2)]
)
def test_warmup_linear_decay_and_constant_by_hand(step, rate):
    """Ten steps up to 2, then half of the eighty steps that are left down to a tenth of it."""
    assert warmup_linear_decay_constant(step, 2.0, 90, 10, 0.1, 0.5) == pytest.approx(rate)


@pytest.mark.clause("TGT-12", "TGT-13")
@pytest.mark.parametrize("warmup_steps", [0, 1, 17, 100])
def test_the_training_code_follows_the_definitions(warmup_steps):
    settings = Settings(1.0, warmup_steps, 100, decay_steps_factor=0.9, end_factor=0.01)
    cosine, linear = code.cosine(settings), code.linear_constant(settings)
    for step in STEPS:
        assert float(cosine(step)) == pytest.approx(
            warmup_cosine_decay(step, 1.0, 100, warmup_steps), abs=1e-12
        )
        assert float(linear(step)) == pytest.approx(
            warmup_linear_decay_constant(step, 1.0, 100, warmup_steps, 0.01, 0.9), abs=1e-12
        )


@pytest.mark.clause("TGT-11")
@pytest.mark.parametrize("lengths", [(-1, 10, 2), (0, 10, 11), (0, 10, -1), (0, -1, 0)])
def test_impossible_lengths_are_errors(lengths):
    step, num_steps, warmup_steps = lengths
    with pytest.raises(IllegalSchedule):
        warmup_cosine_decay(step, 1.0, num_steps, warmup_steps)
    with pytest.raises(IllegalSchedule):
        warmup_linear_decay_constant(step, 1.0, num_steps, warmup_steps, 0.1, 0.9)


@pytest.mark.clause("TGT-11")
@pytest.mark.parametrize("factors", [(-0.1, 0.9), (1.1, 0.9), (0.1, 1.1), (0.1, math.nan)])
def test_factors_are_parts(factors):
    with pytest.raises(IllegalSchedule, match="between 0 and 1"):
        warmup_linear_decay_constant(5, 1.0, 10, 2, *factors)


@pytest.mark.clause("TGT-13")
def test_the_parts_nothing_and_all_are_legal():
    assert warmup_linear_decay_constant(5, 1.0, 10, 2, 0.0, 1.0) == 0.625
    assert warmup_linear_decay_constant(5, 1.0, 10, 2, 1.0, 0.0) == 1.0
