"""``report.html`` and the pictures of the profile, read without a browser."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.score import ScoreReport, outputs, png
from algoperf_ref.score import __main__ as command
from algoperf_ref.score.page import curves, profile_picture, render, rules
from algoperf_ref.score.page.drawing import Scale, apart, clean, round_ticks
from conformance_tests.support.pages import Node, parse
from spec.clauses import VERSIONS, load_all
from spec.rulesets import Tuning

from .conftest import WriteTrial
from .samples import BELOW, TARGET, hit_at, scored
from .test_leaderboard import COMPACT
from .test_leaderboard import scored as leaderboard

HOSTILE = (
    "<script>alert(1)</script>",
    "</style><b>",
    "' onload='x",
    '" onclick="x',
    "&amp;&lt;",
    "${title} $x^2$ {0} %s",
    "_hidden",
    "snowman \N{SNOWMAN} 雪",
    "a\x01b\x7f",
    "x" * 120,
)


def page(report: ScoreReport) -> Node:
    return parse(render(report).decode())


@pytest.fixture(scope="module")
def demo() -> ScoreReport:
    return leaderboard()


@pytest.fixture(scope="module")
def read(demo: ScoreReport) -> Node:
    return page(demo)


def cells(node: Node, id: str, number: int = 0) -> list[list[str]]:
    return node.one(id).all("table")[number].rows()


# The page.


def test_the_page_is_one_file_of_modest_size_that_loads_nothing(demo: ScoreReport) -> None:
    content = render(demo)
    assert len(content) < 2_000_000
    text = content.decode()
    assert not re.findall(r"https?:|//[a-z]|@import|url\((?!#)", text)
    node = parse(text)
    assert not node.all("link", "img", "iframe", "object", "base")
    assert all(address.startswith("#") for address in node.values("href", "src", "action"))
    (policy,) = [
        meta.attributes["content"]
        for meta in node.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_the_same_logs_give_the_same_bytes(demo: ScoreReport, tmp_path: Path) -> None:
    again = leaderboard()
    assert render(again) == render(demo)
    assert profile_picture(again) == profile_picture(demo)
    assert png.profile_picture(again) == png.profile_picture(demo)


def test_ids_are_unique_and_links_lead_somewhere(read: Node) -> None:
    ids = read.values("id")
    assert len(set(ids)) == len(ids)
    assert {address[1:] for address in read.values("href")} <= set(ids)
    for node in read.all("svg"):
        for reference in node.values("clip-path"):
            assert reference.removeprefix("url(#").removesuffix(")") in ids


def test_the_ranked_table_has_the_scores(demo: ScoreReport, read: Node) -> None:
    head, *rows = cells(read, "ranking")
    assert head[:4] == ["rank", "submission", "score", "95 % interval"]
    assert [row[1] for row in rows] == list(demo.scores)
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    for row, (name, value) in zip(rows, demo.scores.items(), strict=True):
        assert row[2] == f"{value:.4f}"
        assert demo.bootstrap is not None
        assert row[3] == "{:.4f} to {:.4f}".format(*demo.bootstrap.interval(name))
    table = read.one("ranking").all("tbody")[0]
    values = [row.all("td")[1].attributes["data-value"] for row in table.all("tr")]
    assert [float(value or "") for value in values] == list(demo.scores.values())


def test_the_profile_has_every_step(demo: ScoreReport, read: Node) -> None:
    lines = {line.attributes["data-name"]: line for line in read.one("profile").all("polyline")}
    assert set(lines) == set(demo.scores)
    for name, line in lines.items():
        numbers = [float(text) for text in (line.attributes["data-steps"] or "").split()]
        found = list(zip(numbers[::2], numbers[1::2], strict=True))
        assert np.allclose(found, demo.leaderboard.steps(str(name)), rtol=1e-5)


def test_the_heat_map_has_every_time(demo: ScoreReport, read: Node) -> None:
    head, *rows = cells(read, "times")
    assert tuple(head[1:]) == demo.scored_workloads
    others = cells(read, "times", 1)
    held_out = [f"{name} (held-out)" for name in demo.settings.plan.held_out]
    assert others[0][1:] == held_out
    grid = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    assert grid["schedule_free_adamw"]["criteo1tb"] == "1.60 h1.00 ×"
    assert grid["sinv6"]["criteo1tb"] == "not run"
    assert grid["adamg"]["ogbg"] == "missed"
    expected = "6.95 h4.17 ×no credit: too slow, held-out target missed"
    assert grid["sinv6"]["ogbg"] == expected


def test_every_workload_has_curves_and_its_target(demo: ScoreReport, read: Node) -> None:
    figures = read.one("curves").all("figure")
    names = [*demo.scored_workloads, *demo.settings.plan.held_out]
    assert [figure.all("strong")[0].text for figure in figures] == names
    for name, figure in zip(names, figures, strict=True):
        studies = sum(len(own[name]) for own in demo.study_times.values() if name in own)
        assert len(figure.all("polyline")) == studies
        (drawing,) = figure.all("svg")
        classes = [line.attributes.get("class") for line in drawing.all("line")]
        assert classes.count("target") == 1
        hits = [c for c in drawing.all("circle") if "hit" in (c.attributes["class"] or "")]
        times = [own.get(name, {}).values() for own in demo.study_times.values()]
        assert len(hits) == sum(math.isfinite(time) for own in times for time in own)


def test_assumptions_and_all_warnings_are_there(demo: ScoreReport, read: Node) -> None:
    items = [item.text for item in read.one("assumptions").all("li")]
    assert items == list(demo.assumptions)
    rows = cells(read, "warnings")[1:]
    assert [(row[2], row[3]) for row in rows] == [(f.path, f.text) for f in demo.findings]
    assert demo.findings


def test_warnings_that_the_terminal_leaves_out_are_there_too(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("a", hit_at(30))
    report = scored(tmp_path, num_studies=2)
    hidden = [finding for finding in report.findings if not finding.kind.shown]
    assert hidden
    shown = [row[3] for row in cells(page(report), "warnings")[1:]]
    assert shown == [finding.text for finding in report.findings]


def test_the_chances_and_the_sets_without_one_are_there(demo: ScoreReport, read: Node) -> None:
    assert demo.bootstrap is not None
    chances = cells(read, "uncertainty")[1:]
    assert [row[0] for row in chances] == list(demo.scores)
    assert chances[0][1:3] == ["80 %", "20 %"]
    rows = cells(read, "uncertainty", 1)[1:]
    for row, one in zip(rows, demo.without_one, strict=True):
        assert row[0] == one.removed
        for text, name in zip(row[1:], demo.scores, strict=True):
            if name == one.removed:
                assert text == "–"
            else:
                ranks = one.board.ranks
                assert text.startswith(f"{one.board.scores[name]:.4f}")
                assert text.endswith(f"rank {ranks[name]}")


def test_published_submissions_and_ones_own_are_told_apart() -> None:
    report = leaderboard(rules=None, tuning=None, against="v0.5-self", include="baseline,adamg")
    node = page(report)
    head, *rows = cells(node, "ranking")
    assert head[-2:] == ["rank before", "score before"]
    marked = {row[1] for row in rows if row[1].endswith("yours")}
    assert marked == {"baseline (yours)yours", "adamg (yours)yours"}
    # The curves are those of the logs: lines are of the submissions with that mark.
    names = {line.attributes["data-name"] for line in node.one("curves").all("polyline")}
    assert all(str(name).split(",")[0].endswith(" (yours)") for name in names)


def test_without_resampling_the_page_says_so(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("a", hit_at(30))
    node = page(scored(tmp_path, num_studies=1))
    assert "interval" not in cells(node, "ranking")[0]
    assert "were not resampled" in node.one("uncertainty").text
    assert not node.one("uncertainty").all("table")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(5.0, math.nan)],
        [(5.0, math.inf), (6.0, TARGET)],
        [(5.0, BELOW)],
        [(1e-3, BELOW), (1e9, 1e300)],
    ],
)
def test_odd_logs_are_drawn_all_the_same(
    tmp_path: Path, write_trial: WriteTrial, rows: list[Any]
) -> None:
    write_trial("a", rows)
    report = scored(tmp_path, num_studies=1)
    node = page(report)
    assert len(node.one("warnings").all("tr")) == len(report.findings) + 1
    assert "nan" not in " ".join(node.values("points", "x", "y", "x1", "y1", "cx", "cy"))
    assert png.profile_picture(report).startswith(b"\x89PNG")


# Names.


def test_hostile_names_stay_text(tmp_path: Path, write_trial: WriteTrial) -> None:
    for number, name in enumerate(HOSTILE):
        # An experiment may not have every name that a directory can have.
        place = write_trial("plain", hit_at(30 + number)).parents[1]
        place.rename(tmp_path / name.replace("/", "\N{FRACTION SLASH}"))
    report = scored(tmp_path, num_studies=1)
    assert len(report.scores) == len(HOSTILE)
    node = page(report)
    assert len(node.all("script")) == len(node.all("style")) == 1
    assert not node.all("b")
    assert not {name for n in node.all() for name in n.attributes if name.startswith("on")}
    names = [row[1] for row in cells(node, "ranking")[1:]]
    assert names == [" ".join(clean(name).split()) for name in report.scores]
    picture = profile_picture(report)
    root = ElementTree.fromstring(picture)
    found = {line.get("data-name") for line in root.iter() if line.tag.endswith("polyline")}
    assert found == {clean(name) for name in report.scores}
    assert png.profile_picture(report).startswith(b"\x89PNG")


def test_a_name_that_is_no_unicode_is_written(tmp_path: Path, write_trial: WriteTrial) -> None:
    place = write_trial("plain", hit_at(30)).parents[1]
    try:
        place.rename(tmp_path / "caf\udce9")
    except (OSError, UnicodeError):
        pytest.skip("this file system has Unicode names only")
    outputs.write(scored(tmp_path, num_studies=1), tmp_path / "out")
    assert "caf\\udce9" in (tmp_path / "out" / "scores.csv").read_text()
    assert "caf\N{REPLACEMENT CHARACTER}" in (tmp_path / "out" / "report.html").read_text()


# Rules applied.


@pytest.mark.parametrize("tuning", list(Tuning))
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_names_its_clauses(
    tmp_path: Path, write_trial: WriteTrial, version: str, tuning: Tuning
) -> None:
    write_trial("a", hit_at(30))
    options: list[dict[str, Any]] = [{}]
    options += [{"as_published": True}] if version != "paper2023" else [{"both_targets": True}]
    for more in options:
        report = scored(tmp_path, rules=version, tuning=tuning, num_studies=1, **more)
        named = {id for _, _, ids in rules.applied(report) for id in ids}
        clauses = load_all()
        assert named <= set(clauses)
        shown = {node.text for node in page(report).one("rules").all("strong")}
        assert shown == {id for id in named if version in clauses[id].versions}
        published = "as_published" in more
        assert ("SCORE-9" in shown) is not published
        assert ("SCORE-10" in shown) is published
        assert ("SCORE-4" in shown) is (version == "paper2023" and tuning is Tuning.EXTERNAL)
        # The paper's conditions are on both targets, which the default does not follow.
        if report.settings.plan.held_out:
            assert ("HELD-7" in shown) is (version != "paper2023" or "both_targets" in more)


# Pictures.


def test_the_picture_is_a_drawing_of_its_own(demo: ScoreReport) -> None:
    root = ElementTree.fromstring(profile_picture(demo))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for name, value in demo.scores.items():
        assert f"{name} {value:.3f}" in texts
    assert "prefers-color-scheme: dark" in (root.findtext("{*}style") or "")


def test_without_matplotlib_one_line_says_so(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from algoperf_ref.score.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [str(COMPACT), "--rules", "v0.5", "--ruleset", "self", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == (
        "  performance_profile.png is left out: it needs matplotlib "
        "(pip install 'algoperf-ref[report]')"
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert {"performance_profile.svg", "report.html"} <= names
    assert "performance_profile.png" not in names


def test_no_report_leaves_out_page_and_pictures(tmp_path: Path) -> None:
    code = (
        "import sys; from algoperf_ref.score.__main__ import main; main(sys.argv[1:])\n"
        "late = ('matplotlib', 'spec.book', 'algoperf_ref.score.page')\n"
        "sys.exit([name for name in late if name in sys.modules] or 0)"
    )
    arguments = [str(COMPACT), "--rules", "v0.5", "--ruleset", "self", "--no-report"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".json"}


# Drawing.


def test_a_curve_keeps_its_hit_and_its_extremes_when_it_is_thinned(
    tmp_path: Path, write_trial: WriteTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MAX_CURVE_POINTS", 12)
    rows = [(float(second + 1), BELOW + 0.0001 * (second % 7)) for second in range(100)]
    rows[33], rows[57], rows[71] = (34.0, TARGET), (58.0, TARGET + 0.1), (72.0, 0.01)
    write_trial("a", rows)
    (line,) = page(scored(tmp_path, num_studies=1)).one("curves").all("polyline")
    points = [p.split(",") for p in (line.attributes["points"] or "").split()]
    assert 12 <= len(points) <= 16
    xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
    assert xs == sorted(xs)
    # The axis of times goes from 0 to the last one.
    place = Scale(0, 100, curves._LEFT, curves._RIGHT)
    for row in (0, 33, 57, 71, 99):
        assert min(abs(x - place(rows[row][0])) for x in xs) <= 0.051
    assert xs[ys.index(min(ys))] == pytest.approx(place(58), abs=0.051)
    assert xs[ys.index(max(ys))] == pytest.approx(place(72), abs=0.051)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (1, 4), (0.1232, 0.1271), (0, 64.3), (-3, 5e6), (1e-9, 3e-9)]
)
def test_ticks_are_round_and_in_the_range(low: float, high: float) -> None:
    ticks = round_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    gaps = np.diff([tick.value for tick in ticks])
    assert np.allclose(gaps, gaps[0])
    assert f"{gaps[0]:.0e}"[0] in "125"
    for tick in ticks:
        assert low - 1e-9 * (high - low) <= tick.value <= high + 1e-9 * (high - low)
        assert float(tick.text) == pytest.approx(tick.value, rel=1e-9, abs=1e-15)


def test_labels_are_moved_apart_and_stay_in_order() -> None:
    assert apart([10, 10, 10, 90], 5, 0, 100) == [10, 15, 20, 90]
    assert apart([98, 99, 100], 5, 0, 100) == [90, 95, 100]
    crowded = apart([50.0] * 30, 5, 0, 100)
    assert min(np.diff(crowded)) >= 5
    assert crowded[0] >= 0
    assert apart([], 5, 0, 100) == []


def test_the_command_names_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(COMPACT), "--rules", "v0.5", "--ruleset", "self", "--output", str(tmp_path)]
    assert command.main(arguments) == 0
    assert f"  {tmp_path / 'report.html'}" in capsys.readouterr().out.splitlines()


def test_names_cannot_command_the_terminal(
    tmp_path: Path, write_trial: WriteTrial, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("\x1b[31mred", "caf\udce9")):
        place = write_trial("plain", hit_at(30 + number)).parents[1]
        try:
            place.rename(tmp_path / name)
        except (OSError, UnicodeError):
            pytest.skip("this file system has plain names only")
    arguments = [str(tmp_path), "--tier", "mini", "--num_studies", "1", "--no_output"]
    assert command.main(arguments) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31mred" in out
    assert "caf\\udce9" in out
    assert "\x1b" not in out
    assert command.main([str(tmp_path), "--include", "\x1b"]) == 2
    assert "\x1b" not in capsys.readouterr().err
