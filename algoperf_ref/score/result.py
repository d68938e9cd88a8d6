"""What scoring gives: times, credit, ratios, scores, and how sure they are."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from algoperf_ref.score import studies
from algoperf_ref.score.findings import Finding
from algoperf_ref.score.options import Settings, TimeAxis
from algoperf_ref.score.published import PublishedTimes
from algoperf_ref.score.trials import TrialResult
from spec.leaderboard import Leaderboard
from spec.rulesets import Tuning
from spec.speedup import Speedup
from spec.tiers import Tier
from spec.uncertainty import Bootstrap, WithoutOne, bootstrap, leave_one_out
from spec.workloads import WorkloadSpec


@dataclass(frozen=True)
class Against:
    """Published times that were scored together with the logs.

    Attributes:
      published: the times.
      own: names of the submissions that come from the logs.
      before: leaderboard of the published submissions alone.
    """

    published: PublishedTimes
    own: tuple[str, ...]
    before: Leaderboard


@dataclass(frozen=True)
class Speedups:
    """Speedups over a reference; see :mod:`spec.speedup`.

    Attributes:
      reference: the submission that they are relative to.
      values: by submission.
      old_style: the inverse ratio, v0.5's budgets replacing missing times whatever the version,
        for comparison with percentages that were quoted earlier; None if time is in steps.
    """

    reference: str
    values: Mapping[str, Speedup]
    old_style: Mapping[str, float] | None


@dataclass(frozen=True)
class ScoreReport:
    """Scores of a set of submissions and everything they come from.

    Attributes:
      source: what was scored, as given.
      settings: how.
      specs: workload rows by name, of every workload in the logs and every scored one.
      trials: every trial that was read, sorted by name and number.
      study_times: submission -> workload -> study -> time (or step), infinity: missed.
      condition_times: the same for the conditions of ``--both_targets``, None without it.
      leaderboard: times, credit, ratios and scores; ``spec.leaderboard.leaderboard`` computes it
        anew for other study times (:meth:`study_lists`).
      speedups: over the reference.
      against: published times that were scored together with the logs, None without.
      assumptions: sentences on what the numbers rest on.
      findings: what was noteworthy about the logs, each naming the file.
    """

    source: str
    settings: Settings
    specs: Mapping[str, WorkloadSpec]
    trials: tuple[TrialResult, ...]
    study_times: studies.StudyTable
    condition_times: studies.StudyTable | None
    leaderboard: Leaderboard
    speedups: Speedups
    against: Against | None = None
    assumptions: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=(), repr=False)

    @property
    def rules(self) -> str:
        """Ruleset version."""
        return self.settings.ruleset.version

    @property
    def tuning(self) -> Tuning:
        """Tuning ruleset."""
        return self.settings.tuning

    @property
    def tier(self) -> Tier:
        """Workload tier."""
        return self.settings.tier

    @property
    def num_studies(self) -> int:
        """Planned studies."""
        return self.settings.plan.num_studies

    @property
    def scored_workloads(self) -> tuple[str, ...]:
        """Base workloads that the score is the mean over."""
        return self.settings.plan.workloads

    @property
    def unit(self) -> str:
        """Unit of all times: ``s`` or ``steps``."""
        return "steps" if self.settings.time_axis is TimeAxis.STEPS else "s"

    @property
    def times(self) -> Mapping[str, Mapping[str, float]]:
        """Submission -> workload -> median time."""
        return self.leaderboard.times

    @property
    def ratios(self) -> Mapping[str, Mapping[str, float]]:
        """Submission -> scored workload -> performance ratio."""
        return self.leaderboard.ratios

    @property
    def scores(self) -> Mapping[str, float]:
        """Submission -> score, best first."""
        return self.leaderboard.scores

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are shown."""
        return tuple(finding for finding in self.findings if finding.kind.shown)

    def study_lists(self) -> dict[str, dict[str, list[float]]]:
        """Study times as :func:`spec.leaderboard.leaderboard` takes them."""
        return studies.lists(self.study_times)

    @functools.cached_property
    def bootstrap(self) -> Bootstrap | None:
        """Scores of resampled studies; None if that was turned off or nothing can be resampled."""
        options = self.settings.options
        if not options.bootstrap or self.num_studies < 2:
            return None
        return bootstrap(
            self.study_lists(),
            self.settings.plan,
            condition_times=self._condition_lists(),
            num_resamples=options.bootstrap,
            seed=options.bootstrap_seed,
        )

    @functools.cached_property
    def without_one(self) -> tuple[WithoutOne, ...]:
        """The leaderboards without each of the submissions; none if there is only one."""
        return leave_one_out(
            self.study_lists(), self.settings.plan, condition_times=self._condition_lists()
        )

    def _condition_lists(self) -> dict[str, dict[str, list[float]]] | None:
        return None if self.condition_times is None else studies.lists(self.condition_times)
