"""The performance profile of all submissions as one drawing."""

from __future__ import annotations

from algoperf_ref.score.page import assets
from algoperf_ref.score.page.drawing import (
    Scale,
    Tick,
    apart,
    clean,
    frame,
    points,
    round_ticks,
    rule,
    short,
    staircase,
    style_of,
    text,
)
from algoperf_ref.score.result import ScoreReport
from spec.book.elements import Html, element, join

_LEFT, _RIGHT, _WIDTH = 60.0, 620.0, 860.0
_TOP, _LINE, _LEAST = 18.0, 17.0, 360.0
_MOST_EIGHTHS = 12
"""Up to so many workloads, each has its own tick."""

X_TITLE = "τ: time over the time of the fastest submission"
Y_TITLE = "share of the workloads"


def draw(report: ScoreReport, *, alone: bool) -> Html:
    """Draws the profiles.

    Args:
      report: what was scored.
      alone: whether the drawing is a file of its own, which then brings its style.

    Returns:
      An ``svg`` element.
    """
    board = report.leaderboard
    number, names = len(report.scored_workloads), list(board.scores)
    bottom = _TOP + max(_LEAST, _LINE * len(names))
    x = Scale(1.0, report.settings.ruleset.r_max, _LEFT, _RIGHT)
    y = Scale(0.0, 1.0, bottom, _TOP)
    lines, ends = [], []
    for place, name in enumerate(names):
        steps = board.steps(name)
        ends.append((y(steps[-1][1]), place))
        lines.append(
            element(
                "polyline",
                points=points((x(tau), y(share)) for tau, share in staircase(steps)),
                class_=f"line {style_of(place)}",
                data_series=place,
                data_name=clean(name),
                data_steps=" ".join(f"{tau:.6g} {share:.6g}" for tau, share in steps),
            )
        )
    title = "Performance profiles"
    content = [
        element("title", title, id="profile-title"),
        element("desc", _description(report), id="profile-description"),
        element("style", Html(assets.read("plots.css"))) if alone else Html(""),
        element("rect", width=short(_WIDTH), height=short(bottom + 46), class_="paper")
        if alone
        else Html(""),
        frame(x, y, round_ticks(x.low, x.high, 7), _shares(number)),
        text(X_TITLE, (_LEFT + _RIGHT) / 2, bottom + 36, "title middle"),
        text(Y_TITLE, 14, (_TOP + bottom) / 2, "title middle", turned=True),
        # The best one is drawn last, above the others.
        element("g", join(reversed(lines), "\n")),
        _labels(report, sorted(ends), bottom),
    ]
    return element(
        "svg",
        join(content, "\n"),
        xmlns="http://www.w3.org/2000/svg" if alone else None,
        viewBox=f"0 0 {short(_WIDTH)} {short(bottom + 46)}",
        width=short(_WIDTH) if alone else None,
        height=short(bottom + 46) if alone else None,
        role="img",
        aria_labelledby="profile-title profile-description",
        class_="plot",
        data_plot="profile",
        data_x=x.text,
        data_y=y.text,
        data_count=number,
    )


def _shares(number: int) -> list[Tick]:
    if number <= _MOST_EIGHTHS:
        return [Tick(k / number, f"{k}/{number}") for k in range(number + 1)]
    return round_ticks(0.0, 1.0)


def _labels(report: ScoreReport, ends: list[tuple[float, int]], bottom: float) -> Html:
    names = list(report.scores)
    moved = apart([place for place, _ in ends], _LINE, _TOP, bottom)
    parts = []
    for (end, number), at in zip(ends, moved, strict=True):
        name = names[number]
        label = f"{clean(name, 24)} {report.scores[name]:.3f}"
        parts.append(
            element(
                "g",
                rule(_RIGHT + 2, end, _RIGHT + 16, at, f"lead {style_of(number)}"),
                rule(_RIGHT + 16, at, _RIGHT + 34, at, f"line {style_of(number)}"),
                text(label, _RIGHT + 40, at + 4, "name"),
                data_series=number,
            )
        )
    return element("g", join(parts))


def _description(report: ScoreReport) -> str:
    board = report.leaderboard
    parts = []
    for name in board.scores:
        steps = board.steps(name)
        parts.append(
            f"{clean(name)}: {steps[0][1]:.3f} at 1, {steps[-1][1]:.3f} at {steps[-1][0]:g}"
        )
    return f"Share of workloads by tau. {'; '.join(parts)}."
