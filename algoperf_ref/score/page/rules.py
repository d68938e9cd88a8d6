"""Which rules were applied, in the order in which a score comes about."""

from __future__ import annotations

import math
from collections.abc import Iterator

from algoperf_ref.score.options import TimeAxis
from algoperf_ref.score.result import ScoreReport
from spec.book.elements import Html, element, join
from spec.clauses import load_all
from spec.rulesets import Split, Tuning


def applied(report: ScoreReport) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The steps of this score.

    Yields:
      What is worked out, how it was done here, and the clauses that say so; some of these may
      not hold in every version.
    """
    settings, plan = report.settings, report.settings.plan
    rules, published = settings.ruleset, settings.plan.as_published
    external = settings.tuning is Tuning.EXTERNAL
    yield "version", rules.version, ("RULE-10",)
    trials = rules.num_trials[settings.tuning]
    text = f"{settings.tuning.value} tuning, {trials} trials in each of {plan.num_studies} studies"
    yield "trials and studies", text.replace("1 trials", "1 trial"), ("RULE-2",)
    if not published:
        yield "resumed runs", "the last attempt at a step counts", ("SCORE-13",)
    reached = "equality included, values that are not finite never"
    yield "target", reached, ("EVAL-5", "SCORE-12")
    if published:
        yield "time of a trial", "first row that reaches the target, at any time", ("SCORE-14",)
    else:
        factor = rules.budget_seconds(1.0, settings.tuning)
        times = "steps" if settings.time_axis is TimeAxis.STEPS else "submission time"
        budget = f"{factor:g} times the maximum runtime of the workload"
        text = f"{times} of the first evaluation that reaches the target within {budget}"
        yield "time of a trial", text, ("SCORE-2", "EVAL-3", "RULE-1")
    if published:
        text = "the trial that needed the fewest evaluations"
        yield "time of a study", text, ("SCORE-15",)
    elif external:
        scored = " and ".join(split.value for split in rules.external_time_splits)
        text = f"the fastest trial to the {rules.trial_choice_split} target, by its {scored} time"
        ids = ("SCORE-1", "SCORE-3", "SCORE-4", "RULE-4", "RULE-5")
        yield "time of a study", text, ids
    else:
        scored = " and ".join(split.value for split in rules.self_tuning_time_splits)
        text = f"its only run, to the {scored} target"
        yield "time of a study", text, ("SCORE-1", "RULE-4", "RULE-5")
    if published:
        yield "time on a workload", "median over the studies that are there", ("SCORE-19",)
    else:
        text = f"median over the {plan.num_studies} planned studies, missing ones infinite"
        yield "time on a workload", text, ("SCORE-5",)
    yield (
        "slow submissions",
        f"no credit beyond {rules.r_max:g} times the fastest",
        (*("SCORE-6", "RULE-3", "HELD-6", "HELD-9"),),
    )
    if plan.held_out:
        splits = (
            rules.credit_splits
            if settings.options.both_targets
            else (rules.external_time_splits if external else rules.self_tuning_time_splits)
        )
        on = " and ".join(split.value for split in Split if split in splits)
        text = f"conditions on {', '.join(plan.held_out)}, {on} target"
        held = ("HELD-4", "HELD-5", "HELD-6", "HELD-8", "HELD-10", "RULE-7")
        as_written = settings.options.both_targets or len(rules.credit_splits) == 1
        yield "held-out workloads", text, (*held, "HELD-7") if as_written else held
    else:
        yield "held-out workloads", "none", ("RULE-7", "HELD-10")
    number = len(plan.workloads)
    yield "ratios", "time over that of the fastest with credit", ("SCORE-7", "SCORE-11")
    qualification = set(plan.workloads) == set(rules.qualification_workloads)
    text = f"share of {number} base workloads within a ratio"
    yield "profile", text, ("SCORE-8", *(("RULE-8",) if qualification else ()))
    if published:
        yield "score", "trapezoids on a grid of 100 points", ("SCORE-10", "SCORE-20")
    else:
        text = f"exact integral of the profile from 1 to {rules.r_max:g}"
        yield "score", text, ("SCORE-9", "SCORE-20")
    yield "ranks", "by score", ("SCORE-18",)
    if math.isfinite(report.speedups.values[report.speedups.reference].factor):
        yield (
            "speedup",
            "a missing time counts as the budget and a second",
            ("SCORE-16", "SCORE-17"),
        )


def table(report: ScoreReport) -> Html:
    """The rules that were applied, with the statements of their clauses."""
    clauses = load_all()
    rows = []
    for what, how, ids in applied(report):
        own = [clauses[id] for id in ids if report.rules in clauses[id].versions]
        items = (
            element(
                "li",
                element("strong", clause.id),
                f" {clause.statement} ",
                element("small", "; ".join(map(str, clause.sources)), class_="source"),
            )
            for clause in own
        )
        rows.append(
            element(
                "tr",
                element("th", what, scope="row"),
                element("td", how),
                element("td", element("ul", *items)),
            )
        )
    titles = ("step", "as it was done here", "clauses")
    head = element("tr", *(element("th", title, scope="col") for title in titles))
    content = element("table", element("thead", head), element("tbody", join(rows, "\n")))
    return element(
        "div", content, class_="wide", role="region", aria_label="Rules applied", tabindex=0
    )
