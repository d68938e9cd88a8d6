"""Small made-up molecules in the form of the prepared data, for tests that need no chemistry.

The graphs are random trees with a few extra bonds; sizes, features and label gaps look like those
of the mini tier, and every label is a rule about the atoms, so a model can learn them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data import packed_store
from algoperf_ref.data.ogbg.layout import Layout
from algoperf_ref.data.ogbg.molecules import ATOM_FEATURE_SIZES, BOND_FEATURE_SIZES
from algoperf_ref.data.ogbg.prepare import write_manifest, write_tfds
from algoperf_ref.data.packed import PackedGraphs

NUM_TASKS = 128
_UNLABELLED_SHARE = 0.5
DESCRIPTION = "Made-up molecules for tests."
LICENCE = "Apache-2.0"


def examples(count: int, seed: int = 0, *, mean_nodes: int = 20) -> Iterator[dict[str, Any]]:
    """Made-up molecules with the tfds `ogbg_molpcba` features."""
    random = np.random.RandomState(seed)
    for _ in range(count):
        nodes = int(np.clip(random.normal(mean_nodes, mean_nodes / 3), 2, 3 * mean_nodes))
        # A random tree, then some bonds that close rings.
        tree = [(random.randint(0, node), node) for node in range(1, nodes)]
        rings = [tuple(random.randint(0, nodes, 2)) for _ in range(random.randint(0, 3))]
        bonds = np.array(tree + rings, np.int64).reshape(-1, 2)
        atoms = np.stack([random.randint(0, size, nodes) for size in ATOM_FEATURE_SIZES], axis=1)
        yield {
            "num_nodes": np.array([nodes], np.int64),
            "num_edges": np.array([len(bonds)], np.int64),
            "node_feat": atoms.astype(np.float32),
            "edge_feat": np.stack(
                [random.randint(0, size, len(bonds)) for size in BOND_FEATURE_SIZES], axis=1
            ).astype(np.float32),
            "edge_index": bonds,
            "labels": _labels(atoms, random),
        }


def _labels(atoms: NDArray[Any], random: np.random.RandomState) -> NDArray[np.float32]:
    """Task t asks whether more than a third of the atoms have feature t mod 9 in its lower half."""
    lower = np.mean(atoms < np.array(ATOM_FEATURE_SIZES) / 2, axis=0)
    thresholds = 0.3 + 0.4 * np.arange(NUM_TASKS) / NUM_TASKS
    labels = (lower[np.arange(NUM_TASKS) % len(lower)] > thresholds).astype(np.float32)
    labels[random.random_sample(NUM_TASKS) < _UNLABELLED_SHARE] = np.nan
    return labels


def packed(count: int, seed: int = 0, *, mean_nodes: int = 20) -> PackedGraphs:
    """Made-up molecules in columns."""
    return PackedGraphs.from_examples(examples(count, seed, mean_nodes=mean_nodes))


def write_tiny_ogbg(
    data_dir: str | PathLike[str],
    *,
    seed: int = 0,
    train: int = 64,
    validation: int = 24,
    test: int = 24,
    tier: str = "mini",
    with_tfds: bool = False,
) -> Path:
    """Writes a small but valid prepared data set; milliseconds without the tfds part.

    Args:
      data_dir: gets `mini/ogbg/...` (or `ogbg/...` for the full tier).
      seed: of the made-up molecules; every split has others.
      train, validation, test: number of molecules.
      tier: "mini" or "full".
      with_tfds: whether to write the array_record data set too (needs tensorflow-datasets).

    Returns:
      `data_dir`.
    """
    layout = Layout.of(data_dir, tier)
    sizes: Mapping[str, int] = {"train": train, "validation": validation, "test": test}
    splits = {
        split: packed(size, 3 * seed + number) for number, (split, size) in enumerate(sizes.items())
    }
    made_from = f"made-up molecules, seed {seed}"
    for split, graphs in splits.items():
        packed_store.save(layout.packed(split), graphs, made_from)
    if with_tfds:
        write_tfds(layout, splits, DESCRIPTION, LICENCE)
    write_manifest(layout, made_from, DESCRIPTION, LICENCE, {})
    return Path(data_dir)
