"""The rule book: complete, sound HTML, without a link that leads nowhere, and written safely."""

from __future__ import annotations

import hashlib
import html
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from conformance_tests.support.pages import Node, Unbalanced, parse
from spec import __main__ as cli
from spec import book, deviations, diff, dropout, rulesets, tiers, workloads
from spec.book import code, pages
from spec.book.evidence import Evidence
from spec.book.publish import MANIFEST, publish, read_manifest
from spec.clauses import CHAPTERS, VERSIONS, BrokenRule, Clause, Source, load_all
from spec.sentences_table import load_sentences
from spec.text import UsageError

ROOT = Path(book.__file__).parents[2]


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    return book.files()


@pytest.fixture(scope="module")
def trees(files: Mapping[str, bytes]) -> Mapping[str, Node]:
    return {name: parse(files[name].decode()) for name in files if name.endswith(".html")}


def article(trees: Mapping[str, Node], clause: Clause) -> Node:
    """What the book says about a clause."""
    file = f"{CHAPTERS[clause.chapter].lower().replace(' ', '-')}.html"
    return trees[file].one(clause.id)


def row(tree: Node, *titles: str) -> list[str]:
    """The row of a table whose first cell begins with these words."""
    found = [
        cells for cells in tree.rows() if cells and cells[0].split()[: len(titles)] == [*titles]
    ]
    assert len(found) == 1, titles
    return found[0]


# --- sound pages


def test_every_link_and_every_file_that_a_page_needs_exists(
    files: Mapping[str, bytes], trees: Mapping[str, Node]
) -> None:
    ids = {name: set(tree.values("id")) for name, tree in trees.items()}
    checked = 0
    for name, tree in trees.items():
        for address in tree.values("href", "src", "action"):
            parts = urlsplit(address)
            assert not parts.scheme, f"{name}: {address}"
            assert not parts.netloc, f"{name}: {address}"
            target = unquote(parts.path) or name
            assert target in files, f"{name}: {address}"
            if parts.fragment:
                assert unquote(parts.fragment) in ids[target], f"{name}: {address}"
            checked += 1
    assert checked > len(load_all())


def test_nothing_is_loaded_from_elsewhere(files: Mapping[str, bytes]) -> None:
    style, script = files["book.css"].decode(), files["book.js"].decode()
    assert not re.search(r"url\(|@import|https?:", style)
    assert not re.search(r"https?:|\bfetch\b|XMLHttpRequest|\bimport\b", script)
    assert all(b"http-equiv" not in content for content in files.values())


def test_ids_are_unique_and_names_refer_to_them(trees: Mapping[str, Node]) -> None:
    for name, tree in trees.items():
        ids = tree.values("id")
        assert len(ids) == len(set(ids)), name
        for referred in tree.values("for", "aria-labelledby"):
            assert set(referred.split()) <= set(ids), name


def test_pages_are_html_with_language_title_and_headings_in_order(
    files: Mapping[str, bytes], trees: Mapping[str, Node]
) -> None:
    titles = []
    for name, tree in trees.items():
        assert files[name].startswith(b"<!DOCTYPE html>\n")
        assert tree.all("html")[0].attributes["lang"] == "en"
        titles += [node.text for node in tree.all("head")[0].all("title")]
        levels = [int(node.tag[1]) for node in tree.all("main")[0].all("h1", "h2", "h3", "h4")]
        assert levels[0] == 1, name
        assert levels.count(1) == 1, name
        steps = itertools.pairwise(levels)
        assert all(after <= before + 1 for before, after in steps), name
    assert len(set(titles)) == len(trees)


def test_regions_and_controls_have_a_name(trees: Mapping[str, Node]) -> None:
    for name, tree in trees.items():
        for node in tree.all():
            if node.attributes.get("role") == "region" or node.tag == "nav":
                assert node.attributes.get("aria-label"), name
            if node.tag == "svg":
                named = "aria-labelledby" in node.attributes
                assert named or node.attributes.get("aria-hidden") == "true", name
        labels = {node.attributes.get("for") for node in tree.all("label")}
        wrapped = [inner for label in tree.all("label") for inner in label.all("select")]
        for control in tree.all("input", "select"):
            assert control.attributes.get("id") in labels or control in wrapped, name


@pytest.mark.parametrize("bad", ["<p><b></p></b>", "<p>", "</p>", "<p/>", '<p id="a" id="b"></p>'])
def test_the_reader_of_these_tests_is_strict(bad: str) -> None:
    with pytest.raises(Unbalanced):
        parse(bad)


def test_every_page_leads_to_every_other(trees: Mapping[str, Node]) -> None:
    for tree in trees.values():
        navigation = tree.all("nav")[0]
        assert set(trees) <= {address.split("#")[0] for address in navigation.values("href")} | {""}
        current = [a for a in navigation.all("a") if a.attributes.get("aria-current") == "page"]
        assert len(current) == 1


# --- complete


def test_every_clause_stands_in_its_chapter_with_all_that_is_known(
    trees: Mapping[str, Node],
) -> None:
    for clause in load_all().values():
        node = article(trees, clause)
        text = " ".join(node.text.split())
        assert clause.statement.replace("`", "") in text
        assert all(str(source) in text for source in clause.sources)
        assert f"Versions{', '.join(clause.versions)}" in text
        assert f"Checked on{clause.checked_on}" in text
        assert clause.implementation in text


def test_every_clause_is_listed_on_the_first_page(trees: Mapping[str, Node]) -> None:
    listed = trees["index.html"].one("clauses").all("li")
    clauses = load_all()
    assert [item.all("a")[0].text for item in listed] == list(clauses)
    for item, clause in zip(listed, clauses.values(), strict=True):
        searched = item.attributes["data-text"] or ""
        assert clause.id.lower() in searched
        assert clause.statement.lower() in searched
        assert item.attributes["data-versions"] == " ".join(clause.versions)


def test_code_and_docstring_of_every_clause_are_shown_once_in_its_chapter(
    trees: Mapping[str, Node],
) -> None:
    for chapter in {clause.chapter for clause in load_all().values()}:
        clauses = [clause for clause in load_all().values() if clause.chapter == chapter]
        for implementation in {clause.implementation for clause in clauses}:
            found = code.find(implementation)
            assert found.source
            own = [
                article(trees, clause)
                for clause in clauses
                if clause.implementation == implementation
            ]
            with_source = [
                node for node in own if found.source in [pre.text for pre in node.all("pre")]
            ]
            assert with_source == own[:1], implementation
            first_line = found.docstring.strip().split("\n")[0].replace("`", "")
            shown = " ".join(own[0].text.split())
            assert re.sub(r":[a-z]+:", "", first_line) in shown, implementation


@pytest.mark.parametrize("version", VERSIONS)
def test_every_constant_of_every_ruleset_is_in_the_table(
    version: str, trees: Mapping[str, Node]
) -> None:
    tree = trees["table-rulesets.html"]
    column = row(tree, "field").index(version)
    ruleset = rulesets.get(version)
    for field in fields(ruleset):
        cell = row(tree, field.name)[column]
        for _, part in diff.flatten(getattr(ruleset, field.name)):
            for value in part if isinstance(part, tuple) else (part,):
                assert spoken(value) in cell, field.name


def spoken(value: Any) -> str:
    """A single value as the tables write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name
    return "–" if value is None else str(value)


def test_rows_of_rulesets_are_highlighted_where_versions_differ(trees: Mapping[str, Node]) -> None:
    highlighted = {
        tr.all("th")[0].all("code")[0].text
        for tr in trees["table-rulesets.html"].all("tr")
        if tr.attributes.get("class") == "differs"
    }
    assert highlighted == {
        field.name
        for field in fields(rulesets.Ruleset)
        if len({repr(getattr(rulesets.get(version), field.name)) for version in VERSIONS}) > 1
    }


def test_every_workload_stands_in_the_table_with_its_numbers(trees: Mapping[str, Node]) -> None:
    tree = trees["table-workloads.html"]
    tables = {rows[0][1]: rows for rows in (node.rows() for node in tree.all("table")) if rows}
    assert len(workloads.names("base")) == 8
    assert len(workloads.names("variant")) == 24
    for name in workloads.names():
        record = workloads.get(name)
        rows = tables[record.base_name]
        column = rows[0].index(name)
        cells = {cells[0].split()[0]: cells[column] for cells in rows}
        for field in ("validation_target_value", "test_target_value", "max_allowed_runtime_sec"):
            assert cells[field] == str(getattr(record, field)), name
        for key, value in record.model_config.items():
            if not isinstance(value, tuple):
                assert cells[key] == spoken(value), f"{name}: {key}"


def test_what_a_variant_changes_is_marked(trees: Mapping[str, Node]) -> None:
    tree = trees["table-workloads.html"]
    table = next(node for node in tree.all("table") if "ogbg_gelu" in node.rows()[0])
    column = table.rows()[0].index("ogbg_gelu")
    marked = {
        tr.all("th", "td")[0].text.split()[0]
        for tr in table.all("tr")
        if tr.all("th", "td")[column].all("mark")
    }
    record, base = workloads.get("ogbg_gelu"), workloads.get("ogbg")
    assert {"validation_target_value", "test_target_value"} < marked
    assert set(record.model_overrides) <= marked | {
        key for key, value in record.model_overrides.items() if base.model_config.get(key) == value
    }
    assert "dataset" not in "".join(marked)


def test_dropout_defaults_and_tiers_are_in_their_tables(trees: Mapping[str, Node]) -> None:
    for name, defaults in dropout.DEFAULTS.items():
        cells = row(trees["table-dropout.html"], name)[1:]
        for kind, cell in zip(dropout.DropoutKind, cells, strict=True):
            if kind not in defaults:
                assert cell == "–"
                continue
            assert cell.startswith(str(defaults[kind].rate))
            assert ("fixed" in cell) == defaults[kind].fixed
    for name, targets in tiers.MINI_TARGETS.items():
        full = workloads.get(name)
        expected = (full.validation_target_value, full.test_target_value, *targets)
        assert row(trees["table-tiers.html"], name)[1:] == [str(value) for value in expected]


def test_every_difference_of_two_versions_is_listed(trees: Mapping[str, Node]) -> None:
    tree = trees["differences.html"]
    shown = [" ".join(cells) for cells in tree.rows()]
    for old, new in (("v0.5", "v0.6"), ("paper2023", "v0.5")):
        assert tree.one(f"{old}-{new}").text == f"{old} to {new}"
        for change in diff.diff(old, new):
            if change.kind != "clauses":
                start = f"{change.subject} {change.field} "
                assert any(text.startswith(start) for text in shown), change


def test_every_deviation_and_every_sentence_stands_on_its_page(trees: Mapping[str, Node]) -> None:
    assert deviations.load()
    for deviation in deviations.load():
        text = " ".join(trees["deviations.html"].one(deviation.id).text.split())
        for part in (deviation.official, deviation.ours, deviation.part, *deviation.clauses):
            assert part.replace("`", "") in text, deviation.id
    assert load_sentences()
    shown = {(cells[1], cells[2]) for cells in trees["coverage.html"].rows()}
    for sentence in load_sentences():
        assert (sentence.section, sentence.text.replace("`", "")) in shown


def test_a_clause_names_its_tests_cases_sentences_and_errors(trees: Mapping[str, Node]) -> None:
    node = article(trees, load_all()["TIM-2"])
    text = node.text
    assert "conformance_tests/spec/test_timing.py::test_" in text
    assert "accepted: " in text
    assert "rejected: " in text
    assert "spec.timing.IllegalEvent" in text
    executed = [sentence for sentence in load_sentences() if "TIM-1" in sentence.clauses]
    assert executed
    first = article(trees, load_all()["TIM-1"])
    assert all(sentence.text.replace("`", "") in first.text for sentence in executed)


def test_an_exception_from_outside_the_rules_is_not_named() -> None:
    class Elsewhere(BrokenRule, clause="TIM-2"):
        """Declared by a test."""

    clauses = load_all()
    content = pages.render(clauses, Evidence())["timing.html"].decode()
    assert Elsewhere.__qualname__ not in content


def test_without_a_checkout_no_tests_are_named() -> None:
    content = pages.render(load_all(), Evidence())["timing.html"].decode()
    assert "Tests that cite it" not in content
    named = pages.render(load_all(), Evidence(tests={"TIM-1": ["a.py::test_b"]}))
    tree = parse(named["timing.html"].decode())
    assert "Tests that cite it (1)a.py::test_b" in tree.one("TIM-1").text
    assert "Tests that cite it (0)" in tree.one("TIM-2").text


def test_statements_are_escaped() -> None:
    statement = "a < b & c > d </p><script>alert('x')</script> \"quoted\""
    source = Source("<i>Document</i>", "&amp;")
    # `may_follow` stands for any code; only the texts of the clause matter.
    clause = Clause("TIM-2", statement, (source,), VERSIONS, "spec.timing.may_follow")
    rendered = pages.render({**load_all(), "TIM-2": clause}, Evidence())
    for name in ("timing.html", "index.html"):
        tree = parse(rendered[name].decode())
        assert statement in tree.text
        assert len(tree.all("script")) == 1
        assert not tree.all("i")
    assert html.escape(str(source)) in rendered["timing.html"].decode()


def test_clauses_and_code_in_running_text_are_links(trees: Mapping[str, Node]) -> None:
    links = [
        address
        for tree in trees.values()
        for paragraph in tree.all("dd", "p")
        for address in paragraph.values("href")
    ]
    assert "timing.html#TIM-1" in links


# --- the same bytes


def test_the_same_code_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for seed in ("1", "2"):
        directory = tmp_path / seed
        command = [sys.executable, "-m", "spec", "book", "--output", str(directory)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, "")
        digests.append(
            {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in directory.iterdir()
            }
        )
    assert digests[0] == digests[1]


# --- written safely

PAGES = {"index.html": b"first", "a.html": b"a"}


def contents(directory: Path) -> dict[str, bytes]:
    """Everything in a directory but the list of files."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != MANIFEST}


def test_a_book_is_written_into_a_new_or_an_empty_directory(tmp_path: Path) -> None:
    new = tmp_path / "deep" / "book"
    publish(PAGES, new)
    assert contents(new) == PAGES
    empty = tmp_path / "empty"
    empty.mkdir()
    publish(PAGES, empty)
    assert contents(empty) == PAGES
    assert read_manifest(empty) == {
        name: hashlib.sha256(content).hexdigest() for name, content in PAGES.items()
    }


def test_an_earlier_book_is_replaced_and_its_old_pages_go(tmp_path: Path) -> None:
    publish(PAGES, tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"mine")
    publish({"index.html": b"second", "b.html": b"b"}, tmp_path)
    assert contents(tmp_path) == {"index.html": b"second", "b.html": b"b", "notes.txt": b"mine"}


def test_an_old_page_that_somebody_has_changed_stays(tmp_path: Path) -> None:
    publish(PAGES, tmp_path)
    (tmp_path / "a.html").write_bytes(b"a with remarks")
    publish({"index.html": b"second"}, tmp_path)
    assert contents(tmp_path) == {"index.html": b"second", "a.html": b"a with remarks"}


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_bytes(b"years of work")
    with pytest.raises(UsageError, match="holds no rule book"):
        publish(PAGES, tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}
    publish(PAGES, tmp_path, overwrite=True)
    assert contents(tmp_path) == {**PAGES, "thesis.txt": b"years of work"}


def test_a_file_beside_an_earlier_book_is_not_taken_for_a_page_of_it(tmp_path: Path) -> None:
    publish(PAGES, tmp_path)
    (tmp_path / "b.html").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"b\.html is not of the earlier book"):
        publish({**PAGES, "index.html": b"second", "b.html": b"b"}, tmp_path)
    assert contents(tmp_path) == {**PAGES, "b.html": b"mine"}


def test_a_list_of_files_that_points_elsewhere_deletes_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    directory = tmp_path / "book"
    directory.mkdir()
    lines = [f"{digest}  ../outside.txt", f"{digest}  {outside}", "nonsense"]
    (directory / MANIFEST).write_text("\n".join(lines))
    publish(PAGES, directory)
    assert outside.read_bytes() == b"x"


def test_an_interrupted_book_can_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if target.name == "a.html":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        publish(PAGES, tmp_path)
    assert contents(tmp_path) == {"index.html": b"first"}  # and no temporary file
    monkeypatch.undo()
    publish(PAGES, tmp_path)
    assert contents(tmp_path) == PAGES


def test_a_directory_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for target in (file, file / "below"):
        with pytest.raises(UsageError, match="cannot write the book to"):
            publish(PAGES, target)


# --- the command


def test_the_command_writes_the_book(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["book", "--output", str(tmp_path / "book")]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert re.fullmatch(r"wrote \d+ pages, \d+\.\d MB; open .*index\.html\n", output.out)
    assert contents(tmp_path / "book") == book.files()


def test_wrong_use_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").write_bytes(b"")
    assert cli.main(["book", "--output", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "--overwrite" in message
    assert message.count("\n") == 1
    with pytest.raises(SystemExit) as exit:
        cli.main(["book"])
    assert exit.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_listing_clauses_renders_nothing() -> None:
    script = (
        "import sys; from spec.__main__ import main; main(['list', '--chapter', 'TIM']); "
        "print([name for name in sys.modules if name.startswith('spec.book.')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
