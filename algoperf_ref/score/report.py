"""A score report as plain text for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from algoperf_ref.score.result import ScoreReport
from algoperf_ref.score.trials import TrialResult
from spec.rulesets import Split
from spec.uncertainty import LEVEL

FEW = 20
"""Up to so many trials, and so many times to target, are listed unasked."""


def text(report: ScoreReport, *, list_trials: bool = False) -> str:
    """Returns the report as lines of plain text, without colour, ending in a line break.

    Args:
      report: what to print.
      list_trials: one line per trial and per time, also if there are more than :data:`FEW`.

    Returns:
      Ranked scores, times to target, assumptions and warnings.
    """
    parts = [_scores(report)]
    if sure := _sureness(report):
        parts.append("\n".join(["How sure:", *[f"  {line}" for line in sure]]))
    if list_trials or sum(map(len, report.times.values())) <= FEW:
        parts.append(_times(report))
    if list_trials or 0 < len(report.trials) <= FEW:
        parts.append(_trials(report))
    parts.append("\n".join(["Assumed:", *[f"  {line}" for line in report.assumptions]]))
    if report.warnings:
        parts.append("\n".join(["Warnings:", *[f"  {line}" for line in report.warnings]]))
    return "\n\n".join(parts) + "\n"


def _scores(report: ScoreReport) -> str:
    drawn = report.bootstrap
    chances = {} if drawn is None else drawn.rank_probabilities()
    header = ["rank", "submission", "score"]
    header += [] if drawn is None else [f"{percent(LEVEL)} interval", "chance of rank"]
    header += ["targets reached"]
    board, ranks, against = report.leaderboard, report.leaderboard.ranks, report.against
    several = len(board.scores) > 1
    held_out = bool(report.settings.plan.held_out)
    header += ["with credit"] * held_out
    header += [f"speedup over {report.speedups.reference}"] * several
    header += ["rank before", "score before"] * (against is not None)
    rows = []
    for name, score in board.scores.items():
        number = len(report.scored_workloads)
        own = report.times[name]
        reached = sum(math.isfinite(own.get(w, math.inf)) for w in report.scored_workloads)
        row = [str(ranks[name]), name, f"{score:.4f}"]
        if drawn is not None:
            row.append("{:.4f} to {:.4f}".format(*drawn.interval(name)))
            row.append(percent(chances[name][ranks[name] - 1]))
        row.append(f"{reached} of {number}")
        if held_out:
            credited = sum(math.isfinite(ratio) for ratio in board.ratios[name].values())
            row.append(f"{credited} of {number}")
        if several:
            row.append(_speedup(report, name))
        if against is not None:
            before = against.before
            known = name in before.scores
            row.append(str(before.ranks[name]) if known else "-")
            row.append(f"{before.scores[name]:.4f}" if known else "-")
        rows.append(row)
    return _table(header, rows, left={1})


def _sureness(report: ScoreReport) -> list[str]:
    drawn = report.bootstrap
    lines = []
    if drawn is not None:
        lines.append(
            f"intervals and chances are of {drawn.num_resamples} resamples of the studies, "
            f"seed {drawn.seed}"
        )
        for name, shares in drawn.rank_probabilities().items():
            ranks = [f"{rank} ({percent(p)})" for rank, p in enumerate(shares, 1) if p]
            if len(ranks) > 1:
                lines.append(f"{name}: rank {', '.join(ranks)}")
    if report.without_one:
        lines += swap_sentences(report)
    return lines


def swap_sentences(report: ScoreReport) -> list[str]:
    """Says which submissions would change places if another one had not taken part."""
    swaps: dict[tuple[str, str], list[str]] = {}
    for one in report.without_one:
        for swap in one.swaps:
            swaps.setdefault(swap, []).append(one.removed)
    if not swaps:
        return ["leaving out any one submission keeps the order of the others"]
    ranks = report.leaderboard.ranks
    lines = []
    for (ahead, behind), removed in sorted(swaps.items(), key=lambda item: ranks[item[0][1]]):
        places = f"rank {ranks[ahead]}, {ahead}, would be ahead of rank {ranks[behind]}, {behind}"
        lines.append(f"without {' or '.join(removed)}: {places}")
    return lines


def percent(share: float) -> str:
    """A share as a percentage; one that is not quite all or nothing does not look like it."""
    if 0 < share < 0.005:
        return "< 1 %"
    if 0.995 <= share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def _speedup(report: ScoreReport, name: str) -> str:
    value = report.speedups.values[name]
    replaced = value.num_replaced + value.num_replaced_reference
    return f"{value.factor:.3f}" + (f" ({replaced} replaced)" if replaced else "")


def _times(report: ScoreReport) -> str:
    unit = {"s": "s", "steps": "step"}[report.unit]
    what = {"s": "seconds", "steps": "steps"}[report.unit]
    header = ["submission", "workload", f"median {unit}", "ratio", f"{what} to target, by study"]
    rows = []
    for submission in report.scores:
        for workload, seconds in sorted(report.times[submission].items()):
            ratio = report.ratios[submission].get(workload)
            studies = report.study_times[submission][workload]
            by_study = [f"{study}: {_seconds(value)}" for study, value in sorted(studies.items())]
            if len(studies) < report.num_studies:
                by_study.append(f"({report.num_studies - len(studies)} missing)")
            ratio_text = "-" if ratio is None else _ratio(ratio)
            rows.append([submission, workload, _seconds(seconds), ratio_text, "  ".join(by_study)])
    return _table(header, rows, left={0, 1, 4})


def _trials(report: ScoreReport) -> str:
    header = ["submission", "workload", "study", "trial", "target", "best", "hit s", "hit step"]
    header.append("evaluations")
    return _table(header, [_trial(report, trial) for trial in report.trials], left={0, 1})


def _trial(report: ScoreReport, trial: TrialResult) -> list[str]:
    place = trial.location
    return [
        place.submission,
        place.workload,
        str(place.study),
        str(place.trial),
        f"{report.specs[place.workload].validation_target_value:g}",
        "-" if trial.best_value is None else f"{trial.best_value:.6g}",
        _seconds(_hit_seconds(trial)),
        "-" if trial.hit_step is None else str(trial.hit_step),
        str(trial.num_evaluations),
    ]


def _hit_seconds(trial: TrialResult) -> float:
    hit = trial.hits.get(Split.VALIDATION)
    return math.inf if hit is None else hit.seconds


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if math.isfinite(seconds) else "inf"


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if math.isfinite(ratio) else "inf"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: set[int]) -> str:
    """Aligns columns: those in ``left`` to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    aligned = [
        [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in [header, ["-" * width for width in widths], *rows]
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)
