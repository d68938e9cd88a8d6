"""Which of the trials that were found take part, and reading all of them in one pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.score.findings import Finding, Kind
from algoperf_ref.score.logs import TrialLocation, groups
from algoperf_ref.score.options import Settings
from algoperf_ref.score.sources import READ_ERRORS, LogSource, Opener
from algoperf_ref.score.studies import listing_decides
from algoperf_ref.score.trials import TrialResult, missing_trial, read_trial
from spec import tiers
from spec.records import flags_name, meta_data_name

_MAX_JSON_BYTES = 1 << 20


def read_trials(
    source: LogSource, trials: Sequence[TrialLocation], settings: Settings
) -> tuple[list[TrialResult], list[Finding]]:
    """Reads the trials that take part.

    Args:
      source: where they lie.
      trials: the trials of the submissions to score.
      settings: what is scored.

    Returns:
      The results in the order of ``trials``, and all findings.

    Raises:
      UserError: no trial takes part; the message says why.
    """
    selected, findings = _select(trials, settings)
    by_path = {trial.csv_path: trial for trial in selected}
    hints: dict[str, TrialLocation] = {}
    for group in groups(selected):
        for name in (meta_data_name(0), flags_name(0)):
            hints[f"{group[0].path}/{name}" if group[0].path else name] = group[0]
    found: dict[str, TrialResult] = {}
    contents: dict[str, dict[str, Any]] = {}
    for path, opener in source.each([*by_path, *hints]):
        if path in by_path:
            trial = by_path[path]
            spec = tiers.get(trial.workload, settings.tier, settings.ruleset.version)
            found[path] = read_trial(opener, trial, spec, settings)
        else:
            contents[path] = _read_json(opener)
    results = [found.get(path) or missing_trial(trial) for path, trial in by_path.items()]
    for path, trial in hints.items():
        findings += _check_hints(trial, contents.get(path, {}), settings)
    for result in results:
        findings += result.findings
    if settings.plan.as_published:
        by_location = {result.location: result for result in results}
        for group in groups(selected):
            tie = listing_decides([by_location[trial] for trial in group])
            findings += [] if tie is None else [tie]
    return results, findings


def _select(
    trials: Sequence[TrialLocation], settings: Settings
) -> tuple[list[TrialLocation], list[Finding]]:
    """Leaves out trials that do not take part, with a finding where that is not what was asked."""
    framework = settings.options.framework
    allowed = settings.ruleset.num_trials[settings.tuning]
    known = tiers.names(settings.tier)
    findings, selected = [], []
    own = [trial for trial in trials if framework in (None, trial.framework)]
    for group in groups(own):
        first = group[0]
        place = first.directory_shown
        if first.workload not in known:
            text = f"ignored, tier {settings.tier.value} has no {first.workload}"
            findings.append(Finding(Kind.OTHER_TIER, place, text))
            continue
        wanted = settings.wanted_workloads
        if wanted is not None and first.workload not in wanted:
            continue
        if len(group) > allowed:
            text = (
                f"{len(group)} trials where the rules allow {allowed}; "
                f"only the first {allowed} count"
            )
            findings.append(Finding(Kind.EXTRA_TRIALS, place, text))
        selected += group[:allowed]
    if not selected:
        reasons = "; ".join(map(str, findings[:3]))
        what = f"no trial of framework {framework}" if framework else "no trial of these workloads"
        raise UserError(f"nothing to score: {reasons or what}")
    return selected, findings


def _check_hints(
    trial: TrialLocation, content: dict[str, Any], settings: Settings
) -> list[Finding]:
    """Compares what metadata and flags say with what is assumed; absent values say nothing."""
    findings = []
    if content.get("clock") == "steps":
        text = "the times are simulated (--clock steps), not measured"
        findings.append(Finding(Kind.SIMULATED, trial.directory_shown, text))
    tier = content.get("tier", settings.tier.value)
    if tier != settings.tier.value:
        text = f"logged with --tier {tier}, scored with --tier {settings.tier.value}"
        findings.append(Finding(Kind.OTHER_TIER, trial.shown, text))
    tuning = content.get("tuning_ruleset", settings.tuning.value)
    if tuning != settings.tuning.value:
        text = f"logged with --tuning_ruleset {tuning}, scored with --ruleset {settings.tuning}"
        findings.append(Finding(Kind.OTHER_RULESET, trial.shown, text))
    return findings


def _read_json(opener: Opener) -> dict[str, Any]:
    """Reads metadata or flags; only hints are taken from them, scoring never depends on it."""
    try:
        with opener() as file:
            content = json.loads(file.read(_MAX_JSON_BYTES))
    except (*READ_ERRORS, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
