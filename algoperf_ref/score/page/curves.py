"""Learning curves: the best trial of every study, with the target, one drawing per workload."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from algoperf_ref.score.options import TimeAxis
from algoperf_ref.score.page.drawing import (
    Scale,
    Tick,
    clean,
    frame,
    points,
    round_ticks,
    rule,
    short,
    style_of,
    text,
)
from algoperf_ref.score.result import ScoreReport
from algoperf_ref.score.tables import ordered
from algoperf_ref.score.trials import TrialResult
from spec import hits
from spec.book.elements import Html, element, join
from spec.hits import Column
from spec.rulesets import Split
from spec.workloads import Direction, WorkloadSpec

MAX_POINTS = 60_000
"""Points of all curves of a report together."""

MIN_CURVE_POINTS, MAX_CURVE_POINTS = 12, 160

_WIDTH, _HEIGHT = 420.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 408.0, 12.0, 206.0
_MOST_SPREADS = 6.0
"""The axis of values ends this many times the distance from the best to the middle value."""

_HOUR, _MINUTE = 3600.0, 60.0


@dataclass(frozen=True)
class Curve:
    """What is drawn of one study.

    Attributes:
      number: of the submission, by rank from 0.
      trial: the trial that stands for the study.
      at: submission seconds or steps of the points.
      values: validation metric.
    """

    number: int
    trial: TrialResult
    at: Column
    values: Column


def best_trials(report: ScoreReport) -> dict[str, dict[str, list[TrialResult]]]:
    """The trial of each study that is scored; where none is, the one with the best value.

    Args:
      report: what was scored.

    Returns:
      Workload -> submission -> trials by study, without studies that left no evaluation.
    """
    groups: dict[tuple[str, str, int], list[TrialResult]] = {}
    for trial in report.trials:
        if trial.curve is not None and len(trial.curve.values):
            place = trial.location
            groups.setdefault((place.workload, place.submission, place.study), []).append(trial)
    result: dict[str, dict[str, list[TrialResult]]] = {}
    for (workload, submission, _), group in sorted(groups.items()):
        chosen = _chosen(group, report, report.specs[workload].direction)
        result.setdefault(workload, {}).setdefault(submission, []).append(chosen)
    return result


def _chosen(group: Sequence[TrialResult], report: ScoreReport, direction: Direction) -> TrialResult:
    if report.settings.plan.as_published:
        rows = [hit.row if (hit := t.hits.get(Split.VALIDATION)) else None for t in group]
        number = hits.published_choice(rows)
        if number is not None:
            return group[number]
    sign = -1.0 if direction is Direction.MAXIMIZE else 1.0

    def key(trial: TrialResult) -> tuple[float, float, float]:
        best = math.inf if trial.best_value is None else sign * trial.best_value
        return (trial.selection_time, trial.scored_time, best)

    return min(group, key=key)


def figures(report: ScoreReport) -> Html:
    """Draws the curves of all workloads, scored ones first."""
    chosen = best_trials(report)
    numbers = {name: number for number, name in enumerate(report.scores)}
    # Submissions of the logs that carry another name beside published ones of the same name.
    renamed = (
        {}
        if report.against is None
        else {name.removesuffix(" (yours)"): name for name in report.against.own}
    )
    count = sum(len(trials) for own in chosen.values() for trials in own.values())
    most = max(MIN_CURVE_POINTS, min(MAX_CURVE_POINTS, MAX_POINTS // max(1, count)))
    parts = []
    for workload in ordered(report, chosen):
        if workload not in chosen:
            continue
        curves = [
            _curve(trial, numbers[renamed.get(name, name)], report, most)
            for name, trials in chosen[workload].items()
            for trial in trials
        ]
        # The best submission is drawn last, above the others.
        curves.sort(key=lambda curve: (-curve.number, curve.trial.location.study))
        parts.append(_figure(workload, curves, report))
    return element("div", join(parts, "\n"), class_="curves")


def _curve(trial: TrialResult, number: int, report: ScoreReport, most: int) -> Curve:
    curve = trial.curve
    assert curve is not None  # `best_trials` takes no others
    at = curve.steps if report.settings.time_axis is TimeAxis.STEPS else curve.seconds
    known = np.flatnonzero(np.isfinite(at) & np.isfinite(curve.values))
    if len(known) > most:
        even = known[np.linspace(0, len(known) - 1, most).round().astype(int)]
        values = curve.values[known]
        extremes = known[[int(values.argmin()), int(values.argmax())]]
        seconds = [hit.seconds for hit in trial.hits.values()]
        reached = known[np.isin(curve.seconds[known], seconds)]
        known = np.unique(np.concatenate([even, extremes, reached]))
    return Curve(number, trial, at[known], curve.values[known])


def _figure(workload: str, curves: Sequence[Curve], report: ScoreReport) -> Html:
    spec = report.specs[workload]
    unit, size = _unit(report, curves)
    longest = max((float(c.at.max()) for c in curves if len(c.at)), default=1.0)
    x = Scale(0.0, max(longest / size, 1e-9), _LEFT, _RIGHT)
    y = Scale(*_range(spec, curves), _BOTTOM, _TOP)
    lines = []
    for curve in curves:
        lines += _lines(curve, x, y, size, report)
    target = y(spec.validation_target_value)
    box = f"clip-{workload}"
    width, height = short(_RIGHT - _LEFT), short(_BOTTOM - _TOP)
    content = [
        element("title", f"{workload}: learning curves"),
        element("desc", _description(workload, curves, report)),
        element(
            "clipPath",
            element("rect", x=short(_LEFT), y=short(_TOP), width=width, height=height),
            id=box,
        ),
        frame(x, y, round_ticks(x.low, x.high), _value_ticks(y)),
        element("g", join(lines, "\n"), clip_path=f"url(#{box})"),
        rule(_LEFT, target, _RIGHT, target, "target"),
        text(
            f"submission time [{unit}]" if unit != "steps" else "global step",
            (_LEFT + _RIGHT) / 2,
            _BOTTOM + 34,
            "title middle",
        ),
    ]
    drawing = element(
        "svg",
        join(content, "\n"),
        viewBox=f"0 0 {short(_WIDTH)} {short(_HEIGHT)}",
        role="img",
        class_="plot",
        data_plot="curves",
        data_x=x.text,
        data_y=y.text,
        data_unit=unit,
    )
    sign = "≥" if spec.direction is Direction.MAXIMIZE else "≤"
    caption = element(
        "figcaption",
        element("strong", workload),
        f" {spec.target_metric_name}, target {sign} {spec.validation_target_value:g}",
    )
    return element("figure", caption, drawing)


def _lines(curve: Curve, x: Scale, y: Scale, size: float, report: ScoreReport) -> list[Html]:
    places = [
        (x(float(at) / size), y(_clamped(float(value), y)))
        for at, value in zip(curve.at, curve.values, strict=True)
    ]
    if not places:
        return []
    place = curve.trial.location
    name = f"{clean(list(report.scores)[curve.number])}, study {place.study}"
    if report.settings.ruleset.num_trials[report.tuning] > 1:
        name += f", trial {place.trial}"
    hit = curve.trial.hits.get(Split.VALIDATION)
    parts = [
        element(
            "polyline",
            points=points(places),
            class_=f"line {style_of(curve.number)}",
            data_name=name,
            data_about=_about(curve.trial),
            data_series=curve.number,
        )
    ]
    if hit is not None:
        at = hit.step if report.settings.time_axis is TimeAxis.STEPS else hit.seconds
        near = int(np.abs(curve.at - at).argmin())
        parts.append(
            element(
                "circle",
                cx=short(places[near][0]),
                cy=short(places[near][1]),
                r=3,
                class_=f"hit {style_of(curve.number)}",
                data_series=curve.number,
            )
        )
    return parts


def _about(trial: TrialResult) -> str:
    best = "no value" if trial.best_value is None else f"best {trial.best_value:.6g}"
    hit = trial.hits.get(Split.VALIDATION)
    reached = "target not reached" if hit is None else f"target after {hit.seconds:,.0f} s"
    return f"{best}, {reached}"


def _clamped(value: float, y: Scale) -> float:
    """Values far outside are moved nearer: the drawing is cut there, and numbers stay short."""
    room = y.high - y.low
    return min(max(value, y.low - room), y.high + room)


def _unit(report: ScoreReport, curves: Sequence[Curve]) -> tuple[str, float]:
    if report.settings.time_axis is TimeAxis.STEPS:
        return "steps", 1.0
    longest = max((float(c.at.max()) for c in curves if len(c.at)), default=0.0)
    if longest >= 2 * _HOUR:
        return "h", _HOUR
    return ("min", _MINUTE) if longest >= 10 * _MINUTE else ("s", 1.0)


def _range(spec: WorkloadSpec, curves: Sequence[Curve]) -> tuple[float, float]:
    """The values that are shown: the best ones, the target, and not the first bad ones."""
    sign = 1.0 if spec.direction is Direction.MAXIMIZE else -1.0
    target = sign * spec.validation_target_value
    values = sign * np.concatenate([curve.values for curve in curves])
    if not len(values):
        values = np.array([target])
    best, middle, worst = (float(np.quantile(values, share)) for share in (1.0, 0.5, 0.1))
    worst = min(max(worst, best - _MOST_SPREADS * (best - middle)), target)
    best = max(best, target)
    room = 0.06 * ((best - worst) or abs(target) or 1.0)
    low, high = sorted((sign * (worst - room), sign * (best + room)))
    return low, high


def _value_ticks(y: Scale) -> list[Tick]:
    return [tick for tick in round_ticks(y.low, y.high, 5) if y.low <= tick.value <= y.high]


def _description(workload: str, curves: Sequence[Curve], report: ScoreReport) -> str:
    counts: Mapping[str, list[int]] = {name: [0, 0] for name in report.scores}
    names = list(report.scores)
    for curve in curves:
        own = counts[names[curve.number]]
        own[0] += Split.VALIDATION in curve.trial.hits
        own[1] += 1
    parts = [f"{clean(n)} {hit} of {all_}" for n, (hit, all_) in counts.items() if all_]
    return f"Studies that reach the target on {workload}: {'; '.join(parts)}."
