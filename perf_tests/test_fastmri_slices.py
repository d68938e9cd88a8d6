"""Making slices of the full size beside a plain numpy loop over slices.

The plain loop has the k-space in memory as arrays; ours reads it from files that the system holds
in memory. Mark to beat: the official pipeline makes 207 slices a second on two cores like those
this was developed on, its k-space in memory; ours aims at twice that.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from algoperf_ref.data.batches import training_batches
from algoperf_ref.data.fastmri.cache import SliceCache
from algoperf_ref.data.fastmri.masks import training_masks
from algoperf_ref.data.fastmri.split import FastmriSplit, open_split
from algoperf_ref.data.fastmri.volumes import read_slice
from algoperf_ref.data.streams import ShuffledStream
from conformance_tests.support import scans
from perf_tests.interleaved import measure
from perf_tests.twins import fastmri_slices

_ROWS, _COLUMNS, _CROP = 640, 368, 320
_SLICES, _BATCH_SIZE, _WORKERS = 64, 32, 2
_ROUNDS = 5
_MIN_RATIO = 1.6
_MEMORY_BATCHES, _WARM_UP = 2_000, 200
_MAX_GROWTH_BYTES = 32e6


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("scans")
    folder = data_dir / "fastmri" / "knee_singlecoil_train"
    for number in range(2):
        path = folder / f"file{number}.h5"
        scans.write_scan(path, _SLICES // 2, number, rows=_ROWS, columns=_COLUMNS, crop=_CROP)
    return data_dir


@pytest.fixture(scope="module")
def split(data_dir: Path) -> FastmriSplit:
    return open_split(data_dir, "full", "train", expected_examples=_SLICES)


def _make_an_epoch(split: FastmriSplit, workers: int = _WORKERS) -> None:
    stream = training_batches(
        len(split), split.make(0), data_seed=0, global_batch_size=_BATCH_SIZE, workers=workers
    )
    for _ in itertools.islice(stream, _SLICES // _BATCH_SIZE):
        pass


def test_slices_are_made_several_times_faster_than_by_a_plain_loop(
    benchmark: BenchmarkFixture, split: FastmriSplit
) -> None:
    numbers = np.arange(_SLICES)
    masks = training_masks(0, numbers, np.full(_SLICES, _COLUMNS))
    loaded = [
        (*read_slice(split.root, *split.locate(example)), masks[example]) for example in numbers
    ]

    def twin() -> None:
        for _ in fastmri_slices.batches(loaded, _BATCH_SIZE):
            pass

    pair = benchmark.pedantic(
        measure, args=(lambda: _make_an_epoch(split), twin, _ROUNDS), rounds=1
    )
    benchmark.extra_info["slices_per_second"] = round(_SLICES / np.median(pair.ours))
    benchmark.extra_info["slices_per_second_at_best"] = round(_SLICES / min(pair.ours))
    benchmark.extra_info["slices_per_second_of_a_plain_loop"] = round(
        _SLICES / np.median(pair.twin)
    )
    benchmark.extra_info["times_faster_than_a_plain_loop"] = round(pair.ratio, 1)
    print(f"\n{benchmark.extra_info}")
    assert pair.ratio >= _MIN_RATIO


def test_both_make_the_same_slices(split: FastmriSplit) -> None:
    order = ShuffledStream(_SLICES, 0).epoch(0)[:4]
    masks = training_masks(0, order, np.full(4, _COLUMNS))
    slices = [
        (*read_slice(split.root, *split.locate(example)), mask)
        for example, mask in zip(order, masks, strict=True)
    ]
    (plain,) = fastmri_slices.batches(slices, 4)
    stream = training_batches(len(split), split.make(0), data_seed=0, global_batch_size=4)
    ours = next(stream)
    for name in ("mean", "std"):
        np.testing.assert_allclose(ours[name], plain[name], rtol=1e-5)
    for name in ("inputs", "targets"):
        np.testing.assert_allclose(ours[name], plain[name], atol=1e-4)


def test_slices_that_are_kept_cost_next_to_nothing(
    benchmark: BenchmarkFixture, data_dir: Path, split: FastmriSplit
) -> None:
    cached = open_split(data_dir, "full", "train", cache=SliceCache(1 << 30))
    pair = benchmark.pedantic(
        measure,
        args=(lambda: _make_an_epoch(cached, 0), lambda: _make_an_epoch(split, 0), 3),
        rounds=1,
    )
    benchmark.extra_info["slices_per_second_from_the_cache"] = round(_SLICES / np.median(pair.ours))
    benchmark.extra_info["times_faster_than_making_them"] = round(pair.ratio, 1)
    print(f"\n{benchmark.extra_info}")
    assert pair.ratio >= 2.0


def test_memory_stays_flat_over_two_thousand_batches(split: FastmriSplit) -> None:
    stream = training_batches(
        len(split), split.make(0), data_seed=0, global_batch_size=2, workers=_WORKERS
    )
    process = psutil.Process()
    for _ in itertools.islice(stream, _WARM_UP):
        pass
    before = process.memory_info().rss
    for _ in itertools.islice(stream, _MEMORY_BATCHES - _WARM_UP):
        pass
    assert process.memory_info().rss - before <= _MAX_GROWTH_BYTES
