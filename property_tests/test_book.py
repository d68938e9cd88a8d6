"""Rendering keeps every character and lets none of it become markup."""

from __future__ import annotations

import inspect
import io
import pkgutil
import re
import tokenize
from importlib import import_module

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import spec
from conformance_tests.support.pages import parse
from spec.book import markup, site
from spec.book.code import find, highlight
from spec.book.elements import Html, element, text
from spec.clauses import load_all

MARKUP_TAGS = {"p", "ul", "li", "dl", "dt", "dd", "pre", "code", "a"}

# Texts that are likely to look like markup of some kind.
PIECES = st.sampled_from(
    ["``", "`", ":func:`", "<", "&", "&lt;", "<b>", '"', "'", "::", ":", "-", ">>>", "\n", "\n\n",
     "  ", "    ", "Args:", "Returns:", "Raises:", "Attributes:", "name: ", "TIM-1", "TIM-99",
     "**x"]
)  # fmt: skip
DOCSTRINGS = st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join)


def kept(content: str) -> str:
    """What must not get lost: everything but space, and what is markup by itself."""
    return re.sub(r"[\s`:-]", "", content)


@given(DOCSTRINGS)
def test_a_docstring_keeps_its_text_and_brings_no_tags(docstring: str) -> None:
    assume(not re.search(r":[a-z]+:`", docstring))  # names of roles go, see below
    rendered = parse(str(markup.render(docstring)))
    assert kept(rendered.text) == kept(inspect.cleandoc(docstring))
    assert {node.tag for node in rendered.all()} <= MARKUP_TAGS


@given(DOCSTRINGS)
def test_links_change_no_text(docstring: str) -> None:
    linked = parse(str(markup.render(docstring, site.linker(load_all(), "spec.timing"))))
    plain = parse(str(markup.render(docstring)))
    assert linked.text == plain.text
    for link in linked.all("a"):
        assert re.fullmatch(r"[a-z-]+\.html#[A-Z]+-\d+", link.attributes["href"] or "")


NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
PROSE = st.text(st.sampled_from("abc <>&\"'."), min_size=1, max_size=40).map(
    lambda content: " ".join(content.split())
)


@given(st.sampled_from(markup.SECTIONS), st.lists(st.tuples(NAMES, PROSE.filter(bool)), min_size=1))
def test_the_entries_of_a_section_come_back(title: str, entries: list[tuple[str, str]]) -> None:
    lines = [f"  {name}: {prose}" for name, prose in entries]
    docstring = "\n".join(["What it is.", "", f"{title}:", *lines])
    found = markup.section(docstring, title)
    assert [(item.name, item.prose) for item in found] == entries
    if title != "Returns":
        rendered = parse(str(markup.render(docstring)))
        assert [node.text for node in rendered.all("dt")] == [name for name, _ in entries]
        assert [node.text for node in rendered.all("dd")] == [prose for _, prose in entries]


@given(NAMES, st.sampled_from(["func", "class", "data", "mod", "meth"]), PROSE)
def test_a_role_is_shown_as_the_name_that_it_refers_to(name: str, role: str, prose: str) -> None:
    rendered = parse(str(markup.inline(f"{prose}:{role}:`{name}`")))
    assert rendered.text == f"{prose}{name}"
    assert [node.text for node in rendered.all("code")] == [name]


@given(st.text())
def test_text_of_elements_and_attributes_comes_back(content: str) -> None:
    assume("\r" not in content)  # readers of HTML take it for a line feed
    node = parse(str(element("p", content, title=content))).all("p")[0]
    assert node.text == content
    assert node.attributes["title"] == content


@given(st.text())
def test_html_is_escaped_once(content: str) -> None:
    assert text(text(content)) == text(content)
    assert isinstance(text(content), Html)


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(spec.__path__)])
def test_highlighting_changes_no_character_of_a_module(module: str) -> None:
    source = inspect.getsource(import_module(f"spec.{module}"))
    rendered = parse(str(highlight(source)))
    assert rendered.text == source
    comments = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    marked = [n.text for n in rendered.all("span") if n.attributes["class"] == "comment"]
    assert marked == comments


@pytest.mark.parametrize("name", sorted({c.implementation for c in load_all().values()}))
def test_the_source_of_a_clause_is_found_where_the_book_says(name: str) -> None:
    found = find(name)
    module = import_module(
        found.file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
    )
    lines = inspect.getsource(module).splitlines()
    first, *others = found.source.splitlines()
    assert lines[found.line - 1].strip() == first
    end = found.line + len(others)
    assert [line.strip() for line in lines[found.line : end]] == [o.strip() for o in others]


@pytest.mark.parametrize("name", ["spec.timing.nothing", "spec.nothing.at_all", "nowhere.x"])
def test_a_name_that_leads_to_nothing_is_an_error(name: str) -> None:
    with pytest.raises(LookupError):
        find(name)
