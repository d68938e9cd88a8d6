"""Which Chromium the browser tests take, and what they say when there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance_tests.support import browser as support

ROOT = Path(support.__file__).parents[2]


def executable(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_variable_comes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(support.VARIABLE, raising=False)
    assert support.find_chromium() is None
    last = executable(tmp_path / support.NAMES[-1])
    assert support.chromium() == last
    first = executable(tmp_path / support.NAMES[0])
    assert support.chromium() == first
    named = executable(tmp_path / "my-browser")
    monkeypatch.setenv(support.VARIABLE, str(named))
    assert support.chromium() == named


def test_a_variable_that_names_nothing_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / support.NAMES[0])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(support.VARIABLE, "no-such-browser")
    with pytest.raises(support.NoBrowser, match=r"CHROMIUM is 'no-such-browser'"):
        support.chromium()


def test_without_a_browser_the_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(support.VARIABLE, "no-such-browser")
    result = subprocess.run(
        [sys.executable, "-m", "conformance_tests.support.browser"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "apt-get install chromium" in result.stderr
    assert result.stderr.count("\n") == 1
