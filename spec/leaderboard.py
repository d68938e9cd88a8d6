"""A whole leaderboard: from the times of studies to ranks, with the reason for every lost credit.

:func:`leaderboard` chains the steps of :mod:`spec.scoring`, :mod:`spec.credit` and
:mod:`spec.profiles`; it is a pure function of the study times and a :class:`Plan`, so that it can
be asked again for another set of submissions or resampled studies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spec import credit, scoring
from spec.clauses import Source, clause
from spec.profiles import profile
from spec.rulesets import Condition, Ruleset

StudyTimes = Mapping[str, Mapping[str, Sequence[float]]]
"""Submission -> workload -> times of the studies that there are, infinity for a missed target."""


@dataclass(frozen=True)
class Plan:
    """What is scored, and how.

    Attributes:
      ruleset: version of the rules.
      workloads: base workloads that the score is the mean over.
      held_out: held-out workloads whose conditions apply; empty for none.
      num_studies: planned studies per workload.
      as_published: the arithmetic of the published leaderboards: grid of 100 points, and the
        median over the studies that are present.
    """

    ruleset: Ruleset
    workloads: tuple[str, ...]
    held_out: tuple[str, ...]
    num_studies: int
    as_published: bool = False


@dataclass(frozen=True)
class Leaderboard:
    """Scores of a set of submissions and the numbers they come from.

    Attributes:
      plan: what was asked.
      times: submission -> workload -> median time; of every workload that has study times.
      unmet: submission -> base workload -> conditions that were missed; empty means credit.
      credited: submission -> base workload -> time that counts, infinity without credit.
      ratios: submission -> base workload -> performance ratio.
      scores: submission -> score, best first, equal ones by name.
    """

    plan: Plan
    times: Mapping[str, Mapping[str, float]] = field(hash=False)
    unmet: Mapping[str, Mapping[str, tuple[Condition, ...]]] = field(hash=False)
    credited: Mapping[str, Mapping[str, float]] = field(hash=False)
    ratios: Mapping[str, Mapping[str, float]] = field(hash=False)
    scores: Mapping[str, float] = field(hash=False)

    @property
    def ranks(self) -> dict[str, int]:
        """Rank of every submission, from 1; equal scores share a rank."""
        return ranks(self.scores)

    def steps(self, submission: str) -> list[tuple[float, float]]:
        """The performance profile of a submission as (tau, share) steps from 1 to r_max.

        The share holds from its tau, included, up to the next one; the last step is at r_max.
        """
        r_max = self.plan.ruleset.r_max
        own = [self.ratios[submission][workload] for workload in self.plan.workloads]
        taus = sorted({1.0, r_max, *(ratio for ratio in own if ratio <= r_max)})
        return list(zip(taus, profile(own, taus), strict=True))


@clause(
    "SCORE-18",
    """Submissions are ranked by their score, the highest first; equal scores share the better
    rank.""",
    source=(Source("Rules v0.6", "Scoring"), Source("Dahl et al. 2023", "4.5.2")),
)
def ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """Returns ranks from 1, in the order of the scores given."""
    return {name: 1 + sum(other > own for other in scores.values()) for name, own in scores.items()}


@clause(
    "SCORE-19",
    """Published scores take the median over the studies that are present, so that a missing study
    does not count as a missed target.""",
    source=Source("Scoring semantics", "5 and 6 (B5)"),
    versions=("v0.5", "v0.6"),
)
def published_workload_time(study_seconds: Sequence[float]) -> float:
    """Returns the median of the studies that there are, infinity if there are none."""
    if not study_seconds:
        return math.inf
    return scoring.workload_time(study_seconds, len(study_seconds))


def workload_times(study_times: StudyTimes, plan: Plan) -> dict[str, dict[str, float]]:
    """Returns the median time of every submission on every workload that has study times.

    Raises:
      spec.profiles.ScoringError: more studies than planned, or a time that cannot be.
    """

    def median(own: Sequence[float]) -> float:
        if plan.as_published:
            return published_workload_time(own)
        return scoring.workload_time(own, plan.num_studies)

    return {
        name: {workload: median(studies) for workload, studies in own.items()}
        for name, own in study_times.items()
    }


@clause(
    "SCORE-20",
    """A score comes about in this order: median over the studies, conditions on base and held-out
    workloads, ratios to the fastest of those that keep credit, profile, integral.""",
    source=(Source("Scoring semantics", "2"), Source("Dahl et al. 2023", "4.5")),
)
def leaderboard(
    study_times: StudyTimes, plan: Plan, *, condition_times: StudyTimes | None = None
) -> Leaderboard:
    """Scores a set of submissions.

    Args:
      study_times: times of the studies by submission and workload.
      plan: what to score.
      condition_times: study times that the conditions look at
        (:func:`spec.credit.condition_rules`); None means ``study_times``.

    Returns:
      The leaderboard.

    Raises:
      spec.clauses.BrokenRule: times, studies or held-out workloads that cannot be.
    """
    times = workload_times(study_times, plan)
    judged = times if condition_times is None else workload_times(condition_times, plan)
    credited = credit.credited_times(
        times, plan.workloads, plan.held_out, plan.ruleset, condition_times=judged
    )
    by_base = {
        base: credit.unmet_conditions(
            {name: judged.get(name, {}) for name in times}, base, plan.held_out, plan.ruleset
        )
        for base in plan.workloads
    }
    r_max = plan.ruleset.r_max
    scores = scoring.benchmark_scores(credited, plan.workloads, r_max, exact=not plan.as_published)
    return Leaderboard(
        plan=plan,
        times=times,
        unmet={
            name: {base: unmet[name] for base, unmet in by_base.items() if unmet[name]}
            for name in times
        },
        credited=credited,
        ratios=scoring.all_ratios(credited, plan.workloads, r_max),
        scores=dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))),
    )
