"""Checks prepared images, and lists what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike

import numpy as np

from algoperf_ref.data.batches import in_order
from algoperf_ref.data.datasets import TIERS, Listing
from algoperf_ref.data.files import read_json
from algoperf_ref.data.imagenet import mini
from algoperf_ref.data.imagenet.decoding import UnusableImage, decode
from algoperf_ref.data.imagenet.layout import DATASET, PARTS, Layout
from algoperf_ref.data.imagenet.prepare import expected_counts
from algoperf_ref.data.imagenet.split import NUM_CLASSES
from algoperf_ref.data.imagenet.stores import ImageStore, open_store
from algoperf_ref.errors import MissingDataError

_WORKERS = 2


def verify(
    data_dir: str | PathLike[str], tier: str, *, expected: Mapping[str, int] | None = None
) -> list[str]:
    """Reads and decodes every image: counts, classes, files that cannot be used, checksum.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: "full" or "mini".
      expected: images of every part; None: those of the data set.

    Returns:
      One sentence per problem; empty if there is none.

    Raises:
      MissingDataError: nothing of the tier is there.
      UserError: a part is damaged, or a package is missing.
    """
    layout = Layout.of(data_dir, tier)
    counts = expected_counts(layout.tier) if expected is None else expected
    problems = []
    stores: dict[str, ImageStore] = {}
    for part in PARTS:
        try:
            stores[part] = open_store(layout, part)
        except MissingDataError as error:
            problems.append(str(error))
    if not stores:
        raise layout.missing("train")
    for part, store in stores.items():
        if len(store.labels) != counts[part]:
            problems.append(
                f"{store.place}: {len(store.labels):,} {part} images, expected {counts[part]:,}"
            )
        found = len(np.unique(store.labels))
        if found != NUM_CLASSES[layout.tier]:
            problems.append(
                f"{store.place}: {found} classes of {part} images, expected "
                f"{NUM_CLASSES[layout.tier]}"
            )
        problems.extend(_unusable(part, store))
    problems.extend(_manifest_problems(layout, broken=bool(problems)))
    return problems


def _unusable(part: str, store: ImageStore) -> Iterator[str]:
    from tqdm import tqdm

    def problem(example: int) -> str | None:
        try:
            decode(store.read(example), store.describe(example))
        except UnusableImage as error:
            return str(error)
        return None

    numbers = tqdm(
        range(len(store.labels)), f"decode {part}", unit=" images", leave=False, disable=None
    )
    for found in in_order(problem, numbers, _WORKERS, 64):
        if found is not None:
            yield found


def _manifest_problems(layout: Layout, broken: bool) -> Iterator[str]:
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict):
        yield f"{layout.manifest} is missing; run: {layout.prepare_command()}"
    elif "sha256" in manifest and not broken and layout.folder("train") is not None:
        content = mini.digest(layout.root)
        pinned = mini.PINNED_SHA256.get(str(manifest.get("made_from")), manifest["sha256"])
        if content != pinned:
            yield f"{layout.root}: the checksum is {content}, expected {pinned}"


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """The tiers that are there, complete or not; from the manifest, no image is looked for."""
    found = []
    for tier in TIERS:
        layout = Layout.of(data_dir, tier)
        manifest = read_json(layout.manifest)
        known = manifest if isinstance(manifest, dict) else {}
        if not known and not any(_is_there(layout, part) for part in PARTS):
            continue
        found.append(
            Listing(
                dataset=DATASET,
                tier=tier,
                place=str(layout.root),
                state="prepared" if known else "not finished, run prepare",
                examples=known.get("images", {}),
                bytes=known.get("bytes", 0),
            )
        )
    return found


def _is_there(layout: Layout, part: str) -> bool:
    return layout.folder(part) is not None or any(
        layout.tfds(part, form) is not None for form in ("array_record", "tfrecord")
    )
