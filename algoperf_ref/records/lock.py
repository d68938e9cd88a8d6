"""One process at a time in a directory: a lock that the operating system takes back at a kill."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from algoperf_ref.errors import UserError
from algoperf_ref.records.files import write_text

LOCK = "trial.lock"
OWNER = "trial.owner.json"
"""Who holds the lock. A file of its own: some systems let nobody read a locked file."""


class InUse(UserError):
    """Another process holds the lock."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the lock of a trial directory; does not wait for it.

    Args:
      directory: an existing directory.

    Raises:
      InUse: another process holds it; the message names process and host.
      UserError: the lock file cannot be written.
    """
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InUse(
            f"trial directory {directory} is in use by {_owner(directory)}: wait until it has "
            "ended, or end it"
        ) from None
    except OSError as error:
        raise UserError(f"cannot lock {directory}: {error.strerror or error}") from error
    try:
        owner = {"process": os.getpid(), "host": platform.node()}
        write_text(directory / OWNER, json.dumps(owner) + "\n")
        yield
    finally:
        (directory / OWNER).unlink(missing_ok=True)
        lock.release()


def holder(directory: Path) -> str | None:
    """Tells who uses a trial directory.

    Returns:
      Process and host in words; None if nobody does.
    """
    if not (directory / LOCK).exists():
        return None
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return _owner(directory)
    except OSError:  # Whoever may not even open it, as in a read-only copy, need not ask.
        return None
    lock.release()
    return None


def _owner(directory: Path) -> str:
    try:
        owner = json.loads((directory / OWNER).read_text(encoding="utf-8"))
        return f"process {owner['process']} on host {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # It is just being written.
        return "another process"
