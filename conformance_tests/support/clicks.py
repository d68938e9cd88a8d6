"""Small made-up click logs in the form of the prepared data, for tests that need no download.

Lines look like those of the log: counts with gaps, categories of eight hexadecimal digits, most of
them of few values. The label is a noisy rule about two fields, so a model can learn it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from algoperf_ref.data.criteo1tb import index
from algoperf_ref.data.criteo1tb.layout import HELD_OUT_DAY, NUM_TEST_FILES, DayFile, Layout
from algoperf_ref.data.criteo1tb.prepare import write_manifest

DESCRIPTION = "Made-up click log for tests."
LICENCE = "Apache-2.0"
_MISSING_SHARE = 0.1
_NUM_DENSE, _NUM_CATEGORIES = 13, 26


def lines(count: int, seed: int = 0) -> list[bytes]:
    """Made-up lines of the log, each with its line break."""
    random = np.random.RandomState(seed)
    counts = random.geometric(0.02, (count, _NUM_DENSE))
    counts[random.random_sample(counts.shape) < 0.05] = 0
    # Column by column from a handful to ten thousands of values.
    sizes = np.geomspace(3, 50_000, _NUM_CATEGORIES).astype(int)
    values = random.randint(0, sizes, (count, _NUM_CATEGORIES))
    labels = (counts[:, 0] > 40) ^ (values[:, 0] == 1) ^ (random.random_sample(count) < 0.1)
    known_counts = random.random_sample(counts.shape) >= _MISSING_SHARE
    known_values = random.random_sample(values.shape) >= _MISSING_SHARE
    known_counts[:, 0] = known_values[:, 0] = True
    made = []
    for row in range(count):
        fields = [str(int(labels[row]))]
        fields += [str(n) if k else "" for n, k in zip(counts[row], known_counts[row], strict=True)]
        fields += [
            f"{(int(value) + 1) * 2654435761 % 2**32:08x}" if known else ""
            for value, known in zip(values[row], known_values[row], strict=True)
        ]
        made.append("\t".join(fields).encode() + b"\n")
    return made


def write_tiny_criteo(
    data_dir: str | PathLike[str],
    *,
    train: int = 96,
    validation: int = 40,
    test: int = 40,
    seed: int = 0,
    tier: str = "mini",
) -> Path:
    """Writes a small but valid prepared data set; milliseconds.

    Args:
      data_dir: gets `mini/criteo1tb/...` (or `criteo1tb/...` for the full tier).
      train, validation, test: number of lines; train takes up to three files, the others two.
      seed: of the made-up lines.
      tier: "mini" or "full".

    Returns:
      `data_dir`.
    """
    files: dict[DayFile, list[bytes]] = {}
    for number, (size, places) in enumerate(
        [
            (train, [DayFile(0, 0), DayFile(0, 1), DayFile(1, 0)]),
            (validation, [DayFile(HELD_OUT_DAY, NUM_TEST_FILES + part) for part in range(2)]),
            (test, [DayFile(HELD_OUT_DAY, part) for part in range(2)]),
        ]
    ):
        made = lines(size, 3 * seed + number)
        # Uneven parts: files of a split need not be equally long.
        cuts = [
            0,
            *(size * (part + 1) // (len(places) + 1) for part in range(1, len(places))),
            size,
        ]
        for part, place in enumerate(places):
            if part_lines := made[cuts[part] : cuts[part + 1]]:
                files[place] = part_lines
    return write_files(data_dir, files, tier=tier)


def write_files(
    data_dir: str | PathLike[str],
    files: Mapping[DayFile, Sequence[bytes]],
    *,
    tier: str = "mini",
) -> Path:
    """Writes files of lines as a prepared data set; the lines need not be sound.

    Args:
      data_dir: where the data go.
      files: the lines of every file, with their line breaks; that of the last may be missing.
      tier: "mini" or "full".

    Returns:
      `data_dir`.
    """
    layout = Layout.of(data_dir, tier)
    layout.root.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        layout.text(file).write_bytes(b"".join(content))
        index.build(layout.text(file), layout.index(file))
    write_manifest(
        layout,
        {file: len(content) for file, content in sorted(files.items())},
        "made-up lines",
        DESCRIPTION,
        LICENCE,
        with_checksums=True,
    )
    return Path(data_dir)
