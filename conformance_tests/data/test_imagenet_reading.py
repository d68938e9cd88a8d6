"""Reading images: three forms of the same data, bad files, splits and their errors."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from algoperf_ref.data import tfds_store, tfrecord
from algoperf_ref.data.batches import training_batches
from algoperf_ref.data.imagenet import packed, stores
from algoperf_ref.data.imagenet.cache import ImageCache
from algoperf_ref.data.imagenet.convert import convert
from algoperf_ref.data.imagenet.decoding import UnusableImage, decode
from algoperf_ref.data.imagenet.layout import TFDS, Layout
from algoperf_ref.data.imagenet.mini import CLASSES
from algoperf_ref.data.imagenet.prepare import prepare, write_manifest
from algoperf_ref.data.imagenet.split import MEAN, RESNET, STD, VIT, Augmentation, open_split
from algoperf_ref.data.imagenet.stores import open_store
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import pictures

COUNTS = {"train": 24, "validation": 12, "test": 11}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image folders in the mini tier; do not change them."""
    return pictures.write_tiny_imagenet(tmp_path_factory.mktemp("folders"), **COUNTS, size=40)


@pytest.fixture(scope="module")
def as_tfds(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images as tfds preparations, in another order."""
    data_dir = tmp_path_factory.mktemp("tfds")
    records: dict[Path, dict[str, list[dict[str, Any]]]] = {}
    for part in COUNTS:
        store = open_store(Layout.of(folders, "mini"), part)
        examples = []
        for number in np.random.RandomState(0).permutation(len(store.labels)).tolist():
            label, name = int(store.labels[number]), store.names[number].decode()
            examples.append(
                {
                    "image": io.BytesIO(store.read(number)),
                    "label": label,
                    "file_name": f"{label}/{name}" if part == "test" else name,
                }
            )
        records.setdefault(TFDS[part], {})[part] = examples
    root = Layout.of(data_dir, "mini").root
    for place, splits in records.items():
        _write_tfds(root / place, splits)
    return data_dir


def _write_tfds(version_dir: Path, splits: dict[str, list[dict[str, Any]]]) -> None:
    """tfds_store.write knows no configurations, so the features are made here."""
    tfds = tfds_store.import_tfds()
    version, name = (
        version_dir.name,
        "imagenet2012" if "2012" in str(version_dir) else "imagenet_v2",
    )

    class Writer(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[misc]
        VERSION = tfds.core.Version(version)
        code_path = None

        def _info(self) -> Any:
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=1000),
                    "file_name": tfds.features.Text(),
                }
            )
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, _: Any) -> dict[str, Any]:
            return {split: enumerate(items) for split, items in splits.items()}

        def _generate_examples(self) -> Any:
            raise NotImplementedError

    Writer.name = name
    scratch = version_dir.parent / f".{version}"
    builder = Writer(data_dir=str(scratch), file_format="array_record")
    with tfds_store._quiet(tfds):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    (scratch / name / version).rename(version_dir)
    shutil.rmtree(scratch)


@pytest.fixture(scope="module")
def as_packed(as_tfds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("packed")
    for part in COUNTS:
        store = open_store(Layout.of(as_tfds, "mini"), part)
        packed.write(store, Layout.of(data_dir, "mini").packed(part), images_per_file=5)
    return data_dir


@pytest.mark.parametrize("part", COUNTS)
def test_all_forms_give_the_same_examples(
    folders: Path, as_tfds: Path, as_packed: Path, part: str
) -> None:
    one, *others = (
        open_store(Layout.of(data_dir, "mini"), part) for data_dir in (folders, as_tfds, as_packed)
    )
    assert [one.form, *(other.form for other in others)] == ["folder", "tfds", "packed"]
    assert one.names.tolist() == sorted(one.names.tolist())
    assert len(one.labels) == COUNTS[part]
    assert one.labels.dtype == np.int32
    for other in others:
        np.testing.assert_array_equal(one.names, other.names)
        np.testing.assert_array_equal(one.labels, other.labels)
        for example in range(len(one.labels)):
            assert one.read(example) == other.read(example)
            assert one.names[example].decode() in other.describe(example)


@pytest.mark.parametrize("part", COUNTS)
def test_labels_are_those_of_the_pictures(folders: Path, part: str) -> None:
    store = open_store(Layout.of(folders, "mini"), part)
    for example, label in enumerate(store.labels.tolist()):
        folder = Path(store.describe(example)).parent.name
        assert folder == (str(label) if part == "test" else CLASSES[label])
        mean = decode(store.read(example), "x").mean(axis=(0, 1))
        colour = 0.5 + 0.4 * np.cos(2 * np.pi * (label / 10 + np.array([0, 1, 2]) / 3))
        assert np.abs(mean / 255 - 0.7 * colour).max() < 0.2


def test_batches_of_all_forms_are_the_same(folders: Path, as_tfds: Path, as_packed: Path) -> None:
    batches = []
    for data_dir in (folders, as_tfds, as_packed):
        split = open_split(data_dir, "mini", "train", image_size=32, augmentation=VIT)
        make = split.make(3, global_batch_size=8)
        stream = training_batches(len(split), make, data_seed=3, global_batch_size=8, workers=2)
        batches.append([next(stream) for _ in range(4)])
    for ours, other in ((batches[0], batches[1]), (batches[0], batches[2])):
        for one, two in zip(ours, other, strict=True):
            np.testing.assert_array_equal(one["inputs"], two["inputs"])
            np.testing.assert_array_equal(one["targets"], two["targets"])


@pytest.mark.parametrize("inner", ["", "pytorch"])
def test_the_official_places_are_found(folders: Path, tmp_path: Path, inner: str) -> None:
    source = Layout.of(folders, "mini").root
    root = tmp_path / "imagenet" / inner
    shutil.copytree(source, root)
    (root / "imagenet_v2" / "imagenetv2-matched-frequency-format-val").rename(root / "v2")
    shutil.rmtree(root / "imagenet_v2")
    (root / "v2").rename(root / "imagenet_v2")
    for part, count in COUNTS.items():
        split = open_split(tmp_path, "full", part, expected_examples=count)
        assert split.store.place.is_relative_to(root)


def test_a_tfds_preparation_beside_it_is_not_taken_for_a_test_image_folder(
    as_tfds: Path, tmp_path: Path
) -> None:
    shutil.copytree(Layout.of(as_tfds, "mini").root, tmp_path / "imagenet" / "jax")
    assert Layout.of(tmp_path, "full").folder("test") is None
    for part, count in COUNTS.items():
        assert len(open_split(tmp_path, "full", part)) == count


def test_tfrecords_ask_for_their_conversion(tmp_path: Path) -> None:
    for place in {*TFDS.values()}:
        (tmp_path / "imagenet" / place).mkdir(parents=True)
        (tmp_path / "imagenet" / place / "dataset_info.json").write_text("{}")
    with pytest.raises(MissingDataError, match=r"tfrecord format.*\.data convert imagenet"):
        open_split(tmp_path, "full", "train")


def test_tfrecords_are_converted_to_the_same_examples(as_tfds: Path, tmp_path: Path) -> None:
    module = pytest.importorskip("array_record.python.array_record_module")
    root = Layout.of(as_tfds, "mini").root
    for place in {*TFDS.values()}:
        source, target = root / place, tmp_path / "official" / "jax" / place
        target.mkdir(parents=True)
        shutil.copy(source / "features.json", target)
        info = json.loads((source / "dataset_info.json").read_text())
        for split in info["splits"]:
            (path,) = source.glob(f"*-{split['name']}.array_record-*")
            reader = module.ArrayRecordReader(str(path))
            records = reader.read_all()
            reader.close()
            name = f"{info['name']}-{split['name']}.tfrecord-00000-of-00001"
            (target / name).write_bytes(b"".join(map(_framed, records)))
        (target / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    data = tmp_path / "data"
    prepare(data, "full", source=tmp_path / "official", expected=COUNTS, say=lambda _: None)
    for part in COUNTS:
        one, other = (
            open_store(Layout.of(place, tier), part)
            for place, tier in ((as_tfds, "mini"), (data, "full"))
        )
        assert other.place.is_relative_to(data / "imagenet" / "array_record")
        assert other.names.tolist() == one.names.tolist()
        assert [other.read(n) for n in range(5)] == [one.read(n) for n in range(5)]
    # The same by the other command, of what already lies in its place.
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "official", again / "imagenet")
    assert convert(again, say=lambda _: None) == again / "imagenet" / "array_record"
    assert len(open_split(again, "full", "validation", expected_examples=12)) == 12


def _framed(record: bytes) -> bytes:
    crc32c = pytest.importorskip("google_crc32c").value
    length = struct.pack("<Q", len(record))
    parts = (length, record)
    first, second = (part + struct.pack("<I", tfrecord.masked(crc32c(part))) for part in parts)
    return first + second


def test_an_index_is_used_until_a_folder_changes(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    layout = Layout.of(tmp_path, "mini")
    assert len(open_store(layout, "train").labels) == 24
    with monkeypatch.context() as patched:
        patched.setattr(stores.FolderStore, "_look", None)
        assert len(open_store(layout, "train").labels) == 24
    folder = layout.root / "train" / CLASSES[3]
    (folder / "more.JPEG").write_bytes(b"")
    (folder / "readme.txt").write_bytes(b"")
    (folder / ".hidden.JPEG").write_bytes(b"")
    store = open_store(layout, "train")
    assert len(store.labels) == 25
    assert store.labels[store.names.tolist().index(b"more.JPEG")] == 3
    layout.index("train", "folder").write_bytes(b"damaged")
    assert len(open_store(layout, "train").labels) == 25


def test_read_only_data_serve_without_an_index(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Layout.of(folders, "mini").root / "train", tmp_path / "mini/imagenet/train")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(stores, "atomic_file", refuse)
    assert len(open_split(tmp_path, "mini", "train")) == 24


# Files that are not as they should be.


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


_PIXELS = pictures.picture(4, 30, 40)
_RGB = Image.fromarray(_PIXELS)
_GREY = _RGB.convert("L")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (_encoded(_RGB, "PNG"), _PIXELS),
        (_encoded(_RGB.convert("RGBA"), "PNG"), _PIXELS),
        (_encoded(_RGB.convert("CMYK"), "JPEG", quality=95), _PIXELS),
        (
            _encoded(_RGB.convert("L"), "JPEG", quality=95),
            np.array(_RGB.convert("L").convert("RGB")),
        ),
        (_encoded(_RGB, "JPEG", quality=95, progressive=True), _PIXELS),
        (_encoded(_RGB, "JPEG", quality=95, subsampling=0), _PIXELS),
        (_encoded(_RGB, "BMP"), _PIXELS),
        # Rubbish between two segments and behind the end, which decoders pass over.
        (_encoded(_RGB, "JPEG", quality=95) + b"rubbish", _PIXELS),
    ],
    ids=["png", "rgba", "cmyk", "grey", "progressive", "444", "bmp", "rubbish"],
)
def test_unusual_files_are_converted(data: bytes, expected: NDArray[np.uint8]) -> None:
    made = decode(data, "x.JPEG")
    assert (made.shape, made.dtype) == ((30, 40, 3), np.uint8)
    assert np.abs(made.astype(int) - expected).mean() < 4


def test_a_flaw_that_decoders_pass_over_is_passed_over() -> None:
    data = bytearray(_encoded(_RGB, "JPEG", quality=95))
    place = data.index(b"\xff\xda")
    data[place:place] = b"\x00\x00\x00"  # extraneous bytes before a marker: a warning only
    assert decode(bytes(data), "x.JPEG").shape == (30, 40, 3)


def test_a_turned_image_is_read_as_it_lies() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    assert decode(_encoded(_RGB, "JPEG", exif=tags), "x.JPEG").shape == (30, 40, 3)


_BAD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"<html>not found</html>",
    "truncated": lambda data: data[: len(data) * 2 // 3],
    "header only": lambda data: data[:100],
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("kind", _BAD)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_files_that_cannot_be_used_are_named(form: str, kind: str) -> None:
    with pytest.raises(UnusableImage, match=r"^a/b\.JPEG cannot be decoded \([^<\n]+\)$"):
        decode(_BAD[kind](_encoded(_RGB, form)), "a/b.JPEG")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("threads", [0, 2])
def test_a_bad_file_ends_the_stream_with_its_name(
    folders: Path, tmp_path: Path, workers: int, threads: int
) -> None:
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    split = open_split(tmp_path, "mini", "train", image_size=16)
    path = Path(split.store.describe(5))
    os.truncate(path, path.stat().st_size // 2)
    batches = training_batches(
        24, split.make(0, threads=threads), data_seed=0, global_batch_size=24, workers=workers
    )
    with pytest.raises(UnusableImage) as caught:
        next(batches)
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(UnusableImage, match="cannot be read") as caught:
        split.image(5)
    assert str(path) in str(caught.value)


def test_damaged_packed_files_are_named(as_packed: Path, tmp_path: Path) -> None:
    shutil.copytree(as_packed, tmp_path, dirs_exist_ok=True)
    layout = Layout.of(tmp_path, "mini")
    store = open_store(layout, "train")
    path = layout.packed("train") / "images-00003.bin"
    os.truncate(path, path.stat().st_size - 1)
    last = store.read(15)
    assert last
    with pytest.raises(UnusableImage, match="is cut off"):
        store.read(19)
    with pytest.raises(UserError, match=r"images-00003\.bin is cut off; delete .* convert again"):
        open_store(layout, "train")
    path.unlink()
    with pytest.raises(UserError, match=r"images-00003\.bin is missing"):
        open_store(layout, "train")
    (layout.packed("train") / "index.npz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"index\.npz is damaged"):
        open_store(layout, "train")


# Splits.


def test_evaluation_splits_have_nothing_random(folders: Path) -> None:
    numbers = np.array([5, 0, 5])
    for name in ("eval_train", "validation", "test"):
        split = open_split(folders, "mini", name, image_size=24, augmentation=VIT)
        assert split.augmentation is None
        made = split.make(1)(numbers, np.arange(3))
        again = split.make(2)(numbers, np.arange(3) + 100)
        np.testing.assert_array_equal(made["inputs"], again["inputs"])
        np.testing.assert_array_equal(made["inputs"][0], made["inputs"][2])
        np.testing.assert_array_equal(made["targets"], split.store.labels[numbers])
        assert made["targets"].dtype == np.int32


def test_training_images_vary_with_position_and_seed_only(folders: Path) -> None:
    split = open_split(folders, "mini", "train", image_size=24)
    numbers = np.array([5, 5])
    made = split.make(1)(numbers, np.array([0, 1]))
    again = split.make(1)(numbers, np.array([1, 7]))
    np.testing.assert_array_equal(made["inputs"][1], again["inputs"][0])
    assert np.abs(made["inputs"][0] - made["inputs"][1]).max() > 0.1
    other = split.make(2)(numbers, np.array([0, 1]))
    assert np.abs(made["inputs"] - other["inputs"]).max() > 0.1


def test_nothing_varied_is_a_resize_and_a_flip(tmp_path: Path) -> None:
    # An image of the size that is asked for, taken whole: only flips are left.
    data_dir = pictures.write_tiny_imagenet(tmp_path, size=32)
    plain = Augmentation(min_area=1.0)
    split = open_split(data_dir, "mini", "eval_train", image_size=28)
    numbers = np.arange(16)
    whole = split.make()(numbers, numbers)["inputs"]
    flipped = open_split(data_dir, "mini", "train", image_size=28, augmentation=plain)
    found = flipped.make(0)(numbers, numbers)["inputs"]
    turned = 0
    for one, other in zip(whole, found, strict=True):
        # The whole image: the centre crop instead, as in the official pipeline, of 28 pixels.
        if np.allclose(one, other, atol=1e-5):
            continue
        np.testing.assert_allclose(one[:, ::-1], other, atol=1e-5)
        turned += 1
    assert 2 < turned < 14
    assert one.mean() * STD.mean() + MEAN.mean() == pytest.approx(
        split.image(15)[2:-2, 2:-2].mean(), abs=6
    )


def test_constants_are_those_of_the_facts() -> None:
    np.testing.assert_allclose(MEAN / 255, (0.485, 0.456, 0.406), rtol=1e-6)
    np.testing.assert_allclose(STD / 255, (0.229, 0.224, 0.225), rtol=1e-6)
    assert (RESNET.min_area, RESNET.flip, RESNET.randaugment_layers) == (0.08, True, 0)
    assert RESNET.mixup_alpha == 0
    assert (VIT.randaugment_layers, VIT.randaugment_magnitude, VIT.mixup_alpha) == (2, 10, 0.2)


def test_mixup_needs_the_global_batch(folders: Path) -> None:
    split = open_split(folders, "mini", "train", augmentation=VIT, image_size=16)
    with pytest.raises(ValueError, match="mixup needs the global batch size"):
        split.make(0)
    make = split.make(0, global_batch_size=8)
    for positions in ([6, 7, 8], [0, 2]):
        with pytest.raises(ValueError, match="consecutive rows of one global batch"):
            make(np.zeros(len(positions), np.int64), np.array(positions))


def test_images_that_are_kept_are_decoded_once(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ImageCache(max_bytes=10 * 40 * 40 * 3)
    train, again = (
        open_split(folders, "mini", name, cache=cache, image_size=16)
        for name in ("train", "eval_train")
    )
    plain = open_split(folders, "mini", "eval_train", image_size=16)
    numbers = np.arange(24)
    train.make(0)(numbers, numbers)
    assert cache.bytes == cache.max_bytes
    reads = []
    read = again.store.read
    lock = threading.Lock()

    def counted(example: int) -> bytes:
        with lock:
            reads.append(example)
        return read(example)

    monkeypatch.setattr(again.store, "read", counted)
    made = again.make(threads=2)(numbers, numbers)
    assert sorted(reads) == list(range(10, 24))
    np.testing.assert_array_equal(made["inputs"], plain.make()(numbers, numbers)["inputs"])
    with pytest.raises(ValueError, match="read-only"):
        again.image(0)[:] = 0
    # Validation images are others, under the same numbers.
    validation = open_split(folders, "mini", "validation", cache=cache, image_size=16)
    assert not np.array_equal(validation.image(0), train.image(0))


def test_what_is_missing_is_said(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no mini tier .*prepare imagenet --tier mini"):
        open_split(tmp_path, "mini", "validation")
    with pytest.raises(MissingDataError, match="the mini tier is there"):
        open_split(folders, "full", "validation")
    with pytest.raises(MissingDataError, match="has 24 train images, but the mini tier has 4,000"):
        open_split(folders, "mini", "train", expected_examples=4000)
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        open_split(folders, "mini", "valid")
    with pytest.raises(ValueError, match="unknown tier 'big'"):
        open_split(folders, "big", "train")


def test_classes_must_fit(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    root = Layout.of(tmp_path, "mini").root
    (root / "val" / "n99999999").mkdir()
    with pytest.raises(UserError, match="n99999999, a class that the training images do not have"):
        open_split(tmp_path, "mini", "validation")
    shutil.copytree(root / "train" / CLASSES[0], root / "train" / "n99999999")
    with pytest.raises(MissingDataError, match="has 11 classes, but the mini tier has 10"):
        open_split(tmp_path, "mini", "train")
    with pytest.raises(UserError, match="11 classes, the mini tier has 10"):
        write_manifest(Layout.of(tmp_path, "mini"), "x", "x", "x", {})
