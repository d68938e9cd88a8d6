"""From the evaluations of trials to scores; every rule is asked of ``spec.scoring``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from algoperf_ref.errors import UserError
from algoperf_ref.score.logs import (
    Evaluation,
    Inventory,
    TrialLocation,
    find_trials,
    read_meta_data,
    read_trial,
)
from spec import rulesets, scoring, tiers, workloads
from spec.clauses import UnknownVersion
from spec.evaluation import target_reached
from spec.rulesets import HeldOut, Ruleset, Split, Tuning
from spec.tiers import Tier
from spec.workloads import Direction, WorkloadSpec


@dataclass(frozen=True)
class TrialResult:
    """What one trial achieved.

    Attributes:
      location: where its log is, and of what.
      selection_seconds: time to the target by which the trial of a study is chosen; inf: missed.
      scored_seconds: time that counts for the score; inf: missed.
      hit_step: global step of the evaluation behind ``selection_seconds``, None without a hit.
      best_value: best finite validation metric, None if there is none.
      num_evaluations: evaluations read.
      last_seconds: submission time of the last evaluation, None if there is none.
    """

    location: TrialLocation
    selection_seconds: float
    scored_seconds: float
    hit_step: int | None
    best_value: float | None
    num_evaluations: int
    last_seconds: float | None


@dataclass(frozen=True)
class ScoreReport:
    """Scores of a set of submissions and everything they come from.

    Attributes:
      rules: ruleset version.
      tuning: tuning ruleset.
      tier: workload tier.
      num_studies: planned studies; missing ones count as infinite.
      specs: workload rows by name, of every workload in the logs and every scored one.
      scored_workloads: base workloads that the score is the mean over.
      trials: every trial found.
      study_seconds: submission -> workload -> study -> seconds.
      times: submission -> workload -> median seconds over the planned studies.
      ratios: submission -> scored workload -> performance ratio.
      scores: submission -> score, best first.
      assumptions: sentences on what the numbers rest on.
      warnings: sentences on what was wrong with the logs, each naming the file.
    """

    rules: str
    tuning: Tuning
    tier: Tier
    num_studies: int
    specs: Mapping[str, WorkloadSpec]
    scored_workloads: tuple[str, ...]
    trials: tuple[TrialResult, ...]
    study_seconds: Mapping[str, Mapping[str, Mapping[int, float]]]
    times: Mapping[str, Mapping[str, float]]
    ratios: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, float]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]


def score_logs(
    path: str | os.PathLike[str],
    *,
    rules: str = "v0.6",
    tuning: Tuning | str = Tuning.EXTERNAL,
    tier: Tier | str = Tier.FULL,
    num_studies: int | None = None,
    framework: str | None = None,
) -> ScoreReport:
    """Scores a directory of logs by the written rules.

    Args:
      path: a directory of submissions, one submission, or one workload directory; ``~`` is
        expanded.
      rules: ruleset version.
      tuning: ``external`` or ``self``.
      tier: ``full`` or ``mini``.
      num_studies: planned number of studies; None takes the ruleset's.
      framework: take only trials of this framework; None takes all.

    Returns:
      The report.

    Raises:
      UserError: nothing to score there, an unknown version, tuning or tier, more studies than
        planned, or one workload of a submission in both frameworks.
    """
    ruleset, tuning, tier = _checked(rules, tuning, tier)
    planned = ruleset.num_studies[tuning] if num_studies is None else num_studies
    if planned < 1:
        raise UserError(f"--num_studies must be at least 1, not {planned}")
    inventory = find_trials(Path(path).expanduser())
    trials, warnings = _select(inventory, ruleset, tuning, tier, framework)
    _check_consistent(trials, planned, ruleset)

    known = tiers.names(tier)
    scored = tuple(name for name in workloads.names("base") if name in known)
    names = sorted({*scored, *(trial.workload for trial in trials)})
    specs = {name: tiers.get(name, tier, ruleset.version) for name in names}
    results = []
    for trial in trials:
        result, findings = trial_result(trial, specs[trial.workload], ruleset, tuning)
        results.append(result)
        warnings += findings

    study_seconds = _study_seconds(inventory.submissions, results)
    times = {
        submission: {
            workload: scoring.workload_time(list(studies.values()), planned)
            for workload, studies in own.items()
        }
        for submission, own in study_seconds.items()
    }
    scores = scoring.benchmark_scores(times, scored, ruleset.r_max)
    return ScoreReport(
        rules=ruleset.version,
        tuning=tuning,
        tier=tier,
        num_studies=planned,
        specs=specs,
        scored_workloads=scored,
        trials=tuple(results),
        study_seconds=study_seconds,
        times=times,
        ratios=scoring.all_ratios(times, scored, ruleset.r_max),
        scores=dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))),
        assumptions=_assumptions(ruleset, tuning, tier, planned, scored, times),
        warnings=tuple(warnings),
    )


def trial_result(
    trial: TrialLocation, spec: WorkloadSpec, ruleset: Ruleset, tuning: Tuning
) -> tuple[TrialResult, list[str]]:
    """Reads a trial and finds its first hits.

    Args:
      trial: the trial.
      spec: row of its workload.
      ruleset: version of the rules: budget, and which targets count.
      tuning: tuning ruleset.

    Returns:
      The result, and warnings that name the file.
    """
    splits = _time_splits(ruleset, tuning)
    # In self-tuning a study has one run: there is nothing to choose.
    selection = splits if tuning is Tuning.SELF else (ruleset.trial_choice_split,)
    needed = dict.fromkeys((Split.VALIDATION, *selection, *splits))
    columns = {split: f"{split.value}/{spec.target_metric_name}" for split in needed}
    rows = read_trial(trial, tuple(columns.values()))
    warnings = list(rows.warnings)
    budget = ruleset.budget_seconds(spec.max_allowed_runtime_sec, tuning)

    def seconds_to(wanted: Sequence[Split]) -> float:
        """Time by which the targets of all wanted splits have been reached."""
        return max(_first_hit(rows.evaluations, columns[s], s, spec, budget) for s in wanted)

    try:
        selection_seconds, scored_seconds = seconds_to(selection), seconds_to(splits)
    except scoring.ScoringError as error:
        warnings.append(f"{trial.csv_path}: {error}; the trial counts as not finished")
        selection_seconds = scored_seconds = math.inf
    validation = [e.metrics[columns[Split.VALIDATION]] for e in rows.evaluations]
    finite = [value for value in validation if math.isfinite(value)]
    best = max if spec.direction is Direction.MAXIMIZE else min
    steps = [e.step for e in rows.evaluations if e.seconds == selection_seconds]
    result = TrialResult(
        location=trial,
        selection_seconds=selection_seconds,
        scored_seconds=scored_seconds,
        hit_step=int(steps[0]) if steps and math.isfinite(steps[0]) else None,
        best_value=best(finite) if finite else None,
        num_evaluations=len(rows.evaluations),
        last_seconds=rows.evaluations[-1].seconds if rows.evaluations else None,
    )
    late = sum(
        e.seconds >= budget
        and target_reached(value, _target(spec, Split.VALIDATION), spec.direction)
        for e, value in zip(rows.evaluations, validation, strict=True)
    )
    if late and selection_seconds == math.inf:
        warnings.append(f"{trial.csv_path}: target reached only after the budget of {budget:g} s")
    return result, warnings


def _first_hit(
    evaluations: Sequence[Evaluation],
    column: str,
    split: Split,
    spec: WorkloadSpec,
    budget_seconds: float,
) -> float:
    rows = [(e.seconds, e.metrics[column]) for e in evaluations]
    return scoring.first_hit(rows, _target(spec, split), spec.direction, budget_seconds)


def _target(spec: WorkloadSpec, split: Split) -> float:
    return spec.test_target_value if split is Split.TEST else spec.validation_target_value


def _time_splits(ruleset: Ruleset, tuning: Tuning) -> tuple[Split, ...]:
    if tuning is Tuning.SELF:
        return ruleset.self_tuning_time_splits
    return ruleset.external_time_splits


def _checked(rules: str, tuning: Tuning | str, tier: Tier | str) -> tuple[Ruleset, Tuning, Tier]:
    try:
        return rulesets.get(rules), Tuning(tuning), Tier(tier)
    except UnknownVersion as error:
        raise UserError(f"--rules: {error}") from error
    except ValueError as error:
        raise UserError(
            f"{error}: --ruleset is external or self, and --tier is full or mini"
        ) from error


def _select(
    inventory: Inventory, ruleset: Ruleset, tuning: Tuning, tier: Tier, framework: str | None
) -> tuple[list[TrialLocation], list[str]]:
    """Leaves out trials that do not take part, each with a warning."""
    warnings = list(inventory.warnings)
    allowed = ruleset.num_trials[tuning]
    known = tiers.names(tier)
    groups: dict[tuple[str, int, str, str], list[TrialLocation]] = {}
    for trial in inventory.trials:
        if framework in (None, trial.framework):
            key = (trial.submission, trial.study, trial.workload, trial.framework)
            groups.setdefault(key, []).append(trial)
    selected = []
    for trials in groups.values():
        first = trials[0]
        place = first.path.parent
        if first.workload not in known:
            warnings.append(f"{place}: ignored, tier {tier.value} has no {first.workload}")
            continue
        meta_data = read_meta_data(first)
        if meta_data.get("clock") == "steps":
            warnings.append(f"{place}: the times are simulated (--clock steps), not measured")
        logged_tier = meta_data.get("tier", tier.value)
        if logged_tier != tier.value:
            warnings.append(
                f"{first.path}: logged with --tier {logged_tier}, scored with --tier {tier.value}"
            )
        if len(trials) > allowed:
            warnings.append(
                f"{place}: {len(trials)} trials where the rules allow {allowed}; "
                f"only the first {allowed} count"
            )
        selected += trials[:allowed]
    if not selected:
        reasons = "; ".join(warnings) or f"no trial of framework {framework}"
        raise UserError(f"nothing to score: {reasons}")
    return selected, warnings


def _check_consistent(trials: Sequence[TrialLocation], planned: int, ruleset: Ruleset) -> None:
    places: dict[tuple[str, str], TrialLocation] = {}
    studies: dict[tuple[str, str], dict[int, Path]] = {}
    for trial in trials:
        key = (trial.submission, trial.workload)
        other = places.setdefault(key, trial)
        if other.framework != trial.framework:
            raise UserError(
                f"{other.path.parent} and {trial.path.parent} are one workload in two frameworks: "
                "give --framework jax or --framework pytorch"
            )
        directory = studies.setdefault(key, {}).setdefault(trial.study, trial.path.parent)
        if directory != trial.path.parent:
            raise UserError(f"{directory} and {trial.path.parent} are both study {trial.study}")
    for (submission, workload), found in studies.items():
        if len(found) > planned:
            raise UserError(
                f"{submission} has {len(found)} studies of {workload} where {ruleset.version} "
                f"plans {planned}: give --num_studies {len(found)} or another --rules"
            )


def _study_seconds(
    submissions: Sequence[str], results: Sequence[TrialResult]
) -> dict[str, dict[str, dict[int, float]]]:
    groups: dict[str, dict[str, dict[int, list[TrialResult]]]] = {s: {} for s in submissions}
    for result in results:
        place = result.location
        own = groups[place.submission].setdefault(place.workload, {})
        own.setdefault(place.study, []).append(result)
    return {
        submission: {
            workload: {
                study: scoring.study_time(
                    [result.selection_seconds for result in group],
                    [result.scored_seconds for result in group],
                )
                for study, group in studies.items()
            }
            for workload, studies in own.items()
        }
        for submission, own in groups.items()
    }


def _assumptions(
    ruleset: Ruleset,
    tuning: Tuning,
    tier: Tier,
    planned: int,
    scored: Sequence[str],
    times: Mapping[str, Mapping[str, float]],
) -> tuple[str, ...]:
    sentences = [
        f"rules {ruleset.version}, {tuning.value} tuning, {tier.value} tier; "
        f"median over {planned} planned studies, missing ones infinite; budget enforced",
        f"score: mean over {len(scored)} base workloads ({', '.join(scored)})",
        f"ratios are relative to the fastest of the submissions scored here ({len(times)})",
    ]
    fewest = min((len(own) for own in times.values()), default=0)
    extra = sorted({workload for own in times.values() for workload in own} - set(scored))
    if extra:
        sentences.append(f"timed but not part of the score: {', '.join(extra)}")
    if ruleset.held_out is not HeldOut.NONE:
        sentences.append(f"held-out conditions of {ruleset.version} are not applied")
    if len(times) == 1 and fewest:
        sentences.append("one submission alone has ratio 1 wherever it reaches the target")
    return tuple(sentences)
