"""From trials to the table of study times, and what is missing in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from algoperf_ref.errors import UserError
from algoperf_ref.score.findings import Finding, Kind
from algoperf_ref.score.logs import TrialLocation
from algoperf_ref.score.options import Settings
from algoperf_ref.score.published import PublishedTimes
from algoperf_ref.score.trials import TrialResult
from spec import hits, scoring
from spec.leaderboard import Plan
from spec.rulesets import Split

StudyTable = Mapping[str, Mapping[str, Mapping[int, float]]]
"""Submission -> workload -> number of the study -> time, infinity if the target was missed."""


def lists(table: StudyTable) -> dict[str, dict[str, list[float]]]:
    """Returns the times of the studies without their numbers."""
    return {
        name: {workload: list(own.values()) for workload, own in by_workload.items()}
        for name, by_workload in table.items()
    }


def study_table(
    submissions: Sequence[str],
    results: Sequence[TrialResult],
    settings: Settings,
    *,
    conditions: bool = False,
) -> dict[str, dict[str, dict[int, float]]]:
    """Returns the time of every study.

    Args:
      submissions: names, also of those without trials.
      results: the trials.
      settings: what is scored.
      conditions: the times that the conditions look at instead of those of the score.

    Returns:
      The table. A study of which no trial left a log is left out where the published
      leaderboards left it out.
    """
    grouped: dict[str, dict[str, dict[int, list[TrialResult]]]] = {s: {} for s in submissions}
    for result in results:
        place = result.location
        own = grouped[place.submission].setdefault(place.workload, {})
        own.setdefault(place.study, []).append(result)
    table: dict[str, dict[str, dict[int, float]]] = {}
    for submission, by_workload in grouped.items():
        table[submission] = {}
        for workload, by_study in by_workload.items():
            times = {
                study: _study_time(group, settings, conditions=conditions)
                for study, group in sorted(by_study.items())
                if not (settings.plan.as_published and all(map(_without_log, group)))
            }
            table[submission][workload] = times
    return table


def _study_time(
    group: Sequence[TrialResult], settings: Settings, *, conditions: bool = False
) -> float:
    if settings.plan.as_published:
        rows = [hit.row if (hit := r.hits.get(Split.VALIDATION)) else None for r in group]
        chosen = hits.published_choice(rows)
        return math.inf if chosen is None else group[chosen].hits[Split.VALIDATION].seconds
    scored = [r.condition_time if conditions else r.scored_time for r in group]
    return scoring.study_time([result.selection_time for result in group], scored)


def _without_log(result: TrialResult) -> bool:
    return any(finding.kind is Kind.MISSING_FILE for finding in result.findings)


def listing_decides(group: Sequence[TrialResult]) -> Finding | None:
    """Says so if the published computation depends on the order in which trials are listed."""
    found = [result for result in group if Split.VALIDATION in result.hits]
    first = min((r.hits[Split.VALIDATION].row for r in found), default=None)
    tied = [r for r in found if r.hits[Split.VALIDATION].row == first]
    if len({r.hits[Split.VALIDATION].seconds for r in tied}) < 2:
        return None
    times = ", ".join(
        f"trial {r.location.trial}: {r.hits[Split.VALIDATION].seconds:g} s" for r in tied
    )
    text = f"trials reach the target at the same evaluation ({times}); the first one counts here"
    return Finding(Kind.LISTING_DECIDES, tied[0].location.directory_shown, text)


def check(results: Sequence[TrialResult], planned: int, version: str) -> None:
    """Raises a :class:`UserError` for one workload in two frameworks, or too many studies."""
    places: dict[tuple[str, str], TrialLocation] = {}
    found: dict[tuple[str, str], dict[int, str]] = {}
    for result in results:
        trial = result.location
        key = (trial.submission, trial.workload)
        other = places.setdefault(key, trial)
        if other.framework != trial.framework:
            raise UserError(
                f"{other.directory_shown} and {trial.directory_shown} are one workload in two "
                "frameworks: give --framework jax or --framework pytorch"
            )
        directory = found.setdefault(key, {}).setdefault(trial.study, trial.directory_shown)
        if directory != trial.directory_shown:
            raise UserError(
                f"{directory} and {trial.directory_shown} are both study {trial.study} of "
                f"{trial.submission}; directories with a time in their name can be kept apart by "
                "--timestamped separate, or left out by --timestamped ignore"
            )
    for (submission, workload), by_study in found.items():
        if len(by_study) > planned:
            raise UserError(
                f"{submission} has {len(by_study)} studies of {workload} where {version} "
                f"plans {planned}: give --num_studies {len(by_study)} or another --rules"
            )


def missing(
    submissions: Sequence[str], results: Sequence[TrialResult], settings: Settings, place: str
) -> list[Finding]:
    """Says what a complete set of logs would have in addition, by submission."""
    plan = settings.plan
    num_trials = settings.ruleset.num_trials[settings.tuning]
    counts: dict[tuple[str, str], dict[int, int]] = {}
    for result in results:
        trial = result.location
        own = counts.setdefault((trial.submission, trial.workload), {})
        own[trial.study] = own.get(trial.study, 0) + 1
    started = {submission for submission, _ in counts}
    findings = []
    for submission in submissions:
        if submission not in started:
            continue  # a finding of its own says so
        never, studies, trials = [], [], []
        for workload in (*plan.workloads, *plan.held_out):
            own = counts.get((submission, workload), {})
            if not own:
                never.append(workload)
                continue
            if len(own) < plan.num_studies:
                studies.append(f"{workload} {len(own)} of {plan.num_studies}")
            short = sum(num_trials - number for number in own.values() if number < num_trials)
            if short:
                trials.append(f"{workload} {short}")
        for kind, text, parts in (
            (Kind.MISSING_WORKLOAD, "never run", never),
            (Kind.MISSING_STUDY, "not all studies are there", studies),
            (Kind.MISSING_TRIAL, "trials missing", trials),
        ):
            if parts:
                where = place if len(submissions) == 1 else f"{place} ({submission})"
                findings.append(Finding(kind, where, f"{text}: {', '.join(parts)}"))
    return findings


def medians_as_studies(table: StudyTable, other: PublishedTimes, plan: Plan) -> StudyTable:
    """Lets every study of published submissions have their median, for another number of them."""
    published = other.ruleset.num_studies[other.tuning]
    return {
        name: {
            workload: dict.fromkeys(
                range(plan.num_studies), scoring.workload_time(list(own.values()), published)
            )
            for workload, own in by_workload.items()
        }
        for name, by_workload in table.items()
    }
