"""Checks of prepared molecules, and a listing of what is prepared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike

import numpy as np

from algoperf_ref.data import packed_store
from algoperf_ref.data.datasets import TIERS, Listing
from algoperf_ref.data.files import directory_bytes, read_json
from algoperf_ref.data.ogbg import mini
from algoperf_ref.data.ogbg.layout import DATASET, SPLITS, Layout, pack_tfds_split
from algoperf_ref.data.ogbg.molecules import ATOM_FEATURE_SIZES, BOND_FEATURE_SIZES
from algoperf_ref.data.ogbg.prepare import expected_counts
from algoperf_ref.data.packed import MISSING_LABEL, PackedGraphs
from algoperf_ref.errors import MissingDataError


def verify(
    data_dir: str | PathLike[str],
    tier: str,
    *,
    expected: Mapping[str, int] | None = None,
) -> list[str]:
    """Reads everything again: counts, checksums, value ranges, equality of the two formats.

    Returns:
      One sentence per problem; empty if there is none.

    Raises:
      MissingDataError: if nothing of the tier is prepared.
    """
    layout = Layout.of(data_dir, tier)
    expected = expected_counts(tier) if expected is None else expected
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict):
        raise MissingDataError(
            f"no prepared {layout.tier} tier in {layout.root} (manifest.json); prepare it with: "
            f"{layout.prepare_command()}"
        )
    return list(_problems(layout, manifest, expected))


def _problems(
    layout: Layout, manifest: Mapping[str, object], expected: Mapping[str, int]
) -> Iterator[str]:
    version_dir = layout.find_tfds("array_record")
    if version_dir is None:
        yield f"{layout.own_tfds}: the tfds data set is missing"
    entries = manifest.get("splits")
    for split in SPLITS:
        place = layout.packed(split)
        stored = packed_store.info(place)
        if stored is None:
            yield f"{place}: packed.json is missing or of another format"
            continue
        try:
            graphs = packed_store.load(place)
            found = packed_store.digest(graphs)
        except (OSError, ValueError) as error:
            yield f"{place}: a column cannot be read ({error})"
            continue
        entry = entries.get(split, {}) if isinstance(entries, dict) else {}
        if found != stored.sha256 or found != entry.get("sha256"):
            yield f"{place}: the checksum is {found}, the manifest has {entry.get('sha256')}"
            continue
        if len(graphs) != expected[split]:
            yield f"{place}: {len(graphs)} graphs, expected {expected[split]}"
        pinned = mini.PINNED_SHA256.get(stored.source, {}).get(split)
        if pinned is not None and found != pinned:
            yield f"{place}: the checksum is {found}, this recipe should give {pinned}"
        yield from (f"{place}: {problem}" for problem in _value_problems(graphs))
        if version_dir is not None:
            try:
                again = packed_store.digest(pack_tfds_split(version_dir, split))
            except (OSError, ValueError, RuntimeError, MissingDataError) as error:
                yield f"{version_dir}: the {split} split cannot be read ({error})"
                continue
            if again != found:
                yield f"{version_dir}: the {split} split differs from the packed columns"


def _value_problems(graphs: PackedGraphs) -> Iterator[str]:
    for name, column, sizes in (
        ("atom", graphs.node_features, ATOM_FEATURE_SIZES),
        ("bond", graphs.bond_features, BOND_FEATURE_SIZES),
    ):
        if column.ndim != 2 or column.shape[1] != len(sizes):
            yield f"{name} features have the shape {column.shape}"
            continue
        if len(column) == 0:
            continue
        for number, size in enumerate(sizes):
            low, high = column[:, number].min(), column[:, number].max()
            if low < 0 or high >= size:
                yield f"{name} feature {number} has values {low} to {high}, allowed 0 to {size - 1}"
    if len(graphs) and graphs.num_nodes.min() < 1:
        yield "a graph has no node"
    starts = np.repeat(graphs.num_nodes, graphs.num_bonds)[:, None]
    if np.any(graphs.bonds >= starts):
        yield "a bond points to a node that its graph does not have"
    if graphs.labels.dtype != np.int8 or not np.isin(graphs.labels, (MISSING_LABEL, 0, 1)).all():
        yield "labels are not 0, 1 or missing"


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """The tiers that are there, complete or not."""
    found = []
    for tier in TIERS:
        layout = Layout.of(data_dir, tier)
        graphs = {}
        for split in SPLITS:
            stored = packed_store.info(layout.packed(split))
            if stored is not None:
                graphs[split] = stored.num_graphs
        has_tfds = any(layout.find_tfds(kind) for kind in ("array_record", "tfrecord"))
        if not graphs and not has_tfds:
            continue
        complete = layout.manifest.is_file() and len(graphs) == len(SPLITS)
        state = "prepared" if complete else "not finished, run prepare"
        size = directory_bytes(layout.root)
        found.append(Listing(DATASET, tier, str(layout.root), state, graphs, size))
    return found
