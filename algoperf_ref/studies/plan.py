"""What a study has to do: which trials of which workloads, and whose part they are. No files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from algoperf_ref.errors import UserError
from spec import costs, heldout, rulesets, tiers, workloads
from spec.costs import Cost, WorkloadCost, WorkloadSet
from spec.rulesets import Tuning
from spec.tiers import Tier
from spec.workloads import UnknownWorkload

WORKLOAD_SETS: tuple[str, ...] = ("base", "qualification", "held_out", "all")
"""Words that stand for workloads; ``all`` is everything that the version trains on."""


@dataclass(frozen=True, slots=True)
class Task:
    """One trial.

    Attributes:
      workload: workload name.
      study: index of the study, from 0.
      trial: number of the trial, from 1.
      budget_seconds: submission time that it may use.
    """

    workload: str
    study: int
    trial: int
    budget_seconds: float

    def __str__(self) -> str:
        return f"{self.workload} study {self.study} trial {self.trial}"


def chosen_workloads(choice: str, rules: str, tier: Tier | str) -> tuple[str, ...]:
    """Returns the workloads that ``--workloads`` asks for.

    Args:
      choice: names and words of :data:`WORKLOAD_SETS`, separated by commas.
      rules: ruleset version.
      tier: a word means only those of its workloads that exist in the tier.

    Returns:
      The names in the order given, each once.

    Raises:
      UserError: an unknown name, or a word that stands for nothing in this version and tier.
    """
    level = Tier(tier)
    known = tiers.names(level)
    names: list[str] = []
    for item in filter(None, (part.strip() for part in choice.split(","))):
        if item in WORKLOAD_SETS:
            members = [name for name in _members(item, rules) if name in known]
            if not members:
                raise UserError(
                    f"--workloads is {item!r}: {rules} has no such workloads in the "
                    f"{level.value} tier"
                )
            names.extend(members)
        elif item in known:
            names.append(item)
        else:
            kind = f"{level.value} workload"
            raise UserError(f"--workloads: {UnknownWorkload(item, known, kind)}")
    if not names:
        raise UserError(
            "--workloads names no workload: give names, separated by commas, or one of "
            f"{', '.join(WORKLOAD_SETS)}"
        )
    return tuple(dict.fromkeys(names))


def _members(word: str, rules: str) -> tuple[str, ...]:
    base = workloads.names("base")
    if word == "base":
        return base
    if word == "qualification":
        return rulesets.get(rules).qualification_workloads
    try:
        held_out = heldout.held_out_workloads(rules)
    except heldout.NotDrawnYet as error:
        raise UserError(
            f"--workloads is {word!r}: {rules} publishes no draw of held-out workloads; name the "
            "drawn ones, for example --workloads=base,ogbg_gelu"
        ) from error
    return held_out if word == "held_out" else (*base, *held_out)


def plan(
    choice: str,
    *,
    rules: str,
    tuning: Tuning | str,
    tier: Tier | str,
    num_studies: int | None = None,
    num_trials: int | None = None,
) -> Cost:
    """Returns what has to be run.

    Args:
      choice: see :func:`chosen_workloads`.
      rules: ruleset version.
      tuning: tuning ruleset.
      tier: its budgets hold.
      num_studies: None takes the ruleset's; of the qualification set by itself, those that
        suffice there.
      num_trials: trials of a study; None takes the ruleset's.

    Returns:
      Studies, trials and budget of each workload.

    Raises:
      UserError: see :func:`chosen_workloads`.
    """
    tuning, ruleset = Tuning(tuning), rulesets.get(rules)
    names = chosen_workloads(choice, rules, tier)
    if num_studies is None:
        num_studies = ruleset.num_studies[tuning]
        if choice.strip() == WorkloadSet.QUALIFICATION:
            num_studies = costs.cost(rules, tuning, choice.strip()).workloads[0].num_studies
    return Cost(
        tuple(
            WorkloadCost(
                workload=name,
                num_studies=num_studies,
                num_trials=ruleset.num_trials[tuning] if num_trials is None else num_trials,
                budget_seconds=ruleset.budget_seconds(
                    tiers.get(name, tier, rules).max_allowed_runtime_sec, tuning
                ),
            )
            for name in names
        )
    )


def tasks(cost: Cost) -> tuple[Task, ...]:
    """Returns every trial, study by study, so that the first study is complete first."""
    num_studies = max((row.num_studies for row in cost.workloads), default=0)
    return tuple(
        Task(row.workload, study, trial, row.budget_seconds)
        for study in range(num_studies)
        for row in cost.workloads
        if study < row.num_studies
        for trial in range(1, row.num_trials + 1)
    )


@dataclass(frozen=True, slots=True)
class Slice:
    """One machine's part of the work.

    Attributes:
      index: which part, from 1.
      count: number of parts.
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Slice:
        """Reads ``I/N``.

        Raises:
          UserError: it is something else, or I is not between 1 and N.
        """
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(
                f"--slice is {text!r}: write I/N with I from 1 to N, for example 2/3 for the "
                "second of three machines"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, work: Sequence[Task]) -> tuple[Task, ...]:
        """Returns this part of the work, in the order of the work.

        The parts depend on the work alone, not on what is done of it: every machine finds the
        same ones. The longest trial goes to the part with the least work so far, and so on, so
        that no two parts differ by more than the longest budget.
        """
        loads = [0.0] * self.count
        counts = [0] * self.count
        mine = set()
        longest_first = sorted(range(len(work)), key=lambda i: (-work[i].budget_seconds, i))
        for position in longest_first:
            # The count decides where sums of budgets tie.
            part = min(range(self.count), key=lambda i: (loads[i], counts[i], i))
            loads[part] += work[position].budget_seconds
            counts[part] += 1
            if part == self.index - 1:
                mine.add(position)
        return tuple(task for position, task in enumerate(work) if position in mine)


def hours(work: Iterable[Task]) -> float:
    """Returns the submission time of the trials in hours, if none of them ends early."""
    return sum(task.budget_seconds for task in work) / costs.SECONDS_PER_HOUR
