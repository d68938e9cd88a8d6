"""The search spaces of the externally tuned reference submissions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import algoperf_ref
from conformance_tests.reference_submissions.quadratic import as_hyperparameters
from conformance_tests.reference_submissions.training import ROOT
from reference_submissions._common.settings import target_setting, tuned
from spec import rulesets, tuning
from spec.target_configurations import CONFIGURATIONS

EXTERNAL = ROOT / "external_tuning"
NAMES = sorted(folder.parent.name for folder in EXTERNAL.glob("*/submission_jax.py"))
WITH_LIST = ("adamw", "heavy_ball", "nadamw", "nesterov")
TUNED = dict.fromkeys(NAMES, "tuning_search_space.json") | {
    "nadamw": "tuning_search_space_tuned_beta1.json"  # its default space is a list of points
}
MINI = Path(algoperf_ref.__file__).parent / "workloads"


def _read(name: str, file: str) -> Any:
    return json.loads((EXTERNAL / name / file).read_text(encoding="utf-8"))


def _all() -> list[Path]:
    return sorted(ROOT.rglob("tuning_search_space*.json"))


@pytest.mark.parametrize("path", _all(), ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_a_search_space_gives_points_that_its_submission_can_read(path):
    space = json.loads(path.read_text())
    tuning.validate_search_space(space)
    points = tuning.trial_points(space, num_trials=20, seed=0)
    for read in (tuned, target_setting):
        for point in points:
            settings = read(as_hyperparameters(point), 1000)
            assert settings.learning_rate == point["learning_rate"]
            assert 0 < settings.warmup_steps < settings.total_steps
            assert 0.0 < settings.beta1 < 1.0


def test_the_default_list_has_one_point_for_each_trial_of_the_ruleset():
    space = _read("nadamw", "tuning_search_space.json")
    assert len(space) == rulesets.V0_6.num_trials[rulesets.Tuning.EXTERNAL]
    assert len({point["learning_rate"] for point in space}) == len(space)


@pytest.mark.parametrize("name", NAMES)
def test_fixed_beta1_differs_from_tuned_beta1_in_nothing_else(name):
    space, fixed = (
        _read(name, file) for file in (TUNED[name], "tuning_search_space_fixed_beta1.json")
    )
    assert fixed.pop("one_minus_beta1") == {"feasible_points": [0.1]}
    assert space.pop("one_minus_beta1")["scaling"] == "log"
    assert space == fixed


@pytest.mark.parametrize("pair", [("adamw", "nadamw"), ("heavy_ball", "nesterov")])
def test_a_tuned_space_holds_the_published_configurations_of_its_pair(pair):
    first, second = (_read(name, TUNED[name]) for name in pair)
    assert first == second
    rows = [row for row in CONFIGURATIONS.values() if row.algorithm in pair]
    assert len(rows) >= 3
    for row in rows:
        values = {
            "learning_rate": row.learning_rate,
            "weight_decay": row.weight_decay,
            "one_minus_beta1": 1 - row.beta1,
        }
        for field, value in values.items():
            assert first[field]["min"] < value < first[field]["max"]
    # A little beyond, not more.
    for field in ("learning_rate", "weight_decay"):
        values = [getattr(row, field) for row in rows]
        assert first[field]["min"] > min(values) / 2
        assert first[field]["max"] < max(values) * 2


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_LIST])
def test_the_other_algorithms_search_the_ranges_of_adamw(name):
    broad = json.loads((ROOT / "target_setting/adamw/tuning_search_space.json").read_text())
    space = _read(name, TUNED[name])
    for field in ("learning_rate", "weight_decay", "one_minus_beta1"):
        assert space[field] == broad[field]


def _points_of_the_mini_tier(algorithm: str) -> list[dict[str, Any]]:
    lines = [
        json.loads(line)
        for file in sorted(MINI.glob("*/mini_targets/*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return [line["hyperparameters"] for line in lines if line.get("algorithm") == algorithm]


@pytest.mark.parametrize("name", WITH_LIST)
def test_an_opt_list_begins_with_the_published_configurations_and_goes_on_with_recorded_runs(name):
    points = _read(name, "tuning_search_space_opt_list.json")
    rows = [row for row in CONFIGURATIONS.values() if row.algorithm == name]
    assert len(points) <= rulesets.V0_6.num_trials[rulesets.Tuning.EXTERNAL]
    for point, row in zip(points, rows, strict=False):
        settings = tuned(as_hyperparameters(point), 1000)
        assert settings.learning_rate == row.learning_rate
        assert settings.weight_decay == row.weight_decay
        assert settings.beta1 == pytest.approx(row.beta1, abs=1e-9)
        if row.beta2 is not None:
            assert settings.beta2 == pytest.approx(row.beta2, abs=1e-9)
        assert point["warmup_factor"] == row.warmup_factor
        assert settings.dropout_rate == row.dropout_rate
        assert settings.label_smoothing == (row.label_smoothing or 0.0)
        if row.end_factor is not None:
            assert settings.end_factor == row.end_factor
            assert settings.decay_steps_factor == row.decay_steps_factor
    recorded = _points_of_the_mini_tier(name)
    assert all(point in recorded for point in points[len(rows) :])
    assert all(points.count(point) == 1 for point in points)
