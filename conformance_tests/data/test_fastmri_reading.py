"""Opening splits of scans and reading slices, also from files that are not as they should be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from algoperf_ref.data.batches import Batch, evaluation_batches
from algoperf_ref.data.fastmri import index, volumes
from algoperf_ref.data.fastmri.cache import FinishedSlice, SliceCache, default_cache_bytes
from algoperf_ref.data.fastmri.layout import Layout
from algoperf_ref.data.fastmri.masks import training_masks
from algoperf_ref.data.fastmri.split import FastmriSplit, open_split
from algoperf_ref.data.fastmri.transforms import transform
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import scans
from spec.data_order import EVAL_TRAIN_SEED

SIZES = {"train": 11, "validation": 6, "test": 5}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set in the layout of the mini tier; do not change it."""
    return scans.write_tiny_fastmri(tmp_path_factory.mktemp("tiny"), **SIZES)


@pytest.fixture
def own_tiny(tiny: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(tiny, tmp_path / "data")


def _root(data_dir: Path) -> Path:
    return Layout.of(data_dir, "mini").root


def _file(data_dir: Path, folder: str = "train", number: int = 0) -> Path:
    return sorted((_root(data_dir) / f"knee_singlecoil_{folder}").glob("*.h5"))[number]


def _all(split: FastmriSplit, data_seed: int = 0) -> Batch:
    numbers = np.arange(len(split))
    return split.make(data_seed)(numbers, numbers)


def _assert_same(one: Batch, other: Batch) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_batch_has_the_documented_arrays(tiny: Path) -> None:
    batch = _all(open_split(tiny, "mini", "train", expected_examples=11))
    assert {name: (array.dtype.name, array.shape) for name, array in batch.items()} == {
        "inputs": ("float32", (11, 32, 32)),
        "targets": ("float32", (11, 32, 32)),
        "mean": ("float32", (11,)),
        "std": ("float32", (11,)),
        "volume_max": ("float32", (11,)),
    }
    assert np.abs(batch["inputs"]).max() <= 6


def test_slices_are_numbered_in_the_order_of_sorted_files(tiny: Path) -> None:
    split = open_split(tiny, "mini", "train")
    names = [volume.name for volume in split.volumes]
    assert names == sorted(names)
    assert [volume.slices for volume in split.volumes] == [4, 4, 3]
    assert [split.locate(example)[1] for example in range(11)] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]
    assert split.locate(4)[0] is split.volumes[1]
    maxima = [volume.volume_max for volume in split.volumes for _ in range(volume.slices)]
    np.testing.assert_array_equal(_all(split)["volume_max"], np.float32(maxima))
    for example in (-1, 11):
        with pytest.raises(IndexError):
            split.locate(example)


def test_mini_validation_files_alternate_between_validation_and_test(tiny: Path) -> None:
    paths = sorted(path.name for path in (_root(tiny) / "knee_singlecoil_val").iterdir())
    for split, wanted in (("validation", paths[0::2]), ("test", paths[1::2])):
        opened = open_split(tiny, "mini", split, expected_examples=SIZES[split])
        assert [Path(volume.name).name for volume in opened.volumes] == wanted


def test_of_the_full_tier_the_first_hundred_validation_files_are_the_validation_split() -> None:
    layout = Layout.of("anywhere", "full")
    numbers = list(range(199))
    assert layout.of_split("validation", numbers) == numbers[:100]
    assert layout.of_split("test", numbers) == numbers[100:]
    assert layout.of_split("train", numbers) == layout.of_split("eval_train", numbers) == numbers


@pytest.mark.clause("DATA-10")
def test_a_training_mask_depends_on_the_data_seed_and_the_number_of_the_slice_alone(
    tiny: Path,
) -> None:
    split = open_split(tiny, "mini", "train")
    numbers = np.arange(11)
    made = np.empty((2, 32, 32), np.float32)
    for seed in (0, 1, 2**70):
        batch = _all(split, seed)
        masks = training_masks(seed, numbers, np.full(11, 36))
        assert len({mask.tobytes() for mask in masks}) > 5
        for example in range(11):
            kspace, target = volumes.read_slice(split.root, *split.locate(example))
            transform(kspace, target, masks[example], *made)
            np.testing.assert_array_equal(batch["inputs"][example], made[0])
    order = np.random.RandomState(0).permutation(11)
    shuffled = split.make(1)(order, order + 500)
    _assert_same(shuffled, {name: array[order] for name, array in _all(split, 1).items()})
    assert not np.array_equal(_all(split, 0)["inputs"], _all(split, 1)["inputs"])


@pytest.mark.clause("DATA-10")
def test_evaluation_masks_do_not_depend_on_the_data_seed(tiny: Path) -> None:
    for name in ("validation", "test", "eval_train"):
        split = open_split(tiny, "mini", name)
        _assert_same(_all(split, 0), _all(split, 7))
    train = open_split(tiny, "mini", "train")
    eval_train = open_split(tiny, "mini", "eval_train")
    _assert_same(_all(eval_train), _all(train, EVAL_TRAIN_SEED))


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"chunks": (1, 64, 36)}])
def test_compressed_and_chunked_files_give_the_same(
    own_tiny: Path, tiny: Path, options: dict[str, Any]
) -> None:
    for path in _root(own_tiny).glob("*/*.h5"):
        with h5py.File(path, "r+") as file:
            kspace = file["kspace"][()]
            del file["kspace"]
            file.create_dataset("kspace", data=kspace, **options)
    for name in ("train", "validation"):
        split = open_split(own_tiny, "mini", name)
        assert split.volumes[0].kspace_offset is None
        _assert_same(_all(split), _all(open_split(tiny, "mini", name)))


def test_files_in_one_piece_are_read_without_the_hdf5_library(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = open_split(tiny, "mini", "train")
    monkeypatch.setattr(h5py, "File", None)
    assert len(_all(split)["mean"]) == 11


def test_the_index_saves_opening_files_until_one_changes(
    own_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    inspect = volumes.inspect

    def counting(root: Path, name: str) -> volumes.Volume:
        opened.append(name)
        return inspect(root, name)

    monkeypatch.setattr(index, "inspect", counting)
    assert len(open_split(own_tiny, "mini", "train")) == 11
    assert opened == []
    changed = _file(own_tiny, number=1)
    scans.write_scan(changed, 2)
    assert len(open_split(own_tiny, "mini", "train")) == 9
    assert opened == [f"knee_singlecoil_train/{changed.name}"]
    assert len(open_split(own_tiny, "mini", "train")) == 9
    assert len(open_split(own_tiny, "mini", "validation")) == 6
    assert len(opened) == 1
    changed.unlink()
    assert len(open_split(own_tiny, "mini", "train")) == 7
    for spoiled in ("no JSON", json.dumps({"format": 0}), '{"format": 1, "volumes": [{}]}'):
        (_root(own_tiny) / "index.json").write_text(spoiled)
        assert len(open_split(own_tiny, "mini", "test")) == 5


def test_a_read_only_data_directory_serves_as_well(
    own_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_root(own_tiny) / "index.json").unlink()

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(index, "write_json", refused)
    assert len(open_split(own_tiny, "mini", "train")) == 11


def test_missing_data_name_the_command_that_prepares_them(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"prepare fastmri --tier mini --data_dir"):
        open_split(tmp_path, "mini", "train")
    with pytest.raises(MissingDataError, match=r"the mini tier is there.*--tier full"):
        open_split(tiny, "full", "train")
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        open_split(tiny, "mini", "dev")
    with pytest.raises(ValueError, match="unknown tier 'big'"):
        open_split(tiny, "big", "train")


def test_too_few_files_for_a_test_split_are_named(tmp_path: Path) -> None:
    scans.write_scan(tmp_path / "fastmri" / "knee_singlecoil_val" / "file1.h5", 2)
    assert len(open_split(tmp_path, "full", "validation")) == 2
    with pytest.raises(MissingDataError, match=r"\(test split\): .* has only 1 \.h5 files"):
        open_split(tmp_path, "full", "test")


@pytest.mark.clause("DATA-7")
def test_another_number_of_slices_than_specified_is_an_error(tiny: Path) -> None:
    with pytest.raises(MissingDataError, match=r"11 train slices in 3 files, but .* has 456"):
        open_split(tiny, "mini", "train", expected_examples=456)


def _rewrite(path: Path, **data: Any) -> None:
    with h5py.File(path, "r+") as file:
        for name, value in data.items():
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kspace": None}, "has no data set 'kspace'"),
        ({"reconstruction_esc": None}, "has no data set 'reconstruction_esc'"),
        ({"kspace": np.zeros((4, 64, 36), np.complex128)}, "is complex128, expected complex64"),
        ({"kspace": np.zeros((4, 64, 36), np.float32)}, "is float32, expected complex64"),
        ({"reconstruction_esc": np.zeros((4, 32, 32))}, "is float64, expected float32"),
        ({"kspace": np.zeros((64, 36), np.complex64)}, r"shape \[64, 36\], expected three axes"),
        ({"kspace": np.zeros((5, 64, 36), np.complex64)}, "5 slices of kspace, but 4 of"),
        ({"kspace": np.zeros((4, 64, 30), np.complex64)}, "is larger than the k-space, 64 x 30"),
    ],
)
def test_a_file_with_other_content_is_named(
    own_tiny: Path, data: dict[str, Any], message: str
) -> None:
    path = _file(own_tiny, number=1)
    _rewrite(path, **data)
    with pytest.raises(UserError, match=message) as caught:
        open_split(own_tiny, "mini", "train")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_unreadable_files_are_named_in_one_error(own_tiny: Path, content: bytes) -> None:
    for number in (0, 2):
        _file(own_tiny, number=number).write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read as HDF5.*\(and 1 more\)") as caught:
        open_split(own_tiny, "mini", "train")
    assert str(_file(own_tiny)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named_when_a_split_is_opened(own_tiny: Path) -> None:
    path = _file(own_tiny, number=1)
    os.truncate(path, path.stat().st_size - 2000)
    with pytest.raises(UserError, match="cannot be read as HDF5") as caught:
        open_split(own_tiny, "mini", "train")
    assert str(path) in str(caught.value)


def test_a_file_that_is_truncated_or_vanishes_later_is_named_when_it_is_read(
    own_tiny: Path,
) -> None:
    split = open_split(own_tiny, "mini", "train")
    os.truncate(_file(own_tiny, number=1), 60_000)
    numbers = np.arange(4, 8)
    with pytest.raises(UserError, match=r"slice 0 cannot be read \(it ends \d+ bytes") as caught:
        split.make()(numbers, numbers)
    assert str(_file(own_tiny, number=1)) in str(caught.value)
    assert "verify fastmri" in str(caught.value)
    _file(own_tiny).unlink()
    batches = evaluation_batches(range(11), split.make(), global_batch_size=4, workers=2)
    with pytest.raises(UserError, match=r"slice 0 cannot be read \(.*No such file"):
        next(batches)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_a_slice_that_cannot_be_normalised_is_named(own_tiny: Path, value: float) -> None:
    path = _file(own_tiny, "val", 1)
    kspace, _ = scans.scan(5)
    kspace[3] = value
    with h5py.File(path, "r+") as file:
        file["kspace"][...] = kspace[: len(file["kspace"])]
    split = open_split(own_tiny, "mini", "test")
    with pytest.raises(UserError, match=r"slice 3 cannot be normalised, its standard") as caught:
        _all(split)
    assert str(path) in str(caught.value)


def test_targets_of_different_shapes_are_an_error(own_tiny: Path) -> None:
    scans.write_scan(_file(own_tiny, number=2), 3, crop=30)
    with pytest.raises(UserError, match=r"has targets of 30 x 30, but those of .* are 32 x 32"):
        open_split(own_tiny, "mini", "train")


def test_scans_of_different_widths_may_be_mixed(own_tiny: Path) -> None:
    scans.write_scan(_file(own_tiny, number=2), 3, columns=41)
    train = _all(open_split(own_tiny, "mini", "train"))
    assert np.isfinite(train["inputs"]).all()


def test_a_file_without_the_maximum_has_zero(own_tiny: Path) -> None:
    with h5py.File(_file(own_tiny), "r+") as file:
        del file.attrs["max"]
    np.testing.assert_array_equal(
        _all(open_split(own_tiny, "mini", "train"))["volume_max"][:4], np.zeros(4)
    )


def test_the_cache_keeps_to_its_bound_and_does_not_change_results(tiny: Path) -> None:
    one_slice = 2 * 4 * 32 * 32
    plain = open_split(tiny, "mini", "train")
    for bound in (0, one_slice - 1, 3 * one_slice, 100 * one_slice):
        cache = SliceCache(bound)
        split = open_split(tiny, "mini", "train", cache=cache)
        for seed in (0, 0, 5, 0):
            _assert_same(_all(split, seed), _all(plain, seed))
            assert cache.bytes == one_slice * min(bound // one_slice, 11)


def test_a_full_cache_reads_no_file(own_tiny: Path) -> None:
    split = open_split(own_tiny, "mini", "train", cache=SliceCache())
    before = _all(split)
    shutil.rmtree(split.root)
    after = _all(split)
    _assert_same(before, after)
    # What a consumer does with its batch stays its own.
    after["inputs"][...] = 0
    _assert_same(before, _all(split))


def test_splits_share_a_cache_but_no_slices(tiny: Path) -> None:
    cache = SliceCache()
    names = ("train", "eval_train", "validation", "test")
    for _ in range(2):
        for name in names:
            cached, plain = (open_split(tiny, "mini", name, cache=one) for one in (cache, None))
            _assert_same(_all(cached), _all(plain))
    assert cache.bytes == (11 + 11 + 6 + 5) * 2 * 4 * 32 * 32


def test_another_seed_frees_the_slices_of_the_one_before() -> None:
    image = np.zeros((2, 2), np.float32)
    finished = FinishedSlice(image, image, np.float32(0), np.float32(1))
    cache = SliceCache(3 * 32)
    assert [cache.put("train", 1, example, finished) for example in range(4)] == [True] * 3 + [
        False
    ]
    assert cache.get("train", 1, 2) is not None
    assert cache.put("train", 2, 0, finished)
    assert cache.bytes == 32
    assert cache.get("train", 1, 2) is None


def test_the_default_bound_is_shared_by_the_processes_of_a_machine() -> None:
    assert 0 < default_cache_bytes(8) <= default_cache_bytes() // 4


def test_reading_scans_imports_no_framework_and_no_preparation_package(tiny: Path) -> None:
    forbidden = ("jax", "torch", "tensorflow", "nibabel", "scipy", "h5py")
    program = (
        "import sys\n"
        "import numpy as np\n"
        "from algoperf_ref.data.fastmri.split import open_split\n"
        f"split = open_split({str(tiny)!r}, 'mini', 'train')\n"
        "split.make(0)(np.arange(3), np.arange(3))\n"
        f"print([name for name in {forbidden!r} if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_without_h5py_the_error_says_what_to_install(
    own_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_root(own_tiny) / "index.json").unlink()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r'pip install "algoperf-ref\[data\]"'):
        open_split(own_tiny, "mini", "train")
