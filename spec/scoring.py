"""From evaluation logs to the benchmark score, in pure functions over plain numbers.

The chain is: rows of a trial -> :func:`first_hit` -> :func:`study_time` -> :func:`workload_time` ->
:func:`within_r_max` -> :func:`performance_ratios` -> :func:`profile` -> :func:`score`; the
functions from :func:`within_r_max` on live in :mod:`spec.profiles`.
:func:`benchmark_scores` does the steps from workload times to scores for a set of submissions.
Times are seconds of submission time; infinity means that a target was not reached, whatever the
cause: the trial missed it, ran out of budget, crashed, left no log, or was never run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from spec.clauses import Source, clause
from spec.evaluation import target_reached, time_remains
from spec.profiles import (
    NUM_GRID_POINTS,
    R_MAX,
    IllegalTime,
    ScoringError,
    check_time,
    grid_score,
    performance_ratios,
    profile,
    score,
    within_r_max,
)
from spec.rulesets import Ruleset, Split, Tuning
from spec.workloads import Direction

__all__ = [
    "NUM_GRID_POINTS",
    "R_MAX",
    "ScoringError",
    "SubmissionTimes",
    "all_ratios",
    "benchmark_scores",
    "first_hit",
    "grid_score",
    "performance_ratios",
    "profile",
    "ruleset_study_time",
    "score",
    "study_time",
    "within_r_max",
    "workload_time",
]


class TooManyTrials(ScoringError, clause="RULE-2"):
    """A study with more trials than the ruleset plans."""


class TooManyStudies(ScoringError, clause="SCORE-5"):
    """More studies than the ruleset plans, or a plan without studies."""


class UnpairedTimes(ScoringError, clause="SCORE-4"):
    """Trials without one time to be selected by and one to be scored by."""


class NothingToScore(ScoringError, clause="SCORE-11"):
    """A score over no workloads."""


SubmissionTimes = Mapping[str, Mapping[str, float]]
"""Submission -> workload -> seconds. A workload that is absent counts as infinite."""


@clause(
    "SCORE-2",
    """A trial's time is the submission time of its earliest evaluation that reaches the target
    with a submission time strictly below the budget, and infinity if there is none.""",
    source=(
        Source("Rules v0.6", "External Tuning Ruleset"),
        Source("Dahl et al. 2023", "4.1"),
        Source("Scoring semantics", "2"),
    ),
)
def first_hit(
    rows: Iterable[tuple[float, float]],
    target: float,
    direction: Direction,
    budget_seconds: float,
) -> float:
    """Returns the time at which a trial first reached a target.

    Args:
      rows: (submission seconds, metric) of every evaluation, in any order. An evaluation without
        a time (NaN) or with a metric that is not finite is no hit.
      target: the workload's target.
      direction: whether smaller or larger is better.
      budget_seconds: the runtime limit; ``math.inf`` leaves it unenforced (as the published
        leaderboards did).

    Returns:
      Seconds, or infinity.

    Raises:
      ScoringError: the target is reached at a time that is not positive.
    """
    hits = (
        seconds
        for seconds, value in rows
        if time_remains(seconds, budget_seconds) and target_reached(value, target, direction)
    )
    earliest = min(hits, default=math.inf)
    if earliest <= 0:
        raise IllegalTime(f"a target is reached after {earliest} s; times are positive")
    return earliest


@clause(
    "SCORE-3",
    """A study's time is that of its fastest trial; trials that are missing or missed the target
    are infinite.""",
    source=(
        Source("Rules v0.6", "External Tuning Ruleset"),
        Source("Scoring semantics", "2"),
        Source("Decisions", "6"),
    ),
    versions=("v0.5", "v0.6"),
)
@clause(
    "SCORE-4",
    """In external tuning a study's time is the time to the test target of the trial that reached
    the validation target first; another trial that is faster on the test target does not
    help.""",
    source=(Source("Dahl et al. 2023", "4.4.1 and 4.5"), Source("Scoring semantics", "2")),
    versions=("paper2023",),
)
def study_time(
    selection_seconds: Sequence[float], score_seconds: Sequence[float] | None = None
) -> float:
    """Returns the time of a study.

    Args:
      selection_seconds: per trial, the time by which the best trial is selected (to the
        validation target). Trials without a log may be left out.
      score_seconds: per trial, the time that is scored (paper2023: to the test target). None
        means that selection and score use the same time (v0.5, v0.6).

    Returns:
      Seconds of the selected trial, or infinity if no trial was selected. If several trials are
      selected by the same time, the fastest of them is scored.

    Raises:
      ScoringError: a time is NaN or not positive, or the sequences differ in length.
    """
    scored = selection_seconds if score_seconds is None else score_seconds
    if len(scored) != len(selection_seconds):
        raise UnpairedTimes(
            f"{len(selection_seconds)} selection times and {len(scored)} scored times"
        )
    for seconds in (*selection_seconds, *scored):
        check_time(seconds)
    selected, result = min(zip(selection_seconds, scored, strict=True), default=(math.inf,) * 2)
    return result if selected < math.inf else math.inf


@clause(
    "SCORE-1",
    """The ruleset says on which splits the time of a trial is taken: the trial of an external study
    is selected on one split and scored at the time by which it has met the targets of the scored
    splits; in self-tuning the only trial is scored directly.""",
    source=(
        Source("Scoring semantics", "1"),
        Source("Dahl et al. 2023", "4.4.1 and 4.4.2"),
        Source("Rules v0.6", "Scoring"),
    ),
)
def ruleset_study_time(
    ruleset: Ruleset, tuning: Tuning, trials: Sequence[Mapping[Split, float]]
) -> float:
    """Returns the time of a study under a version of the rules.

    Args:
      ruleset: the version.
      tuning: the tuning ruleset.
      trials: per trial the seconds to the target of each split (:func:`first_hit`); a split that
        is absent counts as infinite, a trial without a log may be left out.

    Returns:
      Seconds, or infinity.

    Raises:
      ScoringError: a time is NaN or not positive, or there are more trials than the ruleset has.
    """
    planned = ruleset.num_trials[tuning]
    if len(trials) > planned:
        raise TooManyTrials(f"{len(trials)} trials where {ruleset.version} has {planned} per study")
    external = tuning is Tuning.EXTERNAL
    splits = ruleset.external_time_splits if external else ruleset.self_tuning_time_splits
    scored = [max(trial.get(split, math.inf) for split in splits) for trial in trials]
    if not external:
        return study_time(scored)
    return study_time([trial.get(ruleset.trial_choice_split, math.inf) for trial in trials], scored)


@clause(
    "SCORE-5",
    """A submission's time on a workload is the median over the planned number of studies, in
    which missing studies are infinite; for an even number it is the mean of the two middle
    times, infinite if one of them is.""",
    source=(
        Source("Rules v0.6", "External Tuning Ruleset"),
        Source("Dahl et al. 2023", "4.4.1"),
        Source("Scoring semantics", "2"),
        Source("Decisions", "6"),
    ),
)
def workload_time(study_seconds: Sequence[float], num_studies: int) -> float:
    """Returns the time of a submission on a workload.

    Args:
      study_seconds: times of the studies that there are, in any order.
      num_studies: planned number of studies, at least 1.

    Returns:
      The median, possibly infinity.

    Raises:
      ScoringError: a time is NaN or not positive, there are more times than planned studies, or
        none are planned.
    """
    if num_studies < 1 or len(study_seconds) > num_studies:
        raise TooManyStudies(f"{len(study_seconds)} studies where {num_studies} are planned")
    for seconds in study_seconds:
        check_time(seconds)
    ordered = sorted(study_seconds) + [math.inf] * (num_studies - len(study_seconds))
    low, high = ordered[(num_studies - 1) // 2], ordered[num_studies // 2]
    # Halved before the addition: equal middle times give themselves, exactly.
    return low / 2 + high / 2


@clause(
    "SCORE-11",
    """Scores are relative to the set of submissions that is scored together, over all base
    workloads of the version; a workload that a submission never ran counts as infinite.""",
    source=(Source("Dahl et al. 2023", "4.5.1"), Source("Scoring semantics", "2 and 5")),
)
def all_ratios(
    times: SubmissionTimes, workloads: Sequence[str], r_max: float = R_MAX
) -> dict[str, dict[str, float]]:
    """Returns the performance ratios of a set of submissions, slow ones removed.

    Args:
      times: seconds by submission and workload; entries of other workloads are ignored.
      workloads: the base workloads of the version, at least one.
      r_max: see :func:`within_r_max`.

    Returns:
      Ratios by submission and workload, in the order of the arguments.

    Raises:
      ScoringError: no workloads, or a time that is NaN or not positive.
    """
    if not workloads:
        raise NothingToScore("there are no workloads to score")
    result: dict[str, dict[str, float]] = {submission: {} for submission in times}
    for workload in workloads:
        column = {name: own.get(workload, math.inf) for name, own in times.items()}
        for name, ratio in performance_ratios(within_r_max(column, r_max)).items():
            result[name][workload] = ratio
    return result


def benchmark_scores(
    times: SubmissionTimes, workloads: Sequence[str], r_max: float = R_MAX, *, exact: bool = True
) -> dict[str, float]:
    """Scores a set of submissions (see :func:`all_ratios` and :func:`score`).

    Args:
      times: seconds by submission and workload.
      workloads: the base workloads of the version, at least one.
      r_max: upper limit of the integral.
      exact: False integrates on the grid of the published leaderboards (:func:`grid_score`).

    Returns:
      The score of every submission, in the order of ``times``.

    Raises:
      ScoringError: see :func:`all_ratios` and :func:`score`.
    """
    integrate = score if exact else grid_score
    return {
        name: integrate([own[workload] for workload in workloads], r_max)
        for name, own in all_ratios(times, workloads, r_max).items()
    }
