"""Converting: tfds preparations to array_record, and what is readable to packed files."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from algoperf_ref.data import tfrecord
from algoperf_ref.data.imagenet import packed
from algoperf_ref.data.imagenet.layout import DATASET, PARTS, TFDS, Layout, find_tfds
from algoperf_ref.data.imagenet.stores import open_store
from algoperf_ref.errors import MissingDataError

Say = Callable[[str], object]


def convert_tfrecord(layout: Layout, part: str, version_dir: Path | None, say: Say) -> Path:
    """Converts a tfds preparation from tfrecord to array_record, into the tier's directory.

    Args:
      layout: the tier.
      part: of the data, whose preparation it is.
      version_dir: with the tfrecord files; None is an error of a missing part.
      say: called with a line of text at every stage.

    Returns:
      The directory that was made.

    Raises:
      UserError: there is none, or it is damaged.
    """
    from tqdm import tqdm

    if version_dir is None:
        raise layout.missing(part)
    target = layout.root / "array_record" / TFDS[part]
    say(f"converting {version_dir} from tfrecord to array_record (repeat to resume)")
    total = sum(tfrecord.shard_lengths(version_dir).values())
    with tqdm(total=total, desc="convert", unit=" images", leave=False, disable=None) as bar:
        checked = tfrecord.convert(version_dir, target, bar.update)
    if not checked:
        say("the checksums of the records were not checked: google-crc32c is not installed")
    return target


def convert(
    data_dir: str | PathLike[str],
    *,
    tier: str = "full",
    source: Path | None = None,
    say: Say = print,
) -> Path:
    """Converts tfds preparations from tfrecord to array_record; what is readable, to packed files.

    Packed files hold the same images, unchanged, and are quicker to read in random order. What they
    were made from may be deleted afterwards.

    Args:
      data_dir: see :func:`prepare`.
      tier: "full" or "mini".
      source: folder of a tfds preparation in tfrecord format; None looks in the tier's directory.
      say: called with a line of text at every stage.

    Returns:
      The directory that was made.

    Raises:
      UserError: there is nothing to convert, or it is damaged.
    """
    layout = Layout.of(data_dir, tier)
    converted = None
    for part in PARTS:
        places = [] if source is None else [source, source / "jax", *source.parents[:2]]
        version_dir = find_tfds(part, places, "tfrecord") or layout.tfds(part, "tfrecord")
        if version_dir is not None and layout.tfds(part, "array_record") is None:
            convert_tfrecord(layout, part, version_dir, say)
            converted = layout.root / "array_record"
    if converted is not None:
        return converted
    if source is not None:
        raise MissingDataError(f"no tfds preparation of {DATASET} in tfrecord format in {source}")
    for part in PARTS:
        if packed.is_complete(layout.packed(part)):
            say(f"{layout.packed(part)}: already converted")
            continue
        store = open_store(layout, part)
        say(f"packing {len(store.labels):,} images of {store.place}")
        packed.write(store, layout.packed(part))
    return layout.root / "packed"
