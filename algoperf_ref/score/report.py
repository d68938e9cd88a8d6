"""Printing a score report as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from algoperf_ref.score.computing import ScoreReport, TrialResult

FEW_TRIALS = 20
"""Up to so many trials are listed unasked."""


def text(report: ScoreReport, *, list_trials: bool = False) -> str:
    """Returns the report as lines of plain text, without colour, ending in a line break.

    Args:
      report: what to print.
      list_trials: one line per trial, also if there are more than :data:`FEW_TRIALS`.

    Returns:
      Ranked scores, times to target, assumptions and warnings.
    """
    parts = [_scores(report), _times(report)]
    if list_trials or len(report.trials) <= FEW_TRIALS:
        parts.append(_trials(report))
    parts.append("\n".join(["Assumed:", *[f"  {line}" for line in report.assumptions]]))
    if report.warnings:
        parts.append("\n".join(["Warnings:", *[f"  {line}" for line in report.warnings]]))
    return "\n\n".join(parts) + "\n"


def _scores(report: ScoreReport) -> str:
    header = ["rank", "submission", "score", "targets reached"]
    rows = []
    for name, score in report.scores.items():
        rank = 1 + sum(other > score for other in report.scores.values())
        reached = sum(math.isfinite(ratio) for ratio in report.ratios[name].values())
        reached_text = f"{reached} of {len(report.scored_workloads)}"
        rows.append([str(rank), name, f"{score:.4f}", reached_text])
    return _table(header, rows, left={1})


def _times(report: ScoreReport) -> str:
    header = ["submission", "workload", "median s", "ratio", "seconds to target, by study"]
    rows = []
    for submission in report.scores:
        for workload, seconds in sorted(report.times[submission].items()):
            ratio = report.ratios[submission].get(workload)
            studies = report.study_seconds[submission][workload]
            by_study = [f"{study}: {_seconds(value)}" for study, value in sorted(studies.items())]
            if len(studies) < report.num_studies:
                by_study.append(f"({report.num_studies - len(studies)} missing)")
            ratio_text = "-" if ratio is None else _ratio(ratio)
            rows.append([submission, workload, _seconds(seconds), ratio_text, "  ".join(by_study)])
    return _table(header, rows, left={0, 1, 4})


def _trials(report: ScoreReport) -> str:
    header = ["submission", "workload", "study", "trial", "target", "best", "hit s", "hit step"]
    header.append("evaluations")
    return _table(header, [_trial(report, trial) for trial in report.trials], left={0, 1})


def _trial(report: ScoreReport, trial: TrialResult) -> list[str]:
    place = trial.location
    return [
        place.submission,
        place.workload,
        str(place.study),
        str(place.trial),
        f"{report.specs[place.workload].validation_target_value:g}",
        "-" if trial.best_value is None else f"{trial.best_value:.6g}",
        _seconds(trial.selection_seconds),
        "-" if trial.hit_step is None else str(trial.hit_step),
        str(trial.num_evaluations),
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if math.isfinite(seconds) else "inf"


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if math.isfinite(ratio) else "inf"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: set[int]) -> str:
    """Aligns columns: those in ``left`` to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    aligned = [
        [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in [header, ["-" * width for width in widths], *rows]
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)
