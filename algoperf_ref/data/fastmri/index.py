"""The index of a tier: what is in its files, so that a run need not open a thousand of them.

An entry is true as long as the file has the size and the time of last change that it had when it
was opened; other files are opened again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from algoperf_ref.data.fastmri.layout import Layout
from algoperf_ref.data.fastmri.volumes import UnusableVolume, Volume, inspect
from algoperf_ref.data.files import read_json, write_json

_FORMAT = 1
_SEVERAL = 20  # opening more files than this shows progress


def read(layout: Layout) -> dict[str, Volume]:
    """The stored entries by name; none if there is no index, or one of another format."""
    stored = read_json(layout.index)
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        return {}
    try:
        return {entry["name"]: Volume(**entry) for entry in stored["volumes"]}
    except (KeyError, TypeError):
        return {}


def write(layout: Layout, volumes: Sequence[Volume]) -> None:
    """Stores entries, sorted by name; a directory that cannot be written to is left as it is."""
    ordered = sorted(volumes, key=lambda volume: volume.name)
    try:
        write_json(
            layout.index,
            {"format": _FORMAT, "volumes": [volume.as_json() for volume in ordered]},
        )
    except OSError as error:
        # Read-only data serve as well, only slower at every start.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def refresh(layout: Layout, folders: Sequence[str]) -> dict[str, list[Volume | UnusableVolume]]:
    """Brings the index up to date with the files of some folders.

    Args:
      layout: places of the tier.
      folders: names of folders.

    Returns:
      For every folder, what is known of each of its files in sorted order: its entry, or why it
      has none.

    Raises:
      UserError: h5py is not installed.
    """
    stored = read(layout)
    names = {
        folder: [f"{folder}/{path.name}" for path in layout.files(folder)] for folder in folders
    }
    wanted = [name for folder in folders for name in names[folder]]
    fresh = {name: stored[name] for name in wanted if still_true(layout.root, stored.get(name))}
    found: dict[str, Volume | UnusableVolume] = dict(fresh)
    for name in _shown([name for name in wanted if name not in fresh]):
        try:
            found[name] = inspect(layout.root, name)
        except UnusableVolume as problem:
            found[name] = problem
    others = [
        volume
        for name, volume in stored.items()
        if name.split("/")[0] not in folders and still_true(layout.root, volume)
    ]
    entries = [one for one in found.values() if isinstance(one, Volume)] + others
    if {volume.name: volume for volume in entries} != stored:
        write(layout, entries)
    return {folder: [found[name] for name in names[folder]] for folder in folders}


def _shown(names: list[str]) -> Iterator[str]:
    from tqdm import tqdm

    quiet = True if len(names) <= _SEVERAL else None
    yield from tqdm(names, "open scans", unit=" files", leave=False, disable=quiet)


def still_true(root: Path, volume: Volume | None) -> bool:
    """Whether the file of an entry has the size and the time of last change that it had."""
    if volume is None:
        return False
    try:
        stat = (root / volume.name).stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (volume.bytes, volume.mtime_ns)
