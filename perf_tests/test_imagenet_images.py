"""Making training images of the full size beside a plain Pillow loop.

Both read the same files, which the system holds in memory: pictures of 500 x 375, about 85 kB each,
like ImageNet's. Ours works with two threads, as a run does on two cores; the loop with one.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from algoperf_ref.data.batches import training_batches
from algoperf_ref.data.imagenet.cache import ImageCache
from algoperf_ref.data.imagenet.layout import Layout
from algoperf_ref.data.imagenet.split import RESNET, VIT, Augmentation, open_split
from conformance_tests.support import pictures
from perf_tests.interleaved import measure
from perf_tests.twins import imagenet_images

_IMAGES, _BATCH_SIZE, _WORKERS = 64, 16, 2
_ROUNDS = 7
_OPERATIONS = Augmentation(randaugment_layers=2)
_MIN_RATIO = {"crop and flip": 1.4, "with RandAugment": 1.4}
_MEMORY_BATCHES, _WARM_UP = 400, 60
_MAX_GROWTH_BYTES = 32e6


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("pictures")
    root = Layout.of(data_dir, "full").root
    pictures.write_images(root, {"train": _IMAGES}, size=(375, 500), quality=98)
    return data_dir


def _make_an_epoch(
    data_dir: Path,
    augmentation: Augmentation,
    *,
    workers: int = _WORKERS,
    cache: ImageCache | None = None,
    image_size: int = 224,
) -> None:
    split = open_split(
        data_dir, "full", "train", augmentation=augmentation, cache=cache, image_size=image_size
    )
    make = split.make(0, global_batch_size=_BATCH_SIZE)
    stream = training_batches(
        len(split), make, data_seed=0, global_batch_size=_BATCH_SIZE, workers=workers
    )
    for _ in itertools.islice(stream, _IMAGES // _BATCH_SIZE):
        pass


@pytest.mark.parametrize(
    ("name", "augmentation"), [("crop and flip", RESNET), ("with RandAugment", _OPERATIONS)]
)
def test_images_are_made_faster_than_by_a_plain_loop(
    benchmark: BenchmarkFixture, data_dir: Path, name: str, augmentation: Augmentation
) -> None:
    paths = sorted((Layout.of(data_dir, "full").root / "train").glob("*/*"))

    def twin() -> None:
        for _ in imagenet_images.batches(
            paths, _BATCH_SIZE, layers=augmentation.randaugment_layers
        ):
            pass

    pair = benchmark.pedantic(
        measure, args=(lambda: _make_an_epoch(data_dir, augmentation), twin, _ROUNDS), rounds=1
    )
    benchmark.extra_info["images_per_second"] = round(_IMAGES / np.median(pair.ours))
    benchmark.extra_info["images_per_second_at_best"] = round(_IMAGES / min(pair.ours))
    benchmark.extra_info["images_per_second_of_a_plain_loop"] = round(
        _IMAGES / np.median(pair.twin)
    )
    benchmark.extra_info["times_faster_than_a_plain_loop"] = round(pair.ratio, 2)
    print(f"\n{name}: {benchmark.extra_info}")
    assert pair.ratio >= _MIN_RATIO[name]


def test_mixup_costs_little(benchmark: BenchmarkFixture, data_dir: Path) -> None:
    pair = benchmark.pedantic(
        measure,
        args=(
            lambda: _make_an_epoch(data_dir, VIT, workers=0),
            lambda: _make_an_epoch(data_dir, _OPERATIONS, workers=0),
            5,
        ),
        rounds=1,
    )
    benchmark.extra_info["share_of_the_speed_without"] = round(pair.ratio, 2)
    print(f"\n{benchmark.extra_info}")
    assert pair.ratio >= 0.8


def test_small_images_that_are_kept_need_not_be_decoded(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    pictures.write_images(Layout.of(tmp_path, "full").root, {"train": _IMAGES}, size=64)
    cache = ImageCache()
    pair = benchmark.pedantic(
        measure,
        args=(
            lambda: _make_an_epoch(tmp_path, RESNET, workers=0, cache=cache, image_size=64),
            lambda: _make_an_epoch(tmp_path, RESNET, workers=0, image_size=64),
            15,
        ),
        rounds=1,
    )
    benchmark.extra_info["images_per_second_from_the_cache"] = round(_IMAGES / np.median(pair.ours))
    benchmark.extra_info["times_faster_than_decoding"] = round(pair.ratio, 2)
    print(f"\n{benchmark.extra_info}")
    assert pair.ratio >= 1.2


def test_memory_stays_flat_over_hundreds_of_batches(data_dir: Path) -> None:
    split = open_split(data_dir, "full", "train", augmentation=VIT)
    make = split.make(0, global_batch_size=2)
    stream = training_batches(len(split), make, data_seed=0, global_batch_size=2, workers=_WORKERS)
    process = psutil.Process()
    for _ in itertools.islice(stream, _WARM_UP):
        pass
    before = process.memory_info().rss
    for _ in itertools.islice(stream, _MEMORY_BATCHES - _WARM_UP):
        pass
    assert process.memory_info().rss - before <= _MAX_GROWTH_BYTES
