"""Reading the click log beside a plain loop over lines, and beside reading its bytes only.

Mark to beat: the official pipeline reads 234,000 lines a second on two cores like those this was
developed on; ours aims at three times that, about 700,000. Ratios to text are of processor time,
which other programs on the machine disturb little; lines a second are by the clock on the wall.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from algoperf_ref.data.criteo1tb import commands
from algoperf_ref.data.criteo1tb.layout import DayFile
from algoperf_ref.data.criteo1tb.streams import CriteoSplit, open_split
from conformance_tests.support import clicks
from perf_tests.interleaved import measure
from perf_tests.twins import criteo_text

_FILES = 4
_LINES_PER_FILE = 20_000
_NUM_LINES = _FILES * _LINES_PER_FILE
_BATCH_SIZE = 40_000
_WORKERS = 2
_ROUNDS = 5
# Measured: 9 to 12 times faster than a plain loop. Bytes come from the page cache, at the speed of
# memory; a disk of 500 MB/s is slower than the two cores.
_MIN_RATIO_TO_A_LOOP = 5.0
_MAX_RATIO_TO_RAW_BYTES = 300.0
_MIN_RATIO_CONVERTED = 5.0
_MANY_BATCHES = 2_000
_MAX_GROWTH_MB = 24.0


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> CriteoSplit:
    lines = clicks.lines(_LINES_PER_FILE)
    place = tmp_path_factory.mktemp("text")
    clicks.write_files(place, {DayFile(day, 0): lines for day in range(_FILES)})
    return open_split(place, "mini", "train")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> CriteoSplit:
    lines = clicks.lines(_LINES_PER_FILE)
    place = tmp_path_factory.mktemp("converted")
    clicks.write_files(place, {DayFile(day, 0): lines for day in range(_FILES)})
    commands.convert(place, tier="mini", say=lambda _: None)
    return open_split(place, "mini", "train")


def _epoch(split: CriteoSplit, workers: int = _WORKERS) -> Callable[[], None]:
    def read() -> None:
        stream = split.training_batches(data_seed=0, global_batch_size=_BATCH_SIZE, workers=workers)
        for _ in itertools.islice(stream, _NUM_LINES // _BATCH_SIZE):
            pass

    return read


def _paths(split: CriteoSplit) -> list[Path]:
    return [source.path for source in split.sources]


def _lines_per_second(seconds: tuple[float, ...]) -> int:
    return round(_NUM_LINES / float(np.median(seconds)))


def test_text_is_read_many_times_faster_than_by_a_loop_over_lines(
    benchmark: BenchmarkFixture, text: CriteoSplit
) -> None:
    def twin() -> None:
        criteo_text.read(_paths(text))

    pair = benchmark.pedantic(
        measure, args=(_epoch(text), twin, _ROUNDS, time.process_time), rounds=1
    )
    start = time.perf_counter()
    _epoch(text)()
    seconds = time.perf_counter() - start
    benchmark.extra_info["lines_per_second"] = round(_NUM_LINES / seconds)
    benchmark.extra_info["lines_per_second_of_one_processor"] = _lines_per_second(pair.ours)
    benchmark.extra_info["the_same_of_a_plain_loop"] = _lines_per_second(pair.twin)
    benchmark.extra_info["times_faster_than_a_plain_loop"] = round(pair.ratio, 1)
    print(f"\n{benchmark.extra_info}")
    assert pair.ratio >= _MIN_RATIO_TO_A_LOOP


def test_text_is_read_at_a_fair_part_of_the_speed_of_its_bytes(
    benchmark: BenchmarkFixture, text: CriteoSplit
) -> None:
    def twin() -> None:
        criteo_text.read_bytes(_paths(text))

    pair = benchmark.pedantic(
        measure, args=(_epoch(text), twin, _ROUNDS, time.process_time), rounds=1
    )
    megabytes = sum(path.stat().st_size for path in _paths(text)) / 1e6
    for name, seconds in (("text", pair.ours), ("raw", pair.twin)):
        speed = round(megabytes / float(np.median(seconds)))
        benchmark.extra_info[f"{name}_megabytes_per_second_of_one_processor"] = speed
    benchmark.extra_info["times_slower_than_raw_bytes"] = round(1 / pair.ratio, 1)
    print(f"\n{benchmark.extra_info}")
    assert 1 / pair.ratio <= _MAX_RATIO_TO_RAW_BYTES


def test_converted_files_are_read_many_times_faster_than_text(
    benchmark: BenchmarkFixture, text: CriteoSplit, converted: CriteoSplit
) -> None:
    pair = benchmark.pedantic(measure, args=(_epoch(converted), _epoch(text), _ROUNDS), rounds=1)
    benchmark.extra_info["lines_per_second"] = _lines_per_second(pair.ours)
    benchmark.extra_info["lines_per_second_of_text"] = _lines_per_second(pair.twin)
    benchmark.extra_info["times_faster_than_text"] = round(pair.ratio, 1)
    print(f"\n{benchmark.extra_info}")
    assert pair.ratio >= _MIN_RATIO_CONVERTED


@pytest.mark.parametrize("form", ["text", "converted"])
def test_memory_does_not_grow_over_many_batches(form: str, request: pytest.FixtureRequest) -> None:
    split: CriteoSplit = request.getfixturevalue(form)
    stream = split.training_batches(data_seed=0, global_batch_size=512, workers=_WORKERS)
    process = psutil.Process()
    for _ in itertools.islice(stream, _MANY_BATCHES // 10):
        pass
    before = process.memory_info().rss
    for _ in itertools.islice(stream, _MANY_BATCHES):
        pass
    growth = (process.memory_info().rss - before) / 1e6
    # All batches together take 164 MB, and their text about as much again and half.
    print(f"\n{form}: {growth:.1f} MB more after {_MANY_BATCHES} batches")
    assert growth <= _MAX_GROWTH_MB
