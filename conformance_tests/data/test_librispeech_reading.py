"""Batches of utterances: values, paddings, order, the three forms, and what cannot be read."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from algoperf_ref.data.batches import Part, evaluation_batches, training_batches
from algoperf_ref.data.librispeech import audio, commands, index, packed, scan, stores, trees
from algoperf_ref.data.librispeech.audio import UnusableAudio, read_array, read_flac, write_flac
from algoperf_ref.data.librispeech.layout import MAX_TARGET_LENGTH, TREE, Layout
from algoperf_ref.data.librispeech.split import LibrispeechSplit, nested, open_split
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import utterances

TRAIN, VALIDATION, TEST = 10, 5, 3


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small mini tier; do not change it."""
    data_dir = tmp_path_factory.mktemp("utterances")
    utterances.write_tiny_librispeech(
        data_dir, train=TRAIN, validation=VALIDATION, test=TEST, word_samples=2_000
    )
    return data_dir


@pytest.fixture
def data_dir(tmp_path: Path, originals: Path) -> Path:
    """A copy."""
    shutil.copytree(originals, tmp_path / "data")
    return tmp_path / "data"


def write_official(layout: Layout, target: Path) -> None:
    """The official preparation of a tier's utterances, in an order of its own."""
    model = Tokenizer(layout.tokenizer)
    for part in layout.parts:
        (target / part).mkdir(parents=True)
        rows = [",id\n"]
        for utterance in reversed(trees.read(layout.root / TREE / part).utterances):
            samples = read_flac(utterance.path).astype(np.int64)
            np.save(target / part / f"{utterance.name}_audio.npy", samples)
            pieces = np.array(model.encode(utterance.text), np.int32)
            np.save(target / part / f"{utterance.name}_targets.npy", pieces)
            rows.append(f"{len(rows) - 1},{utterance.name}\n")
        (target / f"{part}.csv").write_text("".join(rows))


def _everything(split: LibrispeechSplit) -> dict[str, np.ndarray]:
    numbers = np.arange(len(split))
    return split.make(0)(numbers, numbers)


# Values.


def test_rows_are_the_samples_and_pieces_of_the_files(originals: Path) -> None:
    split = open_split(originals, "mini", "train", expected_examples=TRAIN)
    folder = Layout.of(originals, "mini").root / TREE / "train-clean-100"
    batch = _everything(split)
    assert batch.keys() == {"inputs", "input_paddings", "targets", "target_paddings"}
    assert {name: array.dtype for name, array in batch.items()} == {
        "inputs": np.float32,
        "input_paddings": np.float32,
        "targets": np.int32,
        "target_paddings": np.float32,
    }
    assert batch["inputs"].shape == batch["input_paddings"].shape == (TRAIN, 25_600)
    assert batch["targets"].shape == batch["target_paddings"].shape == (TRAIN, 32)
    for row, utterance in enumerate(trees.read(folder).utterances):
        # The FLAC file as another reader decodes it: whole numbers of 16 bits.
        samples, rate = soundfile.read(utterance.path, dtype="int16")
        assert rate == 16_000
        end = len(samples)
        np.testing.assert_array_equal(batch["inputs"][row, :end], samples)
        assert np.abs(samples).max() > 1_000
        assert not batch["inputs"][row, end:].any()
        np.testing.assert_array_equal(batch["input_paddings"][row], np.arange(25_600) >= end)
        pieces = split.tokenizer.encode(utterance.text)
        np.testing.assert_array_equal(batch["targets"][row, : len(pieces)], pieces)
        assert not batch["targets"][row, len(pieces) :].any()
        np.testing.assert_array_equal(batch["target_paddings"][row], np.arange(32) >= len(pieces))


def test_rows_have_the_shapes_and_paddings_of_the_official_items(tmp_path: Path) -> None:
    """The official items had 16,000 samples with 12 pieces, and a row full of both."""
    sizes = [(16_000, 12, 304_000.0, 244.0), (320_000, 256, 0.0, 0.0)]
    root = tmp_path / "librispeech"
    root.mkdir()
    path = root / "spm_model.vocab"
    utterances.tokenizer.train(utterances.long_sentences(60), path, pieces=1024)
    model = Tokenizer(root / "spm_model.vocab")
    folder = root / "test-clean"
    folder.mkdir()
    for number, (samples, pieces, _, _) in enumerate(sizes):
        np.save(folder / f"1-2-{number}_audio.npy", np.arange(samples) % 1_000)
        target = np.array([*range(3, 2 + pieces), 2], np.int32)
        np.save(folder / f"1-2-{number}_targets.npy", target)
    (root / "test-clean.csv").write_text(",id\n0,1-2-0\n1,1-2-1\n")
    found = scan.index_official(folder, model, max_audio_length=320_000, workers=1)
    path = Layout.of(tmp_path, "full").index("test-clean", "npy")
    index.write(path, found, **{stores.LIMIT: 320_000})
    batch = _everything(open_split(tmp_path, "full", "test", expected_examples=2))
    assert batch["inputs"].shape == (2, 320_000)
    assert batch["targets"].shape == (2, 256)
    for row, (_, _, input_padding, target_padding) in enumerate(sizes):
        assert batch["input_paddings"][row].sum() == input_padding
        assert batch["target_paddings"][row].sum() == target_padding
    np.testing.assert_array_equal(batch["inputs"][1], np.arange(320_000) % 1_000)
    np.testing.assert_array_equal(batch["targets"][1], [*range(3, 258), 2])


@pytest.mark.clause("DATA-2")
def test_utterances_count_part_after_part_in_the_order_of_their_names(originals: Path) -> None:
    split = open_split(originals, "mini", "validation", expected_examples=VALIDATION)
    assert [store.place.name for store in split.stores] == ["dev-clean", "dev-other"]
    for store in split.stores:
        assert store.index.names.tolist() == sorted(store.index.names.tolist())
    first, second = (len(store.index) for store in split.stores)
    assert first + second == VALIDATION
    assert split.locate(first - 1) == (split.stores[0], first - 1)
    assert split.locate(first) == (split.stores[1], 0)
    for example in (-1, VALIDATION):
        with pytest.raises(IndexError):
            split.locate(example)


def test_all_forms_give_the_same_examples(originals: Path, tmp_path: Path) -> None:
    layout = Layout.of(originals, "mini")
    flac = {split: open_split(originals, "mini", split) for split in ("train", "test")}

    official = Layout.of(tmp_path / "official", "mini")
    official.root.mkdir(parents=True)
    shutil.copy(layout.tokenizer, official.tokenizer)
    write_official(layout, official.root)
    for part in layout.parts:
        limit = layout.max_audio_length
        folder = official.official(part)
        assert folder is not None
        found = scan.index_official(
            folder, Tokenizer(official.tokenizer), max_audio_length=limit, workers=1
        )
        index.write(official.index(part, "npy"), found, **{stores.LIMIT: limit})

    shutil.copytree(originals, tmp_path / "packed")
    commands.convert(tmp_path / "packed", tier="mini", say=lambda _: None)
    shutil.rmtree(tmp_path / "packed" / "mini" / "librispeech" / TREE)
    shutil.rmtree(tmp_path / "packed" / "mini" / "librispeech" / "index")

    for name, split in flac.items():
        assert {store.form for store in split.stores} == {"flac"}
        for form, place in (("npy", "official"), ("packed", "packed")):
            other = open_split(tmp_path / place, "mini", name, expected_examples=len(split))
            assert {store.form for store in other.stores} == {form}
            expected, found_batch = _everything(split), _everything(other)
            assert expected.keys() == found_batch.keys()
            for array in expected:
                np.testing.assert_array_equal(found_batch[array], expected[array])


# Batches.


def test_the_official_form_of_a_batch(originals: Path) -> None:
    split = open_split(originals, "mini", "validation")
    batches = list(evaluation_batches(range(VALIDATION), split.make(), global_batch_size=4))
    full, last = (nested(batch) for batch in batches)
    for batch in (full, last):
        assert batch.keys() == {"inputs", "targets", "weights"}
        (audio_rows, paddings), (targets, target_paddings) = batch["inputs"], batch["targets"]
        assert audio_rows.shape == paddings.shape == (4, 25_600)
        assert targets.shape == target_paddings.shape == (4, 32)
    np.testing.assert_array_equal(full["weights"], [1, 1, 1, 1])
    np.testing.assert_array_equal(last["weights"], [1, 0, 0, 0])
    for name in ("inputs", "targets"):
        values, paddings = last[name]
        assert (paddings[1:] == 1).all()
        assert paddings[0].min() == 0
        assert not values[1:].any()
        assert paddings.dtype == np.float32
    # The batch itself stays as it was.
    assert not batches[1]["input_paddings"][1:].any()
    training = next(training_batches(VALIDATION, split.make(), data_seed=0, global_batch_size=2))
    assert nested(training).keys() == {"inputs", "targets"}


@pytest.mark.clause("DATA-2")
@pytest.mark.clause("DATA-8")
def test_training_is_resumed_at_any_step_by_any_number_of_workers_and_processes(
    originals: Path,
) -> None:
    split = open_split(originals, "mini", "train")

    def batches(start: int, count: int, **arguments: object) -> list[dict[str, np.ndarray]]:
        stream = training_batches(
            len(split),
            split.make(3),
            data_seed=3,
            global_batch_size=4,
            start_step=start,
            **arguments,  # type: ignore[arg-type]
        )
        return list(itertools.islice(stream, count))

    whole = batches(0, 6)
    for start, workers in ((2, 0), (5, 3)):
        for ours, expected in zip(batches(start, 6 - start, workers=workers), whole[start:]):  # noqa: B905
            for name in expected:
                np.testing.assert_array_equal(ours[name], expected[name])
    halves = [batches(0, 6, part=Part(process, 2)) for process in range(2)]
    for first, second, expected in zip(*halves, whole, strict=True):
        for name in expected:
            both = np.concatenate([first[name], second[name]])
            np.testing.assert_array_equal(both, expected[name])


# What cannot be opened.


@pytest.mark.clause("DATA-7")
def test_what_is_missing_names_the_command(originals: Path, tmp_path: Path) -> None:
    command = "python -m algoperf_ref.data prepare librispeech --tier"
    with pytest.raises(MissingDataError, match=f"no mini tier .*train-clean-100.*{command} mini"):
        open_split(tmp_path, "mini", "train")
    with pytest.raises(MissingDataError, match=f"the mini tier is there.*{command} full"):
        open_split(originals, "full", "validation")
    with pytest.raises(MissingDataError, match=f"has 10 train utterances, .* 2000;.*{command}"):
        open_split(originals, "mini", "train", expected_examples=2_000)
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        open_split(originals, "mini", "dev")
    with pytest.raises(ValueError, match="unknown tier"):
        open_split(originals, "maxi", "train")


def test_a_part_without_an_index_is_not_ready(data_dir: Path) -> None:
    path = Layout.of(data_dir, "mini").index("dev-other", "flac")
    stored = index.read(path)
    assert stored is not None
    for damage in (
        lambda: index.write(path, stored[0], **{stores.LIMIT: 99}),  # made for other rows
        lambda: path.write_bytes(path.read_bytes()[:100]),
        path.unlink,
    ):
        damage()
        with pytest.raises(MissingDataError, match=r"\(dev-other\) in .*; prepare it with"):
            open_split(data_dir, "mini", "validation")
    assert len(open_split(data_dir, "mini", "train")) == TRAIN


@pytest.mark.parametrize("is_packed", [False, True])
def test_another_tokenizer_is_an_error(data_dir: Path, is_packed: bool) -> None:
    layout = Layout.of(data_dir, "mini")
    if is_packed:
        commands.convert(data_dir, tier="mini", say=lambda _: None)
    utterances.tokenizer.train(
        utterances.sentences(50, 9), layout.tokenizer, pieces=40, hard_limit=False
    )
    mend = "delete .* and convert again" if is_packed else "or prepare again with: python -m"
    with pytest.raises(UserError, match=f"was prepared with another tokenizer .*{mend}"):
        open_split(data_dir, "mini", "test")
    layout.tokenizer.unlink()
    with pytest.raises(MissingDataError, match=r"spm_model\.vocab, the tokenizer, is missing"):
        open_split(data_dir, "mini", "test")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_audio_length": 3_999}, r"\.flac has \d+ samples, a row has room for 3999"),
        ({"max_target_length": 3}, r"\.flac has \d+ pieces, a row has room for 3"),
    ],
)
def test_utterances_that_do_not_fit_are_named_before_training(
    originals: Path, limits: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        open_split(originals, "mini", "train", **limits)  # type: ignore[arg-type]


def test_rows_may_be_longer_than_the_tier_needs(originals: Path) -> None:
    split = open_split(originals, "mini", "test", max_audio_length=30_000, max_target_length=40)
    batch = _everything(split)
    assert (batch["inputs"].shape, batch["targets"].shape) == ((TEST, 30_000), (TEST, 40))
    assert MAX_TARGET_LENGTH["mini"] < 40


# What cannot be read.


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _rate(path: Path) -> None:
    soundfile.write(path, np.zeros(100, np.int16), 22_050, format="FLAC", subtype="PCM_16")


def _stereo(path: Path) -> None:
    soundfile.write(path, np.zeros((100, 2), np.int16), 16_000, format="FLAC", subtype="PCM_16")


def _wide(path: Path) -> None:
    soundfile.write(path, np.zeros(100, np.int32), 16_000, format="FLAC", subtype="PCM_24")


UNUSABLE: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_bytes(b""), r"cannot be decoded \(the file is empty\)"),
    (lambda path: path.write_bytes(b"no audio"), r"cannot be decoded \(.+\)"),
    (lambda path: path.unlink(), r"cannot be decoded \(there is no such file\)"),
    (_cut, r"cannot be decoded \(.*\)|is cut off after \d+ of \d+ samples"),
    (_rate, "has 22050 samples a second, 1 channel.* expected 16000"),
    (_stereo, r"has 16000 samples a second, 2 channel\(s\)"),
    (_wide, "has .* the type PCM_24; expected 16000, 1 and PCM_16"),
    (lambda path: write_flac(path, np.zeros(0, np.int16)), "has no samples|cannot be decoded"),
]


@pytest.mark.parametrize(("damage", "message"), UNUSABLE)
def test_flac_that_cannot_be_used_is_named(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "84-7-0000.flac"
    write_flac(path, utterances.sound("GO HOME"))
    damage(path)
    with pytest.raises(UnusableAudio, match=rf"84-7-0000\.flac ({message})") as caught:
        read_flac(path)
    assert "\n" not in str(caught.value)


def test_flac_loses_nothing(tmp_path: Path) -> None:
    samples = np.random.RandomState(0).randint(-(2**15), 2**15, 10_000).astype(np.int16)
    samples[:2] = -(2**15), 2**15 - 1
    write_flac(tmp_path / "a.flac", samples)
    read = read_flac(tmp_path / "a.flac")
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, samples)


def test_audio_that_has_changed_since_the_preparation_is_named(data_dir: Path) -> None:
    split = open_split(data_dir, "mini", "test")
    path = Path(split.stores[0].describe(1))
    write_flac(path, np.zeros(777, np.int16))
    with pytest.raises(UnusableAudio, match=r"has 777 samples, but had \d+ at preparation"):
        _everything(split)
    path.write_bytes(b"")
    with pytest.raises(UnusableAudio, match=f"{path.name} cannot be decoded"):
        _everything(split)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3), np.int64), r"holds int64 \[2, 3\], expected integers in one"),
        (np.zeros(3), r"holds float64 \[3\], expected integers"),
        (np.zeros(0, np.int64), r"holds int64 \[0\]"),
        (np.array([0, 2**15]), "has values beyond 16 bits"),
        (b"", "cannot be read"),
        (b"\x93NUMPY\x01\x00", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_official_arrays_that_cannot_be_used_are_named(
    tmp_path: Path, content: np.ndarray | bytes | None, message: str
) -> None:
    path = tmp_path / "1-2-0003_audio.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(UnusableAudio, match=rf"1-2-0003_audio\.npy {message}"):
        read_array(path)


def test_official_arrays_that_are_cut_off_are_named(tmp_path: Path) -> None:
    path = tmp_path / "1-2-0003_audio.npy"
    np.save(path, np.arange(1_000))
    np.testing.assert_array_equal(read_array(path), np.arange(1_000))
    _cut(path)
    with pytest.raises(UnusableAudio, match="cannot be read"):
        audio.open_array(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-2]), r"audio-00000\.bin is cut off"),
        (lambda file: file.unlink(), r"audio-00000\.bin is missing"),
        (lambda file: file.with_name("index.npz").write_bytes(b"x"), r"index\.npz is damaged"),
    ],
)
def test_packed_files_that_are_damaged_are_named_when_opened(
    data_dir: Path, damage: Callable[[Path], object], message: str
) -> None:
    commands.convert(data_dir, tier="mini", say=lambda _: None)
    damage(Layout.of(data_dir, "mini").packed("test-clean") / "audio-00000.bin")
    with pytest.raises(UserError, match=f"{message}; delete .* and convert again"):
        open_split(data_dir, "mini", "test")


def test_a_packed_file_that_is_damaged_later_is_named(data_dir: Path) -> None:
    commands.convert(data_dir, tier="mini", say=lambda _: None)
    split = open_split(data_dir, "mini", "test")
    path = Layout.of(data_dir, "mini").packed("test-clean") / "audio-00000.bin"
    _cut(path)
    with pytest.raises(
        UnusableAudio, match=rf"test-clean: {split.stores[0].index.names[1]} is cut off"
    ):
        _everything(split)
    path.unlink()
    with pytest.raises(UnusableAudio, match="cannot be read"):
        _everything(split)
    assert packed.is_complete(path.parent)
