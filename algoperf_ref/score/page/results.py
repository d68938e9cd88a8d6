"""The tables of a report: ranks, how sure they are, and times to target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from algoperf_ref.score.options import TimeAxis
from algoperf_ref.score.page.drawing import Scale, clean, rule, short
from algoperf_ref.score.report import percent, swap_sentences
from algoperf_ref.score.result import ScoreReport
from algoperf_ref.score.tables import ordered, role
from spec.book.elements import Html, element, join
from spec.rulesets import Condition
from spec.uncertainty import LEVEL

_HOUR = 3600.0

MISSED = {
    Condition.BASE_REACHED: "the other target missed",
    Condition.BASE_NEAR_FASTEST: "too slow",
    Condition.HELD_OUT_REACHED: "held-out target missed",
    Condition.HELD_OUT_NEAR_FASTEST: "held-out too slow",
}
"""What a time on a base workload has no credit for, in a few words."""

_PAIRS = (
    (Condition.BASE_REACHED, Condition.BASE_NEAR_FASTEST),
    (Condition.HELD_OUT_REACHED, Condition.HELD_OUT_NEAR_FASTEST),
)


def sortable(
    head: Iterable[tuple[str, bool]],
    rows: Iterable[Sequence[Html]],
    *,
    label: str,
    class_: str = "",
) -> Html:
    """A table that the script lets readers sort, in a region that scrolls by itself.

    Args:
      head: title of each column, and whether a first click puts its largest values on top.
      rows: complete cells (:func:`cell`).
      label: what a screen reader says for the region.
      class_: further classes of the table.
    """
    titles = [
        element("th", title, scope="col", data_first="descending" if descending else None)
        for title, descending in head
    ]
    body = (element("tr", *row) for row in rows)
    table = element(
        "table",
        element("thead", element("tr", *titles)),
        element("tbody", join(body, "\n")),
        class_=f"sortable {class_}".strip(),
    )
    return element("div", table, class_="wide", role="region", aria_label=label, tabindex=0)


def cell(*content: str, value: float | None = None, **attributes: str | None) -> Html:
    """A cell; a number sorts by ``value``, infinite and missing ones come last."""
    key = None if value is None else repr(float(value)) if math.isfinite(value) else ""
    number = None if value is None else "number"
    class_ = " ".join(filter(None, (number, attributes.pop("class_", None)))) or None
    return element("td", *content, data_value=key, class_=class_, **attributes)


def name_cell(report: ScoreReport, name: str) -> Html:
    """The header of a submission's row."""
    own = report.against is not None and name in report.against.own
    mark = [element("span", "yours", class_="badge")] if own else []
    return element("th", clean(name), *mark, scope="row", data_value=clean(name))


def ranking(report: ScoreReport) -> Html:
    """The ranked table."""
    board, drawn, against = report.leaderboard, report.bootstrap, report.against
    chances = {} if drawn is None else drawn.rank_probabilities()
    held_out, several = bool(report.settings.plan.held_out), len(board.scores) > 1
    head = [("rank", False), ("submission", False), ("score", True)]
    if drawn is not None:
        head += [(f"{percent(LEVEL)} interval", True), ("", True), ("chance of this rank", True)]
    head += [("targets reached", True)]
    head += [("with credit", True)] * held_out
    head += [(f"speedup over {clean(report.speedups.reference)}", True)] * several
    head += [("rank before", False), ("score before", True)] * (against is not None)
    ranks, number = board.ranks, len(report.scored_workloads)
    rows = []
    for name, score in board.scores.items():
        own = report.times[name]
        reached = sum(math.isfinite(own.get(w, math.inf)) for w in report.scored_workloads)
        row = [
            cell(str(ranks[name]), value=ranks[name]),
            name_cell(report, name),
            cell(f"{score:.4f}", value=score, class_="score"),
        ]
        if drawn is not None:
            low, high = drawn.interval(name)
            chance = chances[name][ranks[name] - 1]
            row.append(cell(f"{low:.4f} to {high:.4f}", value=low))
            row.append(cell(_whisker(low, score, high), value=high - low))
            row.append(cell(percent(chance), value=chance))
        row.append(cell(f"{reached} of {number}", value=reached))
        if held_out:
            credited = sum(map(math.isfinite, board.ratios[name].values()))
            row.append(cell(f"{credited} of {number}", value=credited))
        if several:
            speedup = report.speedups.values[name]
            replaced = speedup.num_replaced + speedup.num_replaced_reference
            note = [element("small", f" ({replaced} replaced)")] if replaced else []
            row.append(cell(f"{speedup.factor:.3f}", *note, value=speedup.factor))
        if against is not None:
            before = against.before
            known = name in before.scores
            rank = before.ranks[name] if known else math.inf
            value = before.scores[name] if known else math.inf
            row.append(cell(f"{rank:g}" if known else "–", value=rank))
            row.append(cell(f"{value:.4f}" if known else "–", value=value))
        rows.append(row)
    return sortable(head, rows, label="Ranked scores", class_="ranking")


def _whisker(low: float, score: float, high: float) -> Html:
    x = Scale(0.0, 1.0, 4.0, 116.0)
    return element(
        "svg",
        rule(x(0), 8, x(1), 8, "grid"),
        rule(x(low), 8, x(high), 8, "whisker"),
        element("circle", cx=short(x(score)), cy=8, r=4, class_="point"),
        viewBox="0 0 120 16",
        class_="whisker",
        role="img",
        aria_label=f"score {score:.4f}, {low:.4f} to {high:.4f}, on a line from 0 to 1",
    )


def uncertainty(report: ScoreReport) -> Html:
    """Chances of the ranks, and the scores without each of the submissions."""
    parts = []
    drawn = report.bootstrap
    if drawn is None:
        parts.append(element("p", "The studies were not resampled: there are no intervals."))
    else:
        text = (
            f"{drawn.num_resamples} times the studies of every submission on every workload were "
            f"drawn anew from themselves, with replacement, and all of it was scored (seed "
            f"{drawn.seed}). The intervals above hold the middle {percent(LEVEL)} of the scores; "
            "this is how often each rank came out. Equal scores share the better rank."
        )
        parts.append(element("p", text))
        parts.append(_chances(drawn.rank_probabilities(), report))
    if report.without_one:
        parts.append(element("h3", "Without one of the submissions"))
        text = "Rows: who is left out; cells: the score of the others, its change, and the rank."
        parts.append(element("p", text))
        sentences = (element("li", clean(line)) for line in swap_sentences(report))
        parts.append(element("ul", *sentences, class_="swaps"))
        parts.append(_without(report))
    return join(parts, "\n")


def _chances(chances: dict[str, tuple[float, ...]], report: ScoreReport) -> Html:
    head = [("submission", False)]
    head += [(f"rank {rank + 1}", True) for rank in range(len(chances))]
    rows = [
        [
            name_cell(report, name),
            *(
                cell(percent(p) if p else "–", value=p, class_="tint", style=_strength(p))
                for p in shares
            ),
        ]
        for name, shares in chances.items()
    ]
    return sortable(head, rows, label="Chances of the ranks", class_="heat")


def _without(report: ScoreReport) -> Html:
    head = [("without", False), *((clean(name), True) for name in report.scores)]
    rows = []
    for one in report.without_one:
        row = [element("th", clean(one.removed), scope="row", data_value=clean(one.removed))]
        own = one.board.ranks
        swapped = {name for swap in one.swaps for name in swap}
        for name in report.scores:
            if name == one.removed:
                row.append(cell("–", value=math.inf))
                continue
            value = one.board.scores[name]
            change = value - report.scores[name]
            moved = f"{change:+.4f}" if abs(change) >= 0.00005 else "unchanged"
            row.append(
                cell(
                    f"{value:.4f}",
                    element("small", f"{moved}, rank {own[name]}"),
                    value=value,
                    class_="swapped" if name in swapped else None,
                )
            )
        rows.append(row)
    return sortable(head, rows, label="Scores without one submission", class_="heat")


def times(report: ScoreReport) -> Html:
    """The heat maps of times to target: scored workloads, then all others."""
    known = {workload for own in report.times.values() for workload in own}
    columns = ordered(report, known)
    base = [w for w in columns if w in report.scored_workloads]
    others = [w for w in columns if w in known and w not in base]
    parts = [_heat_map(report, base, "Times to target")]
    if others:
        parts.append(element("h3", "Workloads that are not part of the mean"))
        parts.append(_heat_map(report, others, "Times to target on other workloads"))
    return join(parts, "\n")


def _heat_map(report: ScoreReport, columns: Sequence[str], label: str) -> Html:
    head = [("submission", False)]
    for workload in columns:
        kind = {"base": "", "held_out": " (held-out)", "extra": ""}[role(report, workload)]
        head.append((workload + kind, False))
    fastest = {
        w: min((own.get(w, math.inf) for own in report.times.values()), default=math.inf)
        for w in columns
    }
    rows = [
        [name_cell(report, name), *(_time(report, name, w, fastest[w]) for w in columns)]
        for name in report.scores
    ]
    return sortable(head, rows, label=label, class_="heat times")


def _time(report: ScoreReport, name: str, workload: str, fastest: float) -> Html:
    board, r_max = report.leaderboard, report.settings.ruleset.r_max
    own = board.times[name]
    value = own.get(workload, math.inf)
    if not math.isfinite(value):
        text = "missed" if workload in own else "not run"
        return cell(text, value=value, class_="never")
    ratio = value / fastest
    notes = [f"{ratio:.2f} ×"]
    missed = board.unmet[name].get(workload, ())
    if missed:
        # A target that is missed is not near the fastest either: that need not be said.
        implied = {near for reached, near in _PAIRS if reached in missed}
        reasons = (MISSED[condition] for condition in missed if condition not in implied)
        notes.append(f"no credit: {', '.join(reasons)}")
    studies = report.study_times[name][workload]
    by_study = ", ".join(f"{k}: {duration(report, t)}" for k, t in sorted(studies.items()))
    return cell(
        element("span", duration(report, value), class_="time"),
        *(element("small", note) for note in notes),
        value=value,
        class_="tint lost" if missed else "tint",
        style=_strength(max(0.0, (r_max - ratio) / (r_max - 1))),
        title=f"studies: {by_study}",
    )


def duration(report: ScoreReport, value: float) -> str:
    """A time for reading."""
    if not math.isfinite(value):
        return "missed"
    if report.settings.time_axis is TimeAxis.STEPS:
        return f"{value:,.0f}"
    return f"{value / _HOUR:.2f} h" if value >= _HOUR else f"{value:,.1f} s"


def _strength(share: float) -> str:
    return f"--strength: {100 * share:.0f}%"
