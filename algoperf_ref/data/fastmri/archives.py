"""Unpacking the downloaded fastMRI archives, file by file, so that an interruption loses one file.

The archives are single compressed streams: what has been unpacked before is skipped, but still has
to be read through.
"""

from __future__ import annotations

import contextlib
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from algoperf_ref.errors import UserError

SUFFIXES = (".tar.xz", ".tar.gz", ".tgz", ".tar")
_PREFIX = "knee_"  # the archives' own folders lack it
_PARTIAL = ".partial"


def folder_names(folder: str) -> tuple[str, str]:
    """The names that a folder has: in the benchmark's layout, and in the archives."""
    return folder, folder.removeprefix(_PREFIX)


def archive_names(folder: str) -> list[str]:
    """File names that the archive of a folder may have; the first is that of the download page."""
    return [f"{folder}{suffix}" for suffix in SUFFIXES]


def find_archive(places: Sequence[Path], folder: str) -> Path | None:
    """The archive of a folder in the first place that has one."""
    for place in places:
        for name in archive_names(folder):
            if (place / name).is_file():
                return place / name
    return None


def find_folder(places: Sequence[Path], folder: str) -> Path | None:
    """An unpacked folder in the first place that has one, under either name, with .h5 files."""
    for place in places:
        for name in folder_names(folder):
            if any((place / name).glob("*.h5")):
                return place / name
    return None


def unpack(archive: Path, root: Path, folder: str) -> int:
    """Unpacks the scans of an archive; those that are there already stay as they are.

    Args:
      archive: the downloaded file.
      root: directory of the tier.
      folder: that the scans belong to; made in ``root``.

    Returns:
      How many files were unpacked now.

    Raises:
      UserError: the archive is damaged or cut off, or holds no scan of this folder; names it.
    """
    target = root / folder
    target.mkdir(parents=True, exist_ok=True)
    for leftover in target.glob(f"*{_PARTIAL}"):
        leftover.unlink()
    found = unpacked = 0
    try:
        with _opened(archive) as tar:
            for member in tar:
                path = Path(member.name)
                # Only the last part of a name is used: an archive cannot write anywhere else.
                if not member.isfile() or path.suffix != ".h5" or path.name.startswith("."):
                    continue
                if path.parent.name not in folder_names(folder):
                    continue
                found += 1
                place = target / path.name
                if place.exists() and place.stat().st_size == member.size:
                    continue
                _extract(tar, member, place)
                unpacked += 1
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{archive} is damaged or not complete ({error or type(error).__name__}), after "
            f"{found} files: download it again and repeat the command, which keeps what is unpacked"
        ) from error
    if not found:
        expected = " or ".join(folder_names(folder))
        raise UserError(f"{archive} holds no .h5 file in a folder {expected}")
    return unpacked


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    partial = place.with_name(f"{place.name}{_PARTIAL}")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        if partial.stat().st_size != member.size:
            raise tarfile.ReadError(f"{member.name} is cut off")
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """Opens an archive as a stream, with a progress bar over its bytes."""
    from tqdm import tqdm

    total = archive.stat().st_size
    with (
        archive.open("rb") as raw,
        tqdm(
            total=total, desc=archive.name, unit="B", unit_scale=True, leave=False, disable=None
        ) as bar,
        tarfile.open(fileobj=cast(IO[bytes], _Counted(raw, bar)), mode="r|*") as tar,
    ):
        yield tar


class _Counted:
    """A file that tells a progress bar how far it has been read."""

    def __init__(self, raw: Any, bar: Any) -> None:
        self._raw, self._bar = raw, bar

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._raw.read(size)
        self._bar.update(len(data))
        return data


def adopt(place: Path, root: Path, folder: str) -> str:
    """Gives an unpacked folder its place in the tier: renamed, or linked to where it lies.

    Args:
      place: the unpacked folder.
      root: directory of the tier.
      folder: its name there.

    Returns:
      A sentence about what was done; empty if it lies there already.

    Raises:
      UserError: neither is possible.
    """
    target = root / folder
    if target.exists() and place.resolve() == target.resolve():
        return ""
    root.mkdir(parents=True, exist_ok=True)
    # An empty folder may be left from an attempt before.
    with contextlib.suppress(OSError):
        target.rmdir()
    try:
        if place.parent.resolve() == root.resolve():
            place.rename(target)
            return f"renamed {place} to {target.name}"
        target.symlink_to(place.resolve(), target_is_directory=True)
        return f"linked {target} to {place}"
    except OSError as error:
        raise UserError(
            f"cannot link {target} to {place} ({error.strerror}); move the folder there"
        ) from error
