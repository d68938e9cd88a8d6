"""Writing a book: atomically, over an earlier book only, and without touching anything else.

The file :data:`MANIFEST` in the directory lists the files of the book with their SHA-256, as
``sha256sum`` writes them. It marks the directory as a book, says which files may be replaced, and
lets pages go that a later book no longer has, unless somebody has changed them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from spec.text import UsageError

MANIFEST = "rule-book.sha256"

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)")


def publish(files: Mapping[str, bytes], directory: Path, *, overwrite: bool = False) -> None:
    """Writes the files of a book.

    Args:
      files: contents by file name.
      directory: made if it does not exist.
      overwrite: write into a directory that holds something else, and over files that are not
        of an earlier book.

    Raises:
      UsageError: the directory holds something else, or cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        earlier = read_manifest(directory)
        if not overwrite:
            _check(files, directory, earlier)
        for name, digest in (earlier or {}).items():
            if name not in files and _digest_of(directory / name) == digest:
                (directory / name).unlink()
        # First the list: an interrupted book is still known as a book the next time.
        _write(directory / MANIFEST, manifest(files))
        for name, content in files.items():
            _write(directory / name, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write the book to {directory}: {reason}") from None


def manifest(files: Mapping[str, bytes]) -> bytes:
    """The list of files that is written beside them."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "".join(lines).encode()


def read_manifest(directory: Path) -> dict[str, str] | None:
    """Digests by file name of the book in a directory; None if there is no book.

    Raises:
      OSError: the file cannot be read.
    """
    path = directory / MANIFEST
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    # A line of another form, such as a path out of the directory, names no file of a book.
    return {match[2]: match[1] for line in lines if (match := _LINE.fullmatch(line))}


def _check(files: Mapping[str, bytes], directory: Path, earlier: Mapping[str, str] | None) -> None:
    if earlier is None and any(directory.iterdir()):
        raise UsageError(
            f"{directory} is not empty and holds no rule book; "
            "choose another directory or add --overwrite"
        )
    foreign = [
        name
        for name in sorted(files)
        if name not in (earlier or {}) and (directory / name).exists()
    ]
    if foreign:
        raise UsageError(
            f"{directory / foreign[0]} is not of the earlier book; move it or add --overwrite"
        )


def _digest_of(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _write(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # `mkstemp` makes files that only the owner can read; a book is for everybody.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
