"""CIFAR-10 of the development workload cifar: reading the user's files, crops and flips."""

from __future__ import annotations

import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.data.cifar import commands, files
from algoperf_ref.data.cifar.split import COUNTS, MEAN, STD, open_split, vary
from algoperf_ref.errors import MissingDataError, UserError

_PER_FILE = 12
_SMALL = {"train": 50, "validation": 10, "test": 12}
_OFFICIAL = dict(COUNTS)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in _SMALL.items():
        monkeypatch.setitem(COUNTS, name, count)  # type: ignore[arg-type]


def _batch(number: int, count: int = _PER_FILE) -> dict[Any, Any]:
    random = np.random.RandomState(number)
    return {
        b"batch_label": b"made up",
        b"labels": random.randint(0, 10, count).tolist(),
        b"data": random.randint(0, 256, (count, 3072)).astype(np.uint8),
        b"filenames": [b"x.png"] * count,
    }


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small files in the form of the real ones; do not change them."""
    data_dir = tmp_path_factory.mktemp("cifar")
    folder = data_dir / "cifar" / files.FOLDER
    folder.mkdir(parents=True)
    for number, name in enumerate((*files.TRAIN_FILES, *files.TEST_FILES)):
        # The real ones are of protocol 2 and earlier.
        (folder / name).write_bytes(pickle.dumps(_batch(number), protocol=2))
    return data_dir


def test_splits_are_the_images_of_the_files_in_order(data_dir: Path) -> None:
    assert _OFFICIAL == {"train": 45_000, "validation": 5_000, "test": 10_000}
    train, again, validation, test = (
        open_split(data_dir, "full", name) for name in ("train", "eval_train", "validation", "test")
    )
    assert [len(one) for one in (train, again, validation, test)] == [50, 50, 10, 12]
    labels = [label for number in range(5) for label in _batch(number)[b"labels"]]
    assert [*train.labels.tolist(), *validation.labels.tolist()] == labels
    first = _batch(0)[b"data"][3].reshape(3, 32, 32)
    np.testing.assert_array_equal(train.images[3], first.transpose(1, 2, 0))
    with pytest.raises(MissingDataError, match="has 50 train images, but there should be 45,000"):
        open_split(data_dir, "full", "train", expected_examples=45_000)


def test_the_archive_is_read_as_it_is_downloaded(data_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "downloads"
    source.mkdir()
    with tarfile.open(source / files.ARCHIVE, "w:gz", compresslevel=1) as tar:
        tar.add(data_dir / "cifar" / files.FOLDER, files.FOLDER)
    commands.prepare(tmp_path, "full", source=source, say=lambda _: None)
    (tmp_path / "other" / "cifar").mkdir(parents=True)
    shutil.copy(source / files.ARCHIVE, tmp_path / "other" / "cifar")
    found = [
        open_split(place, "full", "test") for place in (data_dir, tmp_path, tmp_path / "other")
    ]
    for one in found[1:]:
        np.testing.assert_array_equal(one.images, found[0].images)
        np.testing.assert_array_equal(one.labels, found[0].labels)
    assert commands.verify(tmp_path, "full") == []
    (row,) = commands.listing(tmp_path)
    assert (row.state, row.examples) == ("prepared", _SMALL)
    assert row.bytes > 200_000
    (tmp_path / "other" / "cifar" / files.ARCHIVE).write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"tar\.gz cannot be read .* download"):
        open_split(tmp_path / "other", "full", "test")


def test_an_unpacked_folder_is_linked_and_checked(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = data_dir / "cifar"
    commands.prepare(tmp_path, "full", source=source, say=lambda _: None)
    assert (tmp_path / "cifar" / files.FOLDER).is_symlink()
    assert len(open_split(tmp_path, "full", "train", expected_examples=50)) == 50
    monkeypatch.setitem(COUNTS, "test", 13)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="12 images in test_batch and the like, expected 13"):
        commands.prepare(tmp_path, "full", say=lambda _: None)


def test_evaluation_inputs_are_normalised_on_the_unit_scale(data_dir: Path) -> None:
    split = open_split(data_dir, "full", "test")
    numbers = np.array([7, 0])
    made = split.make(3)(numbers, numbers)
    assert (made["inputs"].shape, made["inputs"].dtype) == ((2, 32, 32, 3), np.float32)
    assert made["targets"].dtype == np.int32
    expected = (split.images[numbers] / 255.0 - MEAN) / STD
    np.testing.assert_allclose(made["inputs"], expected, atol=1e-5)


def test_training_images_are_a_function_of_seed_and_position(data_dir: Path) -> None:
    split = open_split(data_dir, "full", "train")
    same = np.full(64, 4)
    made = split.make(1)(same, np.arange(64))["inputs"]
    np.testing.assert_array_equal(split.make(1)(same[:8], np.arange(8, 16))["inputs"], made[8:16])
    assert not np.array_equal(split.make(2)(same, np.arange(64))["inputs"], made)
    assert len(np.unique(made.reshape(64, -1), axis=0)) > 25  # of 5 x 5 x 2 ways


@given(top=st.integers(0, 4), left=st.integers(0, 4), flip=st.booleans(), seed=st.integers(0, 100))
def test_a_crop_moves_by_up_to_two_pixels(top: int, left: int, flip: bool, seed: int) -> None:
    image = np.random.RandomState(seed).randint(1, 256, (1, 32, 32, 3)).astype(np.uint8)
    uniforms = np.array([[(top + 0.5) / 5, (left + 0.5) / 5, 0.25 if flip else 0.75]], np.float32)
    padded = np.zeros((36, 36, 3), np.uint8)
    padded[2:34, 2:34] = image[0]
    expected = padded[top : top + 32, left : left + 32]
    found = vary(image, uniforms)[0]
    np.testing.assert_array_equal(found, expected[:, ::-1] if flip else expected)
    largest = np.full((1, 3), np.float32(1 - 2.0**-23))
    np.testing.assert_array_equal(vary(image, largest)[0], padded[4:36, 4:36])


class _Evil:
    def __reduce__(self) -> Any:
        return print, ("this must not be run",)


def test_files_that_are_not_those_of_cifar_are_named(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cifar10" / files.FOLDER
    folder.mkdir(parents=True)
    path = folder / "test_batch"
    for content, message in (
        (pickle.dumps(_Evil()), "it asks for builtins.print"),
        (pickle.dumps(_batch(0, 4))[:-500], "cannot be read"),
        (b"", "cannot be read"),
        (pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [0, 1]}), "not images of"),
        (pickle.dumps(_batch(0, 3) | {b"labels": [0, 10, 3]}), "labels outside of 0 to 9"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            open_split(tmp_path, "full", "test")
        assert f"{folder}: test_batch" in str(caught.value)
    assert capsys.readouterr().out == ""
    path.unlink()
    with pytest.raises(UserError, match=r"cannot be read .* download"):
        open_split(tmp_path, "full", "test")
    assert commands.verify(tmp_path, "full")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for call in (
        lambda: open_split(tmp_path, "full", "train"),
        lambda: commands.verify(tmp_path, "full"),
        lambda: commands.prepare(tmp_path, "full", source=tmp_path),
    ):
        with pytest.raises(MissingDataError, match=r"get cifar-10-python\.tar\.gz from"):
            call()
    assert commands.listing(tmp_path) == []
    with pytest.raises(UserError, match="there is no mini tier of cifar"):
        open_split(tmp_path, "mini", "train")
    with pytest.raises(ValueError, match="unknown tier 'big'"):
        commands.prepare(tmp_path, "big")
    (tmp_path / "cifar" / files.FOLDER).mkdir(parents=True)
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        open_split(tmp_path, "full", "dev")
