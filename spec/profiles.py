"""Performance profiles: from the times of submissions on workloads to ratios, shares and scores.

Everything here is relative: times enter only as ratios to the fastest submission of the set
that is scored together. Times are seconds of submission time, infinity where a target was not
reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from spec.clauses import BrokenRule, Source, clause
from spec.rulesets import V0_6

R_MAX = V0_6.r_max
"""Default of ``r_max``: performance profiles end here in every version so far."""

NUM_GRID_POINTS = 100
"""Points of the trapezoidal rule with which the published scores were computed."""


class ScoringError(BrokenRule):
    """Times or ratios that no set of logs can give; the base of the errors of scoring."""


class IllegalTime(ScoringError, clause="SCORE-12"):
    """A time that is NaN, zero or negative."""


class IllegalRatio(ScoringError, clause="SCORE-7"):
    """A performance ratio that is NaN or below 1."""


class NoRatios(ScoringError, clause="SCORE-8"):
    """A performance profile over no workloads."""


class IllegalLimit(ScoringError, clause="SCORE-9"):
    """An upper limit of the integral that is not a finite number above 1."""


class TooFewGridPoints(ScoringError, clause="SCORE-10"):
    """A grid without an interval."""


@clause(
    "SCORE-6",
    """A submission that needs more than four times the time of the fastest submission on a
    workload counts as not having trained it; exactly four times is still within.""",
    source=(Source("Dahl et al. 2023", "4.5.3"), Source("Scoring semantics", "2 (step 6)")),
)
def within_r_max(seconds: Mapping[str, float], r_max: float = R_MAX) -> dict[str, float]:
    """Replaces times beyond ``r_max`` times the fastest by infinity.

    Args:
      seconds: times of all submissions on one workload.
      r_max: the factor.

    Returns:
      The same submissions with their times, too slow ones infinite.

    Raises:
      ScoringError: a time is NaN or not positive.
    """
    for value in seconds.values():
        check_time(value)
    limit = r_max * min(seconds.values(), default=math.inf)
    return {name: value if value <= limit else math.inf for name, value in seconds.items()}


@clause(
    "SCORE-7",
    """The performance ratio of a submission on a workload is its time divided by that of the
    fastest submission; it is infinite if the submission did not reach the target.""",
    source=(Source("Dahl et al. 2023", "4.5.1, equation 1"), Source("Rules v0.6", "Scoring")),
)
def performance_ratios(seconds: Mapping[str, float]) -> dict[str, float]:
    """Returns the performance ratios on one workload.

    Args:
      seconds: times of all submissions on the workload.

    Returns:
      Per submission a number of at least 1, or infinity. If nobody reached the target,
      everybody's ratio is infinite.

    Raises:
      ScoringError: a time is NaN or not positive.
    """
    for value in seconds.values():
        check_time(value)
    best = min(seconds.values(), default=math.inf)
    return {name: value / best if value < math.inf else math.inf for name, value in seconds.items()}


@clause(
    "SCORE-8",
    """A performance profile at tau is the share of all base workloads on which the ratio is at
    most tau; workloads that were not run stay in the denominator.""",
    source=(Source("Dahl et al. 2023", "4.5.1, equation 2"), Source("Scoring semantics", "2")),
)
def profile(ratios: Sequence[float], taus: Sequence[float]) -> list[float]:
    """Evaluates the performance profile of a submission.

    Args:
      ratios: one per base workload, infinity included.
      taus: where to evaluate, each at least 1.

    Returns:
      One share in [0, 1] per tau.

    Raises:
      ScoringError: no ratios, or one that is NaN or below 1.
    """
    _check_ratios(ratios)
    ordered = np.sort(np.asarray(ratios, dtype=np.float64))
    counts = np.searchsorted(ordered, np.asarray(taus, dtype=np.float64), side="right")
    return [float(count) / len(ratios) for count in counts]


@clause(
    "SCORE-9",
    """The benchmark score is the integral of the profile from 1 to r_max divided by r_max - 1,
    which is the mean over the base workloads of max(0, (r_max - ratio) / (r_max - 1)).""",
    source=(
        Source("Dahl et al. 2023", "4.5.2, equation 3"),
        Source("Scoring semantics", "2 (step 10)"),
        Source("Decisions", "6"),
    ),
)
def score(ratios: Sequence[float], r_max: float = R_MAX) -> float:
    """Integrates a performance profile exactly.

    Args:
      ratios: one per base workload, infinity included.
      r_max: upper limit of the integral, above 1.

    Returns:
      A number in [0, 1]; 1 means fastest on every workload.

    Raises:
      ScoringError: no ratios, one that is NaN or below 1, or ``r_max`` not above 1.
    """
    _check_ratios(ratios)
    _check_r_max(r_max)
    credits = [max(0.0, (r_max - ratio) / (r_max - 1)) for ratio in ratios]
    return math.fsum(credits) / len(credits)


@clause(
    "SCORE-10",
    """Published scores integrate the profile by the trapezoidal rule on 100 equally spaced points
    from 1 to r_max; that differs from the integral by at most a sixth of the spacing.""",
    source=(Source("Scoring semantics", "2 (step 10) and 3"), Source("Decisions", "6")),
)
def grid_score(
    ratios: Sequence[float], r_max: float = R_MAX, num_points: int = NUM_GRID_POINTS
) -> float:
    """Integrates a performance profile as the published leaderboards did.

    Args:
      ratios: one per base workload, infinity included.
      r_max: upper limit of the integral, above 1.
      num_points: points of the grid, at least 2.

    Returns:
      A number in [0, 1].

    Raises:
      ScoringError: as :func:`score`, or fewer than 2 points.
    """
    _check_r_max(r_max)
    if num_points < 2:
        raise TooFewGridPoints(f"a grid of {num_points} points; at least 2 are needed")
    grid = np.linspace(1.0, r_max, num_points)
    shares = np.asarray(profile(ratios, [float(tau) for tau in grid]))
    area = float(np.sum((shares[1:] + shares[:-1]) / 2 * np.diff(grid)))
    return area / (r_max - 1)


@clause(
    "SCORE-12",
    "A time that is scored is positive; infinity stands for a target that was not reached.",
    source=Source("Scoring semantics", "5"),
)
def check_time(seconds: float) -> None:
    """Raises :class:`IllegalTime` for a time that is NaN or not positive."""
    if not seconds > 0:
        raise IllegalTime(f"a time is {seconds} s; times are positive or infinite")


def _check_ratios(ratios: Sequence[float]) -> None:
    if not ratios:
        raise NoRatios("there are no ratios; one per base workload is needed")
    for ratio in ratios:
        if not ratio >= 1:
            raise IllegalRatio(f"a performance ratio is {ratio}; ratios are 1 or more")


def _check_r_max(r_max: float) -> None:
    if not 1 < r_max < math.inf:
        raise IllegalLimit(f"r_max is {r_max}; it must be a finite number above 1")
