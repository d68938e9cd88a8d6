"""Where logs lie: a directory, a tar or a zip archive, seen as one tree of names.

Archives are read where they are: nothing is unpacked to disk, so no name in one can lead out of
it, and only regular files are read. Paths inside a source are relative, with ``/``.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from algoperf_ref.errors import UserError
from algoperf_ref.score.findings import Finding, Kind

READ_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,  # an encrypted member of a zip archive
    NotImplementedError,  # a compression that this Python does not know
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What reading a damaged file or archive member can raise."""

MAX_MEMBERS = 2_000_000
"""An archive with more members is no collection of logs."""


class Reader(Protocol):
    """An open file, of which only reading is needed."""

    def read(self, size: int, /) -> bytes:
        """Returns at most ``size`` bytes, none at the end."""


Opener = Callable[[], AbstractContextManager[Reader]]


class LogSource(Protocol):
    """A tree of logs.

    Attributes:
      name: name of the directory or archive, which names a submission if it is one.
      above: names of the directories around it, the nearest first.
    """

    name: str
    above: tuple[str, ...]

    def directories(self, path: str) -> list[str]:
        """Names of the directories in a directory, sorted; ``""`` is the root."""

    def files(self, path: str) -> list[str]:
        """Names of the files in a directory, sorted."""

    def show(self, path: str) -> str:
        """The path as the user can find it."""

    def each(self, paths: Iterable[str]) -> Iterator[tuple[str, Opener]]:
        """Goes through files in the order that is fastest; each is opened by its opener.

        A file that does not exist is passed over, or its opener raises ``FileNotFoundError``.
        """

    def findings(self) -> list[Finding]:
        """What was noteworthy so far."""


def open_source(path: Path) -> LogSource:
    """Opens a directory or an archive.

    Args:
      path: a directory, or a .tar (also compressed) or .zip archive.

    Returns:
      The source. An archive stays open as long as the source lives.

    Raises:
      UserError: there is nothing there, or it is neither.
    """
    if path.is_dir():
        return DirectorySource(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; LOGS is a directory, a .tar, .tar.xz or .zip")
    try:
        if zipfile.is_zipfile(path):
            return ZipSource(path)
        if tarfile.is_tarfile(path):
            return TarSource(path)
    except READ_ERRORS as error:
        raise UserError(f"{path} is a damaged archive: {_one_line(error)}") from error
    raise UserError(f"{path} is not a directory and no .tar, .tar.xz or .zip archive of logs")


class DirectorySource:
    """Logs in a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = root.resolve().name
        self.above = tuple(parent.name for parent in root.resolve().parents)
        self._listed: dict[str, tuple[list[str], list[str]]] = {}
        self._findings: list[Finding] = []

    def directories(self, path: str) -> list[str]:
        """See :class:`LogSource`; links to directories count, a layout has a fixed depth."""
        return self._list(path)[0]

    def files(self, path: str) -> list[str]:
        """See :class:`LogSource`."""
        return self._list(path)[1]

    def show(self, path: str) -> str:
        """See :class:`LogSource`."""
        return f"{self._root}/{path}" if path else str(self._root)

    def each(self, paths: Iterable[str]) -> Iterator[tuple[str, Opener]]:
        """See :class:`LogSource`."""
        for path in paths:
            # Without a buffer of its own: the reader of rows asks for large blocks.
            yield path, partial(_open_at_once, self.show(path))

    def findings(self) -> list[Finding]:
        """See :class:`LogSource`."""
        return list(self._findings)

    def _list(self, path: str) -> tuple[list[str], list[str]]:
        if path not in self._listed:
            directories: list[str] = []
            files: list[str] = []
            try:
                with os.scandir(self.show(path)) as entries:
                    for entry in entries:
                        if entry.is_dir():
                            directories.append(entry.name)
                        elif entry.is_file():  # a pipe or a socket could block for ever
                            files.append(entry.name)
            except OSError as error:
                text = f"ignored, cannot be listed ({error.strerror})"
                self._findings.append(Finding(Kind.UNREADABLE, self.show(path), text))
            self._listed[path] = sorted(directories), sorted(files)
        return self._listed[path]


class _ArchiveSource:
    """The tree of an archive's member names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name.split(".")[0]
        self.above: tuple[str, ...] = ()
        self._directories: dict[str, set[str]] = {"": set()}
        self._files: dict[str, set[str]] = {}
        self._findings: list[Finding] = []

    def directories(self, path: str) -> list[str]:
        return sorted(self._directories.get(path, ()))

    def files(self, path: str) -> list[str]:
        return sorted(self._files.get(path, ()))

    def show(self, path: str) -> str:
        return f"{self._path}:{path}" if path else str(self._path)

    def findings(self) -> list[Finding]:
        return list(self._findings)

    def _add(self, name: str, *, is_directory: bool, is_file: bool) -> str | None:
        """Enters a member into the tree; returns its path if it is a file that may be read."""
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "."]
        if not parts:
            return None
        if ".." in parts or parts[0] == "/" or ":" in parts[0] or "\0" in name:
            self._refuse(name, "ignored, the name leads out of the archive")
            return None
        if not is_directory and not is_file:
            self._refuse(name, "ignored, it is a link or a special file")
            return None
        path = ""
        for part in parts[: None if is_directory else -1]:
            self._directories.setdefault(path, set()).add(part)
            path = f"{path}/{part}" if path else part
        if is_directory:
            return None
        files = self._files.setdefault(path, set())
        whole = f"{path}/{parts[-1]}" if path else parts[-1]
        if parts[-1] in files:
            text = "is in the archive more than once, the last one counts"
            self._findings.append(Finding(Kind.REPEATED_MEMBER, self.show(whole), text))
        files.add(parts[-1])
        return whole

    def _refuse(self, name: str, text: str) -> None:
        shown = name.encode("ascii", "backslashreplace").decode()
        self._findings.append(Finding(Kind.UNSAFE_MEMBER, self.show(shown), text))

    def _check_number(self, number: int) -> None:
        if number > MAX_MEMBERS:
            raise UserError(f"{self._path} has more than {MAX_MEMBERS} members")


class TarSource(_ArchiveSource):
    """Logs in a tar archive, compressed or not."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive = tarfile.open(path, "r:*")  # noqa: SIM115
        self._members: dict[str, tarfile.TarInfo] = {}
        for number, member in enumerate(self._archive):
            self._check_number(number)
            added = self._add(member.name, is_directory=member.isdir(), is_file=member.isreg())
            if added is not None:
                self._members[added] = member

    def each(self, paths: Iterable[str]) -> Iterator[tuple[str, Opener]]:
        """Goes through the files as they lie in the archive: going back costs a new start."""
        known = [path for path in paths if path in self._members]
        for path in sorted(known, key=lambda path: self._members[path].offset):
            yield path, partial(self._open, self._members[path])

    def _open(self, member: tarfile.TarInfo) -> AbstractContextManager[Reader]:
        file = self._archive.extractfile(member)
        if file is None:
            raise tarfile.ReadError(f"{member.name} is not a regular file")
        return file


class ZipSource(_ArchiveSource):
    """Logs in a zip archive."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive = zipfile.ZipFile(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for number, member in enumerate(self._archive.infolist()):
            self._check_number(number)
            # The upper half of the attributes is the mode where the archive was made on Unix.
            file_type = (member.external_attr >> 16) & 0o170000
            regular = file_type in (0, 0o100000)
            added = self._add(member.filename, is_directory=member.is_dir(), is_file=regular)
            if added is not None:
                self._members[added] = member

    def each(self, paths: Iterable[str]) -> Iterator[tuple[str, Opener]]:
        """See :class:`LogSource`."""
        for path in paths:
            if path in self._members:
                yield path, partial(self._archive.open, self._members[path])


def _open_at_once(path: str) -> io.FileIO:
    """Opens a file; a pipe that nobody writes to is empty then, instead of blocking for ever."""
    no_waiting = getattr(os, "O_NONBLOCK", 0)
    return io.FileIO(path, opener=lambda name, flags: os.open(name, flags | no_waiting))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
