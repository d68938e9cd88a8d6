"""Times and rows that the tests of the scorer share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from algoperf_ref.score import ScoreReport, score_logs
from spec import tiers

ROW = tiers.get("ogbg", "mini")
BUDGET = float(ROW.max_allowed_runtime_sec)
TARGET, BELOW = ROW.validation_target_value, ROW.validation_target_value - 0.1
COLUMN = "validation/mean_average_precision"
HEADER = f"accumulated_submission_time,global_step,preemption_count,{COLUMN}\n"


def hit_at(seconds: float, target: float = TARGET) -> list[tuple[float, float]]:
    """Rows of a trial that reaches the target exactly, at this time, and gets worse again."""
    return [(seconds / 2, BELOW), (seconds, target), (seconds + 1, BELOW)]


def scored(path: Path, **options: Any) -> ScoreReport:
    """Scores logs of one base workload of the mini tier."""
    return score_logs(path, **{"tier": "mini", "workloads": "ogbg", **options})


def replace_log(trial: Path, content: str | bytes) -> Path:
    """Gives a trial another log; returns the file."""
    path = trial / "eval_measurements.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def log(*rows: tuple[float, int, int, float], header: str = HEADER) -> str:
    """A log with rows of seconds, step, interruptions and metric."""
    return header + "".join(",".join(map(str, row)) + "\n" for row in rows)


def kinds(report: ScoreReport) -> list[str]:
    """Names of the findings of a report but for what is merely incomplete, in order."""
    incomplete = {"missing_workload", "missing_study", "missing_trial", "one_submission"}
    labels = [finding.kind.label for finding in report.findings]
    return [label for label in labels if label not in incomplete]


INF = math.inf
