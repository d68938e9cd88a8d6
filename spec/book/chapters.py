"""The pages of the chapters: every clause with its sources, its code and its evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from spec.book import code
from spec.book.elements import NOTHING, Html, element, join, link
from spec.book.evidence import Evidence
from spec.book.markup import Linker, inline, render
from spec.book.site import Page, chapter_file, linker, sentence_anchor
from spec.cases import Case, Verdict, encode
from spec.clauses import CHAPTERS, VERSIONS, BrokenRule, Clause

GROUP = "Chapters"


def chapter_page(chapter: str, clauses: Mapping[str, Clause], evidence: Evidence) -> Page:
    """One chapter.

    Args:
      chapter: prefix of its clauses.
      clauses: all clauses by id.
      evidence: what stands beside them.

    Returns:
      The page.
    """
    own = [clause for clause in clauses.values() if clause.chapter == chapter]
    shown: dict[str, Clause] = {}
    articles = []
    for clause in own:
        earlier = shown.setdefault(clause.implementation, clause)
        articles.append(_article(clause, clauses, evidence, earlier))
    number = f"{len(own)} clause{'' if len(own) == 1 else 's'}"
    count = element("p", f"{number}, {own[0].id} to {own[-1].id}", class_="count")
    title = CHAPTERS[chapter][0].upper() + CHAPTERS[chapter][1:]
    return Page(
        chapter_file(chapter),
        title,
        GROUP,
        join([count, *articles], "\n"),
        about=number,
        chapter=chapter,
    )


def badges(clause: Clause) -> Html:
    """The versions that a clause holds in."""
    if clause.versions == VERSIONS:
        return element("span", "all versions", class_="badge")
    return join(
        [element("span", version, class_="badge version") for version in clause.versions], " "
    )


def _article(
    clause: Clause, clauses: Mapping[str, Clause], evidence: Evidence, earlier: Clause
) -> Html:
    found = code.find(clause.implementation)
    links = linker(clauses, clause.implementation.rsplit(".", 1)[0])
    heading = element("h2", link(f"#{clause.id}", clause.id), badges(clause))
    parts = [
        heading,
        element("p", inline(clause.statement, links), class_="statement"),
        _facts(clause, found),
        _code(found, links) if earlier is clause else _as_in(earlier),
        _sentences(clause, evidence),
        _deviations(clause, evidence),
        _cases(evidence.cases.get(clause.id, ())),
        _tests(clause, evidence),
    ]
    return element("article", join(parts, "\n"), id=clause.id, class_="clause")


def _facts(clause: Clause, found: code.Implementation) -> Html:
    """Sources, versions, what is checked, and where the code is."""
    sources = [str(source) for source in clause.sources]
    place = f" ({found.kind} in {found.file}, line {found.line})"
    errors = [element("dd", element("code", name)) for name in _errors(clause)]
    return element(
        "dl",
        element("dt", "Source" if len(sources) == 1 else "Sources"),
        *(element("dd", source) for source in sources),
        element("dt", "Versions"),
        element("dd", ", ".join(clause.versions)),
        element("dt", "Checked on"),
        element("dd", clause.checked_on),
        element("dt", "Code"),
        element("dd", element("code", clause.implementation), place),
        *([element("dt", "When broken"), *errors] if errors else []),
        class_="facts",
    )


def _code(found: code.Implementation, links: Linker) -> Html:
    parts: list[Html] = []
    if found.signature:
        parts.append(element("code", found.signature, class_="signature"))
    if found.docstring:
        parts.append(element("div", render(found.docstring, links), class_="doc"))
    lines = found.source.count("\n") + 1
    parts.append(
        element(
            "details",
            element("summary", f"Source code ({lines} line{'' if lines == 1 else 's'})"),
            element("pre", element("code", code.highlight(found.source)), tabindex=0),
        )
    )
    return join(parts, "\n")


def _as_in(earlier: Clause) -> Html:
    return element("p", "The code is shown at ", link(f"#{earlier.id}", earlier.id), ".")


def _sentences(clause: Clause, evidence: Evidence) -> Html:
    sentences = evidence.sentences_of(clause.id)
    if not sentences:
        return NOTHING
    items = [
        element(
            "li",
            link(
                f"coverage.html#{sentence_anchor(sentence)}",
                f"{sentence.document}, {sentence.section}",
            ),
            f": {sentence.text}",
        )
        for sentence in sentences
    ]
    return _folded(f"Sentences of the documents ({len(items)})", items)


def _deviations(clause: Clause, evidence: Evidence) -> Html:
    deviations = evidence.deviations_of(clause.id)
    if not deviations:
        return NOTHING
    items = [
        element(
            "li",
            link(f"deviations.html#{deviation.id}", deviation.id),
            f" ({deviation.where}): {deviation.official}",
        )
        for deviation in deviations
    ]
    return _folded(f"Deviations of the official code ({len(items)})", items)


def _errors(clause: Clause) -> list[str]:
    """Names of the exceptions of the rules that say that a clause is broken."""
    names: list[str] = []
    waiting: list[type[BrokenRule]] = [BrokenRule]
    while waiting:
        for error in waiting.pop().__subclasses__():
            waiting.append(error)
            # Only where the class itself is tied to the clause; subclasses inherit the id.
            if vars(error).get("clause") == clause.id and error.__module__.startswith("spec."):
                names.append(f"{error.__module__}.{error.__qualname__}")
    return sorted(names)


def _cases(cases: Sequence[Case]) -> Html:
    """Cases with what is given and what is expected, the accepted ones first."""
    if not cases:
        return NOTHING
    items = []
    for case in sorted(cases, key=lambda case: list(Verdict).index(case.verdict)):
        parts = [
            element("strong", case.verdict.value, class_=case.verdict.value),
            f": {case.title} ",
            element("code", case.id),
        ]
        for name, content in (("given", case.given), ("when", case.when), ("expect", case.expect)):
            if content:
                shown = json.dumps(encode(content), ensure_ascii=False, allow_nan=False)
                parts.append(element("div", f"{name} ", element("code", shown), class_="part"))
        if case.why:
            parts.append(element("div", inline(case.why), class_="part"))
        items.append(element("li", *parts))
    return _folded(f"Cases ({len(items)})", items)


def _tests(clause: Clause, evidence: Evidence) -> Html:
    if evidence.tests is None:
        return NOTHING
    tests = evidence.tests.get(clause.id, ())
    items = [element("li", element("code", test)) for test in tests]
    return _folded(f"Tests that cite it ({len(items)})", items)


def _folded(title: str, items: list[Html]) -> Html:
    return element("details", element("summary", title), element("ul", *items))
