"""The mini tier's molecules: real compounds that rdkit carries, computed labels, fixed splits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import numpy as np

from algoperf_ref.data.ogbg import molecules, tasks
from algoperf_ref.data.ogbg.task_names import TASK_NAMES
from algoperf_ref.data.packed import PackedGraphs
from algoperf_ref.errors import UserError

# Version of the recipe in this module and in `tasks`: another one makes other data.
RECIPE = 1
_SPLIT_SEED = 0
_MASK_SEED = 1
# Share of (molecule, task) entries that are unlabelled, in all splits; ogbg-molpcba has gaps too.
_UNLABELLED_SHARE = 0.5
# Molecules of one task of a worker; small, because an interrupted run waits for those in work.
_CHUNK = 32

DESCRIPTION = (
    "Small multi-task molecule set for trying out training algorithms. The molecules are real: a "
    "sample of the NCI compound collection and a screening library, both carried by the rdkit "
    "package. The 128 binary labels are not measurements: they are computed from the structure "
    "(structural alerts, functional groups, thresholds on molecular properties), and half of them "
    "are hidden at random. Features, layout and format are those of ogbg-molpcba; results on it "
    "say nothing about ogbg-molpcba."
)
LICENCE = "rdkit package data: BSD-3-Clause. Generated on this machine, not redistributed."


# What a preparation is made from -> checksum of every split, where it is known. The content depends
# on rdkit (features, label rules) and on nothing else.
PINNED_SHA256: Mapping[str, Mapping[str, str]] = {
    "mini molecules, recipe 1, rdkit 2026.9.1, train 12000, validation 1441, test 1441": {
        "train": "bbbff905a1f6331eb019024723ac24142b54e81e29cbd0221081befa89e45d57",
        "validation": "5e7e431f1978d8a26148560d082ee78c6082f9668490a04801d7b32b55c34fb5",
        "test": "2cc0961cd0664008f669b46b51ba1a78372a83cdcb1af8a1f22c1c8f85461673",
    },
}


def build(
    split_sizes: Mapping[str, int],
    *,
    processes: int | None = None,
    smiles: Sequence[str] | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, PackedGraphs]:
    """Makes the packed splits.

    Args:
      split_sizes: number of molecules of every split; together all molecules there are.
      processes: worker processes; None: one per core.
      smiles: molecules to take; None: all that the rdkit package carries.
      progress: called with (molecules done, molecules in all).

    Raises:
      UserError: if rdkit is missing, or has another number of molecules.
    """
    # rdkit first: without it the mend is to install it.
    molecules.import_rdkit()
    distinct = molecules.distinct_smiles(
        molecules.shipped_smiles() if smiles is None else iter(smiles)
    )
    if len(distinct) != sum(split_sizes.values()):
        raise UserError(
            f"rdkit {molecules.rdkit_version()} gives {len(distinct)} distinct molecules, the mini "
            f"tier needs {sum(split_sizes.values())}; install the rdkit version of the constraints "
            "file"
        )
    graphs, positives = [], []
    progress(0, len(distinct))
    for chunk in _featurised(distinct, processes):
        for graph, found in chunk:
            graphs.append(graph)
            positives.append(found)
        progress(len(graphs), len(distinct))
    truth = tasks.label_columns(positives, TASK_NAMES)
    hidden = np.random.RandomState(_MASK_SEED).random_sample(truth.shape) < _UNLABELLED_SHARE
    labels = np.where(hidden, np.float32(np.nan), truth.astype(np.float32))
    everything = PackedGraphs.from_examples(
        graph | {"labels": row} for graph, row in zip(graphs, labels, strict=True)
    )
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(distinct))
    splits, start = {}, 0
    for split, size in split_sizes.items():
        splits[split] = everything.take(order[start : start + size])
        start += size
    return splits


def _featurise_chunk(smiles: Sequence[str]) -> list[tuple[dict[str, Any], set[str]]]:
    chem = molecules.import_rdkit()
    parsed = [chem.MolFromSmiles(text) for text in smiles]
    return [(molecules.graph(one), tasks.mini_candidates().true_of(one)) for one in parsed]


def _ignore_interrupts() -> None:
    # Ctrl-C is the parent's to handle: it ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _featurised(
    smiles: Sequence[str], processes: int | None
) -> Iterator[list[tuple[dict[str, Any], set[str]]]]:
    chunks = [smiles[start : start + _CHUNK] for start in range(0, len(smiles), _CHUNK)]
    processes = min(processes or os.cpu_count() or 1, len(chunks))
    if processes == 1:
        yield from map(_featurise_chunk, chunks)
        return
    # Spawned, not forked: the caller may have threads (JAX, PyTorch) that do not survive a fork.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_ignore_interrupts)
    try:
        yield from pool.map(_featurise_chunk, chunks)
    except BrokenProcessPool as error:
        raise UserError(
            f"a worker process ended unexpectedly ({error}); try with --processes 1"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
