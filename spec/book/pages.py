"""All pages of the book, as texts by file name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from spec import rulesets, workloads
from spec.book import chapters, code, diagrams, evidence_pages, site, values
from spec.book.elements import Html, element, join, link
from spec.book.evidence import Evidence
from spec.book.markup import Linker, inline
from spec.book.site import Page
from spec.clauses import CHAPTERS, VERSIONS, Clause

TABLES = "Tables and diagrams"


def render(clauses: Mapping[str, Clause], evidence: Evidence) -> dict[str, bytes]:
    """Renders the book.

    Args:
      clauses: all clauses by id, in reading order.
      evidence: what stands beside them.

    Returns:
      Contents by file name; the same for the same arguments.
    """
    present = [name for name in CHAPTERS if any(c.chapter == name for c in clauses.values())]
    others = [
        *(chapters.chapter_page(chapter, clauses, evidence) for chapter in present),
        *_data_pages(clauses),
        _diagram_page(),
        evidence_pages.differences_page(clauses),
        evidence_pages.deviations_page(clauses, evidence, site.linker(clauses)),
        evidence_pages.coverage_page(clauses, evidence, site.linker(clauses)),
    ]
    first = _first_page(others, clauses)
    pages = [first, *others]
    files = {page.file: site.assemble(page, pages, clauses).encode() for page in pages}
    return {**files, **{name: site.asset(name) for name in site.ASSETS}}


def _first_page(pages: Sequence[Page], clauses: Mapping[str, Clause]) -> Page:
    versions = element("ul", *(element("li", item) for item in _versions(clauses)))
    content = [
        element(
            "p",
            "The rules of the AlgoPerf: Training Algorithms benchmark as they are executed: every "
            "rule is a clause with an id, one sentence, its source, the versions it holds in, and "
            "the code that is the rule.",
            class_="lead",
        ),
        element("h2", "Chapters"),
        _cards(page for page in pages if page.group == chapters.GROUP),
        element("h2", "Tables, diagrams and evidence"),
        _cards(page for page in pages if page.group != chapters.GROUP),
        element("h2", "Versions of the rules"),
        versions,
        element("h2", "All clauses", id="clauses-title"),
        _filters(len(clauses)),
        element("div", *_list(clauses), id="clauses"),
    ]
    return Page("index.html", "AlgoPerf rule book", "Start", join(content, "\n"))


def _versions(clauses: Mapping[str, Clause]) -> Iterable[Html]:
    for version in VERSIONS:
        number = sum(version in clause.versions for clause in clauses.values())
        ruleset = rulesets.get(version)
        name = next(name for name, value in vars(rulesets).items() if value is ruleset)
        about = code.find(f"{rulesets.__name__}.{name}").docstring
        yield join([element("strong", version), f": {about} {number} clauses hold in it."])


def _cards(pages: Iterable[Page]) -> Html:
    items = (element("li", link(page.file, page.title), element("p", page.about)) for page in pages)
    return element("ul", *items, class_="cards")


def _filters(number: int) -> Html:
    options = [element("option", "all versions", value="")]
    options += [element("option", version, value=version) for version in VERSIONS]
    return element(
        "p",
        element("label", "Version ", element("select", *options, id="version")),
        element("span", f"{number} clauses", id="count", role="status"),
        element("span", "The search box above filters this list."),
        id="filters",
        hidden=True,
    )


def _list(clauses: Mapping[str, Clause]) -> Iterable[Html]:
    for chapter, title in CHAPTERS.items():
        own = [clause for clause in clauses.values() if clause.chapter == chapter]
        if own:
            heading = element("h3", link(site.chapter_file(chapter), title.capitalize()))
            items = (_entry(clause) for clause in own)
            yield element("section", heading, element("ul", *items, class_="entries"))


def _entry(clause: Clause) -> Html:
    searched = (
        clause.id,
        clause.statement,
        CHAPTERS[clause.chapter],
        *map(str, clause.sources),
        clause.implementation,
    )
    statement = [inline(clause.statement)]
    if clause.versions != VERSIONS:
        statement += [Html(" "), chapters.badges(clause)]
    return element(
        "li",
        link(site.address(clause), clause.id),
        element("span", *statement),
        data_text=" ".join(searched).lower(),
        data_versions=" ".join(clause.versions),
    )


def _data_pages(clauses: Mapping[str, Clause]) -> list[Page]:
    rules = site.linker(clauses, "spec.rulesets")
    rows = site.linker(clauses, "spec.workloads")
    ruleset = Page(
        "table-rulesets.html",
        "Constants of the versions",
        TABLES,
        join(
            [
                element("p", "Highlighted rows are not the same in all versions."),
                values.ruleset_table(rules),
            ]
        ),
        "The rulesets side by side, differences highlighted.",
    )
    bases = workloads.names("base")
    parts = [
        element("p", "The rows of the current version; below, what earlier versions have instead."),
        values.workload_overview(),
        element("h2", "What differs between versions"),
        values.version_table(),
    ]
    for base in bases:
        parts.append(element("h2", base, id=base))
        parts.append(
            element("p", "Marked values differ from those of the base workload, the first column.")
        )
        parts.append(values.variants_table(base, rows))
    number = len(workloads.names("variant"))
    table = Page(
        "table-workloads.html",
        "Workloads and variants",
        TABLES,
        join(parts, "\n"),
        f"The {len(bases)} base workloads and their {number} variants.",
    )
    rates = Page(
        "table-dropout.html",
        "Dropout defaults",
        TABLES,
        join(
            [
                element(
                    "p",
                    "Default rate by the place where it acts; a fixed rate is reached by no "
                    "argument, an auxiliary one had an argument of its own before v0.6.",
                ),
                values.dropout_table(),
            ]
        ),
        "Default rate of every kind of dropout.",
    )
    return [ruleset, table, rates, _tier_page(rows)]


def _tier_page(links: Linker) -> Page:
    parts = [
        element(
            "p",
            "The mini tier shares all code and all rules with the full one; it changes "
            "sizes, data, budgets and targets. Highlighted rows differ.",
        ),
        values.mini_targets_table(),
    ]
    for base in values.mini_bases():
        parts += [element("h2", base, id=base), values.tier_table(base, links)]
    return Page(
        "table-tiers.html",
        "Tiers",
        TABLES,
        join(parts, "\n"),
        "The full and the mini tier of a workload.",
    )


def _diagram_page() -> Page:
    content = [
        element("h2", "The clock", id="clock"),
        element(
            "p",
            "Which event may come directly after which, asked of ",
            element("code", "spec.timing.may_follow"),
            " for every pair.",
        ),
        diagrams.clock(),
        diagrams.clock_table(),
        element("h2", "A run", id="run"),
        element(
            "p",
            "What happens from one step to the next or to the end, found by calling the functions "
            "of ",
            element("code", "spec.evaluation"),
            " with every combination of their inputs from every state that can be reached.",
        ),
        diagrams.run(),
    ]
    return Page(
        "diagrams.html",
        "Diagrams of clock and run",
        TABLES,
        join(content, "\n"),
        "State diagrams, explored from the code.",
    )
