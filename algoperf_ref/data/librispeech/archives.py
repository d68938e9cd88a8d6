"""Unpacking the downloaded archives into their folders, so that an interruption loses one file."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from algoperf_ref.errors import UserError

SOURCE = "openslr.org/12"
_SUFFIXES = (".tar.gz", ".tar")
_FILES = (".flac", ".trans.txt")
_PARTIAL = ".partial"


def name_of(part: str) -> str:
    """File name of the archive of a part, as it is downloaded."""
    return part + _SUFFIXES[0]


def find(part: str, places: Iterable[Path]) -> Path | None:
    """The archive of a part in the first place that has one."""
    for place in places:
        for suffix in _SUFFIXES:
            if (place / f"{part}{suffix}").is_file():
                return place / f"{part}{suffix}"
    return None


def unpack(part: str, archive: Path, target: Path) -> None:
    """Unpacks the audio and the transcripts of a part; what is there already stays as it is.

    Args:
      part: of the data.
      archive: the downloaded file.
      target: folder that gets a folder for each speaker.

    Raises:
      UserError: the archive is damaged or cut off, or holds something else; names it.
    """
    from tqdm import tqdm

    found = 0
    try:
        with (
            archive.open("rb") as raw,
            tarfile.open(fileobj=raw, mode="r:gz" if archive.suffix == ".gz" else "r:") as tar,
            tqdm(
                total=archive.stat().st_size,
                desc=archive.name,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=None,
            ) as bar,
        ):
            for member in tar:
                if member.isfile() and (place := _place(part, member.name, target)) is not None:
                    _extract(tar, member, place)
                    found += 1
                bar.update(raw.tell() - bar.n)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(
            f"{archive} is damaged or not complete ({error or type(error).__name__}): download it "
            "again and repeat the command, which keeps what is unpacked"
        ) from error
    except OSError as error:
        if error.errno is not None:  # a full disk, say, and nothing about the archive
            raise
        raise UserError(f"{archive} is damaged ({error}): download it again") from error
    if not found:
        raise UserError(f"{archive} holds no utterances of {part} where they are expected")


def _place(part: str, name: str, target: Path) -> Path | None:
    """Where a member belongs; only the last parts of its name are used, and plain ones."""
    parts = name.split("/")
    if not name.endswith(_FILES) or len(parts) < 4 or parts[-4] != part:
        return None
    if any(one in ("", "..") or one[0] == "." for one in parts[-3:]):
        return None
    return target.joinpath(*parts[-3:])


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    if place.is_file() and place.stat().st_size == member.size:
        return
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}{_PARTIAL}")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        if partial.stat().st_size != member.size:
            raise tarfile.ReadError(f"{member.name} is cut off")
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
