"""Batches of the click log: official batches, order, converted files, damaged and changed files."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.data.batches import Batch, Part
from algoperf_ref.data.criteo1tb import commands, damage, index
from algoperf_ref.data.criteo1tb.layout import DayFile, Layout
from algoperf_ref.data.criteo1tb.sources import ConvertedSource, TextSource
from algoperf_ref.data.criteo1tb.streams import CriteoSplit, open_split
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import clicks
from spec.data_order import EVAL_TRAIN_SEED, NegativeDataSeed, UnevenShards, epoch_order

_GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline"
_LINES = [
    line.encode() + b"\n" for line in json.loads((_GOLDEN / "criteo.json").read_text())["lines"]
]
_ARRAYS = np.load(_GOLDEN / "criteo.npz")


def _quiet(*_: object, **__: object) -> None:
    return None


def _take(batches: Iterator[Batch], count: int) -> list[Batch]:
    return list(itertools.islice(batches, count))


def _assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return clicks.write_tiny_criteo(tmp_path, train=50, validation=21, test=9)


def _train_lines(data_dir: Path) -> list[list[bytes]]:
    layout = Layout.of(data_dir, "mini")
    files = [file for file in layout.found() if file.day != 23]
    return [layout.text(file).read_bytes().splitlines(keepends=True) for file in files]


def _numbers(lines: list[bytes], tmp_path: Path) -> np.ndarray:
    split = open_split(
        clicks.write_files(tmp_path, {DayFile(0, 0): lines}), "mini", "train", report=_quiet
    )
    (batch,) = split.evaluation_batches(global_batch_size=len(lines))
    return np.asarray(batch["inputs"])


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("split", ["train", "eval_train", "validation", "test"])
def test_batches_equal_the_official_ones(split: str, converted: bool, tmp_path: Path) -> None:
    file = {"validation": DayFile(23, 19), "test": DayFile(23, 0)}.get(split, DayFile(0, 0))
    clicks.write_files(tmp_path, {file: _LINES})
    if converted:
        commands.convert(tmp_path, tier="mini", say=_quiet)
    opened = open_split(tmp_path, "mini", split, expected_examples=20)
    assert isinstance(opened.sources[0], ConvertedSource if converted else TextSource)
    if split == "train":
        # The official pipeline drops the last four lines of an epoch; ours goes on with the next.
        batches = _take(opened.training_batches(data_seed=0, global_batch_size=8), 2)
    else:
        batches = list(opened.evaluation_batches(global_batch_size=8))
        assert len(batches) == 3
    for number, batch in enumerate(batches):
        official = _ARRAYS[f"{split}/{number}/inputs"]
        np.testing.assert_array_equal(batch["inputs"][:, 13:], official[:, 13:])
        np.testing.assert_array_max_ulp(batch["inputs"][:, :13], official[:, :13], maxulp=1)
        np.testing.assert_array_equal(batch["targets"], _ARRAYS[f"{split}/{number}/targets"])
        weights = _ARRAYS.get(f"{split}/{number}/weights", np.ones(8))
        np.testing.assert_array_equal(batch["weights"], weights)
        assert {array.dtype for array in batch.values()} == {np.dtype(np.float32)}


@pytest.mark.clause("DATA-1", "DATA-2", "DATA-9")
def test_training_reads_whole_files_in_an_order_of_every_epoch(tiny: Path, tmp_path: Path) -> None:
    files = _train_lines(tiny)
    assert len(files) == 3
    orders = [epoch_order(3, 5, epoch).tolist() for epoch in range(4)]
    assert len(set(map(tuple, orders))) > 1
    wanted = [line for order in orders for number in order for line in files[number]]
    split = open_split(tiny, "mini", "train", expected_examples=50)
    batches = _take(split.training_batches(data_seed=5, global_batch_size=8), 25)
    found = np.concatenate([batch["inputs"] for batch in batches])
    np.testing.assert_array_equal(found, _numbers(wanted, tmp_path / "one"))


@pytest.mark.clause("DATA-3", "DATA-4", "DATA-6")
def test_eval_train_is_the_head_of_the_files_in_a_fixed_order(tiny: Path, tmp_path: Path) -> None:
    files = _train_lines(tiny)
    order = epoch_order(3, EVAL_TRAIN_SEED, 0)
    wanted = [line for number in order for line in files[number]][:37]
    split = open_split(tiny, "mini", "eval_train")
    batches = list(split.evaluation_batches(global_batch_size=16, num_examples=37))
    assert [int(batch["weights"].sum()) for batch in batches] == [16, 16, 5]
    found = np.concatenate([batch["inputs"] for batch in batches])
    np.testing.assert_array_equal(found[:37], _numbers(wanted, tmp_path / "one"))
    assert not found[37:].any()


@pytest.mark.clause("DATA-5", "DATA-8")
def test_a_process_that_has_only_padding_takes_part(tiny: Path) -> None:
    split = open_split(tiny, "mini", "test", expected_examples=9)
    parts = [
        list(split.evaluation_batches(global_batch_size=8, part=Part(process, 4)))
        for process in range(4)
    ]
    assert [len(batches) for batches in parts] == [2] * 4
    assert [float(batches[1]["weights"].sum()) for batches in parts] == [1, 0, 0, 0]
    joined = [
        {name: np.concatenate([part[step][name] for part in parts]) for name in parts[0][0]}
        for step in range(2)
    ]
    _assert_same(joined, list(split.evaluation_batches(global_batch_size=8)))


def test_large_batches_are_read_in_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks.write_tiny_criteo(tmp_path, train=1500)
    split = open_split(tmp_path, "mini", "train")
    arguments: dict[str, Any] = {"data_seed": 1, "global_batch_size": 700}
    whole = _take(split.training_batches(**arguments), 5)
    monkeypatch.setattr("algoperf_ref.data.criteo1tb.streams.AT_A_TIME", 64)
    for workers in (0, 1, 3):
        _assert_same(_take(split.training_batches(**arguments, workers=workers), 5), whole)


def test_damaged_lines_are_reported_with_file_and_line_and_weigh_nothing(tmp_path: Path) -> None:
    lines = clicks.lines(300)
    bad = list(range(20, 220, 10))
    for number in bad:
        lines[number] = b"broken\n"
    clicks.write_files(tmp_path, {DayFile(0, 0): lines[:100], DayFile(0, 1): lines[100:]})
    for converted in (False, True):
        if converted:
            commands.convert(tmp_path, tier="mini", say=_quiet)
        split = open_split(tmp_path, "mini", "train")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            batches = list(split.evaluation_batches(global_batch_size=64))
        weights = np.concatenate([batch["weights"] for batch in batches])
        assert np.flatnonzero(weights[:300] == 0).tolist() == bad
        said = [str(warning.message) for warning in caught]
        assert {warning.category for warning in caught} == {damage.DamagedLinesWarning}
        place = Layout.of(tmp_path, "mini").root
        assert said[0] == (
            f"{place / 'day_0_00'}, line 21: it has 1 fields, not 40; it takes part with weight 0"
        )
        assert f"{place / 'day_0_01'}, line 11: it has" in said[9]
        assert said[10] == "further damaged lines are only counted"
        assert said[11].startswith("20 of the 300 lines read are damaged")
        assert len(said) == 12


def test_too_many_damaged_lines_are_an_error(tmp_path: Path) -> None:
    lines = clicks.lines(1000) * 11
    for number in range(5, 12):
        lines[number] = b"broken\n"
    clicks.write_files(tmp_path, {DayFile(0, 0): lines})
    split = open_split(tmp_path, "mini", "train", report=_quiet)
    # Seven are fewer than a thousandth of all.
    for _ in split.evaluation_batches(global_batch_size=4096):
        pass
    for number in range(10_500, 10_505):
        lines[number] = b"broken\n"
    clicks.write_files(tmp_path, {DayFile(0, 0): lines})
    split = open_split(tmp_path, "mini", "train", report=_quiet)
    expected = r"day_0_00, line 10505: it has 1 fields.*12 of the 11,000 lines.*more than 0.1%: get"
    with pytest.raises(UserError, match=expected):
        list(split.evaluation_batches(global_batch_size=11_000))
    with pytest.raises(UserError, match="day_0_00, line 10505"):
        commands.convert(tmp_path, tier="mini", say=_quiet)
    assert not list((Layout.of(tmp_path, "mini").root / "converted").iterdir())


def _remove_file(layout: Layout) -> None:
    layout.text(DayFile(0, 1)).unlink()


def _change_file(layout: Layout) -> None:
    with layout.text(DayFile(0, 1)).open("ab") as file:
        file.write(b"more\n")


def _damage_index(layout: Layout) -> None:
    layout.index(DayFile(0, 1)).write_bytes(b"no index")


@pytest.mark.parametrize("harm", [_remove_file, _change_file, _damage_index])
def test_files_that_are_not_as_prepared_are_named(tiny: Path, harm: Any) -> None:
    harm(Layout.of(tiny, "mini"))
    with pytest.raises(MissingDataError, match=r"day_0_01 missing or changed.*prepare criteo1tb"):
        open_split(tiny, "mini", "train")
    assert len(open_split(tiny, "mini", "test")) == 9


def test_data_that_are_not_there_name_the_command(tmp_path: Path) -> None:
    command = f"python -m algoperf_ref.data prepare criteo1tb --tier mini --data_dir {tmp_path}"
    with pytest.raises(MissingDataError, match=re.escape(command)):
        open_split(tmp_path, "mini", "train")


@pytest.mark.clause("DATA-7")
def test_another_number_of_lines_is_refused(tiny: Path) -> None:
    with pytest.raises(MissingDataError, match="has 50 train lines, but the mini tier has 60"):
        open_split(tiny, "mini", "train", expected_examples=60)


def test_a_file_that_changes_while_it_is_read_is_an_error(tiny: Path) -> None:
    split = open_split(tiny, "mini", "test")
    for source in split.sources:
        source.path.write_bytes(b"\n" * 5)
    with pytest.raises(MissingDataError, match="has changed since it was indexed"):
        list(split.evaluation_batches(global_batch_size=4))


def test_wrong_arguments_are_refused_at_once(tiny: Path) -> None:
    with pytest.raises(ValueError, match="unknown split"):
        open_split(tiny, "mini", "tests")
    split = open_split(tiny, "mini", "test")
    with pytest.raises(ValueError, match="10 examples of the test split, which has 9"):
        split.evaluation_batches(global_batch_size=4, num_examples=10)
    with pytest.raises(UnevenShards):
        split.training_batches(data_seed=0, global_batch_size=7, part=Part(0, 2))
    with pytest.raises(NegativeDataSeed):
        split.training_batches(data_seed=-1, global_batch_size=8)


def test_a_conversion_of_another_file_is_not_used(tiny: Path) -> None:
    commands.convert(tiny, tier="mini", say=_quiet)
    layout = Layout.of(tiny, "mini")
    text = layout.text(DayFile(0, 1))
    text.write_bytes(text.read_bytes().replace(b"\t", b"\t1", 1))
    index.build(text, layout.index(DayFile(0, 1)))
    split = open_split(tiny, "mini", "train")
    assert [type(source) for source in split.sources] == [
        ConvertedSource,
        TextSource,
        ConvertedSource,
    ]


def test_an_interrupted_conversion_goes_on(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, calls = TextSource.read, []

    def interrupted(self: TextSource, *arguments: Any) -> Any:
        calls.append(self.path.name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return parse(self, *arguments)

    monkeypatch.setattr(TextSource, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        commands.convert(tiny, tier="mini", processes=1, say=_quiet)
    place = Layout.of(tiny, "mini").root / "converted"
    assert sorted(path.name for path in place.iterdir()) == sorted(calls[:3])
    commands.convert(tiny, tier="mini", processes=1, say=_quiet)
    # Seven files; the one that was interrupted is read again, the three before it are not.
    assert len(calls) == len(set(calls)) + 1 == 8
    said: list[str] = []
    commands.convert(tiny, tier="mini", say=said.append)
    assert said == [f"{place}: already converted"]


def test_lines_can_be_read_without_the_text_once_converted(tiny: Path) -> None:
    before = list(open_split(tiny, "mini", "test").evaluation_batches(global_batch_size=4))
    commands.convert(tiny, tier="mini", say=_quiet)
    layout = Layout.of(tiny, "mini")
    for file in layout.found():
        layout.text(file).unlink()
    split: CriteoSplit = open_split(tiny, "mini", "test")
    _assert_same(list(split.evaluation_batches(global_batch_size=4)), before)
