"""The pages of what stands behind the clauses: differences of versions, sentences, deviations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from spec import diff
from spec.book.elements import Html, element, join, link, table, text
from spec.book.evidence import Evidence
from spec.book.markup import Linker, inline
from spec.book.site import Page, clause_link, sentence_anchor
from spec.book.values import value
from spec.clauses import VERSIONS, Clause
from spec.deviations import Deviation
from spec.sentences_table import Sentence

GROUP = "Evidence"


def differences_page(clauses: Mapping[str, Clause]) -> Page:
    """What changed from each version to the next, the newest first."""
    pairs = list(itertools.pairwise(VERSIONS))[::-1]
    parts: list[Html] = []
    for old, new in pairs:
        changes = diff.diff(old, new)
        title = f"{old} to {new}"
        parts.append(element("h2", title, id=f"{old}-{new}"))
        parts.append(element("p", f"{len(changes)} values changed.", class_="count"))
        for kind in diff.KINDS:
            own = [change for change in changes if change.kind == kind]
            if own:
                parts.append(element("h3", kind))
                parts.append(_changes(old, new, own, f"{title}: {kind}", clauses))
    return Page(
        "differences.html",
        "Differences of versions",
        GROUP,
        join(parts, "\n"),
        "Every value that changed: " + ", ".join(f"{old} to {new}" for old, new in pairs) + ".",
    )


def coverage_page(clauses: Mapping[str, Clause], evidence: Evidence, links: Linker) -> Page:
    """Every sentence of the documents, with the clauses that execute it or the reason."""
    executed = sum(bool(sentence.clauses) for sentence in evidence.sentences)
    number = len(evidence.sentences)
    parts = [
        element(
            "p",
            f"{number} sentences that state a rule, in our own words; {executed} lead to clauses, "
            f"of the other {number - executed} the reason is given.",
            class_="lead",
        )
    ]
    by_document = {
        document: list(group)
        for document, group in itertools.groupby(evidence.sentences, lambda s: s.document)
    }
    for document, sentences in by_document.items():
        parts.append(element("h2", document))
        rows = [_sentence(sentence, clauses, links) for sentence in sentences]
        head = ["no.", "section", "sentence", "clauses, or why there is none"]
        parts.append(table(head, rows, label=f"Sentences of {document}", class_="sentences"))
    return Page(
        "coverage.html",
        "Coverage of documents",
        GROUP,
        join(parts, "\n"),
        f"{number} sentences of {len(by_document)} documents and what became of them.",
    )


def deviations_page(clauses: Mapping[str, Clause], evidence: Evidence, links: Linker) -> Page:
    """Where official code, rules and paper differ, and what is done here."""
    number = len(evidence.deviations)
    lead = element(
        "p",
        f"{number} places where the official code differs from the rules, from the paper or from "
        "its own twin in the other framework, and what this project does there.",
        class_="lead",
    )
    articles = (_deviation(deviation, clauses, links) for deviation in evidence.deviations)
    return Page(
        "deviations.html",
        "Deviations of official code",
        GROUP,
        join([lead, *articles], "\n"),
        f"{number} places, each with what is done here.",
    )


def _deviation(deviation: Deviation, clauses: Mapping[str, Clause], links: Linker) -> Html:
    decisions = [text(f"decision {number}") for number in deviation.decisions]
    cited = [clause_link(clauses[clause_id]) for clause_id in deviation.clauses]
    facts = {
        "Official code": inline(deviation.official, links),
        "Rules or paper": inline(deviation.rules, links),
        "Here": inline(deviation.ours, links),
        "Effect": inline(deviation.effect, links),
        "Decided by": join([*decisions, *cited], ", ") or text("no rule decides"),
        "Sources": text("; ".join(deviation.sources)),
        "Part": element("code", deviation.part),
    }
    cells = [
        element(tag, content)
        for title, fact in facts.items()
        for tag, content in (("dt", title), ("dd", fact))
    ]
    heading = element(
        "h2",
        link(f"#{deviation.id}", deviation.id),
        element("span", f"{deviation.area}: {deviation.where}", class_="about"),
        element("span", deviation.status, class_="badge"),
    )
    return element(
        "article",
        heading,
        element("dl", *cells, class_="facts"),
        id=deviation.id,
        class_="clause",
    )


def _changes(
    old: str,
    new: str,
    changes: Sequence[diff.Change],
    label: str,
    clauses: Mapping[str, Clause],
) -> Html:
    if changes[0].kind == "clauses":
        rows = []
        for change in changes:
            sides = ((change.before, old), (change.after, new))
            shown = [f"{version}: {side}" for side, version in sides if side is not diff.ABSENT]
            rows.append([clause_link(clauses[change.subject]), *map(inline, shown)])
        return table(["clause", "only in"], rows, label=label)
    rows = [
        [
            join([change.subject, " ", element("code", change.field)]),
            value(change.before),
            value(change.after),
            _clause_links(change.clauses, clauses),
        ]
        for change in changes
    ]
    return table(["value", old, new, "clauses"], rows, label=label)


def _sentence(sentence: Sentence, clauses: Mapping[str, Clause], links: Linker) -> list[Html]:
    anchor = sentence_anchor(sentence)
    outcome = (
        _clause_links(sentence.clauses, clauses)
        if sentence.clauses
        else inline(sentence.reason, links)
    )
    return [
        link(f"#{anchor}", str(sentence.number), id=anchor),
        text(sentence.section),
        inline(sentence.text, links),
        outcome,
    ]


def _clause_links(ids: Sequence[str], clauses: Mapping[str, Clause]) -> Html:
    return join([clause_link(clauses[clause_id]) for clause_id in ids], ", ")
