"""What it costs to tune and score a submission: the number of runs and a bound on machine hours.

The bound counts submission time. Not in it: evaluations (the rules aim at 10 to 20 percent of the
training time on top), logging and checkpointing, what happens before the clock starts, and the
last stretch of a run that does not reach its target, which goes on from the end of its budget to
the next evaluation.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from spec import workloads
from spec.clauses import BrokenRule, Source, clause
from spec.rulesets import HeldOut, Ruleset, Tuning, get

_EXTERNAL = Source("Rules v0.6", "External tuning ruleset")
_SELF = Source("Rules v0.6", "Self-tuning ruleset")
_QUALIFICATION = Source("Rules v0.6", "Qualification set")
_HARDWARE = Source("Rules v0.6", "Benchmarking hardware")

SECONDS_PER_HOUR = 3600

QUALIFICATION_STUDIES = 1
"""Studies of external tuning that suffice on the qualification set."""


class WorkloadSet(enum.StrEnum):
    """Which workloads are run."""

    SCORED = "scored"
    BASE = "base"
    HELD_OUT = "held_out"
    QUALIFICATION = "qualification"


class NoSuchSet(BrokenRule, clause="COST-3"):
    """The ruleset version does not have this set of workloads."""


@dataclass(frozen=True, slots=True)
class WorkloadCost:
    """Cost of one workload.

    Attributes:
      workload: name; for a held-out workload that the version does not draw, its base workload
        with the word ``variant``.
      num_studies: studies.
      num_trials: trials of each study.
      budget_seconds: submission time that one run may use.
    """

    workload: str
    num_studies: int
    num_trials: int
    budget_seconds: float

    @property
    def num_runs(self) -> int:
        """Training runs."""
        return self.num_studies * self.num_trials

    @property
    def seconds(self) -> float:
        """Submission time of all runs if none of them reaches its target."""
        return self.num_runs * self.budget_seconds

    @property
    def scored_seconds(self) -> float:
        """The same for the one run of each study that is scored."""
        return self.num_studies * self.budget_seconds


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a set of workloads.

    Attributes:
      workloads: cost of each.
    """

    workloads: tuple[WorkloadCost, ...]

    @property
    @clause(
        "COST-1",
        """Tuning and scoring takes, on each workload, the number of studies times the number of
        trials in runs; every trial is trained once and there is no other tuning.""",
        source=(_EXTERNAL, _SELF, Source("Dahl et al. 2023", "4.4.1")),
    )
    def num_runs(self) -> int:
        """Training runs on all workloads."""
        return sum(cost.num_runs for cost in self.workloads)

    @property
    @clause(
        "COST-2",
        """A run uses at most its budget, so the submission time of all runs is at most the sum of
        their budgets; the time of evaluations comes on top.""",
        source=(_EXTERNAL, _SELF, Source("Harness contract", "5.1")),
    )
    def hours(self) -> float:
        """Machine hours of submission time if no run reaches its target."""
        return sum(cost.seconds for cost in self.workloads) / SECONDS_PER_HOUR

    @property
    @clause(
        "COST-4",
        """Of a submission that was tuned elsewhere only the fastest trial of each study and
        workload has to be run on the benchmarking hardware.""",
        source=_HARDWARE,
    )
    def num_scored_runs(self) -> int:
        """Runs that have to be on the benchmarking hardware."""
        return sum(cost.num_studies for cost in self.workloads)

    @property
    def scored_hours(self) -> float:
        """Machine hours of :attr:`num_scored_runs`, as :attr:`hours`."""
        return sum(cost.scored_seconds for cost in self.workloads) / SECONDS_PER_HOUR


@clause(
    "COST-3",
    """The qualification set is a cheaper estimate in two ways: it has three workloads only, and in
    external tuning one study of it suffices.""",
    source=_QUALIFICATION,
    versions=("v0.5", "v0.6"),
)
def cost(
    version: str = "v0.6",
    tuning: Tuning | str = Tuning.EXTERNAL,
    workload_set: WorkloadSet | str = WorkloadSet.SCORED,
) -> Cost:
    """What it costs to tune and score one submission.

    Args:
      version: ruleset version.
      tuning: tuning ruleset.
      workload_set: the workloads; ``scored`` are the base and the held-out workloads.

    Returns:
      The cost of each workload, base workloads first, in the order of the workload table.

    Raises:
      NoSuchSet: the version has no held-out workloads or no qualification set.
      ValueError: no such tuning ruleset or workload set.
      spec.clauses.UnknownVersion: no such version.
    """
    ruleset, tuning, kind = get(version), Tuning(tuning), WorkloadSet(workload_set)
    names = _names(ruleset, kind)
    if not names:
        raise NoSuchSet(f"version {version} has no {kind.value.replace('_', '-')} workloads")
    studies = ruleset.num_studies[tuning]
    if kind is WorkloadSet.QUALIFICATION and tuning is Tuning.EXTERNAL:
        studies = QUALIFICATION_STUDIES
    return Cost(
        tuple(
            WorkloadCost(
                workload=shown,
                num_studies=studies,
                num_trials=ruleset.num_trials[tuning],
                budget_seconds=ruleset.budget_seconds(
                    workloads.get(name, version).max_allowed_runtime_sec, tuning
                ),
            )
            for shown, name in names
        )
    )


def _names(ruleset: Ruleset, kind: WorkloadSet) -> list[tuple[str, str]]:
    """(name to show, workload with its budget) of the workloads of a set."""
    bases = [(name, name) for name in workloads.names("base")]
    drawn = [(name, name) for name in ruleset.held_out_workloads]
    if ruleset.held_out is HeldOut.ONE_PER_WORKLOAD:
        # Drawn later, but a variant has the budget of its base (WORK-11).
        drawn = [(f"{name} variant", name) for name, _ in bases]
    return {
        WorkloadSet.SCORED: bases + drawn,
        WorkloadSet.BASE: bases,
        WorkloadSet.HELD_OUT: drawn,
        WorkloadSet.QUALIFICATION: [(name, name) for name in ruleset.qualification_workloads],
    }[kind]
