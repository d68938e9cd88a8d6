"""Where the molecules of each tier lie under a data directory, and how a split is opened.

    <data_dir>/ogbg/                 full tier
    <data_dir>/mini/ogbg/            mini tier
      ogbg_molpcba/0.1.3/            tfds data set, array_record format
      packed/<split>/                the same graphs in columns, for training
      manifest.json                  what was made, from what, with which checksums

An existing tfds preparation is also found in `<data_dir>/ogbg_molpcba/0.1.3`. If the full tier's
place holds a preparation in tfrecord format, it is left alone and its conversion stands in
`<data_dir>/ogbg/array_record/ogbg_molpcba/0.1.3`.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from algoperf_ref.data import packed_store, tfds_store
from algoperf_ref.data.datasets import TIERS
from algoperf_ref.data.files import read_json
from algoperf_ref.data.packed import PackedGraphs
from algoperf_ref.data.places import TierPlaces
from algoperf_ref.errors import MissingDataError

DATASET = "ogbg"
SPLITS = ("train", "validation", "test")
TFDS_NAME = "ogbg_molpcba"
TFDS_VERSION = "0.1.3"


@dataclass(frozen=True)
class Layout(TierPlaces):
    """Places of one tier under a data directory."""

    dataset = DATASET

    def packed(self, split: str) -> Path:
        return self.root / "packed" / split

    @property
    def own_tfds(self) -> Path:
        """Where an array_record data set is written, unless a tfrecord one stands there."""
        return self.root / TFDS_NAME / TFDS_VERSION

    @property
    def converted_tfds(self) -> Path:
        return self.root / "array_record" / TFDS_NAME / TFDS_VERSION

    def tfds_candidates(self) -> list[Path]:
        places = [self.converted_tfds, self.own_tfds]
        if self.tier == "full":
            places.append(self.data_dir / TFDS_NAME / TFDS_VERSION)
        return places

    def find_tfds(self, wanted_format: str) -> Path | None:
        """The first tfds data set of that file format, None if there is none."""
        for place in self.tfds_candidates():
            if tfds_store.file_format(place) == wanted_format:
                return place
        return None


def load_packed_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
) -> PackedGraphs:
    """Opens a prepared split; packs it first if only the tfds data set is there.

    Args:
      data_dir: as given to `python -m algoperf_ref.data prepare`.
      tier: "full" or "mini".
      split: "train", "validation" or "test".
      expected_examples: number of graphs that the split must have; None: any.

    Raises:
      MissingDataError: if the split is absent, damaged, or has another number of graphs.
    """
    layout = Layout.of(data_dir, tier)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, expected one of {SPLITS}")
    place = layout.packed(split)
    stored = packed_store.info(place)
    if stored is None:
        graphs = _pack_from_tfds(layout, split)
        place = layout.find_tfds("array_record") or place
    else:
        try:
            graphs = packed_store.load(place)
        except (OSError, ValueError) as error:
            raise MissingDataError(
                f"{place} is incomplete ({error}); delete it and run: {layout.prepare_command()}"
            ) from error
    if expected_examples is not None and len(graphs) != expected_examples:
        raise MissingDataError(
            f"{place} has {len(graphs)} {split} graphs, but the {layout.tier} tier has "
            f"{expected_examples}; prepare it with: {layout.prepare_command()}"
        )
    return graphs


def _pack_from_tfds(layout: Layout, split: str) -> PackedGraphs:
    version_dir = layout.find_tfds("array_record")
    if version_dir is None:
        raise MissingDataError(_missing_message(layout, split))
    graphs = pack_tfds_split(version_dir, split)
    try:
        packed_store.save(layout.packed(split), graphs, tfds_source(version_dir))
    except OSError as error:
        # A read-only data directory serves as well, only slower at every start.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return graphs


def _missing_message(layout: Layout, split: str) -> str:
    message = f"no {layout.tier} tier of {DATASET} ({split} split) in {layout.data_dir}"
    (other,) = (tier for tier in TIERS if tier != layout.tier)
    if packed_store.info(Layout(layout.data_dir, other).packed(split)) is not None:
        message += f" (the {other} tier is there)"
    return f"{message}; prepare it with: {layout.prepare_command()}"


def pack_tfds_split(version_dir: Path, split: str) -> PackedGraphs:
    """Reads a split of an array_record data set into columns.

    Raises:
      MissingDataError: if the data set has no such split.
    """
    from tqdm import tqdm

    info = read_json(version_dir / "dataset_info.json")
    if split not in {entry["name"] for entry in info["splits"]}:
        raise MissingDataError(f"{version_dir} has no {split} split")
    source = tfds_store.read(version_dir, split)
    numbers = tqdm(range(len(source)), f"pack {split}", unit=" graphs", leave=False, disable=None)
    return PackedGraphs.from_examples(source[number] for number in numbers)


def tfds_source(version_dir: Path) -> str:
    """A name for the content of a tfds data set: split sizes in records and bytes."""
    info = read_json(version_dir / "dataset_info.json")
    sizes = [
        f"{split['name']} {sum(map(int, split['shardLengths']))} records {split['numBytes']} bytes"
        for split in sorted(info["splits"], key=lambda split: str(split["name"]))
    ]
    return f"tfds {TFDS_NAME} {TFDS_VERSION}: {', '.join(sizes)}"
