"""How sure a score is: resampled studies, the probability of each rank, and one submission less.

The rules ask for none of this, so that nothing here is a clause. :func:`bootstrap` asks what the
scores would have been had the same studies come out in another mix; :func:`leave_one_out` asks what
they would have been had one submission not taken part, since scores are relative to the set.

Every submission has studies of its own on every workload, which are independent runs; so each of
these groups is resampled on its own, with replacement, to its own size. Missing studies are part of
the group, as infinite times, where the median counts them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spec.heldout import base_of
from spec.leaderboard import Leaderboard, Plan, StudyTimes, leaderboard
from spec.profiles import NUM_GRID_POINTS
from spec.rulesets import Condition

LEVEL = 0.95
"""Share of the resamples that an interval holds."""

DEFAULT_RESAMPLES = 2000
DEFAULT_SEED = 0

_CHUNK = 2000
"""Resamples that are held in memory at once; the draws do not depend on it."""

_Floats: TypeAlias = NDArray[np.float64]
_Group: TypeAlias = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Bootstrap:
    """Scores of resampled studies.

    Attributes:
      board: the leaderboard of the studies as they are.
      num_resamples: how many leaderboards were drawn.
      seed: of the draws.
      scores: submission -> its score in every resample, in the order of the leaderboard.
    """

    board: Leaderboard
    num_resamples: int
    seed: int
    scores: Mapping[str, _Floats] = field(hash=False, repr=False)

    def interval(self, submission: str, level: float = LEVEL) -> tuple[float, float]:
        """The middle ``level`` of the resampled scores of a submission: its lower and upper end.

        Raises:
          ValueError: ``level`` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"the level of an interval is {level}; it is between 0 and 1")
        tail = (1 - level) / 2
        low, high = np.quantile(self.scores[submission], [tail, 1 - tail])
        return float(low), float(high)

    def rank_probabilities(self) -> dict[str, tuple[float, ...]]:
        """Submission -> share of the resamples in which it has rank 1, 2, ...

        Equal scores share the better rank, so that the shares of a submission add up to 1, and
        those of a rank need not.
        """
        matrix = np.stack(list(self.scores.values()), axis=1)
        counts = np.zeros((matrix.shape[1],) * 2, dtype=np.int64)
        for own in range(matrix.shape[1]):
            better = (matrix > matrix[:, own : own + 1]).sum(axis=1)
            counts[own] = np.bincount(better, minlength=matrix.shape[1])
        return {
            name: tuple(float(count) / self.num_resamples for count in row)
            for name, row in zip(self.scores, counts, strict=True)
        }


@dataclass(frozen=True)
class WithoutOne:
    """A leaderboard without one of its submissions.

    Attributes:
      removed: the submission that is left out.
      board: the leaderboard of the others.
      swaps: (a, b) where a is ahead of b here, and b ahead of a in the whole set.
    """

    removed: str
    board: Leaderboard
    swaps: tuple[tuple[str, str], ...]


def bootstrap(
    study_times: StudyTimes,
    plan: Plan,
    *,
    condition_times: StudyTimes | None = None,
    num_resamples: int = DEFAULT_RESAMPLES,
    seed: int = DEFAULT_SEED,
) -> Bootstrap:
    """Scores resampled studies.

    The draws of a submission on a workload depend on the seed, the two names and the number of
    studies only: neither on the other submissions nor on any order. Of a larger number of
    resamples the first ones are those of a smaller number.

    Args:
      study_times: as :func:`spec.leaderboard.leaderboard` takes them.
      plan: what to score.
      condition_times: times that the conditions look at, by the same studies in the same order.
      num_resamples: how many leaderboards to draw, at least 1.
      seed: of the draws, at least 0.

    Returns:
      The scores of every resample.

    Raises:
      ValueError: no resamples, a negative seed, no submissions, or condition times of other
        studies; and whatever :func:`spec.leaderboard.leaderboard` raises.
    """
    if num_resamples < 1:
        raise ValueError(f"{num_resamples} resamples; at least 1 is needed")
    if seed < 0:
        raise ValueError(f"the seed is {seed}; seeds are not negative")
    if not study_times:
        raise ValueError("there are no submissions to resample")
    board = leaderboard(study_times, plan, condition_times=condition_times)
    judged = study_times if condition_times is None else condition_times
    names, columns = list(board.scores), (*plan.workloads, *plan.held_out)
    groups: list[tuple[int, int, _Group, np.random.PCG64]] = []
    for row, name in enumerate(names):
        for column, workload in enumerate(columns):
            own = study_times[name].get(workload, ())
            group = _group(own, judged.get(name, {}).get(workload, ()), plan)
            if group[0]:
                groups.append((row, column, group, _stream(seed, name, workload)))
    parts: list[_Floats] = []
    for start in range(0, num_resamples, _CHUNK):
        size = min(_CHUNK, num_resamples - start)
        times = np.full((size, len(names), len(columns)), math.inf)
        conditions = times if condition_times is None else times.copy()
        for row, column, (scored, on), stream in groups:
            picks = _picks(stream, size, len(scored))
            times[:, row, column] = _medians(scored, picks)
            if condition_times is not None:
                conditions[:, row, column] = _medians(on, picks)
        parts.append(_scores(times, conditions, plan))
    scores = np.concatenate(parts)
    return Bootstrap(
        board, num_resamples, seed, {name: scores[:, row] for row, name in enumerate(names)}
    )


def study_picks(
    seed: int, submission: str, workload: str, num_studies: int, num_resamples: int
) -> NDArray[np.int64]:
    """Which studies the resamples of one submission on one workload consist of.

    Args:
      seed: of the draws.
      submission: its name.
      workload: its name.
      num_studies: size of the group, at least 1.
      num_resamples: how many.

    Returns:
      An array of ``num_resamples`` rows of ``num_studies`` numbers from 0, which count the studies
      in the order of their times.
    """
    return _picks(_stream(seed, submission, workload), num_resamples, num_studies)


def leave_one_out(
    study_times: StudyTimes, plan: Plan, *, condition_times: StudyTimes | None = None
) -> tuple[WithoutOne, ...]:
    """Scores the set once without each of its submissions.

    Args:
      study_times: as :func:`spec.leaderboard.leaderboard` takes them.
      plan: what to score.
      condition_times: times that the conditions look at.

    Returns:
      One leaderboard per submission, the best submission left out first; none if there are fewer
      than two submissions.

    Raises:
      spec.clauses.BrokenRule: see :func:`spec.leaderboard.leaderboard`.
    """
    whole = leaderboard(study_times, plan, condition_times=condition_times)
    if len(whole.scores) < 2:
        return ()
    return tuple(_without(removed, whole, study_times, condition_times) for removed in whole.scores)


def _without(
    removed: str, whole: Leaderboard, study_times: StudyTimes, condition_times: StudyTimes | None
) -> WithoutOne:
    others = {name: own for name, own in study_times.items() if name != removed}
    board = leaderboard(others, whole.plan, condition_times=condition_times)
    swaps = tuple(
        (ahead, behind)
        for ahead, own in board.scores.items()
        for behind, other in board.scores.items()
        if own > other and whole.scores[ahead] < whole.scores[behind]
    )
    return WithoutOne(removed, board, swaps)


def _group(own: Sequence[float], judged: Sequence[float], plan: Plan) -> _Group:
    """The studies of a submission on a workload by time, the missing ones where they count."""
    if len(own) != len(judged):
        raise ValueError(f"{len(own)} studies are scored and {len(judged)} judged; they are paired")
    pairs = sorted(zip(own, judged, strict=True))
    if not plan.as_published:
        pairs += [(math.inf, math.inf)] * (plan.num_studies - len(pairs))
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _stream(seed: int, submission: str, workload: str) -> np.random.PCG64:
    names = "\0".join((submission, workload)).encode("utf-8", "surrogateescape")
    digest = int.from_bytes(hashlib.sha256(names).digest(), "big")
    return np.random.PCG64(np.random.SeedSequence([seed, digest]))


def _picks(stream: np.random.PCG64, num_resamples: int, num_studies: int) -> NDArray[np.int64]:
    # The raw output is the same in every version of numpy; that of `Generator` need not be.
    raw = stream.random_raw(num_resamples * num_studies).reshape(num_resamples, num_studies)
    return ((raw >> np.uint64(32)) * np.uint64(num_studies) >> np.uint64(32)).astype(np.int64)


def _medians(times: Sequence[float], picks: NDArray[np.int64]) -> _Floats:
    number = picks.shape[1]
    ordered = np.sort(np.asarray(times, dtype=np.float64)[picks], axis=1)
    low, high = ordered[:, (number - 1) // 2], ordered[:, number // 2]
    return np.asarray(low / 2 + high / 2)


def _scores(times: _Floats, judged: _Floats, plan: Plan) -> _Floats:
    """Scores of many leaderboards: (resample, submission, workload) to (resample, submission).

    The steps, and the order of every sum, are those of :func:`spec.leaderboard.leaderboard`.
    """
    r_max = plan.ruleset.r_max
    credited = np.where(_credit(judged, plan), times[:, :, : len(plan.workloads)], math.inf)
    best = credited.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity by infinity where nobody has a time
        ratios = np.where(_near(credited, best, r_max), credited / best, math.inf)
    if plan.as_published:
        return _grid_scores(ratios, r_max)
    credits = np.maximum(0.0, (r_max - ratios) / (r_max - 1))
    sums = [[math.fsum(own) for own in one] for one in credits.tolist()]
    return np.asarray(sums, dtype=np.float64) / len(plan.workloads)


def _credit(judged: _Floats, plan: Plan) -> NDArray[np.bool_]:
    """Whether all conditions are met, by resample, submission and base workload."""
    r_max, asked = plan.ruleset.r_max, plan.ruleset.credit_conditions

    def met(own: _Floats, pace: _Floats, reached: Condition, near: Condition) -> NDArray[np.bool_]:
        result = np.ones(own.shape, dtype=np.bool_)
        if reached in asked:
            result &= own < math.inf
        if near in asked:
            result &= _near(own, pace, r_max)
        return result

    on_base = judged[:, :, : len(plan.workloads)]
    pace = on_base.min(axis=1, keepdims=True)
    result = met(on_base, pace, Condition.BASE_REACHED, Condition.BASE_NEAR_FASTEST)
    for column, variant in enumerate(plan.held_out, len(plan.workloads)):
        if (base := base_of(variant)) not in plan.workloads:
            continue
        number = plan.workloads.index(base)
        own = judged[:, :, column]
        trained = np.where(on_base[:, :, number] < math.inf, own, math.inf)
        result[:, :, number] &= met(
            own,
            trained.min(axis=1, keepdims=True),
            Condition.HELD_OUT_REACHED,
            Condition.HELD_OUT_NEAR_FASTEST,
        )
    return result


def _near(own: _Floats, pace: _Floats, r_max: float) -> NDArray[np.bool_]:
    return (own < math.inf) & (own <= r_max * pace)


def _grid_scores(ratios: _Floats, r_max: float) -> _Floats:
    grid = np.linspace(1.0, r_max, NUM_GRID_POINTS)
    shares = np.stack([(ratios <= tau).sum(axis=2) for tau in grid], axis=2) / ratios.shape[2]
    area = np.sum((shares[:, :, 1:] + shares[:, :, :-1]) / 2 * np.diff(grid), axis=2)
    return np.asarray(area / (r_max - 1))
