"""The rule book as a reader sees it: every page opens offline, the search and the links work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance_tests.support import browser as support
from conformance_tests.support.pages import parse
from spec import book
from spec.book.publish import publish
from spec.clauses import load_all

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book")
    publish(book.files(), path)
    return path


def shown(page: Page) -> list[str]:
    """Ids of the clauses in the list of the first page that can be seen."""
    return page.locator("#clauses li:visible > a").all_inner_texts()


def brightness(page: Page, element: str, colour: str) -> float:
    """Of a computed colour, from 0 for black to 255 for white."""
    value = page.eval_on_selector(element, f"node => getComputedStyle(node).{colour}")
    numbers = [float(number) for number in re.findall(r"[\d.]+", value)[:3]]
    return sum(numbers) / 3


@pytest.mark.parametrize("dark", [False, True])
def test_every_page_opens_without_a_complaint(
    chromium: Browser, directory: Path, dark: bool
) -> None:
    files = sorted(directory.glob("*.html"))
    assert files
    with support.page(chromium, dark=dark) as (page, complaints):
        for file in files:
            page.goto(file.as_uri())
            assert page.locator("h1").count() == 1
            assert page.locator("h1").is_visible()
            assert complaints.all() == [], file.name


def test_the_browser_reads_the_elements_as_they_are_written(
    chromium: Browser, directory: Path
) -> None:
    # A browser moves, closes or drops what the grammar of HTML does not allow.
    with support.page(chromium) as (page, _):
        for file in sorted(directory.glob("*.html")):
            page.goto(file.as_uri())
            read = page.evaluate(
                "() => [...document.querySelectorAll('*')].map(n => n.tagName.toLowerCase())"
            )
            written = [node.tag for node in parse(file.read_text(encoding="utf-8")).all()]
            assert read == written, file.name


def test_a_page_with_an_error_is_complained_about(chromium: Browser, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text(
        '<!DOCTYPE html><title>x</title><img src="missing.png" alt="">'
        '<img src="https://example.org/x.png" alt=""><script>throw new Error("oh")</script>'
    )
    with support.page(chromium) as (page, complaints):
        page.goto(file.as_uri())
        page.wait_for_load_state("load")
        assert [error for error in complaints.errors if "oh" in error]
        assert [address for address in complaints.failed if "missing.png" in address]
        assert complaints.network == ["https://example.org/x.png"]


def test_the_search_filters_the_clauses(chromium: Browser, directory: Path) -> None:
    clauses = load_all()
    with support.page(chromium) as (page, complaints):
        page.goto((directory / "index.html").as_uri())
        assert shown(page) == list(clauses)
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "search"
        page.keyboard.type("Drop-5")
        assert shown(page) == ["DROP-5"]
        assert page.locator("#count").inner_text() == "1 clause"
        page.locator("#search").fill("validation TARGET")
        expected = [
            clause.id
            for clause in clauses.values()
            if all(
                word in " ".join([clause.statement, *map(str, clause.sources)]).lower()
                for word in ("validation", "target")
            )
        ]
        assert expected
        assert set(expected) <= set(shown(page)) < set(clauses)
        page.locator("#search").fill("no clause says this")
        assert shown(page) == []
        assert page.locator("#count").inner_text() == "0 clauses"
        assert complaints.all() == []


def test_the_list_can_be_limited_to_a_version(chromium: Browser, directory: Path) -> None:
    with support.page(chromium) as (page, _):
        page.goto((directory / "index.html").as_uri())
        page.locator("#version").select_option("paper2023")
        assert shown(page) == [
            clause.id for clause in load_all().values() if "paper2023" in clause.versions
        ]


def test_a_search_from_another_page_leads_to_the_first(chromium: Browser, directory: Path) -> None:
    with support.page(chromium) as (page, complaints):
        page.goto((directory / "timing.html").as_uri())
        page.locator("#search").fill("TIM-2")
        page.locator("#search").press("Enter")
        page.wait_for_url("**/index.html?q=TIM-2")
        assert shown(page) == ["TIM-2"]
        assert complaints.all() == []


def test_a_click_on_a_clause_leads_to_it(chromium: Browser, directory: Path) -> None:
    with support.page(chromium) as (page, complaints):
        page.goto((directory / "index.html").as_uri())
        page.locator("#clauses").get_by_role("link", name="TIM-2", exact=True).click()
        page.wait_for_url("**/timing.html#TIM-2")
        box = page.locator("#TIM-2").bounding_box()
        header = page.locator("header.top").bounding_box()
        assert box is not None
        assert header is not None
        # At the top of the window, and not hidden under the header that stays there.
        assert header["y"] + header["height"] <= box["y"] < 300
        assert complaints.all() == []


def test_the_source_unfolds_by_keyboard(chromium: Browser, directory: Path) -> None:
    with support.page(chromium) as (page, _):
        page.goto((directory / "timing.html").as_uri())
        details = page.locator("#TIM-2 details").first
        source = details.locator("pre")
        assert not source.is_visible()
        details.locator("summary").focus()
        page.keyboard.press("Enter")
        assert source.is_visible()
        assert "def may_follow" in source.inner_text()


def test_the_first_tab_leads_past_the_navigation(chromium: Browser, directory: Path) -> None:
    with support.page(chromium) as (page, _):
        page.goto((directory / "timing.html").as_uri())
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.parametrize("name", ["index.html", "timing.html", "diagrams.html"])
def test_the_colours_follow_the_reader(chromium: Browser, directory: Path, name: str) -> None:
    for dark in (False, True):
        with support.page(chromium, dark=dark) as (page, _):
            page.goto((directory / name).as_uri())
            paper = brightness(page, "body", "backgroundColor")
            ink = brightness(page, "body", "color")
            assert (paper < 60) if dark else (paper > 200)
            assert abs(paper - ink) > 150


@pytest.mark.parametrize("dark", [False, True])
def test_a_diagram_can_be_read_in_light_and_dark(
    chromium: Browser, directory: Path, dark: bool
) -> None:
    with support.page(chromium, dark=dark) as (page, _):
        page.goto((directory / "diagrams.html").as_uri())
        box = brightness(page, ".state rect", "fill")
        assert abs(box - brightness(page, ".state text.name", "fill")) > 150
        # Every text lies inside of its box.
        assert page.evaluate(
            """() => [...document.querySelectorAll('.state')].every(state => {
                const box = state.querySelector('rect').getBoundingClientRect();
                return [...state.querySelectorAll('text')].every(text => {
                    const inner = text.getBoundingClientRect();
                    return inner.left >= box.left && inner.right <= box.right
                        && inner.top >= box.top && inner.bottom <= box.bottom;
                });
            })"""
        )


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_no_page_is_wider_than_the_window(chromium: Browser, directory: Path, width: int) -> None:
    with support.page(chromium, width=width) as (page, _):
        for file in sorted(directory.glob("*.html")):
            page.goto(file.as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, file.name


def test_printing_shows_the_code_and_no_navigation(chromium: Browser, directory: Path) -> None:
    with support.page(chromium) as (page, _):
        page.goto((directory / "timing.html").as_uri())
        page.emulate_media(media="print")
        assert not page.locator("#contents").is_visible()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0
