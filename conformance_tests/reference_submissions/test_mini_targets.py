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
from algoperf_ref.harness.hyperparameters import read_search_space
from algoperf_ref.harness.results import Status
from algoperf_ref.records.record_file import RecordFile
from spec import target_setting, tiers

SUBMISSIONS = Path(__file__).parents[2] / "reference_submissions"
RESULTS = Path(algoperf_ref.__file__).parent / "workloads" / "ogbg" / "mini_targets"
BASE = RESULTS / "ogbg.json"
"""The variants were not tuned: their runs repeat the best configuration of the base workload."""
TARGET_DECIMALS = 4


@pytest.fixture(scope="session")
def mini_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from algoperf_ref.data.ogbg.prepare import prepare

    path = tmp_path_factory.mktemp("mini")
    prepare(path, "mini")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("ruleset", ["external", "self"])
def test_nadamw_reaches_the_mini_target(framework: str, ruleset: str, mini_data_dir: Path) -> None:
    # Simulated time: the outcome does not depend on the speed of the machine.
    submission = SUBMISSIONS / f"{ruleset}_tuning" / "nadamw"
    point = None
    if ruleset == "external":
        points = read_search_space(submission / "tuning_search_space.json").points
        assert points is not None
        point = points[0]
    result = algoperf_ref.run_trial(
        "ogbg",
        framework,
        submission,
        tier="mini",
        data_dir=mini_data_dir,
        hyperparameters=point,
        tuning=ruleset,
        seed=0,
        clock="steps",
        max_global_steps=tiers.get("ogbg", "mini").step_hint,
    )
    assert result.reached_validation_target, result.eval_results
    assert result.status in (Status.TARGETS_REACHED, Status.STEP_LIMIT)


@pytest.mark.clause("TGT-1", "WORK-12")
@pytest.mark.parametrize("name", tiers.names("mini"))
def test_the_mini_targets_follow_from_the_recorded_runs(name: str, tmp_path: Path) -> None:
    result = json.loads((RESULTS / f"{name}.json").read_text())
    study = script.Study(**result["study"])
    assert (study.workload, study.tier) == (name, "mini")
    copy = shutil.copy(RESULTS / f"{name}.jsonl", tmp_path)
    records = RecordFile(Path(copy), {"study": asdict(study)}).records
    direction = tiers.get(name, "mini").direction
    trials = [r for r in records.values() if r["id"].startswith(script.TUNING)]
    reruns = [r for r in records.values() if r["id"].startswith(script.RERUN)]
    assert len(trials) == study.num_trials * len(target_setting.ALGORITHMS)
    assert len(reruns) == study.num_reruns
    best = script.best_record(trials, direction) if trials else script.read_configuration(BASE)
    assert {r["algorithm"] for r in reruns} == {best["algorithm"]}
    assert all(r["hyperparameters"] == best["hyperparameters"] for r in reruns)
    again = script.summary(study, best, trials, reruns, direction)
    assert again["targets"] == result["targets"]

    def rounded_down(value: float) -> float:
        scale = 10**TARGET_DECIMALS
        return math.floor(value * scale) / scale

    targets = again["targets"]
    assert tiers.MINI_TARGETS[name] == (
        rounded_down(targets["validation"]),
        rounded_down(targets["test"]),
    )
