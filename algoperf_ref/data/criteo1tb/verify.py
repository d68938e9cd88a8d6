"""Checks of a prepared click log, and a listing of what is prepared."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from algoperf_ref.data.batches import in_order
from algoperf_ref.data.criteo1tb import index, mini
from algoperf_ref.data.criteo1tb.damage import SHOWN
from algoperf_ref.data.criteo1tb.index import LineCounter
from algoperf_ref.data.criteo1tb.layout import (
    DATASET,
    SPLITS,
    DayFile,
    Layout,
    files_of,
    lines_per_split,
    named,
)
from algoperf_ref.data.criteo1tb.parsing import NUM_INPUTS, Floats
from algoperf_ref.data.criteo1tb.prepare import (
    Inventory,
    checksum,
    inventory_of,
    prepared_inventory,
)
from algoperf_ref.data.criteo1tb.sources import (
    AT_A_TIME,
    ConvertedSource,
    Source,
    TextSource,
    open_converted,
)
from algoperf_ref.data.datasets import TIERS, Listing
from algoperf_ref.data.files import directory_bytes, read_json
from algoperf_ref.errors import MissingDataError


def verify(
    data_dir: str | PathLike[str], tier: str, *, inventory: Inventory | None = None
) -> list[str]:
    """Reads everything again: files, lines, fields, index, conversion; checksums where known.

    Args:
      data_dir: as given to `python -m algoperf_ref.data prepare`.
      tier: "full" or "mini".
      inventory: the files that there should be; None: those of the tier.

    Returns:
      One sentence per problem; empty if there is none.

    Raises:
      MissingDataError: nothing of the tier is prepared.
    """
    layout = Layout.of(data_dir, tier)
    prepared = prepared_inventory(layout)
    inventory = inventory_of(layout.tier) if inventory is None else inventory
    return list(_problems(layout, prepared, inventory))


def _problems(layout: Layout, prepared: Inventory, inventory: Inventory) -> Iterator[str]:
    if lost := [file for file in inventory if file not in prepared]:
        yield f"{layout.manifest}: {named(lost)} not prepared"
    found, wanted = lines_per_split(prepared), lines_per_split(inventory)
    for split in SPLITS:
        if found[split] != wanted[split]:
            yield f"{layout.manifest}: {found[split]} {split} lines, expected {wanted[split]}"
    more = [file for file in layout.found() if file not in prepared]
    if more:
        yield f"{layout.root}: {named(more)} not part of what was prepared"

    def check(file: DayFile) -> list[str]:
        return list(_file_problems(layout, file, prepared[file]))

    for problems in in_order(check, prepared, workers=2, ahead=2):
        yield from problems
    yield from _checksum_problems(layout, prepared)


def _file_problems(layout: Layout, file: DayFile, lines: int) -> Iterator[str]:
    path = layout.text(file)
    if not path.is_file():
        yield f"{path}: missing"
        return
    found = index.load(path, layout.index(file))
    if found is None:
        yield f"{path}: it has changed since it was indexed, or its index is damaged"
        return
    counter = LineCounter()
    with path.open("rb", buffering=0) as opened:
        while block := opened.read(8 << 20):
            counter.add(block)
    if counter.lines != lines:
        yield f"{path}: {counter.lines} lines, expected {lines}"
    if not np.array_equal(counter.offsets(), found.offsets):
        yield f"{layout.index(file)}: lines begin elsewhere"
        return
    yield from _line_problems(TextSource(found), layout, file)


def _line_problems(text: TextSource, layout: Layout, file: DayFile) -> Iterator[str]:
    place = layout.converted(file)
    converted: ConvertedSource | None = None
    if place.exists():
        converted = open_converted(text.path, place)
        if converted is None:
            yield f"{place}: not the conversion of {text.path.name} as it is; convert again"
    num_damaged = 0
    differs = False
    for first in range(0, text.lines, AT_A_TIME):
        rows = min(AT_A_TIME, text.lines - first)
        inputs, targets, damaged = _read(text, first, rows)
        for one in damaged:
            num_damaged += 1
            if num_damaged <= SHOWN:
                yield str(one)
        if converted is not None and not differs:
            try:
                again = _read(converted, first, rows)
            except (OSError, MissingDataError) as error:
                yield f"{place}: it cannot be read ({error})"
                converted = None
                continue
            differs = not (
                np.array_equal(inputs, again[0])
                and np.array_equal(targets, again[1])
                and damaged == again[2]
            )
            if differs:
                yield f"{place}: it differs from {text.path.name} after line {first}; convert again"
    if num_damaged > SHOWN:
        yield f"{text.path}: {num_damaged} damaged lines in all"


def _read(source: Source, first: int, rows: int) -> tuple[Floats, Floats, list[Any]]:
    inputs = np.empty((rows, NUM_INPUTS), np.float32)
    targets = np.empty(rows, np.float32)
    return inputs, targets, source.read(first, inputs, targets)


def _checksum_problems(layout: Layout, prepared: Inventory) -> Iterator[str]:
    manifest = read_json(layout.manifest)
    pinned = mini.PINNED_SHA256.get(manifest.get("made_from"), {})
    for split in SPLITS:
        stored = manifest.get("splits", {}).get(split, {}).get("sha256")
        if stored is None:
            continue
        files = files_of(split, prepared)
        if not all(layout.text(file).is_file() for file in files):
            continue
        now = checksum(layout, files)
        if now != stored:
            yield f"{layout.root}: the {split} checksum is {now}, the manifest has {stored}"
        if split in pinned and now != pinned[split]:
            yield f"{layout.root}: the {split} checksum is {now}, expected {pinned[split]}"


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """The tiers that are there, complete or not."""
    found = []
    for tier in TIERS:
        layout = Layout.of(data_dir, tier)
        files = layout.found()
        if not files and not layout.manifest.is_file():
            continue
        try:
            prepared = prepared_inventory(layout)
        except MissingDataError:
            prepared = {}
        indexed = {file: index.load(layout.text(file), layout.index(file)) for file in prepared}
        known = {file: one.lines for file, one in indexed.items() if one is not None}
        state = "prepared"
        if not prepared or known != prepared:
            state = "not finished, run prepare"
        elif all(open_converted(layout.text(file), layout.converted(file)) for file in prepared):
            state = "prepared and converted"
        size = sum(layout.text(file).stat().st_size for file in files if layout.text(file).exists())
        size += sum(directory_bytes(layout.root / name) for name in ("index", "converted"))
        examples = lines_per_split(known) if known else {}
        found.append(Listing(DATASET, tier, str(layout.root), state, examples, size))
    return found
