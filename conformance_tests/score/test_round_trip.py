"""Logs as our harness writes them are scored, with the times that the harness itself reports."""

from __future__ import annotations

import json
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.study import run_study
from algoperf_ref.score import score_logs
from conformance_tests.harness.test_study import SPACE, SUBMISSION
from conformance_tests.support.fakes import METRIC, FakeWorkload
from spec import tiers
from spec.rulesets import Split


@pytest.mark.clause("REC-1", "REC-2", "REC-7")
def test_what_the_harness_logs_is_what_the_scorer_reads(tmp_path: Path) -> None:
    (tmp_path / "submission.py").write_text(SUBMISSION)
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    row = replace(tiers.get("ogbg", "mini"), simulated_step_seconds=1.0)
    assert row.target_metric_name == METRIC
    reported = {}
    for study in range(3):
        options = RunOptions(
            submission_path=str(tmp_path / "submission.py"),
            workload="ogbg",
            framework="pytorch",
            tier="mini",
            clock="steps",
            rng_seed=5 + study,
            study=study,
            num_tuning_trials=2,
            tuning_search_space=str(tmp_path / "space.json"),
            experiment_dir=str(tmp_path / "logs"),
            experiment_name="fake",
        )
        # The row with its real targets and budget; studies reach them at different steps.
        workload = FakeWorkload(row, lambda step, slow=100 + 20 * study: step / slow)
        result = run_study(options, workload, workload.backend, Quiet())
        reported[study] = result.time_seconds
    report = score_logs(tmp_path / "logs", tier="mini", workloads="ogbg")
    assert report.study_times == {"fake": {"ogbg": reported}}
    assert len(set(reported.values()) - {math.inf}) == 3
    assert report.scores == {"fake": 1.0}
    assert [(t.location.study, t.location.trial) for t in report.trials] == [
        (study, trial) for study in range(3) for trial in (1, 2)
    ]
    assert all(Split.TEST in trial.hits for trial in report.trials)
    # The simulated clock is announced; nothing else is wrong with the logs.
    kinds = {finding.kind.label for finding in report.findings}
    assert kinds == {"simulated", "missing_trial", "one_submission"}
    with tarfile.open(tmp_path / "logs.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "logs", "logs")
    assert (
        score_logs(tmp_path / "logs.tar.xz", tier="mini", workloads="ogbg").leaderboard
        == report.leaderboard
    )
