"""Writing results: the files are described in ``OUTPUT.md`` beside this module."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from algoperf_ref._version import __version__
from algoperf_ref.errors import UserError
from algoperf_ref.score.computing import ScoreReport
from algoperf_ref.score.trials import TrialResult
from spec.profiles import NUM_GRID_POINTS, grid_score, profile, score
from spec.rulesets import Split

SCHEMA = "algoperf-ref/scores/1"
Row = Sequence[object]


def write(report: ScoreReport, directory: Path) -> tuple[Path, ...]:
    """Writes all tables; existing files of the same names are replaced.

    Args:
      report: what to write.
      directory: is made if it does not exist.

    Returns:
      The files.

    Raises:
      UserError: the directory cannot be written to.
    """
    tables: dict[str, Callable[[ScoreReport], Iterable[Row]]] = {
        "scores.csv": score_rows,
        "time_to_target.csv": time_rows,
        "trials.csv": trial_rows,
        "performance_profile.csv": profile_rows,
        "speedup.csv": speedup_rows,
    }
    content = {name: _csv_text(rows(report)) for name, rows in tables.items()}
    content["scores.json"] = json.dumps(as_json(report), indent=1, allow_nan=False) + "\n"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            write_file(directory / name, text.encode())
    except OSError as error:
        raise UserError(f"--output: {directory} cannot be written ({error.strerror})") from error
    return tuple(directory / name for name in content)


def write_file(path: Path, content: bytes) -> None:
    """Replaces a file as a whole, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def score_rows(report: ScoreReport) -> Iterable[Row]:
    """Rows of ``scores.csv``."""
    yield ["rank", "submission", "score", "grid_score", "targets_reached", "credited", "workloads"]
    board = report.leaderboard
    ranks = board.ranks
    for name, value in board.scores.items():
        own = [board.ratios[name][workload] for workload in report.scored_workloads]
        reached = sum(_reached(report, name, workload) for workload in report.scored_workloads)
        credited = sum(math.isfinite(ratio) for ratio in own)
        grid = grid_score(own, report.settings.ruleset.r_max)
        yield [ranks[name], name, value, grid, reached, credited, len(own)]


def time_rows(report: ScoreReport) -> Iterable[Row]:
    """Rows of ``time_to_target.csv``."""
    numbers = sorted(
        {
            *range(report.num_studies),
            *(study for own in report.study_times.values() for s in own.values() for study in s),
        }
    )
    yield [
        *("submission", "workload", "role", "unit", "median", "credited", "ratio"),
        *("conditions_missed", *(f"study_{number}" for number in numbers)),
    ]
    board = report.leaderboard
    for name in board.scores:
        own = report.study_times[name]
        for workload in _ordered(report, own):
            scored = workload in report.scored_workloads
            yield [
                *(name, workload, role(report, workload), report.unit),
                board.times[name].get(workload, math.inf),
                board.credited[name][workload] if scored else None,
                board.ratios[name][workload] if scored else None,
                " ".join(board.unmet[name].get(workload, ())),
                *(own.get(workload, {}).get(number) for number in numbers),
            ]


def trial_rows(report: ScoreReport) -> Iterable[Row]:
    """Rows of ``trials.csv``."""
    yield [
        *("submission", "workload", "framework", "study", "trial", "hit", "hit_seconds"),
        *("hit_step", "test_hit_seconds", "test_hit_step", "best_value", "median_step_seconds"),
        *("evaluations", "evaluations_past_budget", "last_seconds", "last_step", "file"),
        "warnings",
    ]
    for trial in report.trials:
        place = trial.location
        yield [
            *(place.submission, place.workload, place.framework, place.study, place.trial),
            "yes" if Split.VALIDATION in trial.hits else "no",
            *_hit(trial, Split.VALIDATION),
            *_hit(trial, Split.TEST),
            *(trial.best_value, trial.median_step_seconds, trial.num_evaluations),
            *(trial.num_past_budget, trial.last_seconds, _whole(trial.last_step)),
            *(place.csv_shown, "; ".join(finding.text for finding in trial.findings)),
        ]


def profile_rows(report: ScoreReport) -> Iterable[Row]:
    """Rows of ``performance_profile.csv``: its steps, or the points of the published grid."""
    yield ["submission", "tau", "fraction"]
    board = report.leaderboard
    r_max = report.settings.ruleset.r_max
    for name in board.scores:
        points = board.steps(name)
        if report.settings.plan.as_published:
            width = (r_max - 1) / (NUM_GRID_POINTS - 1)
            taus = [1 + width * index for index in range(NUM_GRID_POINTS - 1)] + [r_max]
            own = [board.ratios[name][workload] for workload in report.scored_workloads]
            points = list(zip(taus, profile(own, taus), strict=True))
        for tau, share in points:
            yield [name, tau, share]


def speedup_rows(report: ScoreReport) -> Iterable[Row]:
    """Rows of ``speedup.csv``."""
    yield [
        *("submission", "reference", "speedup", "replaced", "replaced_reference", "inverse"),
        *("inverse_v05_budgets", "percent_v05_budgets"),
    ]
    speedups = report.speedups
    for name in report.scores:
        value = speedups.values[name]
        old = None if speedups.old_style is None else speedups.old_style[name]
        yield [
            *(name, speedups.reference, value.factor, value.num_replaced),
            *(value.num_replaced_reference, value.inverse, old),
            None if old is None else 100 * (1 - old),
        ]


def as_json(report: ScoreReport) -> dict[str, Any]:
    """The content of ``scores.json``; see ``OUTPUT.md``."""
    settings, board = report.settings, report.leaderboard
    ranks = board.ranks
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        "source": report.source,
        "rules": report.rules,
        "ruleset": report.tuning.value,
        "tier": report.tier.value,
        "time_axis": settings.time_axis.value,
        "as_published": settings.plan.as_published,
        "num_studies": report.num_studies,
        "workloads": list(report.scored_workloads),
        "held_out": list(settings.plan.held_out),
        "reference": report.speedups.reference,
        "assumptions": list(report.assumptions),
        "warnings": [
            {
                "kind": finding.kind.label,
                "path": finding.path,
                "text": finding.text,
                "affects_eligibility": finding.kind.affects_eligibility,
                "shown": finding.kind.shown,
            }
            for finding in report.findings
        ],
        "submissions": {name: _submission(report, name, ranks[name]) for name in board.scores},
        "against": None,
    }
    if report.against is not None:
        before = report.against.before
        content["against"] = {
            "name": report.against.published.name,
            "origin": report.against.published.origin,
            "own": list(report.against.own),
            "before": {
                name: {"rank": before.ranks[name], "score": value}
                for name, value in before.scores.items()
            },
        }
    return content


def _submission(report: ScoreReport, name: str, rank: int) -> dict[str, Any]:
    board = report.leaderboard
    ratios = [board.ratios[name][workload] for workload in report.scored_workloads]
    r_max = report.settings.ruleset.r_max
    value = report.speedups.values[name]
    return {
        "rank": rank,
        "score": board.scores[name],
        "exact_score": score(ratios, r_max),
        "grid_score": grid_score(ratios, r_max),
        "speedup": value.factor,
        "speedup_replaced": value.num_replaced,
        "workloads": {
            workload: {
                "role": role(report, workload),
                "median": _json_number(board.times[name].get(workload, math.inf)),
                "credited": _json_number(board.credited[name].get(workload, math.inf)),
                "ratio": _json_number(board.ratios[name].get(workload, math.inf)),
                "conditions_missed": [c.value for c in board.unmet[name].get(workload, ())],
                "studies": {
                    str(study): _json_number(time)
                    for study, time in report.study_times[name].get(workload, {}).items()
                },
            }
            for workload in _ordered(report, report.study_times[name])
        },
    }


def role(report: ScoreReport, workload: str) -> str:
    """``base``, ``held_out`` or ``extra``: timed, but not part of the score."""
    if workload in report.scored_workloads:
        return "base"
    return "held_out" if workload in report.settings.plan.held_out else "extra"


def _ordered(report: ScoreReport, own: Iterable[str]) -> list[str]:
    """Scored, held-out and then other workloads."""
    first = [*report.scored_workloads, *report.settings.plan.held_out]
    return [*first, *sorted(set(own) - set(first))]


def _reached(report: ScoreReport, name: str, workload: str) -> bool:
    return math.isfinite(report.times[name].get(workload, math.inf))


def _hit(trial: TrialResult, split: Split) -> tuple[object, object]:
    hit = trial.hits.get(split)
    return (None, None) if hit is None else (hit.seconds, _whole(hit.step))


def _whole(step: float | None) -> int | None:
    return int(step) if step is not None and math.isfinite(step) else None


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _csv_text(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    # None is an empty cell, infinity is "inf", all other numbers have every digit.
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
