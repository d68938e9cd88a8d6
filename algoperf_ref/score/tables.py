"""The rows of the CSV files; ``OUTPUT.md`` beside this module describes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from algoperf_ref.score.result import ScoreReport
from algoperf_ref.score.trials import TrialResult
from spec.profiles import NUM_GRID_POINTS, grid_score, profile
from spec.rulesets import Split

Row = Sequence[object]
"""Cells: None is an empty one, infinity is written as ``inf``, other numbers with every digit."""


def score_rows(report: ScoreReport) -> Iterable[Row]:
    """Rows of ``scores.csv``."""
    board, drawn = report.leaderboard, report.bootstrap
    ranks = board.ranks
    chances = {} if drawn is None else drawn.rank_probabilities()
    yield [
        *("rank", "submission", "score", "score_low", "score_high", "grid_score"),
        *("targets_reached", "credited", "workloads"),
        *(f"probability_rank_{rank + 1}" for rank in range(len(chances))),
    ]
    for name, value in board.scores.items():
        own = [board.ratios[name][workload] for workload in report.scored_workloads]
        reached = sum(_reached(report, name, workload) for workload in report.scored_workloads)
        credited = sum(math.isfinite(ratio) for ratio in own)
        grid = grid_score(own, report.settings.ruleset.r_max)
        interval = (None, None) if drawn is None else drawn.interval(name)
        yield [
            *(ranks[name], name, value, *interval, grid, reached, credited, len(own)),
            *chances.get(name, ()),
        ]


def leave_one_out_rows(report: ScoreReport) -> Iterable[Row]:
    """Rows of ``leave_one_out.csv``."""
    yield ["removed", "submission", "rank", "score", "change", "passes"]
    for one in report.without_one:
        ranks = one.board.ranks
        for name, value in one.board.scores.items():
            passed = [behind for ahead, behind in one.swaps if ahead == name]
            change = value - report.scores[name]
            yield [one.removed, name, ranks[name], value, change, " ".join(passed)]


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
        for workload in ordered(report, own):
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


def role(report: ScoreReport, workload: str) -> str:
    """``base``, ``held_out`` or ``extra``: timed, but not part of the score."""
    if workload in report.scored_workloads:
        return "base"
    return "held_out" if workload in report.settings.plan.held_out else "extra"


def ordered(report: ScoreReport, own: Iterable[str]) -> list[str]:
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
