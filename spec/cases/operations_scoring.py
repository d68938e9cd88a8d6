"""The operations of the test vectors on scoring; see :mod:`spec.cases.operations`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spec import hits, leaderboard, rulesets, scoring, speedup
from spec.rulesets import Ruleset, Split, Tuning
from spec.workloads import Direction

__all__ = [
    "scoring_first_hit",
    "scoring_grid_score",
    "scoring_last_attempts",
    "scoring_leaderboard",
    "scoring_profile",
    "scoring_published_study",
    "scoring_published_workload_time",
    "scoring_ranks",
    "scoring_ratios",
    "scoring_score",
    "scoring_scores",
    "scoring_speedup",
    "scoring_study_from_rows",
    "scoring_study_time",
    "scoring_table",
    "scoring_workload_time",
]

Result = dict[str, Any]
Times = Mapping[str, float]


def scoring_first_hit(
    *,
    target: float,
    direction: str,
    budget_seconds: float,
    rows: Sequence[tuple[float, float]],
) -> Result:
    """Finds the time of a trial in the rows of its log."""
    return {"seconds": scoring.first_hit(rows, target, Direction(direction), budget_seconds)}


def scoring_study_time(*, version: str, tuning: str, trials: Sequence[Times]) -> Result:
    """Gives the time of a study from the times of its trials."""
    ruleset = rulesets.get(version)
    return {"seconds": scoring.ruleset_study_time(ruleset, Tuning(tuning), _by_split(trials))}


def scoring_study_from_rows(
    *,
    version: str,
    tuning: str,
    targets: Times,
    direction: str,
    budget_seconds: float,
    trials: Sequence[Sequence[Times]],
) -> Result:
    """Gives the time of a study from the evaluation rows of its trials."""
    times = [
        {
            split: scoring.first_hit(
                [(row["seconds"], row[split]) for row in rows],
                target,
                Direction(direction),
                budget_seconds,
            )
            for split, target in targets.items()
        }
        for rows in trials
    ]
    return scoring_study_time(version=version, tuning=tuning, trials=times)


def scoring_workload_time(*, num_studies: int, study_seconds: Sequence[float]) -> Result:
    """Gives the time of a submission on a workload."""
    return {"seconds": scoring.workload_time(study_seconds, num_studies)}


def scoring_ratios(*, r_max: float, seconds: Times) -> Result:
    """Gives the performance ratios on one workload, too slow submissions removed."""
    return {"ratios": scoring.performance_ratios(scoring.within_r_max(seconds, r_max))}


def scoring_profile(*, ratios: Sequence[float], taus: Sequence[float]) -> Result:
    """Evaluates the performance profile of a submission."""
    return {"shares": scoring.profile(ratios, taus)}


def scoring_score(*, r_max: float, ratios: Sequence[float]) -> Result:
    """Integrates a performance profile exactly."""
    return {"score": scoring.score(ratios, r_max)}


def scoring_grid_score(*, r_max: float, num_points: int, ratios: Sequence[float]) -> Result:
    """Integrates a performance profile on a grid."""
    return {"score": scoring.grid_score(ratios, r_max, num_points)}


def scoring_scores(*, workloads: Sequence[str], r_max: float, times: Mapping[str, Times]) -> Result:
    """Scores a set of submissions from their times."""
    return {"scores": scoring.benchmark_scores(times, workloads, r_max)}


def scoring_table(
    *,
    version: str,
    tuning: str,
    workloads: Sequence[str],
    taus: Sequence[float],
    submissions: Mapping[str, Mapping[str, Sequence[Sequence[Times]]]],
) -> Result:
    """Goes from the times of trials to scores under a version of the rules."""
    ruleset = rulesets.get(version)
    times = {
        name: {
            workload: _workload_time(ruleset, Tuning(tuning), studies)
            for workload, studies in own.items()
        }
        for name, own in submissions.items()
    }
    ratios = scoring.all_ratios(times, workloads, ruleset.r_max)
    return {
        "workload_seconds": times,
        "ratios": ratios,
        "profiles": {
            name: scoring.profile([own[workload] for workload in workloads], taus)
            for name, own in ratios.items()
        },
        "scores": scoring.benchmark_scores(times, workloads, ruleset.r_max),
    }


def _workload_time(ruleset: Ruleset, tuning: Tuning, studies: Sequence[Sequence[Times]]) -> float:
    study_seconds = [
        scoring.ruleset_study_time(ruleset, tuning, _by_split(trials)) for trials in studies
    ]
    return scoring.workload_time(study_seconds, ruleset.num_studies[tuning])


def _by_split(trials: Sequence[Times]) -> list[dict[Split, float]]:
    return [{Split(split): seconds for split, seconds in trial.items()} for trial in trials]


def scoring_last_attempts(*, rows: Sequence[tuple[float, float]]) -> Result:
    """Selects the rows of a log that were not made again after an interruption."""
    columns = np.asarray(rows, dtype=np.float64).reshape(-1, 2)
    return {"kept": hits.last_attempts(columns[:, 0], columns[:, 1]).tolist()}


def scoring_published_study(
    *, target: float, direction: str, trials: Sequence[Sequence[tuple[float, float]]]
) -> Result:
    """Chooses the trial of a study and its time as the published leaderboards did."""
    rows = [
        hits.published_hit(
            np.asarray([value for _, value in trial], dtype=np.float64),
            target,
            Direction(direction),
        )
        for trial in trials
    ]
    chosen = hits.published_choice(rows)
    row = None if chosen is None else rows[chosen]
    if chosen is None or row is None:
        return {"trial": None, "seconds": math.inf}
    return {"trial": chosen, "seconds": trials[chosen][row][0]}


def scoring_published_workload_time(*, study_seconds: Sequence[float]) -> Result:
    """Gives the time of a submission on a workload as the published leaderboards did."""
    return {"seconds": leaderboard.published_workload_time(study_seconds)}


def scoring_speedup(*, budgets: Times, times: Times, reference: Times) -> Result:
    """Compares a submission with a reference."""
    found = speedup.speedup(times, reference, budgets)
    return {
        "factor": found.factor,
        "num_replaced": found.num_replaced,
        "num_replaced_reference": found.num_replaced_reference,
    }


def scoring_ranks(*, scores: Times) -> Result:
    """Ranks submissions by their score."""
    return {"ranks": leaderboard.ranks(scores)}


def scoring_leaderboard(
    *,
    version: str,
    workloads: Sequence[str],
    held_out: Sequence[str],
    study_seconds: Mapping[str, Mapping[str, Sequence[float]]],
) -> Result:
    """Goes from the times of studies to scores, with the conditions of external tuning."""
    ruleset = rulesets.get(version)
    plan = leaderboard.Plan(
        ruleset=ruleset,
        workloads=tuple(workloads),
        held_out=tuple(held_out),
        num_studies=ruleset.num_studies[Tuning.EXTERNAL],
    )
    board = leaderboard.leaderboard(study_seconds, plan)
    return {"credited": board.credited, "ratios": board.ratios, "scores": board.scores}
