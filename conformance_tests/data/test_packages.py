"""Files of packages: found where they were put, downloaded once, checked always."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.data import packages
from algoperf_ref.data.packages import PackageFile, fetch
from algoperf_ref.errors import UserError

CONTENT = b"what the wheel holds"
WHEEL = PackageFile(
    "flights", "1.0", "flights-1.0-py3-none-any.whl", hashlib.sha256(CONTENT).hexdigest()
)


class Pip:
    """Stands in for the subprocess; writes a file where pip would."""

    def __init__(self, writes: str | None, content: bytes = CONTENT, fails: str = "") -> None:
        self.commands: list[list[str]] = []
        self.writes, self.content, self.fails = writes, content, fails

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.writes:
            target = Path(command[command.index("--dest") + 1]) / self.writes
            target.write_bytes(self.content)
        return subprocess.CompletedProcess(command, int(bool(self.fails)), "", self.fails)


def use(monkeypatch: pytest.MonkeyPatch, pip: Pip) -> Pip:
    monkeypatch.setattr(packages.subprocess, "run", pip)
    return pip


def test_a_file_that_is_there_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = use(monkeypatch, Pip(None, fails="no network"))
    (tmp_path / WHEEL.file).write_bytes(CONTENT)
    assert fetch(WHEEL, tmp_path) == tmp_path / WHEEL.file
    assert pip.commands == []


@pytest.mark.parametrize(
    ("file", "kind"),
    [(WHEEL.file, "--only-binary=:all:"), ("flights-1.0.tar.gz", "--no-binary=:all:")],
)
def test_pip_downloads_the_exact_version_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, kind: str
) -> None:
    package = PackageFile(WHEEL.name, WHEEL.version, file, WHEEL.sha256)
    pip = use(monkeypatch, Pip(file))
    said: list[str] = []
    assert fetch(package, tmp_path / "new", say=said.append) == tmp_path / "new" / file
    (command,) = pip.commands
    assert command[-1] == "flights==1.0"
    assert {"--no-deps", kind} <= set(command)
    assert len(said) == 1
    assert "flights 1.0" in said[0]
    assert fetch(package, tmp_path / "new", say=said.append)
    assert len(pip.commands) == 1


@pytest.mark.parametrize(
    ("pip", "message"),
    [
        (Pip(None, fails="noise\nERROR: no route"), r"ERROR: no route.*put it into"),
        (Pip("flights-1.0-other.whl"), r"not as flights-1.0-py3.*put it into"),
        (Pip(WHEEL.file, content=b"something else"), r"has the checksum .* expected"),
    ],
)
def test_what_goes_wrong_is_one_sentence_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: Pip, message: str
) -> None:
    use(monkeypatch, pip)
    with pytest.raises(UserError, match=message) as error:
        fetch(WHEEL, tmp_path, say=lambda _: None)
    assert "\n" not in str(error.value)


def test_a_download_that_hangs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 600)

    monkeypatch.setattr(packages.subprocess, "run", hang)
    with pytest.raises(UserError, match="within 600 s"):
        fetch(WHEEL, tmp_path, say=lambda _: None)
