"""Credit: what a submission must meet on a base workload for its time there to count.

Up to four conditions: the target is reached in time on the base workload and on its held-out
workload, and each of them within four times the fastest submission. :func:`credited_times` stands
between :func:`spec.scoring.workload_time` and :func:`spec.scoring.all_ratios`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spec.clauses import Source, clause, rule
from spec.heldout import WrongDraw, base_of
from spec.profiles import check_time
from spec.rulesets import Condition, HeldOut, Ruleset

_SCORING = Source("Dahl et al. 2023", "4.5.3")
_STEPS = Source("Scoring semantics", "2 (steps 5 to 7)")

Times = Mapping[str, Mapping[str, float]]
"""Submission -> workload -> seconds. A workload that is absent counts as infinite."""

rule(
    "HELD-6",
    "Every version asks for the base target within the budget and within four times the fastest; "
    "the paper and v0.5 ask for the same on the held-out workload.",
    source=(_SCORING, Source("Scoring semantics", "1")),
    implementation="spec.rulesets.RULESETS",
)
rule(
    "HELD-7",
    "In the paper all four conditions are on the validation and the test target together; later "
    "versions look at the validation target only.",
    source=(_SCORING, Source("Scoring semantics", "2, Paper 2023 differences")),
    implementation="spec.credit.condition_rules",
)


def condition_rules(ruleset: Ruleset) -> Ruleset:
    """Returns the ruleset whose study times are what the conditions of ``ruleset`` look at.

    Where it differs from ``ruleset``, times are computed twice: once for the score, and once
    with this ruleset as ``condition_times`` of :func:`credited_times`.
    """
    return replace(
        ruleset,
        external_time_splits=ruleset.credit_splits,
        self_tuning_time_splits=ruleset.credit_splits,
    )


@clause(
    "HELD-8",
    """The fastest submission on a held-out workload is sought among those that reach the target of
    its base workload.""",
    source=(_SCORING, _STEPS),
    versions=("paper2023", "v0.5"),
)
@clause(
    "HELD-9",
    """The fastest submission on a base workload is sought among all submissions, also those that a
    held-out workload takes the credit from.""",
    source=(_SCORING, _STEPS),
)
def unmet_conditions(
    times: Times, base: str, held_out: Sequence[str], ruleset: Ruleset
) -> dict[str, tuple[Condition, ...]]:
    """Says which conditions of its version each submission misses on a base workload.

    Args:
      times: median seconds by submission and workload, see :func:`condition_rules`.
      base: a base workload.
      held_out: the drawn workloads; those of other base workloads are ignored.
      ruleset: the version.

    Returns:
      Per submission the conditions that do not hold, in the order of
      :class:`spec.rulesets.Condition`. A target that is missed is not near the fastest either.

    Raises:
      spec.heldout.NotAVariant: a held-out workload is no variant.
      spec.heldout.WrongDraw: the version has no held-out workloads.
      spec.profiles.ScoringError: a time is NaN or not positive.
    """
    if held_out and ruleset.held_out is HeldOut.NONE:
        raise WrongDraw(f"{ruleset.version} has no held-out workloads, but there is {held_out[0]}")
    unmet: dict[str, set[Condition]] = {name: set() for name in times}

    def judge(
        column: Mapping[str, float], pace: Mapping[str, float], reached: Condition, near: Condition
    ) -> None:
        limit = ruleset.r_max * min(pace.values(), default=math.inf)
        for name, seconds in column.items():
            if seconds == math.inf:
                unmet[name] |= {reached, near}
            elif seconds > limit:
                unmet[name].add(near)

    on_base = _column(times, base)
    judge(on_base, on_base, Condition.BASE_REACHED, Condition.BASE_NEAR_FASTEST)
    for variant in held_out:
        if base_of(variant) == base:
            column = _column(times, variant)
            pace = {name: column[name] for name in times if on_base[name] < math.inf}
            judge(column, pace, Condition.HELD_OUT_REACHED, Condition.HELD_OUT_NEAR_FASTEST)
    return {
        name: tuple(c for c in Condition if c in missed and c in ruleset.credit_conditions)
        for name, missed in unmet.items()
    }


@clause(
    "HELD-10",
    """A submission that misses any condition of its version has an infinite time on the base
    workload, and held-out workloads count for nothing else: a base workload without one is
    scored as it is, and variants that were not drawn do not matter.""",
    source=(_SCORING, _STEPS, Source("Scoring semantics", "6 (B3)")),
)
def credited_times(
    times: Times,
    base_workloads: Sequence[str],
    held_out: Sequence[str],
    ruleset: Ruleset,
    *,
    condition_times: Times | None = None,
) -> dict[str, dict[str, float]]:
    """Applies the conditions: times on the base workloads that count for the score.

    Args:
      times: median seconds by submission and workload that the score uses.
      base_workloads: the base workloads of the score.
      held_out: the drawn workloads (:func:`spec.heldout.held_out_workloads`), none for v0.6.
      ruleset: the version.
      condition_times: median seconds that the conditions look at (:func:`condition_rules`);
        None means ``times``.

    Returns:
      Submission -> base workload -> seconds, infinity without credit, in the order of the
      arguments.

    Raises:
      ValueError: a wrong held-out workload or time, see :func:`unmet_conditions`.
    """
    judged = times if condition_times is None else condition_times
    result: dict[str, dict[str, float]] = {name: {} for name in times}
    for base in base_workloads:
        unmet = unmet_conditions({s: judged.get(s, {}) for s in times}, base, held_out, ruleset)
        for name, seconds in _column(times, base).items():
            result[name][base] = math.inf if unmet[name] else seconds
    return result


def _column(times: Times, workload: str) -> dict[str, float]:
    column = {name: own.get(workload, math.inf) for name, own in times.items()}
    for seconds in column.values():
        check_time(seconds)
    return column
