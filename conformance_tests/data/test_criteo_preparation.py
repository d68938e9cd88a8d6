"""Preparing, checking and listing the click log, from small archives like the published ones."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.data import cli
from algoperf_ref.data.criteo1tb import archives, commands, index, layout, mini, threads
from algoperf_ref.data.criteo1tb.index import STRIDE, LineCounter
from algoperf_ref.data.criteo1tb.layout import DayFile, Layout, full_inventory, lines_per_split
from algoperf_ref.data.criteo1tb.streams import open_split
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import clicks
from spec import tiers

# Days of one and of several files, and both splits of the last day.
INVENTORY = {
    DayFile(0, 0): 5,
    DayFile(0, 1): 5,
    DayFile(0, 2): 2,
    DayFile(1, 0): 4,
    DayFile(23, 0): 3,
    DayFile(23, 19): 3,
    DayFile(23, 20): 1,
}
SIZES = {"train": 16, "validation": 4, "test": 3}


def _days() -> dict[int, list[bytes]]:
    sizes: dict[int, int] = {}
    for file, size in INVENTORY.items():
        sizes[file.day] = sizes.get(file.day, 0) + size
    return {day: clicks.lines(size, seed=day) for day, size in sizes.items()}


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """The published files of the days, compressed."""
    folder = tmp_path / "download"
    folder.mkdir()
    for day, lines in _days().items():
        (folder / f"day_{day}.gz").write_bytes(gzip.compress(b"".join(lines)))
    return folder


def _prepare(data_dir: Path, **arguments: Any) -> list[str]:
    said: list[str] = []
    commands.prepare(data_dir, "full", inventory=INVENTORY, say=said.append, **arguments)
    return said


def _assert_prepared(data_dir: Path) -> None:
    place = Layout.of(data_dir, "full")
    days = _days()
    for day in days:
        parts = [file for file in INVENTORY if file.day == day]
        texts = [place.text(file).read_bytes() for file in parts]
        assert b"".join(texts) == b"".join(days[day])
        assert [text.count(b"\n") for text in texts] == [INVENTORY[file] for file in parts]
    assert not list(place.root.rglob(".*"))
    for split, size in SIZES.items():
        assert len(open_split(data_dir, "full", split, expected_examples=size)) == size
    assert commands.verify(data_dir, "full", inventory=INVENTORY) == []


@pytest.mark.clause("DATA-7")
def test_the_inventories_add_up_to_the_splits_of_the_specification() -> None:
    files = full_inventory()
    assert len(files) == 885
    assert sum(file.day == 23 for file in files) == 36
    for tier, inventory in (("full", files), ("mini", mini.inventory())):
        row = tiers.get("criteo1tb", tier)
        assert lines_per_split(inventory) == {
            "train": row.num_train_examples,
            "validation": row.num_validation_examples,
            "test": row.num_test_examples,
        }


def test_the_files_of_a_split_are_in_the_order_of_days_and_parts() -> None:
    files = full_inventory()
    train = layout.files_of("train", files)
    assert train == layout.files_of("eval_train", files)
    assert [file.name for file in train[39:42]] == ["day_0_39", "day_1_00", "day_1_01"]
    test, validation = layout.files_of("test", files), layout.files_of("validation", files)
    assert (test[0].name, test[-1].name, len(test)) == ("day_23_00", "day_23_18", 19)
    assert (validation[0].name, validation[-1].name, len(validation)) == (
        "day_23_19",
        "day_23_35",
        17,
    )


@pytest.mark.parametrize("name", ["day_0", "day_0_0", "day_00_00", "day_0_00.gz", ".day_0_00", ""])
def test_other_names_are_no_files_of_the_log(name: str) -> None:
    assert DayFile.of(name) is None


def test_the_published_files_are_unpacked_and_cut(download: Path, tmp_path: Path) -> None:
    said = _prepare(tmp_path / "data", source=download)
    assert said == [
        "cutting the files of 3 days into files of the log",
        f"{tmp_path / 'data' / 'criteo1tb'}: ready",
    ]
    _assert_prepared(tmp_path / "data")
    assert _prepare(tmp_path / "data") == [f"{tmp_path / 'data' / 'criteo1tb'}: already prepared"]


def test_unpacked_files_in_the_data_directory_serve_as_well(download: Path, tmp_path: Path) -> None:
    root = Layout.of(tmp_path, "full").root
    root.mkdir()
    for archive, name in zip(
        sorted(download.iterdir()), ("day_0", "day_1.csv", "day_23.txt"), strict=True
    ):
        (root / name).write_bytes(gzip.decompress(archive.read_bytes()))
    _prepare(tmp_path)
    _assert_prepared(tmp_path)


def test_files_of_the_log_are_linked_from_the_source(download: Path, tmp_path: Path) -> None:
    _prepare(tmp_path / "first", source=download)
    there = Layout.of(tmp_path / "first", "full").root
    said = _prepare(tmp_path / "data", source=there)
    assert said[0] == "counting the lines of 7 files"
    _assert_prepared(tmp_path / "data")
    place = Layout.of(tmp_path / "data", "full")
    assert place.text(DayFile(0, 0)).readlink() == there / "day_0_00"


def test_an_interrupted_cut_keeps_the_files_that_are_finished(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, written = LineCounter.add, []

    def interrupted(self: LineCounter, text: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        add(self, text)
        written.append(bytes(text))

    monkeypatch.setattr(LineCounter, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _prepare(tmp_path, source=download, processes=1)
    place = Layout.of(tmp_path, "full")
    assert [file.name for file in place.found()] == ["day_0_00", "day_0_01"]
    changed = place.text(DayFile(0, 0)).stat().st_mtime_ns
    monkeypatch.undo()
    _prepare(tmp_path, source=download)
    _assert_prepared(tmp_path)
    assert place.text(DayFile(0, 0)).stat().st_mtime_ns == changed


def test_only_files_that_are_new_or_changed_are_counted(download: Path, tmp_path: Path) -> None:
    _prepare(tmp_path, source=download)
    place = Layout.of(tmp_path, "full")
    os.utime(place.text(DayFile(1, 0)), ns=(1, 1))
    assert _prepare(tmp_path)[0] == "counting the lines of 1 files"
    place.index(DayFile(0, 1)).unlink()
    place.index(DayFile(0, 2)).write_bytes(place.index(DayFile(0, 2)).read_bytes()[:-8])
    assert _prepare(tmp_path)[0] == "counting the lines of 2 files"
    _assert_prepared(tmp_path)


def test_missing_files_are_named_with_the_archives_that_hold_them(
    download: Path, tmp_path: Path
) -> None:
    (download / "day_1.gz").unlink()
    expected = r"1 of the 7 files of the full tier are missing \(day_1_00\).*\(day_1\.gz\), into"
    with pytest.raises(MissingDataError, match=expected):
        _prepare(tmp_path, source=download)


def _cut_off(packed: bytes, lines: list[bytes]) -> bytes:
    return packed[:-20]


def _one_line_less(packed: bytes, lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join(lines[:-1]))


def _one_line_more(packed: bytes, lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join([*lines, lines[0]]))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_cut_off, "day_0.gz is damaged"),
        (
            _one_line_less,
            "day_0.gz ends within day_0_02, after 1 of its 2 lines: download it again",
        ),
        (_one_line_more, "day_0.gz has more than the 12 lines of this day: download it again"),
        (lambda packed, lines: b"no archive", "day_0.gz is damaged"),
    ],
)
def test_a_damaged_archive_is_named(
    download: Path, tmp_path: Path, harm: Any, message: str
) -> None:
    archive = download / "day_0.gz"
    archive.write_bytes(harm(archive.read_bytes(), _days()[0]))
    with pytest.raises(UserError, match=message):
        _prepare(tmp_path, source=download)
    assert not Layout.of(tmp_path, "full").manifest.exists()


@pytest.mark.clause("DATA-7")
def test_files_with_other_numbers_of_lines_are_refused(download: Path, tmp_path: Path) -> None:
    _prepare(tmp_path, source=download)
    place = Layout.of(tmp_path, "full")
    with place.text(DayFile(0, 1)).open("ab") as file:
        file.write(b"x\n")
    expected = r"day_0_01 has 6 lines, expected 5 \(train has 17 lines, expected 16\): replace it"
    with pytest.raises(UserError, match=expected):
        _prepare(tmp_path)
    problems = commands.verify(tmp_path, "full", inventory=INVENTORY)
    assert "day_0_01: 6 lines, expected 5" in problems[0]
    assert "day_0_01, line 6: it has 1 fields, not 40" in problems[1]
    assert len(problems) == 2


def _verified(data_dir: Path, inventory: Any) -> list[str]:
    return commands.verify(data_dir, "mini", inventory=inventory)


def test_verify_names_every_problem(tmp_path: Path) -> None:
    clicks.write_tiny_criteo(tmp_path, train=12, validation=4, test=4)
    place = Layout.of(tmp_path, "mini")
    inventory = {file: len(place.text(file).read_bytes().splitlines()) for file in place.found()}
    assert _verified(tmp_path, inventory) == []
    commands.convert(tmp_path, tier="mini", say=lambda _: None)
    assert _verified(tmp_path, inventory) == []

    (first, second, third, *_) = inventory
    numbers = place.converted(first) / "inputs.npy"
    raw = bytearray(numbers.read_bytes())
    raw[-1] ^= 1
    numbers.write_bytes(raw)
    place.text(second).write_bytes(place.text(second).read_bytes().replace(b"\t", b" ", 1))
    index.build(place.text(second), place.index(second))
    place.text(third).unlink()
    clicks_of_another_day = place.root / "day_7_00"
    clicks_of_another_day.write_bytes(b"x\n")
    problems = "\n".join(_verified(tmp_path, inventory))
    assert f"{place.converted(first)}: it differs from {first.name} after line 0" in problems
    assert f"{place.text(second)}, line 1: it has 39 fields, not 40" in problems
    assert f"{place.converted(second)}: not the conversion of {second.name} as it is" in problems
    assert f"{place.text(third)}: missing" in problems
    assert "day_7_00 not part of what was prepared" in problems


def test_verify_compares_checksums(tmp_path: Path) -> None:
    clicks.write_tiny_criteo(tmp_path, train=12, validation=4, test=4)
    place = Layout.of(tmp_path, "mini")
    inventory = {file: len(place.text(file).read_bytes().splitlines()) for file in place.found()}
    text = place.text(DayFile(23, 0))
    text.write_bytes(text.read_bytes().replace(b"\t", b"\t9", 1))
    index.build(text, place.index(DayFile(23, 0)))
    (problem,) = _verified(tmp_path, inventory)
    assert "the test checksum is" in problem


def test_verify_finds_lines_that_begin_elsewhere(tmp_path: Path) -> None:
    lines = clicks.lines(STRIDE + 3)
    clicks.write_files(tmp_path, {DayFile(0, 0): lines})
    place = Layout.of(tmp_path, "mini")
    stored = np.load(place.index(DayFile(0, 0)))
    stored[-2] += 1
    np.save(place.index(DayFile(0, 0)), stored)
    (problem,) = _verified(tmp_path, {DayFile(0, 0): len(lines)})
    assert problem == f"{place.index(DayFile(0, 0))}: lines begin elsewhere"


@pytest.mark.parametrize("count", [0, 1, 2, STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE])
@pytest.mark.parametrize("ends", [True, False])
def test_any_lines_can_be_read(count: int, ends: bool, tmp_path: Path) -> None:
    lines = [b"%d" % number * (number % 5) + b"\n" for number in range(count)]
    if lines and not ends:
        lines[-1] = b"no line break"
    path = tmp_path / "text"
    path.write_bytes(b"".join(lines))
    built = index.build(path, tmp_path / "index.npy")
    stored = index.load(path, tmp_path / "index.npy")
    assert stored is not None
    assert built.lines == stored.lines == count
    for first in range(0, count, max(1, count // 7)):
        for last in (first + 1, first + 5, first + STRIDE, first + 2 * STRIDE, count):
            if first < last <= count:
                assert stored.read(first, last) == b"".join(lines[first:last])


def test_counting_by_pieces_is_counting_at_once() -> None:
    text = b"".join(clicks.lines(STRIDE + 10))
    whole = LineCounter()
    whole.add(text)
    pieces = LineCounter()
    for start in range(0, len(text), 1009):
        pieces.add(text[start : start + 1009])
    np.testing.assert_array_equal(pieces.offsets(), whole.offsets())
    assert pieces.lines == whole.lines == STRIDE + 10


def test_an_archive_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    assert archives.find([tmp_path], 3) is None
    (tmp_path / "day_3.txt.gz").touch()
    assert archives.find([tmp_path / "none", tmp_path], 3) == tmp_path / "day_3.txt.gz"


def test_the_first_failure_of_many_workers_is_raised_and_ends_them() -> None:
    def work(item: int, tick: threads.Tick) -> None:
        if item == 3:
            raise UserError("the third")
        for _ in range(10_000_000):
            tick(0)

    with pytest.raises(UserError, match="the third"):
        threads.work_on(range(6), work, name="", total=0, unit="", workers=4)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return clicks.write_tiny_criteo(tmp_path, train=6, validation=4, test=4)


def test_the_command_line_lists_and_converts(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed() -> str:
        assert cli.main(["list", "criteo1tb", "--data_dir", str(tiny)]) == 0
        return capsys.readouterr().out

    assert listed().startswith("criteo1tb mini: prepared; train 6, validation 4, test 4; 0.0 MB in")
    arguments = ["convert", "criteo1tb", "--tier", "mini", "--data_dir", str(tiny)]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.endswith("converted: ready\n")
    assert "prepared and converted" in listed()
    Layout.of(tiny, "mini").text(DayFile(0, 0)).write_bytes(b"")
    assert "not finished, run prepare" in listed()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "--tier", "full"], "885 of the 885 files of the full tier are missing"),
        (["prepare", "--tier", "mini", "--source", "."], "--source belongs to the full tier"),
        (["verify", "--tier", "full"], "prepare it with: python -m algoperf_ref.data prepare"),
        (["convert", "--tier", "full"], "prepare it with: python -m algoperf_ref.data prepare"),
        (["convert", "--source", "."], "convert takes no --source"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = arguments
    assert cli.main([command, "criteo1tb", *options, "--data_dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
