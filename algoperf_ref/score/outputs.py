"""Writing results: the files are described in ``OUTPUT.md`` beside this module."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from algoperf_ref._version import __version__
from algoperf_ref.errors import UserError
from algoperf_ref.score import tables
from algoperf_ref.score.result import ScoreReport
from algoperf_ref.score.tables import Row
from spec.leaderboard import Leaderboard
from spec.profiles import grid_score, score
from spec.uncertainty import LEVEL

SCHEMA = "algoperf-ref/scores/1"


def write(
    report: ScoreReport, directory: Path, *, with_report: bool = True
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Writes all tables, and the report and its pictures; existing files are replaced.

    Args:
      report: what to write.
      directory: is made if it does not exist.
      with_report: False leaves out ``report.html`` and the pictures of the profile.

    Returns:
      The files, and a sentence for each that could not be made here.

    Raises:
      UserError: the directory cannot be written to.
    """
    rows: dict[str, Callable[[ScoreReport], Iterable[Row]]] = {
        "scores.csv": tables.score_rows,
        "time_to_target.csv": tables.time_rows,
        "trials.csv": tables.trial_rows,
        "performance_profile.csv": tables.profile_rows,
        "speedup.csv": tables.speedup_rows,
        "leave_one_out.csv": tables.leave_one_out_rows,
    }
    content = {name: _encoded(_csv_text(table(report))) for name, table in rows.items()}
    content["scores.json"] = _encoded(json.dumps(as_json(report), indent=1, allow_nan=False) + "\n")
    missing: tuple[str, ...] = ()
    if with_report:
        pictures, missing = _pictures(report)
        content |= pictures
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in content.items():
            write_file(directory / name, data)
    except OSError as error:
        raise UserError(f"--output: {directory} cannot be written ({error.strerror})") from error
    return tuple(directory / name for name in content), missing


def _pictures(report: ScoreReport) -> tuple[dict[str, bytes], tuple[str, ...]]:
    # Imported here: who wants tables only does not wait for the drawing.
    from algoperf_ref.score import page, png

    content = {
        "performance_profile.svg": page.profile_picture(report),
        "report.html": page.render(report),
    }
    name = "performance_profile.png"
    try:
        content[name] = png.profile_picture(report)
    except png.NoMatplotlib as error:
        return content, (f"{name} is left out: {error}",)
    return content, ()


def write_file(path: Path, content: bytes) -> None:
    """Replaces a file as a whole, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
        "uncertainty": None,
        "submissions": {name: _submission(report, name, ranks[name]) for name in board.scores},
        "leave_one_out": {
            one.removed: {
                "submissions": _ranked(one.board),
                "swaps": [list(swap) for swap in one.swaps],
            }
            for one in report.without_one
        },
        "against": None,
    }
    if report.bootstrap is not None:
        drawn = report.bootstrap
        chances = drawn.rank_probabilities()
        content["uncertainty"] = {
            "resamples": drawn.num_resamples,
            "seed": drawn.seed,
            "level": LEVEL,
            "submissions": {
                name: {
                    "interval": list(drawn.interval(name)),
                    "rank_probabilities": list(chances[name]),
                }
                for name in board.scores
            },
        }
    if report.against is not None:
        before = report.against.before
        content["against"] = {
            "name": report.against.published.name,
            "origin": report.against.published.origin,
            "own": list(report.against.own),
            "before": _ranked(before),
        }
    return content


def _ranked(board: Leaderboard) -> dict[str, dict[str, float]]:
    ranks = board.ranks
    return {n: {"rank": ranks[n], "score": value} for n, value in board.scores.items()}


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
                "role": tables.role(report, workload),
                "median": _json_number(board.times[name].get(workload, math.inf)),
                "credited": _json_number(board.credited[name].get(workload, math.inf)),
                "ratio": _json_number(board.ratios[name].get(workload, math.inf)),
                "conditions_missed": [c.value for c in board.unmet[name].get(workload, ())],
                "studies": {
                    str(study): _json_number(time)
                    for study, time in report.study_times[name].get(workload, {}).items()
                },
            }
            for workload in tables.ordered(report, report.study_times[name])
        },
    }


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _encoded(text: str) -> bytes:
    # Names of files need not be Unicode; what cannot be written is shown as an escape.
    return text.encode("utf-8", "backslashreplace")


def _csv_text(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    # None is an empty cell, infinity is "inf", all other numbers have every digit.
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
