"""Makes the molecules of a tier ready for training: tfds data set, packed columns, manifest.

Every part appears in one rename and records what it was made from, so an interrupted preparation is
simply repeated: finished parts are kept.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from algoperf_ref.data import packed_store, tfds_store, tfrecord
from algoperf_ref.data.files import read_json, write_json
from algoperf_ref.data.ogbg import mini, molecules, raw
from algoperf_ref.data.ogbg.layout import (
    DATASET,
    SPLITS,
    TFDS_NAME,
    TFDS_VERSION,
    Layout,
    pack_tfds_split,
    tfds_source,
)
from algoperf_ref.data.ogbg.task_names import TASK_NAMES
from algoperf_ref.data.packed import PackedGraphs
from algoperf_ref.errors import MissingDataError, UserError
from spec import tiers

_PACKAGES = ("numpy", "rdkit", "tensorflow-datasets", "array-record")
_FULL_DESCRIPTION = (
    "ogbg-molpcba of the Open Graph Benchmark: molecules with 128 measured biological activities, "
    "scaffold split."
)
_FULL_LICENCE = "MIT (Open Graph Benchmark); the measurements come from PubChem."

Say = Callable[[str], object]


def expected_counts(tier: str) -> dict[str, int]:
    """Graphs of every split, as the specification of the workload asks for."""
    row = tiers.get(DATASET, tier)
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
    expected: Mapping[str, int] | None = None,
    processes: int | None = None,
    say: Say = print,
) -> Path:
    """Prepares a tier, or finishes an interrupted preparation.

    Args:
      data_dir: where the data goes; see `algoperf_ref.data.ogbg.layout`.
      tier: "full" or "mini".
      source: for the full tier, where to look first for the tfds preparation or the raw download.
      expected: graphs of every split; None: those of the specification.
      processes: worker processes that compute the mini tier's labels; None: one per core.
      say: called with a line of text at every stage.

    Returns:
      The directory of the tier.

    Raises:
      UserError: if something is missing or not as it should be.
    """
    layout = Layout.of(data_dir, tier)
    expected = expected_counts(tier) if expected is None else expected
    if _is_complete(layout, expected):
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
        _prepare_mini(layout, expected, processes, say)
    else:
        _prepare_full(layout, source, expected, say)
    say(f"{layout.root}: ready")
    return layout.root


def convert(
    data_dir: str | PathLike[str],
    *,
    tier: str = "full",
    source: Path | None,
    say: Say = print,
) -> Path:
    """Converts a tfds preparation in tfrecord format to array_record, and nothing else.

    Returns:
      The directory of the converted data set.

    Raises:
      UserError: if there is none at `source`, or it is damaged.
    """
    if tier != "full" or source is None:
        raise UserError(
            "only the full tier of ogbg is converted, from a tfds preparation in tfrecord format: "
            "name its folder with --source"
        )
    layout = Layout.of(data_dir, "full")
    version_dir = _tfds_at(source, "tfrecord")
    if version_dir is None:
        raise MissingDataError(
            f"no {TFDS_NAME}/{TFDS_VERSION} in tfrecord format in {source}; give --source the "
            "folder with its dataset_info.json"
        )
    return _convert(layout, version_dir, say)


def _is_complete(layout: Layout, expected: Mapping[str, int]) -> bool:
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict) or layout.find_tfds("array_record") is None:
        return False
    for split in SPLITS:
        stored = packed_store.info(layout.packed(split))
        entry = manifest.get("splits", {}).get(split, {})
        if stored is None or stored.sha256 != entry.get("sha256"):
            return False
        if stored.num_graphs != expected[split]:
            return False
        # Data that is complete can be used without the package that made it.
        if layout.tier == "mini" and _version("rdkit") and stored.source != _mini_source(expected):
            return False
    return True


def _mini_source(expected: Mapping[str, int]) -> str:
    sizes = ", ".join(f"{split} {expected[split]}" for split in SPLITS)
    return f"mini molecules, recipe {mini.RECIPE}, rdkit {_version('rdkit')}, {sizes}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _prepare_mini(
    layout: Layout, expected: Mapping[str, int], processes: int | None, say: Say
) -> None:
    from tqdm import tqdm

    # Before the long part, so that a missing package shows at once.
    tfds_store.import_tfds()
    molecules.import_rdkit()
    made_from = _mini_source(expected)
    splits = _already_packed(layout, made_from)
    if splits is None:
        say("computing features and labels of the molecules in the rdkit package")
        with tqdm(desc="molecules", leave=False, disable=None) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            splits = mini.build(expected, processes=processes, progress=progress)
        for split, graphs in splits.items():
            packed_store.save(layout.packed(split), graphs, made_from)
    say("writing the tfds data set")
    write_tfds(layout, splits, mini.DESCRIPTION, mini.LICENCE)
    write_manifest(layout, made_from, mini.DESCRIPTION, mini.LICENCE, {"tasks": TASK_NAMES})


def _prepare_full(
    layout: Layout, source: Path | None, expected: Mapping[str, int], say: Say
) -> None:
    version_dir = _tfds_at(source, "array_record") if source is not None else None
    version_dir = version_dir or layout.find_tfds("array_record")
    raw_source = None
    if version_dir is None:
        tfrecords = _tfds_at(source, "tfrecord") if source is not None else None
        tfrecords = tfrecords or layout.find_tfds("tfrecord")
        if tfrecords is not None:
            version_dir = _convert(layout, tfrecords, say)
        else:
            places = [layout.root, layout.data_dir]
            raw_source = raw.find([source, *places] if source is not None else places)
    if version_dir is not None:
        made_from = tfds_source(version_dir)
        for split in SPLITS:
            stored = packed_store.info(layout.packed(split))
            if stored is None or stored.source != made_from:
                say(f"packing the {split} split of {version_dir}")
                graphs = pack_tfds_split(version_dir, split)
                _check_count(version_dir, split, len(graphs), expected)
                packed_store.save(layout.packed(split), graphs, made_from)
    elif raw_source is not None:
        made_from = _pack_raw(layout, raw_source, expected, say)
    else:
        raise MissingDataError(
            f"no ogbg-molpcba found for the full tier: put the tfds preparation "
            f"({TFDS_NAME}/{TFDS_VERSION}) or the raw download ({raw.ZIP_NAME}, or its folder with "
            f"raw/ and split/) into {layout.root}, or name its folder with --source"
        )
    write_manifest(layout, made_from, _FULL_DESCRIPTION, _FULL_LICENCE, {})


def _pack_raw(layout: Layout, source: Path, expected: Mapping[str, int], say: Say) -> str:
    from tqdm import tqdm

    tfds_store.import_tfds()
    say(f"reading the raw download {source}")
    raw.check_archive(source)
    made_from = f"raw ogbg-molpcba, sha256 {raw.checksum(source)}"
    splits = _already_packed(layout, made_from)
    if splits is None:
        with tqdm(
            total=raw.NUM_FILES, desc="raw files", unit=" files", leave=False, disable=None
        ) as bar:
            splits = raw.read_splits(source, lambda name: bar.update())
        for split, graphs in splits.items():
            _check_count(source, split, len(graphs), expected)
        for split, graphs in splits.items():
            packed_store.save(layout.packed(split), graphs, made_from)
    say("writing the tfds data set")
    write_tfds(layout, splits, _FULL_DESCRIPTION, _FULL_LICENCE)
    return made_from


def _already_packed(layout: Layout, made_from: str) -> dict[str, PackedGraphs] | None:
    """The packed splits of an earlier, interrupted preparation from the same source."""
    for split in SPLITS:
        stored = packed_store.info(layout.packed(split))
        if stored is None or stored.source != made_from:
            return None
    return {split: packed_store.load(layout.packed(split)) for split in SPLITS}


def _check_count(place: Path, split: str, found: int, expected: Mapping[str, int]) -> None:
    if found != expected[split]:
        raise UserError(
            f"{place}: the {split} split has {found} graphs, ogbg-molpcba has {expected[split]}"
        )


def write_tfds(
    layout: Layout, splits: Mapping[str, PackedGraphs], description: str, licence: str
) -> None:
    """Writes packed splits as the tier's tfds data set in array_record format."""
    from tqdm import tqdm

    total = sum(len(graphs) for graphs in splits.values())
    with tqdm(total=total, desc="write", unit=" graphs", leave=False, disable=None) as bar:

        def counted(graphs: PackedGraphs) -> Any:
            for example in graphs.examples():
                yield example
                bar.update()

        tfds_store.write(
            layout.own_tfds,
            {split: counted(graphs) for split, graphs in splits.items()},
            description=description,
            licence=licence,
        )


def _convert(layout: Layout, tfrecords: Path, say: Say) -> Path:
    from tqdm import tqdm

    taken = tfds_store.file_format(layout.own_tfds) == "tfrecord"
    target = layout.converted_tfds if taken else layout.own_tfds
    if tfds_store.file_format(target) == "array_record":
        say(f"{target}: already converted")
        return target
    say(f"converting {tfrecords} to array_record in {target}")
    total = sum(tfrecord.shard_lengths(tfrecords).values())
    with tqdm(total=total, desc="convert", unit=" graphs", leave=False, disable=None) as bar:
        checked = tfrecord.convert(tfrecords, target, bar.update)
    if not checked:
        say(
            "note: checksums of the records were not compared, because google-crc32c is not "
            f"installed ({tfds_store.INSTALL_HINT})"
        )
    return target


def _tfds_at(place: Path, wanted_format: str) -> Path | None:
    versioned = Path(TFDS_NAME) / TFDS_VERSION
    for inner in (Path(), Path(TFDS_VERSION), versioned, Path(DATASET) / versioned):
        if tfds_store.file_format(place / inner) == wanted_format:
            return place / inner
    return None


def write_manifest(
    layout: Layout, made_from: str, description: str, licence: str, more: Mapping[str, Any]
) -> None:
    """Writes manifest.json, the last part of a preparation.

    Args:
      layout: the tier; its packed splits must be there.
      made_from: a name for what the content was made from.
      description: what the data is, in plain words.
      licence: terms of the content.
      more: further entries.
    """
    splits = {}
    for split in SPLITS:
        stored = packed_store.info(layout.packed(split))
        if stored is None:
            raise UserError(f"{layout.packed(split)} has vanished; run the command again")
        graphs = packed_store.load(layout.packed(split))
        splits[split] = {
            "num_graphs": stored.num_graphs,
            "num_nodes": int(graphs.node_starts[-1]),
            "num_bonds": int(graphs.bond_starts[-1]),
            "sha256": stored.sha256,
        }
    write_json(
        layout.manifest,
        {
            "dataset": f"{TFDS_NAME} {TFDS_VERSION} (format)",
            "tier": layout.tier,
            "description": description,
            "licence": licence,
            "made_from": made_from,
            "packages": {package: _version(package) for package in _PACKAGES},
            "splits": splits,
            **more,
        },
    )
