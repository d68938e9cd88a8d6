"""How candidate variants were tested, on values small enough to rank by eye."""

from __future__ import annotations

import math

import pytest

from spec import workloads
from spec.target_setting import NoBestTrial
from spec.variant_testing import (
    IllegalMetric,
    Transfer,
    UnpairedSettings,
    is_trainable,
    transfer,
)
from spec.workloads import Direction

MIN, MAX = Direction.MINIMIZE, Direction.MAXIMIZE


@pytest.mark.clause("HELD-11")
def test_ranks_count_the_better_settings_on_the_other_workload() -> None:
    """Best on the base: the first, third on the variant. Best on the variant: the last, second."""
    base, variant = [0.1, 0.4, 0.2], [0.9, 0.8, 0.7]
    assert transfer(base, variant, MIN) == Transfer(base_to_variant=2, variant_to_base=1)
    assert transfer(base, variant, MIN).distinctness == 1


@pytest.mark.clause("HELD-11")
def test_a_shared_best_setting_has_rank_zero_both_ways() -> None:
    assert transfer([0.1, 0.4, 0.2], [0.5, 0.8, 0.7], MIN) == Transfer(0, 0)
    assert transfer([0.1, 0.4, 0.2], [0.5, 0.8, 0.7], MAX) == Transfer(0, 0)


@pytest.mark.clause("HELD-11")
def test_diverged_settings_rank_last_in_both_directions() -> None:
    for direction in Direction:
        for diverged in (math.nan, math.inf, -math.inf):
            ranks = transfer([0.5, diverged, diverged], [diverged, 0.5, diverged], direction)
            assert ranks == Transfer(1, 1)


@pytest.mark.clause("HELD-11")
def test_the_same_settings_are_needed_and_one_that_trains() -> None:
    with pytest.raises(UnpairedSettings, match="2 settings on the base, 1 on the variant"):
        transfer([0.1, 0.2], [0.1], MIN)
    with pytest.raises(UnpairedSettings):
        transfer([0.1], [0.1, 0.2], MIN)
    with pytest.raises(NoBestTrial):
        transfer([math.nan], [0.1], MIN)


@pytest.mark.clause("HELD-12")
@pytest.mark.parametrize(
    ("variant", "direction", "trainable"),
    [
        (0.55, MIN, True),
        (math.nextafter(0.55, 1.0), MIN, False),
        (0.45, MAX, True),
        (math.nextafter(0.45, 0.0), MAX, False),
        (0.1, MIN, True),
        (0.9, MAX, True),
        (math.nan, MIN, False),
        (math.inf, MAX, False),
        (-math.inf, MIN, False),
    ],
)
def test_a_tenth_worse_is_still_trainable(
    variant: float, direction: Direction, trainable: bool
) -> None:
    assert is_trainable(0.5, variant, direction) is trainable


@pytest.mark.clause("HELD-12")
@pytest.mark.parametrize("value", [0.0, -0.5, math.nan, math.inf])
def test_a_relative_change_needs_a_positive_base(value: float) -> None:
    with pytest.raises(IllegalMetric, match="must be positive"):
        is_trainable(value, 0.5, MIN)


@pytest.mark.clause("HELD-12")
def test_four_speech_variants_have_targets_beyond_the_rule_of_thumb() -> None:
    """The rule guided a decision and was no gate. Image errors are compared as error rates."""
    beyond = []
    for name in workloads.names("variant"):
        row = workloads.get(name)
        values = [workloads.get(row.base_name).validation_target_value, row.validation_target_value]
        direction = row.direction
        if row.target_metric_name == "accuracy":
            values, direction = [1 - value for value in values], MIN
        if not is_trainable(values[0], values[1], direction):
            beyond.append(name)
    assert beyond == [
        "librispeech_conformer_attention_temperature",
        "librispeech_conformer_layernorm",
        "librispeech_deepspeech_tanh",
        "librispeech_deepspeech_norm_and_spec_aug",
    ]
