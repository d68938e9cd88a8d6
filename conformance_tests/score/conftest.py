"""Synthetic logs, written as the harness writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from algoperf_ref.records.experiment import open_experiment, open_trial
from algoperf_ref.records.trial_log import TrialLog
from spec import tiers

WriteTrial = Callable[..., Path]
Row = tuple[float, float]


@pytest.fixture
def write_trial(tmp_path: Path) -> WriteTrial:
    """Writes a trial from (submission seconds, validation metric) pairs; returns its directory."""

    def write(
        submission: str,
        rows: Sequence[Row],
        *,
        workload: str = "ogbg",
        framework: str = "jax",
        study: int | None = None,
        trial: int = 1,
        test_values: Sequence[float] | None = None,
    ) -> Path:
        directory = open_experiment(
            tmp_path, submission, workload, framework, study=study, resume=True
        )
        metric = tiers.get(workload).target_metric_name
        tested = [value for _, value in rows] if test_values is None else test_values
        with TrialLog(open_trial(directory, trial)) as log:
            for index, (seconds, value) in enumerate(rows):
                row = {
                    "accumulated_submission_time": seconds,
                    "score": seconds,
                    f"validation/{metric}": value,
                    f"test/{metric}": tested[index],
                }
                log.append_scalar_metrics(row, 10 * index + 1, is_eval=True)
            log.finish(rows[-1][0] if rows else 0.0, 10 * len(rows))
        return log.directory

    return write
