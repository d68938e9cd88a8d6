"""Makes the scans of a tier ready for training: folders of the official layout, index, manifest."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from algoperf_ref.data import packages
from algoperf_ref.data.fastmri import archives, index, mini
from algoperf_ref.data.fastmri.layout import (
    DATASET,
    FOLDERS,
    SPLIT_FOLDERS,
    TRAIN_FOLDER,
    VALIDATION_FOLDER,
    Layout,
)
from algoperf_ref.data.fastmri.volumes import UnusableVolume, Volume
from algoperf_ref.data.files import atomic_directory, read_json, write_json
from algoperf_ref.errors import MissingDataError, UserError
from spec import workloads

Say = Callable[[str], object]

FILES: Mapping[str, Mapping[str, int]] = {
    "full": {TRAIN_FOLDER: 973, VALIDATION_FOLDER: 199},
    "mini": {TRAIN_FOLDER: 57, VALIDATION_FOLDER: 21},
}
"""Files of each folder. Source: Workload facts, fastmri, 5 and data_sources, 3."""

_GIGABYTES = {TRAIN_FOLDER: 94, VALIDATION_FOLDER: 19}  # unpacked, from the shapes
_PACKAGES = ("numpy", "h5py", "nibabel")
_FULL_DESCRIPTION = "fastMRI single-coil knee scans, training and validation files."
_FULL_LICENCE = "fastMRI data set sharing agreement (NYU Langone Health); not to be passed on."


def expected_slices(tier: str) -> dict[str, int]:
    """Slices of every split."""
    if tier == "full":
        row = workloads.get(DATASET)
        return {
            "train": row.num_train_examples,
            "validation": row.num_validation_examples,
            "test": row.num_test_examples,
        }
    files = FILES["mini"]
    validation = (files[VALIDATION_FOLDER] + 1) // 2
    return {
        "train": files[TRAIN_FOLDER] * mini.NUM_SLICES,
        "validation": validation * mini.NUM_SLICES,
        "test": (files[VALIDATION_FOLDER] - validation) * mini.NUM_SLICES,
    }


def prepare(
    data_dir: str | PathLike[str],
    tier: str,
    *,
    source: Path | None = None,
    processes: int | None = None,
    expected: Mapping[str, int] | None = None,
    say: Say = print,
) -> Path:
    """Prepares a tier, or finishes an interrupted preparation.

    Args:
      data_dir: where the data goes; see `algoperf_ref.data.fastmri.layout`.
      tier: "full" or "mini".
      source: for the full tier, the folder with the downloaded archives or with the unpacked
        folders; None looks where they will lie.
      processes: not used; reading archives and making the mini tier are quick enough with one.
      expected: files of each folder; None: those of the data set.
      say: called with a line of text at every stage.

    Returns:
      The directory of the tier.

    Raises:
      UserError: if something is missing or not as it should be.
    """
    layout = Layout.of(data_dir, tier)
    files = FILES[layout.tier] if expected is None else expected
    if is_complete(layout, files):
        say(f"{layout.root}: already prepared")
        return layout.root
    # Before minutes of work, not after them.
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {layout.root} ({error.strerror}): give another --data_dir"
        ) from error
    if layout.tier == "mini":
        if source is not None:
            raise UserError("--source belongs to the full tier; the mini tier makes its own data")
        _prepare_mini(layout, files, say)
    else:
        _prepare_full(layout, source, files, say)
    say(f"{layout.root}: ready")
    return layout.root


def is_complete(layout: Layout, files: Mapping[str, int]) -> bool:
    """Whether a preparation was finished, and its files are as they were then."""
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict) or manifest.get("files") != dict(files):
        return False
    if layout.tier == "mini" and manifest.get("made_from") != mini.made_from(mini.CROP, files):
        return False
    stored = index.read(layout)
    return all(
        len(layout.files(folder)) == files[folder]
        and all(index.still_true(layout.root, stored.get(name)) for name in _names(layout, folder))
        for folder in FOLDERS
    )


def _names(layout: Layout, folder: str) -> list[str]:
    return [f"{folder}/{path.name}" for path in layout.files(folder)]


def _prepare_mini(layout: Layout, files: Mapping[str, int], say: Say) -> None:
    from tqdm import tqdm

    wheel = packages.fetch(mini.PACKAGE, layout.data_dir / "downloads", say=say)
    say("simulating scans of the template brain in the nilearn package")
    with (
        atomic_directory(layout.root) as partial,
        tqdm(
            total=sum(files.values()), desc="scans", unit=" files", leave=False, disable=None
        ) as bar,
    ):
        content = mini.build(wheel, partial, progress=bar.update)
        found = {folder: len(list((partial / folder).glob("*.h5"))) for folder in FOLDERS}
        made_from = mini.made_from(mini.CROP, found)
        if found != dict(files):
            raise UserError(f"the recipe made {made_from}, the tier has {dict(files)}")
        pinned = mini.PINNED_SHA256.get(made_from, content)
        if content != pinned:
            raise UserError(
                f"the scans have the checksum {content}, this recipe should give {pinned}; use the "
                "package versions of the constraints file"
            )
    write_manifest(layout, made_from, mini.DESCRIPTION, mini.LICENCE, sha256=content)


def _prepare_full(layout: Layout, source: Path | None, files: Mapping[str, int], say: Say) -> None:
    places = [place for place in (source, layout.root, layout.data_dir) if place is not None]
    missing = []
    for folder in FOLDERS:
        # A folder with all files is complete, since unpacking gives a file its name at the end.
        if len(layout.files(folder)) >= files[folder]:
            continue
        archive = archives.find_archive(places, folder)
        unpacked = archives.find_folder(places, folder)
        if archive is not None:
            say(f"unpacking {archive} (about {_GIGABYTES[folder]} GB in all; repeat to resume)")
            archives.unpack(archive, layout.root, folder)
        elif unpacked is not None:
            if done := archives.adopt(unpacked, layout.root, folder):
                say(done)
        else:
            missing.append(folder)
    if missing:
        wanted = " and ".join(archives.archive_names(folder)[0] for folder in missing)
        raise MissingDataError(
            f"no scans for {' and '.join(missing)}: get {wanted} from fastmri.med.nyu.edu and name "
            f"their folder with --source (or put them, or the unpacked folders, into {layout.root})"
        )
    say("opening every file once")
    found = _inventory(layout, files)
    for split, slices in _slices(layout, found).items():
        say(f"{split}: {slices:,} slices")
    write_manifest(layout, "the official archives", _FULL_DESCRIPTION, _FULL_LICENCE)


def _inventory(layout: Layout, files: Mapping[str, int]) -> dict[str, list[Volume]]:
    """The volumes of every folder, as many as there should be."""
    found = _volumes(layout)
    for folder in FOLDERS:
        if len(found[folder]) != files[folder]:
            raise UserError(
                f"{layout.root / folder} has {len(found[folder])} .h5 files, the data set has "
                f"{files[folder]}; repeat the command with the complete archive"
            )
    if layout.tier == "full" and dict(files) == FILES["full"]:
        for split, slices in _slices(layout, found).items():
            if slices != expected_slices("full")[split]:
                raise UserError(
                    f"{layout.root} has {slices:,} {split} slices, the data set has "
                    f"{expected_slices('full')[split]:,}: are these the single-coil knee files?"
                )
    return found


def _volumes(layout: Layout) -> dict[str, list[Volume]]:
    found = index.refresh(layout, FOLDERS)
    unusable = [one for some in found.values() for one in some if isinstance(one, UnusableVolume)]
    if unusable:
        more = f" (and {len(unusable) - 1} more)" if len(unusable) > 1 else ""
        raise UserError(f"{unusable[0]}{more}; delete it and repeat the command")
    return {
        folder: [one for one in some if isinstance(one, Volume)] for folder, some in found.items()
    }


def _slices(layout: Layout, found: Mapping[str, list[Volume]]) -> dict[str, int]:
    return {
        split: sum(volume.slices for volume in layout.of_split(split, found[SPLIT_FOLDERS[split]]))
        for split in ("train", "validation", "test")
    }


def write_manifest(
    layout: Layout,
    made_from: str,
    description: str,
    licence: str,
    *,
    sha256: str | None = None,
) -> None:
    """Writes the index and manifest.json, the last part of a preparation.

    Args:
      layout: the tier; its files must be there.
      made_from: a name for what the content was made from.
      description: what the data is, in plain words.
      licence: terms of the content.
      sha256: checksum of the content, if it is known.

    Raises:
      UserError: a file is unusable.
    """
    found = _volumes(layout)
    manifest: dict[str, Any] = {
        "dataset": "fastMRI single-coil knee (format)",
        "tier": layout.tier,
        "description": description,
        "licence": licence,
        "made_from": made_from,
        "packages": {package: _version(package) for package in _PACKAGES},
        "files": {folder: len(found[folder]) for folder in FOLDERS},
        "slices": _slices(layout, found),
    }
    if sha256 is not None:
        manifest["sha256"] = sha256
    write_json(layout.manifest, manifest)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
