"""The target-setting search spaces contain what the published targets were set with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reference_submissions
from spec.search_space import FeasiblePoints, validate_search_space
from spec.target_configurations import CONFIGURATIONS
from spec.target_setting import ALGORITHMS

SPACES = Path(reference_submissions.__file__).parent / "target_setting"


def _space(algorithm: str):
    text = (SPACES / algorithm / "tuning_search_space.json").read_text(encoding="utf-8")
    space = validate_search_space(json.loads(text))
    return dict(zip(space.names, space.dimensions, strict=True))


def _values(base: str) -> dict[str, float]:
    """The table's entries by the names of the search spaces."""
    row = CONFIGURATIONS[base]
    values = {
        "learning_rate": row.learning_rate,
        "weight_decay": row.weight_decay,
        "one_minus_beta1": 1 - row.beta1,
        "one_minus_beta2": None if row.beta2 is None else 1 - row.beta2,
        "warmup_factor": row.warmup_factor,
        "end_factor": row.end_factor,
        "decay_steps_factor": row.decay_steps_factor,
        "dropout_rate": row.dropout_rate,
        "label_smoothing": row.label_smoothing,
    }
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.clause("TGT-14")
@pytest.mark.parametrize("base", list(CONFIGURATIONS))
def test_the_published_configuration_lies_in_the_space_of_its_algorithm(base: str) -> None:
    space = _space(CONFIGURATIONS[base].algorithm)
    for name, value in _values(base).items():
        dimension = space[name]
        if isinstance(dimension, FeasiblePoints):
            assert value in dimension.points, name
        else:
            assert dimension.minimum <= value <= dimension.maximum, name


@pytest.mark.clause("TGT-2", "TGT-11")
def test_every_algorithm_has_one_space_with_the_parameters_of_its_schedule() -> None:
    for algorithm in ALGORITHMS:
        names = set(_space(algorithm))
        assert {"learning_rate", "weight_decay", "one_minus_beta1", "warmup_factor"} <= names
        adam = algorithm in ("adamw", "nadamw")
        assert ("one_minus_beta2" in names) == adam
        assert ({"end_factor", "decay_steps_factor"} <= names) == (not adam)
