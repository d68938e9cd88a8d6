"""Writing files so that an interruption leaves either the old state or the new one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_PARTIAL = ".partial-"


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Gives an empty sibling directory that becomes `target` when the block ends without error.

    A directory that stood at `target` is replaced. After an error nothing is left behind; what a
    killed process left behind is removed by the next call.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    prefix = f".{target.name}{_PARTIAL}"
    partial = target.parent / f"{prefix}{socket.gethostname()}-{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            old = partial.with_name(f"{partial.name}-old")
            target.rename(old)
            partial.rename(target)
            shutil.rmtree(old)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_leftovers(target: Path) -> None:
    """Removes partial siblings of `target` whose process, on this host, runs no more."""
    for leftover in target.parent.glob(f".{target.name}{_PARTIAL}{socket.gethostname()}-*"):
        owner = leftover.name.rsplit(f"{socket.gethostname()}-", 1)[1].split("-")[0]
        if int(owner) != os.getpid() and _runs(int(owner)):
            continue
        if leftover.is_file():
            leftover.unlink(missing_ok=True)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Gives a file to write that becomes `path` when the block ends without error.

    A file that stood at `path` is replaced. After an error nothing is left behind; what a killed
    process left behind is removed by the next call.
    """
    remove_leftovers(path)
    partial = path.with_name(f".{path.name}{_PARTIAL}{socket.gethostname()}-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, indented and with a final newline, in one rename."""
    partial = path.with_name(f".{path.name}{_PARTIAL}{os.getpid()}")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Reads JSON; None if there is no such file or it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def directory_bytes(directory: Path) -> int:
    """Total size of the files under a directory; 0 if there is none."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
