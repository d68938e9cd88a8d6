"""The report as a page: one file that needs nothing else, neither network nor other files.

The page is complete without its script, which sorts tables, shows what is pointed at, and hides
submissions. The same report gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import string
from collections.abc import Iterator

from algoperf_ref._version import __version__
from algoperf_ref.score.page import assets, curves, profile_plot, results, rules
from algoperf_ref.score.page.drawing import clean, style_of
from algoperf_ref.score.result import ScoreReport
from spec.book.elements import Html, element, join, text


def render(report: ScoreReport) -> bytes:
    """Returns ``report.html``.

    Args:
      report: what was scored.

    Returns:
      An HTML document in UTF-8.
    """
    script = assets.read("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = [(id, title, content) for id, title, content in _sections(report) if content]
    navigation = (element("li", element("a", title, href=f"#{id}")) for id, title, _ in own)
    sections = (
        element("section", element("h2", title), content, id=id) for id, title, content in own
    )
    document = string.Template(assets.read("report.html")).substitute(
        title=text(f"Scores of {clean(report.source)}"),
        # Nothing is loaded, and no script runs but this one, whatever a name may hold.
        policy=text(f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"),
        style=assets.read("plots.css") + assets.read("report.css"),
        script=script,
        lead=_lead(report),
        navigation=element("ul", *navigation),
        sections=join(sections, "\n"),
        footer=text(f"algoperf-ref {__version__}: python -m algoperf_ref.score"),
    )
    return document.encode()


def profile_picture(report: ScoreReport) -> bytes:
    """Returns ``performance_profile.svg``."""
    return f"{profile_plot.draw(report, alone=True)}\n".encode()


def _sections(report: ScoreReport) -> Iterator[tuple[str, str, Html]]:
    yield "ranking", "Scores", results.ranking(report)
    figure = element("figure", profile_plot.draw(report, alone=False), class_="profile")
    about = (
        "A line at τ says on which share of the workloads a submission needs at most τ times the "
        "time of the fastest one. The score is the area under the line, divided by the width."
    )
    yield "profile", "Performance profile", join([element("p", about), figure])
    yield "uncertainty", "How sure the scores are", results.uncertainty(report)
    r_max = report.settings.ruleset.r_max
    about = (
        "Median over the studies, and how many times that of the fastest submission. The "
        f"stronger the colour, the faster; from {r_max:g} times on there is none. Times without "
        "credit are struck through."
    )
    yield "times", "Time to target", join([element("p", about), results.times(report)])
    drawn = curves.figures(report)
    about = (
        "Validation metric of the trial of every study that is scored, or, where no trial reached "
        "the target (dashed line), of the one that came nearest to it. Dots are evaluations that "
        "reached it. The worst values, mostly of the beginning, may lie outside."
    )
    if report.trials:
        yield "curves", "Learning curves", join([element("p", about), _legend(report), drawn])
    yield "rules", "Rules applied", rules.table(report)
    items = (element("li", clean(line)) for line in report.assumptions)
    yield "assumptions", "Assumptions", element("ul", *items)
    yield "warnings", "Warnings", _warnings(report)


def _lead(report: ScoreReport) -> Html:
    facts = [
        ("source", clean(report.source)),
        ("rules", f"{report.rules}, {report.tuning.value} tuning, {report.tier.value} tier"),
        ("submissions", str(len(report.scores))),
        ("workloads", str(len(report.scored_workloads))),
        ("studies", str(report.num_studies)),
        ("trials read", str(len(report.trials))),
    ]
    if report.settings.plan.as_published:
        facts.append(("arithmetic", "that of the published leaderboards"))
    if report.against is not None:
        facts.append(("against", clean(report.against.published.name)))
    cells = (join([element("dt", name), element("dd", value)]) for name, value in facts)
    return element("dl", *cells, class_="facts")


def _legend(report: ScoreReport) -> Html:
    items = []
    for number, name in enumerate(report.scores):
        key = element(
            "svg",
            element("line", x1=1, y1=6, x2=25, y2=6, class_=f"line {style_of(number)}"),
            viewBox="0 0 26 12",
            class_="key",
            aria_hidden="true",
        )
        items.append(
            element(
                "li",
                element("button", key, clean(name), type="button", data_toggle=number),
            )
        )
    return element("ul", *items, class_="legend")


def _warnings(report: ScoreReport) -> Html:
    if not report.findings:
        return element("p", "None.")
    rows = [
        [
            results.cell("yes" if finding.kind.affects_eligibility else "no"),
            results.cell(finding.kind.label.replace("_", " ")),
            results.cell(clean(finding.path), class_="path"),
            results.cell(clean(finding.text)),
        ]
        for finding in report.findings
    ]
    head = [("against eligibility", True), ("kind", False), ("about", False), ("what", False)]
    return results.sortable(head, rows, label="Warnings", class_="warnings")
