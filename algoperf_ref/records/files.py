"""Writing files so that a kill at any instant leaves either the old or the new one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from algoperf_ref.errors import UserError

_TEMPORARY_SUFFIX = ".tmp"


class CannotWrite(UserError):
    """A file of a run cannot be written: the disk is full, or the directory is gone or closed."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file that takes the place of ``path`` when the block ends well.

    The content reaches the disk (fsync) before the rename, and the rename before the return. If
    the block raises, ``path`` is untouched and the temporary file is removed.

    Args:
      path: the file to write; its directory exists.

    Yields:
      A binary file, open for writing and seeking.

    Raises:
      OSError: the file cannot be written or renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def remove_leftovers(directory: Path, prefix: str) -> None:
    """Deletes temporary files that a killed process left for files whose names begin so.

    Args:
      directory: where to look.
      prefix: beginning of the final name, for example ``checkpoint_``.
    """
    for leftover in directory.glob(f".{prefix}*{_TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file by way of :func:`replacing`."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":  # Elsewhere a directory cannot be opened, and rename is enough.
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
