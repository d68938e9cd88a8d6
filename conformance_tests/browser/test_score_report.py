"""The score report as a reader sees it: it loads, sorts, says what is pointed at, and prints."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from algoperf_ref.score import ScoreReport
from algoperf_ref.score.page import profile_picture, render
from conformance_tests.score.test_leaderboard import scored
from conformance_tests.support import browser as support
from conformance_tests.support.pages import parse

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report() -> ScoreReport:
    return scored()


@pytest.fixture(scope="module")
def file(report: ScoreReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(render(report))
    return path


def column(page: Page, table: str, number: int) -> list[str]:
    """The texts of a column of a table, as they stand now."""
    texts = page.locator(f"{table} tbody tr > :nth-child({number})").all_inner_texts()
    return [" ".join(text.split()) for text in texts]


def brightness(page: Page, element: str, colour: str) -> float:
    """Of a computed colour, from 0 for black to 255 for white."""
    value = page.eval_on_selector(element, f"node => getComputedStyle(node).{colour}")
    numbers = [float(number) for number in re.findall(r"[\d.]+", value)[:3]]
    return sum(numbers) / 3


def at(page: Page, plot: str, x: float, y: float) -> tuple[float, float]:
    """Where a place of the axes of a drawing is in the window."""
    place = page.eval_on_selector(
        plot,
        """(svg, [x, y]) => {
            const on = (text, value) => {
                const [start, end, low, high] = text.split(' ').map(Number);
                return start + (value - low) / (high - low) * (end - start);
            };
            svg.scrollIntoView({block: 'center'});
            const point = new DOMPoint(on(svg.dataset.x, x), on(svg.dataset.y, y));
            const place = point.matrixTransform(svg.getScreenCTM());
            return [place.x, place.y];
        }""",
        [x, y],
    )
    return place[0], place[1]


@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_without_a_complaint_or_a_request(
    chromium: Browser, file: Path, dark: bool
) -> None:
    with support.page(chromium, dark=dark) as (page, complaints):
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        assert requests == [file.as_uri()]
        for heading in page.locator("h2").all():
            assert heading.is_visible()
        assert page.locator(".curves figure").count() == 14
        paper, ink = (brightness(page, "body", name) for name in ("backgroundColor", "color"))
        assert (paper < 60) if dark else (paper > 200)
        assert abs(paper - ink) > 150
        # Every line stands out from the paper.
        behind = brightness(page, ".profile", "backgroundColor")
        for number in range(6):
            line = f".profile polyline[data-series='{number}']"
            assert abs(brightness(page, line, "stroke") - behind) > 60
        assert complaints.all() == []


def test_the_browser_reads_the_elements_as_they_are_written(chromium: Browser, file: Path) -> None:
    # A browser moves, closes or drops what the grammar of HTML does not allow.
    with support.page(chromium) as (page, _):
        page.context.route("**/*.js", lambda route: route.abort())
        text = file.read_text(encoding="utf-8")
        plain = re.sub(r"<script>.*?</script>", "<script></script>", text, flags=re.DOTALL)
        other = file.with_name("plain.html")
        other.write_text(plain, encoding="utf-8")
        page.goto(other.as_uri())
        read = page.evaluate("() => [...document.querySelectorAll('*')].map(n => n.localName)")
        written = [node.tag for node in parse(text).all()]
        assert [name.lower() for name in read] == written


def test_the_table_sorts_by_every_column(
    chromium: Browser, file: Path, report: ScoreReport
) -> None:
    names = list(report.scores)
    with support.page(chromium) as (page, complaints):
        page.goto(file.as_uri())
        assert column(page, "#ranking", 2) == names
        buttons = page.locator("#ranking thead .sort")
        buttons.filter(has_text="submission").click()
        assert column(page, "#ranking", 2) == sorted(names)
        buttons.filter(has_text="submission").click()
        assert column(page, "#ranking", 2) == sorted(names, reverse=True)
        head = page.locator("#ranking thead th")
        assert head.nth(1).get_attribute("aria-sort") == "descending"
        # A first click on a score puts the best on top; by keyboard as well.
        buttons.filter(has_text="score").focus()
        page.keyboard.press("Enter")
        assert column(page, "#ranking", 2) == names
        page.keyboard.press("Enter")
        assert column(page, "#ranking", 2) == names[::-1]
        assert head.nth(1).get_attribute("aria-sort") is None
        buttons.filter(has_text="rank").first.click()
        assert column(page, "#ranking", 1) == ["1", "2", "3", "4", "5", "6"]
        assert complaints.all() == []


def test_missing_times_come_last_both_ways(
    chromium: Browser, file: Path, report: ScoreReport
) -> None:
    times = {name: own.get("ogbg", math.inf) for name, own in report.times.items()}
    number = 2 + report.scored_workloads.index("ogbg")
    with support.page(chromium) as (page, _):
        page.goto(file.as_uri())
        button = page.locator("#times table").first.locator(f"thead th:nth-child({number}) button")
        for sign in (1, -1):
            button.click()
            shown = [n for n in column(page, "#times .wide:nth-of-type(1)", 1) if n in times]
            finite = sorted(
                (n for n in times if times[n] < math.inf), key=lambda n: sign * times[n]
            )
            assert shown[: len(finite)] == finite
            assert set(shown) == set(times)


def test_pointing_at_the_profile_says_who_and_where(
    chromium: Browser, file: Path, report: ScoreReport
) -> None:
    with support.page(chromium) as (page, complaints):
        page.goto(file.as_uri())
        tip = page.locator("#tip")
        assert not tip.is_visible()
        for name in ("baseline", "nadamw_sequential", "sinv6"):
            # In the middle of the widest step of each that no other one shares.
            steps = report.leaderboard.steps(name)
            others = [other for other in report.scores if other != name]

            def share(other: str, tau: float) -> float:
                return max(s for t, s in report.leaderboard.steps(other) if t <= tau)

            taus = [1 + 3 * k / 300 for k in range(300)]
            tau = next(
                t
                for t in taus
                if share(name, t) not in [share(o, t) for o in others]
                and all(abs(t - step) > 0.004 for step, _ in steps)
            )
            x, y = at(page, "[data-plot=profile]", tau, share(name, tau))
            page.mouse.move(x, y)
            assert tip.is_visible()
            first, second = tip.inner_text().split("\n")
            assert first == name
            count = round(share(name, tau) * 8)
            assert re.fullmatch(rf"τ = [\d.]+: {count} of 8 workloads \([\d.]+\)", second)
            assert float(second[4:8]) == pytest.approx(tau, abs=0.011)
            faded = page.locator("[data-plot=profile] polyline.faded").count()
            assert faded == len(others)
        page.mouse.move(2, 2)
        assert not tip.is_visible()
        assert page.locator(".faded, .cross, .spot").count() == 0
        assert complaints.all() == []


def test_the_profile_can_be_walked_along_by_keyboard(chromium: Browser, file: Path) -> None:
    with support.page(chromium) as (page, _):
        page.goto(file.as_uri())
        page.locator("[data-plot=profile]").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#tip").inner_text().startswith("schedule_free_adamw\nτ = 1.05")
        page.keyboard.press("ArrowDown")
        assert page.locator("#tip").inner_text().startswith("baseline\nτ = 1.05")
        page.keyboard.press("Tab")
        assert not page.locator("#tip").is_visible()


def test_pointing_at_a_learning_curve_says_whose_it_is(chromium: Browser, file: Path) -> None:
    with support.page(chromium) as (page, complaints):
        page.goto(file.as_uri())
        plot = page.locator(".curves figure").filter(has_text="ogbg").first.locator("svg")
        plot.scroll_into_view_if_needed()
        hit = plot.locator("circle.hit").first.bounding_box()
        assert hit is not None
        page.mouse.move(hit["x"] + hit["width"] / 2, hit["y"] + hit["height"] / 2)
        text = page.locator("#tip").inner_text()
        assert re.match(r"\w+, study \d\n[\d.]+ at [\d.]+ h\nbest [\d.]+, target after", text)
        assert complaints.all() == []


def test_a_submission_can_be_hidden_in_the_learning_curves(chromium: Browser, file: Path) -> None:
    with support.page(chromium) as (page, _):
        page.goto(file.as_uri())
        own = page.locator(".curves polyline[data-series='1']")
        button = page.get_by_role("button", name="baseline", exact=True)
        assert own.first.evaluate("node => getComputedStyle(node).display") != "none"
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
        assert own.first.evaluate("node => getComputedStyle(node).display") == "none"
        button.click()
        assert own.first.evaluate("node => getComputedStyle(node).display") != "none"


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_it_is_not_wider_than_the_window(chromium: Browser, file: Path, width: int) -> None:
    with support.page(chromium, width=width) as (page, _):
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True])
def test_it_prints_on_white_and_whole(chromium: Browser, file: Path, dark: bool) -> None:
    # 718 points of a screen are what A4 has between margins of a centimetre.
    with support.page(chromium, dark=dark, width=718) as (page, complaints):
        page.goto(file.as_uri())
        page.emulate_media(media="print", color_scheme="dark" if dark else "light")
        assert not page.locator("header.top").is_visible()
        assert brightness(page, "body", "backgroundColor") == 255
        assert brightness(page, "body", "color") == 0
        rights = page.evaluate(
            "[...document.querySelectorAll('table, svg')].map(n => n.getBoundingClientRect().right)"
        )
        assert max(rights) <= 718 + 1
        assert page.pdf(format="A4", print_background=False).startswith(b"%PDF")
        assert complaints.all() == []


def test_every_text_of_the_picture_is_inside_of_it(
    chromium: Browser, report: ScoreReport, tmp_path: Path
) -> None:
    picture = tmp_path / "profile.svg"
    picture.write_bytes(profile_picture(report))
    for dark in (False, True):
        with support.page(chromium, dark=dark) as (page, complaints):
            page.goto(picture.as_uri())
            assert page.evaluate(
                """() => {
                    const box = document.documentElement.getBoundingClientRect();
                    return [...document.querySelectorAll('text')].every(text => {
                        const own = text.getBoundingClientRect();
                        return own.left >= box.left && own.right <= box.right
                            && own.top >= box.top && own.bottom <= box.bottom;
                    });
                }"""
            )
            paper = brightness(page, ".paper", "fill")
            assert (paper < 60) if dark else (paper > 200)
            assert complaints.all() == []
