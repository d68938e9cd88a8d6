"""Checks of prepared scans, and a listing of what is prepared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from algoperf_ref.data.batches import in_order
from algoperf_ref.data.datasets import TIERS, Listing
from algoperf_ref.data.fastmri import index, mini
from algoperf_ref.data.fastmri.layout import (
    DATASET,
    FOLDERS,
    SPLIT_FOLDERS,
    Layout,
)
from algoperf_ref.data.fastmri.masks import evaluation_mask
from algoperf_ref.data.fastmri.prepare import FILES, expected_slices
from algoperf_ref.data.fastmri.transforms import ConstantSlice, transform
from algoperf_ref.data.fastmri.volumes import (
    MAXIMUM,
    UnusableVolume,
    Volume,
    inspect,
    is_number,
    read_slice,
)
from algoperf_ref.data.files import directory_bytes, read_json

_WORKERS = 2
_SPLITS = ("train", "validation", "test")


def verify(
    data_dir: str | PathLike[str],
    tier: str,
    *,
    expected: Mapping[str, int] | None = None,
    expected_files: Mapping[str, int] | None = None,
) -> list[str]:
    """Opens every file and reads every slice: counts, shapes, types, values, what can be trained.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: "full" or "mini".
      expected: slices of every split; None: those of the specification.
      expected_files: files of every folder; None: those of the data set.

    Returns:
      One sentence per problem; empty if there is none.

    Raises:
      MissingDataError: if nothing of the tier is there.
      UserError: h5py is not installed.
    """
    layout = Layout.of(data_dir, tier)
    if not any(layout.files(folder) for folder in FOLDERS):
        raise layout.missing(FOLDERS[0], "train")
    expected = expected_slices(layout.tier) if expected is None else expected
    expected_files = FILES[layout.tier] if expected_files is None else expected_files
    problems = []
    found: dict[str, list[Volume | UnusableVolume]] = {}
    for folder in FOLDERS:
        names = [f"{folder}/{path.name}" for path in layout.files(folder)]
        if len(names) != expected_files[folder]:
            problems.append(
                f"{layout.root / folder}: {len(names)} .h5 files, expected {expected_files[folder]}"
            )
        found[folder] = [_inspected(layout.root, name) for name in names]
    volumes = []
    for one in (one for some in found.values() for one in some):
        if isinstance(one, Volume):
            volumes.append(one)
        else:
            problems.append(str(one))
    problems.extend(_count_problems(layout, found, expected))
    problems.extend(_shape_problems(layout.root, volumes))
    problems.extend(_content_problems(layout.root, volumes))
    problems.extend(_checksum_problems(layout, broken=bool(problems)))
    return problems


def _inspected(root: Path, name: str) -> Volume | UnusableVolume:
    try:
        return inspect(root, name)
    except UnusableVolume as problem:
        return problem


def _count_problems(
    layout: Layout,
    found: Mapping[str, list[Volume | UnusableVolume]],
    expected: Mapping[str, int],
) -> Iterator[str]:
    for split in _SPLITS:
        files = layout.of_split(split, found[SPLIT_FOLDERS[split]])
        slices = sum(one.slices for one in files if isinstance(one, Volume))
        if slices != expected[split]:
            yield f"{layout.root}: {slices} usable {split} slices, expected {expected[split]}"


def _shape_problems(root: Path, volumes: list[Volume]) -> Iterator[str]:
    for volume in volumes:
        shape, first = (volume.height, volume.width), volumes[0]
        if shape != (first.height, first.width):
            yield (
                f"{root / volume.name}: targets of {shape[0]} x {shape[1]}, those of {first.name} "
                f"are {first.height} x {first.width}"
            )


def _content_problems(root: Path, volumes: list[Volume]) -> Iterator[str]:
    from tqdm import tqdm

    def problems(volume: Volume) -> list[str]:
        return list(_volume_problems(root, volume))

    total = sum(volume.bytes for volume in volumes)
    with tqdm(
        total=total, desc="read scans", unit="B", unit_scale=True, leave=False, disable=None
    ) as bar:
        for volume, some in zip(
            volumes, in_order(problems, volumes, _WORKERS, _WORKERS), strict=True
        ):
            bar.update(volume.bytes)
            yield from some


def _volume_problems(root: Path, volume: Volume) -> Iterator[str]:
    import h5py

    path = root / volume.name
    with h5py.File(path, "r") as file:
        if MAXIMUM not in file.attrs:
            yield f"{path}: the attribute {MAXIMUM!r} is missing"
    if not is_number(volume.volume_max):
        yield f"{path}: the attribute {MAXIMUM!r} is {volume.volume_max}"
    mask = evaluation_mask(volume.columns)
    made = np.empty((2, volume.height, volume.width), np.float32)
    for number in range(volume.slices):
        try:
            kspace, target = read_slice(root, volume, number)
        except UnusableVolume as problem:
            yield str(problem)
            return
        for name, values in (("k-space", kspace), ("target", target)):
            if not np.isfinite(values).all():
                yield f"{path}: slice {number} has a {name} that is not finite"
                break
        else:
            try:
                transform(kspace, target, mask, *made)
            except ConstantSlice as error:
                yield f"{path}: slice {number} cannot be normalised, {error}"


def _checksum_problems(layout: Layout, broken: bool) -> Iterator[str]:
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict):
        yield f"{layout.manifest} is missing; run: {layout.prepare_command()}"
    elif "sha256" in manifest and not broken:
        content = mini.digest(layout.root)
        pinned = mini.PINNED_SHA256.get(str(manifest.get("made_from")), manifest["sha256"])
        if content != pinned:
            yield f"{layout.root}: the checksum is {content}, expected {pinned}"


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """The tiers that are there, complete or not; no file is opened."""
    found = []
    for tier in TIERS:
        layout = Layout.of(data_dir, tier)
        if not any(layout.files(folder) for folder in FOLDERS):
            continue
        stored = index.read(layout)
        examples = {}
        complete = layout.manifest.is_file()
        for split in _SPLITS:
            folder = SPLIT_FOLDERS[split]
            files = layout.of_split(split, layout.files(folder))
            entries = [stored.get(f"{folder}/{path.name}") for path in files]
            if all(index.still_true(layout.root, entry) for entry in entries):
                examples[split] = sum(entry.slices for entry in entries if entry is not None)
            else:
                complete = False
        found.append(
            Listing(
                dataset=DATASET,
                tier=tier,
                place=str(layout.root),
                state="prepared" if complete else "not finished, run prepare",
                examples=examples,
                bytes=_bytes(layout),
            )
        )
    return found


def _bytes(layout: Layout) -> int:
    # A folder may be a link to where the scans were unpacked.
    linked = [layout.root / name for name in FOLDERS if (layout.root / name).is_symlink()]
    return directory_bytes(layout.root) + sum(directory_bytes(place.resolve()) for place in linked)
