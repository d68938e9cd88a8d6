"""The frame of every page: navigation, addresses of clauses, and links in running text."""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from spec.book.elements import Html, element, join, link, text
from spec.book.markup import Linker
from spec.clauses import CHAPTERS, Clause
from spec.sentences_table import Sentence

ASSETS: tuple[str, ...] = ("book.css", "book.js", "book.svg")
"""Files that are copied into the book as they are."""

_CLAUSE_ID = re.compile(r"\b[A-Z]{3,5}-[1-9][0-9]*\b")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the book.

    Attributes:
      file: its name in the directory of the book.
      title: heading and title.
      group: heading of the navigation that it stands under.
      content: what is below the heading.
      about: one sentence for the first page.
      chapter: prefix of the clauses of a chapter, empty for other pages.
    """

    file: str
    title: str
    group: str
    content: Html
    about: str = ""
    chapter: str = ""


def chapter_file(chapter: str) -> str:
    """File of a chapter, from its title."""
    return f"{CHAPTERS[chapter].lower().replace(' ', '-')}.html"


def address(clause: Clause) -> str:
    """Where a clause stands."""
    return f"{chapter_file(clause.chapter)}#{clause.id}"


def sentence_anchor(sentence: Sentence) -> str:
    """Where a sentence stands on the page of all sentences, such as ``rules-v0.6-12``."""
    return f"{sentence.document.lower().replace(' ', '-')}-{sentence.number}"


def clause_link(clause: Clause) -> Html:
    """A link to a clause, whose statement shows when it is pointed at."""
    return link(address(clause), clause.id, title=clause.statement)


def linker(clauses: Mapping[str, Clause], module: str = "") -> Linker:
    """Makes links of clause ids, and of names whose code is a clause.

    Args:
      clauses: all clauses by id.
      module: dotted name of the module in which names without dots are looked up.

    Returns:
      A linker for :mod:`spec.book.markup`.
    """
    targets: dict[str, Clause] = {}
    for clause in clauses.values():
        targets.setdefault(clause.implementation, clause)

    def make(name: str, kind: str) -> Html:
        if kind == "code":
            target = clauses.get(name) or targets.get(name) or targets.get(f"{module}.{name}")
            code = element("code", name)
            return link(address(target), code, title=target.statement) if target else code
        parts: list[Html] = []
        end = 0
        for match in _CLAUSE_ID.finditer(name):
            if match[0] in clauses:
                parts += [text(name[end : match.start()]), clause_link(clauses[match[0]])]
                end = match.end()
        parts.append(text(name[end:]))
        return join(parts)

    return make


def assemble(page: Page, pages: Sequence[Page], clauses: Mapping[str, Clause]) -> str:
    """The whole text of a page.

    Args:
      page: the page.
      pages: all pages, for the navigation.
      clauses: all clauses by id.

    Returns:
      An HTML document.
    """
    first = page is pages[0]
    return _template().substitute(
        title=text(page.title if first else f"{page.title} – AlgoPerf rule book"),
        content=join([element("h1", page.title), page.content], "\n"),
        navigation=_navigation(page, pages, clauses),
        footer=join(
            [
                "Rendered from the code of the rules by ",
                element("code", "python -m spec book"),
                "; every statement, table and diagram is what the code says.",
            ]
        ),
    )


def asset(name: str) -> bytes:
    """Content of one of :data:`ASSETS` or of the template."""
    return (resources.files("spec.book") / "assets" / name).read_bytes()


@functools.cache
def _template() -> string.Template:
    return string.Template(asset("page.html").decode())


def _navigation(page: Page, pages: Sequence[Page], clauses: Mapping[str, Clause]) -> Html:
    groups: dict[str, list[Page]] = {}
    for other in pages:
        groups.setdefault(other.group, []).append(other)
    parts: list[Html] = []
    for group, members in groups.items():
        parts.append(element("h2", group))
        items = []
        for other in members:
            here = other is page
            item = [link(other.file, other.title, aria_current="page" if here else None)]
            if here and page.chapter:
                own = [clause for clause in clauses.values() if clause.chapter == page.chapter]
                ids = (link(f"#{clause.id}", clause.id) for clause in own)
                item.append(element("div", *ids, class_="ids"))
            items.append(element("li", *item))
        parts.append(element("ul", *items))
    return join(parts, "\n")
