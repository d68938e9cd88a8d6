"""Makes the click log of a tier ready for training: files, where their lines begin, manifest.

Every part appears in one rename, so an interrupted preparation is simply repeated: finished parts
are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from algoperf_ref.data.criteo1tb import archives, index, mini
from algoperf_ref.data.criteo1tb.layout import (
    SPLITS,
    DayFile,
    Layout,
    files_of,
    full_inventory,
    lines_per_split,
    named,
)
from algoperf_ref.data.criteo1tb.sources import TextSource, convert, open_converted
from algoperf_ref.data.criteo1tb.threads import Tick, work_on
from algoperf_ref.data.files import atomic_file, read_json, write_json
from algoperf_ref.data.packages import fetch
from algoperf_ref.errors import MissingDataError, UserError

Say = Callable[[str], object]
Inventory = Mapping[DayFile, int]

_FULL_DESCRIPTION = "Criteo 1TB click logs: 24 days of ads that were shown, and which were clicked."
_FULL_LICENCE = "Terms of the Criteo AI Lab; not redistributed."


def inventory_of(tier: str) -> dict[DayFile, int]:
    """The files of a tier and their numbers of lines."""
    return full_inventory() if tier == "full" else mini.inventory()


def prepare(
    data_dir: str | PathLike[str],
    tier: str,
    *,
    source: Path | None = None,
    processes: int | None = None,
    inventory: Inventory | None = None,
    say: Say = print,
) -> Path:
    """Prepares a tier, or finishes an interrupted preparation.

    Args:
      data_dir: where the data go; see `algoperf_ref.data.criteo1tb.layout`.
      tier: "full" or "mini".
      source: for the full tier, a folder with the published files ``day_0.gz`` to ``day_23.gz``
        (unpacked ones serve as well), or with the files ``day_D_NN`` of the log, which are linked.
      processes: files to work on at a time; None: as many as there are cores.
      inventory: the files to end up with; None: those of the tier.
      say: called with a line of text at every stage.

    Returns:
      The directory of the tier.

    Raises:
      UserError: something is missing or not as it should be.
    """
    layout = Layout.of(data_dir, tier)
    if layout.tier == "mini" and source is not None:
        raise UserError("--source belongs to the full tier; the mini tier makes its own data")
    inventory = inventory_of(layout.tier) if inventory is None else inventory
    if is_complete(layout, inventory):
        say(f"{layout.root}: already prepared")
        return layout.root
    # Before hours of work, not after them.
    try:
        layout.index(DayFile(0, 0)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {layout.root} ({error.strerror}): give another --data_dir"
        ) from error
    if layout.tier == "mini":
        _make_mini(layout, inventory, say)
        about = (mini.made_from(), mini.DESCRIPTION, mini.LICENCE)
    else:
        _collect(layout, source, inventory, processes, say)
        about = ("Criteo 1TB click logs", _FULL_DESCRIPTION, _FULL_LICENCE)
    _index_all(layout, inventory, processes, say)
    write_manifest(layout, inventory, *about, with_checksums=layout.tier == "mini")
    say(f"{layout.root}: ready")
    return layout.root


def convert_all(
    data_dir: str | PathLike[str],
    *,
    tier: str,
    source: Path | None = None,
    processes: int | None = None,
    say: Say = print,
) -> Path:
    """Writes the lines of a prepared tier as numbers, which is many times quicker to read.

    Args:
      data_dir, tier, processes: as for :func:`prepare`.
      source: not used; the tier has to be prepared.
      say: called with a line of text at every stage.

    Returns:
      The directory of the converted files.

    Raises:
      UserError: the tier is not prepared, or too many lines are damaged.
    """
    layout = Layout.of(data_dir, tier)
    if source is not None:
        raise UserError("convert takes no --source here: it converts what `prepare` has prepared")
    place = layout.root / "converted"
    files = prepared_inventory(layout)
    todo = [file for file in files if not open_converted(layout.text(file), layout.converted(file))]
    if not todo:
        say(f"{place}: already converted")
        return place
    say(f"converting {len(todo)} of {len(files)} files into {place}")
    place.mkdir(parents=True, exist_ok=True)

    def work(file: DayFile, tick: Tick) -> None:
        found = index.load(layout.text(file), layout.index(file))
        if found is None:
            raise MissingDataError(
                f"{layout.text(file)} has changed since it was indexed; prepare it again with: "
                f"{layout.prepare_command()}"
            )
        for lines in convert(TextSource(found), layout.converted(file)):
            tick(lines)

    total = sum(files[file] for file in todo)
    work_on(todo, work, name="convert", total=total, unit=" lines", workers=processes)
    say(f"{place}: ready")
    return place


def prepared_inventory(layout: Layout) -> dict[DayFile, int]:
    """The files that the manifest names, and their lines.

    Raises:
      MissingDataError: the tier is not prepared.
    """
    manifest = read_json(layout.manifest)
    entries = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(entries, dict):
        raise MissingDataError(
            f"no prepared {layout.tier} tier in {layout.root} (manifest.json); prepare it with: "
            f"{layout.prepare_command()}"
        )
    named_files = ((DayFile.of(name), int(lines)) for name, lines in entries.items())
    return {file: lines for file, lines in named_files if file is not None}


def is_complete(layout: Layout, inventory: Inventory) -> bool:
    """Whether manifest, files and indexes are there and agree."""
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict):
        return False
    if layout.tier == "mini" and manifest.get("made_from") != mini.made_from():
        return False
    if manifest.get("files") != {file.name: lines for file, lines in inventory.items()}:
        return False
    return all(_lines(layout, file) == lines for file, lines in inventory.items())


def _lines(layout: Layout, file: DayFile) -> int | None:
    found = index.load(layout.text(file), layout.index(file))
    return None if found is None else found.lines


def _make_mini(layout: Layout, inventory: Inventory, say: Say) -> None:
    archive = fetch(mini.PACKAGE, layout.downloads, say=say)
    say(f"making lines of the flights in {archive.name}")
    held_out = lines_per_split(inventory)["validation"]
    from tqdm import tqdm

    with tqdm(total=sum(inventory.values()), unit=" flights", leave=False, disable=None) as bar:
        made = mini.build(mini.read_tables(archive), held_out=held_out, progress=bar.update)
        for file, text in made:
            with atomic_file(layout.text(file)) as out:
                out.write(text)


def _collect(
    layout: Layout, source: Path | None, inventory: Inventory, processes: int | None, say: Say
) -> None:
    """Brings all files of the log to their places: links them, or cuts the files of the days."""
    lost = [file for file in inventory if not layout.text(file).exists()]
    if source is not None:
        for file in lost:
            there = source.absolute() / file.name
            if there.is_file():
                layout.text(file).unlink(missing_ok=True)  # a link to where it is no more
                layout.text(file).symlink_to(there)
        lost = [file for file in lost if not layout.text(file).exists()]
    places = [place for place in (source, layout.root, layout.data_dir) if place is not None]
    found = {day: archives.find(places, day) for day in sorted({file.day for file in lost})}
    if without := [file for file in lost if found[file.day] is None]:
        days = sorted({file.day for file in without})
        raise MissingDataError(
            f"{len(without)} of the {len(inventory)} files of the full tier are missing "
            f"({named(without)}): put them, or the published files of their days "
            f"({', '.join(f'day_{day}.gz' for day in days)}), into {layout.root}, or name their "
            "folder with --source"
        )
    todo = {day: archive for day, archive in found.items() if archive is not None}
    if not todo:
        return
    say(f"cutting the files of {len(todo)} days into files of the log")
    size = sum(archive.stat().st_size for archive in todo.values())

    def work(day: int, tick: Tick) -> None:
        parts = {file: lines for file, lines in inventory.items() if file.day == day}
        archives.cut(todo[day], layout, parts, tick)

    work_on(list(todo), work, name="cut", total=size, unit="B", workers=processes)


def _index_all(layout: Layout, inventory: Inventory, processes: int | None, say: Say) -> None:
    todo = [file for file in inventory if _lines(layout, file) is None]
    if todo:
        say(f"counting the lines of {len(todo)} files")
        size = sum(layout.text(file).stat().st_size for file in todo)

        def work(file: DayFile, tick: Tick) -> None:
            index.build(layout.text(file), layout.index(file), tick)

        work_on(todo, work, name="count", total=size, unit="B", workers=processes)
    found = {file: _lines(layout, file) or 0 for file in inventory}
    if wrong := [file for file in inventory if found[file] != inventory[file]]:
        first = wrong[0]
        sums, wanted = lines_per_split(found), lines_per_split(inventory)
        splits = "; ".join(
            f"{split} has {sums[split]:,} lines, expected {wanted[split]:,}"
            for split in SPLITS
            if sums[split] != wanted[split]
        )
        raise UserError(
            f"{layout.text(first)} has {found[first]:,} lines, expected {inventory[first]:,}"
            + (f", and so have {len(wrong) - 1} other files" if len(wrong) > 1 else "")
            + (f" ({splits})" if splits else "")
            + ": replace it, then run this again"
        )


def write_manifest(
    layout: Layout,
    inventory: Inventory,
    made_from: str,
    description: str,
    licence: str,
    *,
    with_checksums: bool,
) -> None:
    """Writes manifest.json, the last part of a preparation.

    Args:
      layout: the tier; its files must be there.
      inventory: the files and their lines.
      made_from: a name for what the content was made from.
      description: what the data are, in plain words.
      licence: terms of the content.
      with_checksums: whether to read all files for a checksum of each split.
    """
    counts = lines_per_split(inventory)
    splits: dict[str, dict[str, Any]] = {split: {"lines": counts[split]} for split in SPLITS}
    if with_checksums:
        for split in SPLITS:
            splits[split]["sha256"] = checksum(layout, files_of(split, inventory))
    write_json(
        layout.manifest,
        {
            "dataset": "Criteo 1TB (format)",
            "tier": layout.tier,
            "description": description,
            "licence": licence,
            "made_from": made_from,
            "splits": splits,
            "files": {file.name: lines for file, lines in inventory.items()},
        },
    )


def checksum(layout: Layout, files: Iterable[DayFile]) -> str:
    """sha256 of files, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with layout.text(file).open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
