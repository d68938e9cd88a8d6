"""What the numbers rest on, in sentences."""

from __future__ import annotations

from algoperf_ref.score.options import PUBLISHED, Settings, TimeAxis
from algoperf_ref.score.published import PublishedTimes
from spec.leaderboard import Leaderboard
from spec.profiles import NUM_GRID_POINTS
from spec.rulesets import HeldOut


def assumptions(
    settings: Settings, board: Leaderboard, reference: str, against: PublishedTimes | None
) -> tuple[str, ...]:
    """Returns what was assumed, one sentence each."""
    plan, ruleset = settings.plan, settings.ruleset
    published = plan.as_published
    rules = f"rules {ruleset.version}, {settings.tuning.value} tuning, {settings.tier.value} tier"
    if published:
        sentences = [
            f"{rules}; computed as the published leaderboards were: median over the studies that "
            "are there, budget not enforced, trials chosen by the number of evaluations, grid of "
            f"{NUM_GRID_POINTS} points"
        ]
    else:
        sentences = [
            f"{rules}; median over {plan.num_studies} planned studies, missing ones infinite; "
            "budget enforced"
        ]
    number = len(plan.workloads)
    sentences.append(f"score: mean over {number} base workloads ({', '.join(plan.workloads)})")
    sentences += _held_out(settings)
    count = len(board.scores)
    sentences.append(f"ratios are relative to the fastest of the submissions scored here ({count})")
    if settings.time_axis is TimeAxis.STEPS:
        sentences.append("times are global steps, not seconds; the budget is still in seconds")
    if against is not None:
        sentences.append(f"scored together with the published times {against.name}")
        theirs = against.ruleset.num_studies[against.tuning]
        if theirs != plan.num_studies:
            sentences.append("published submissions enter each study with their median")
    known = {workload for own in board.times.values() for workload in own}
    extra = sorted(known - {*plan.workloads, *plan.held_out})
    if extra:
        sentences.append(f"timed but not part of the score: {', '.join(extra)}")
    if count > 1:
        sentences.append(f"speedups are relative to {reference}")
    return tuple(sentences)


def _held_out(settings: Settings) -> list[str]:
    plan, ruleset = settings.plan, settings.ruleset
    if ruleset.held_out is HeldOut.NONE:
        return []
    if not plan.held_out:
        return [f"held-out conditions of {ruleset.version} are not applied"]
    drawn = ""
    if settings.options.held_out in (None, PUBLISHED) and not ruleset.held_out_workloads:
        drawn = f"; {ruleset.version} publishes no draw, these are those of the first competition"
    targets = "validation and test target together" if settings.options.both_targets else ""
    judged = f"; conditions on {targets}" if targets else ""
    return [f"held-out conditions: {', '.join(plan.held_out)}{drawn}{judged}"]
