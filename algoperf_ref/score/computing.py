"""From logs to a leaderboard; every rule is asked of ``spec``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from algoperf_ref.errors import UserError
from algoperf_ref.score import published, studies
from algoperf_ref.score.explaining import assumptions
from algoperf_ref.score.findings import Finding, Kind
from algoperf_ref.score.logs import find_trials
from algoperf_ref.score.options import (
    Options,
    Settings,
    TimeAxis,
    check_names,
    resolve,
    split_names,
)
from algoperf_ref.score.published import PublishedTimes
from algoperf_ref.score.reading import read_trials
from algoperf_ref.score.result import Against, ScoreReport, Speedups
from algoperf_ref.score.sources import open_source
from spec import tiers, workloads
from spec.clauses import BrokenRule
from spec.leaderboard import Leaderboard, leaderboard
from spec.rulesets import V0_5
from spec.speedup import speedup
from spec.tiers import Tier

BASELINE = "baseline"
"""Submission that speedups are relative to, unless told otherwise, if there is one."""


def score_logs(
    path: str | os.PathLike[str], options: Options | None = None, **given: object
) -> ScoreReport:
    """Scores logs, by the written rules unless told otherwise.

    Args:
      path: a directory of submissions, one submission or one workload directory, or an archive
        of one; ``~`` is expanded.
      options: see :class:`algoperf_ref.score.options.Options`.
      given: fields of ``options`` as keywords, for example ``rules="v0.5", tuning="self"``.

    Returns:
      The report.

    Raises:
      UserError: nothing to score there, a wrong option, one workload of a submission in both
        frameworks, or, with ``strict``, a finding that matters for eligibility.
    """
    options = replace(options or Options(), **given)  # type: ignore[arg-type]
    other = None if options.against is None else published.load(options.against)
    settings = resolve(options if other is None else _with_rules_of(options, other))
    place = Path(path).expanduser()
    source = open_source(place)
    inventory = find_trials(
        source,
        timestamped=settings.timestamped,
        framework=options.framework,
        ruleset=settings.tuning.value,
    )
    known = (*inventory.submissions, *(other.submissions if other is not None else ()))
    taken = _taken(options, known)
    own = tuple(name for name in inventory.submissions if name in taken)
    trials = [trial for trial in inventory.trials if trial.submission in taken]
    results, findings = read_trials(source, trials, settings)
    findings = [*inventory.findings, *findings]
    planned = settings.plan.num_studies
    studies.check(results, planned, settings.ruleset.version)
    findings += studies.missing(own, results, settings, str(place))

    table: studies.StudyTable = studies.study_table(own, results, settings)
    conditions = None
    if options.both_targets:
        conditions = studies.study_table(own, results, settings, conditions=True)
    against = None
    if other is not None:
        table, against = _join(table, own, other, settings, taken)
    if len(table) == 1:
        text = "one submission alone has ratio 1 wherever it reaches the target"
        findings.append(Finding(Kind.ONE_SUBMISSION, str(place), text))
    findings += _held_out_not_run(table, settings, str(place))
    if options.strict:
        _check_strict(findings)
    board = _leaderboard(table, settings, conditions)
    names = sorted({*settings.plan.workloads, *(w for times in table.values() for w in times)})
    report = ScoreReport(
        source=str(place),
        settings=settings,
        specs={name: tiers.get(name, settings.tier, settings.ruleset.version) for name in names},
        trials=tuple(results),
        study_times=table,
        condition_times=conditions,
        leaderboard=board,
        speedups=_speedups(board, settings, against),
        against=against,
        findings=tuple(findings),
    )
    return replace(
        report, assumptions=assumptions(settings, board, report.speedups.reference, other)
    )


def _with_rules_of(options: Options, other: PublishedTimes) -> Options:
    """Takes the rules that the published times were run by, unless others were asked for."""
    for flag, asked, own in (
        ("--rules", options.rules, other.ruleset.version),
        ("--ruleset", options.tuning, other.tuning.value),
    ):
        if asked is not None and asked != own:
            raise UserError(f"{flag} {asked} does not go with --against {other.name}, give {own}")
    if options.tier != Tier.FULL:
        raise UserError("--against: published times are of the full tier")
    return replace(options, rules=other.ruleset.version, tuning=other.tuning)


def _taken(options: Options, known: tuple[str, ...]) -> set[str]:
    included, excluded = split_names(options.include), split_names(options.exclude)
    check_names(included, known, "--include")
    check_names(excluded, known, "--exclude")
    taken = set(included or known) - set(excluded)
    if not taken:
        raise UserError("--include and --exclude leave no submission to score")
    return taken


def _join(
    table: studies.StudyTable,
    own: tuple[str, ...],
    other: PublishedTimes,
    settings: Settings,
    taken: set[str],
) -> tuple[studies.StudyTable, Against]:
    """Adds the published submissions to those of the logs."""
    theirs: studies.StudyTable = {
        name: {
            workload: dict(enumerate(times))
            for workload, times in workloads_of.items()
            if settings.wanted_workloads is None or workload in settings.wanted_workloads
        }
        for name, workloads_of in other.study_times(
            settings.time_axis, as_published=settings.plan.as_published
        ).items()
        if name in taken
    }
    if settings.plan.num_studies != other.ruleset.num_studies[other.tuning]:
        theirs = studies.medians_as_studies(theirs, other, settings.plan)
    if not theirs:
        raise UserError("--against: --include and --exclude leave no published submission")
    names = {name: f"{name} (yours)" if name in theirs else name for name in own}
    joined = {**theirs, **{names[name]: table[name] for name in own}}
    before = _leaderboard(theirs, settings, None)
    return joined, Against(other, tuple(names.values()), before)


def _leaderboard(
    table: studies.StudyTable, settings: Settings, conditions: studies.StudyTable | None
) -> Leaderboard:
    try:
        return leaderboard(
            studies.lists(table),
            settings.plan,
            condition_times=None if conditions is None else studies.lists(conditions),
        )
    except BrokenRule as error:
        raise UserError(str(error)) from error


def _held_out_not_run(table: studies.StudyTable, settings: Settings, place: str) -> list[Finding]:
    found = []
    for name in settings.plan.held_out:
        if not any(name in own for own in table.values()):
            base = workloads.base_name(name)
            text = f"nobody ran the held-out workload {name}, so nobody has credit on {base}"
            found.append(Finding(Kind.HELD_OUT_NOT_RUN, place, f"{text} (--held_out none)"))
    return found


def _check_strict(findings: list[Finding]) -> None:
    serious = [finding for finding in findings if finding.kind.affects_eligibility]
    if serious:
        more = f" (and {len(serious) - 1} more)" if len(serious) > 1 else ""
        raise UserError(f"--strict: {serious[0]}{more}")


def _speedups(board: Leaderboard, settings: Settings, against: Against | None) -> Speedups:
    reference = settings.options.reference
    if reference is None:
        reference = BASELINE if BASELINE in board.scores else next(iter(board.scores))
    check_names([reference], tuple(board.scores), "--reference")
    rules, tier, tuning = settings.ruleset, settings.tier, settings.tuning
    rows = [tiers.get(name, tier, rules.version) for name in settings.plan.workloads]
    if settings.time_axis is TimeAxis.STEPS:
        # The steps that fit into the budget, by the same hint that sets max_global_steps.
        budgets = {row.name: rules.budget_seconds(row.step_hint, tuning) for row in rows}
    else:
        budgets = {
            row.name: rules.budget_seconds(row.max_allowed_runtime_sec, tuning) for row in rows
        }
    times = board.times
    values = {name: speedup(times[name], times[reference], budgets) for name in board.scores}
    old_style = None
    if settings.time_axis is TimeAxis.TIME:
        old = {
            row.name: V0_5.budget_seconds(row.max_allowed_runtime_sec, tuning)
            for row in (tiers.get(n, tier, V0_5.version) for n in settings.plan.workloads)
        }
        old_style = {n: speedup(times[n], times[reference], old).inverse for n in board.scores}
    return Speedups(reference, values, old_style)
