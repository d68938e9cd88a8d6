"""Making batches of utterances of full size beside a plain loop over files, and counting errors.

Both read files that the system holds in memory. A training step of the benchmark may take 0.76
seconds on its own hardware (budget / steps) and hears 3,100 seconds of audio: there the packed form
is meant.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from algoperf_ref.data.batches import training_batches
from algoperf_ref.data.librispeech import index, packed, scan, stores, tokenizer, trees
from algoperf_ref.data.librispeech.audio import SAMPLE_RATE, write_flac
from algoperf_ref.data.librispeech.layout import MAX_TARGET_LENGTH, TREE, Layout
from algoperf_ref.data.librispeech.split import LibrispeechSplit, open_split
from algoperf_ref.data.streams import ShuffledStream
from algoperf_ref.workloads.librispeech.word_errors import word_errors
from conformance_tests.support import utterances
from perf_tests.interleaved import measure
from perf_tests.twins import librispeech_audio

_UTTERANCES, _BATCH_SIZE, _WORKERS = 64, 16, 2
_ROUNDS = 5
_MIN_RATIO, _MIN_RATIO_PACKED = 1.4, 4.0
_MEMORY_BATCHES, _WARM_UP = 400, 40
_MAX_GROWTH_BYTES = 32e6
_PART = "test-clean"
# An evaluation has 13,196 utterances; so much time for counting their errors is not felt.
_SENTENCES, _MAX_SECONDS = 13_196, 3.0


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """Coloured noise whose volume rises and falls: it compresses about as well as speech."""
    random = np.random.RandomState(seed)
    count = int(seconds * SAMPLE_RATE)
    noise = np.convolve(random.normal(size=count), np.hanning(24) / 12, "same")
    volume = 1_500 * np.abs(np.sin(np.arange(count) / 3_000))
    return np.rint(noise * volume + random.normal(0, 4, count)).astype(np.int16)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("utterances")
    layout = Layout.of(data_dir, "full")
    folder = layout.root / TREE / _PART
    texts = utterances.long_sentences(_UTTERANCES)
    # 12.3 seconds on average, as in the training split.
    for number, name in enumerate(utterances.write_part(folder, texts, word_samples=1)):
        write_flac(trees.path_of(folder, name), speech_like(8.3 + number % 9, number))
    tokenizer.train(texts, layout.tokenizer, pieces=1024)
    model = tokenizer.Tokenizer(layout.tokenizer)
    limit = layout.max_audio_length
    found = scan.index_tree(trees.read(folder), model, max_audio_length=limit, workers=1)
    index.write(layout.index(_PART, "flac"), found, **{stores.LIMIT: limit})
    return data_dir


@pytest.fixture(scope="module")
def split(data_dir: Path) -> LibrispeechSplit:
    return open_split(data_dir, "full", "test", expected_examples=_UTTERANCES)


@pytest.fixture(scope="module")
def packed_split(split: LibrispeechSplit, tmp_path_factory: pytest.TempPathFactory) -> object:
    place = tmp_path_factory.mktemp("packed") / _PART
    packed.write(split.stores[0], place)
    return LibrispeechSplit(
        "test",
        [packed.PackedStore(place)],
        split.tokenizer,
        split.max_audio_length,
        split.max_target_length,
    )


def _make_an_epoch(split: LibrispeechSplit, workers: int = _WORKERS) -> None:
    stream = training_batches(
        len(split), split.make(0), data_seed=0, global_batch_size=_BATCH_SIZE, workers=workers
    )
    for _ in itertools.islice(stream, _UTTERANCES // _BATCH_SIZE):
        pass


def _plain_input(split: LibrispeechSplit) -> list[tuple[Path, list[int]]]:
    (store,) = split.stores
    return [
        (Path(store.describe(number)), store.index.target(number).tolist())
        for number in ShuffledStream(_UTTERANCES, 0).epoch(0).tolist()
    ]


@pytest.mark.parametrize(
    ("form", "min_ratio"), [("flac", _MIN_RATIO), ("packed", _MIN_RATIO_PACKED)]
)
def test_batches_are_made_faster_than_by_a_plain_loop(
    benchmark: BenchmarkFixture,
    split: LibrispeechSplit,
    packed_split: LibrispeechSplit,
    form: str,
    min_ratio: float,
) -> None:
    ours = split if form == "flac" else packed_split
    files = _plain_input(split)
    seconds = int(split.stores[0].index.samples.sum()) / SAMPLE_RATE

    def twin() -> None:
        room = (split.max_audio_length, MAX_TARGET_LENGTH["full"])
        for _ in librispeech_audio.batches(files, _BATCH_SIZE, *room):
            pass

    pair = benchmark.pedantic(measure, args=(lambda: _make_an_epoch(ours), twin, _ROUNDS), rounds=1)
    benchmark.extra_info["audio_seconds_per_second"] = round(seconds / np.median(pair.ours))
    benchmark.extra_info["audio_seconds_per_second_at_best"] = round(seconds / min(pair.ours))
    benchmark.extra_info["audio_seconds_per_second_of_a_plain_loop"] = round(
        seconds / np.median(pair.twin)
    )
    benchmark.extra_info["times_faster_than_a_plain_loop"] = round(pair.ratio, 1)
    print(f"\n{form}: {benchmark.extra_info}")
    assert pair.ratio >= min_ratio


def test_both_make_the_same_batches(
    split: LibrispeechSplit, packed_split: LibrispeechSplit
) -> None:
    room = (split.max_audio_length, split.max_target_length)
    plain = next(librispeech_audio.batches(_plain_input(split), _BATCH_SIZE, *room))
    for one in (split, packed_split):
        stream = training_batches(
            len(one), one.make(0), data_seed=0, global_batch_size=_BATCH_SIZE, workers=0
        )
        ours = next(stream)
        assert ours.keys() == plain.keys()
        for name in plain:
            assert ours[name].dtype == plain[name].dtype
            np.testing.assert_array_equal(ours[name], plain[name])


def test_memory_stays_flat(split: LibrispeechSplit, packed_split: LibrispeechSplit) -> None:
    process = psutil.Process()
    for one in (split, packed_split):
        stream = training_batches(
            len(one), one.make(0), data_seed=0, global_batch_size=1, workers=_WORKERS
        )
        for _ in itertools.islice(stream, _WARM_UP):
            pass
        before = process.memory_info().rss
        for _ in itertools.islice(stream, _MEMORY_BATCHES - _WARM_UP):
            pass
        assert process.memory_info().rss - before <= _MAX_GROWTH_BYTES


def test_counting_the_word_errors_of_an_evaluation_takes_a_moment() -> None:
    random = np.random.RandomState(0)
    words = [f"W{number}" for number in range(5_000)]
    said = [
        " ".join(words[i] for i in random.randint(5_000, size=random.randint(5, 35)))
        for _ in range(_SENTENCES)
    ]
    heard = [" ".join(word for word in text.split() if random.rand() > 0.1) for text in said]
    start = time.process_time()
    counts = word_errors(heard, said)
    seconds = time.process_time() - start
    print(f"\n{seconds:.2f} s for the word errors of {_SENTENCES} utterances")
    assert counts.plain_errors > 0
    assert seconds <= _MAX_SECONDS
