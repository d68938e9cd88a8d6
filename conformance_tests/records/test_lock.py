"""The lock of a trial directory: one process at a time, and none for ever."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.records.experiment import open_experiment, open_trial
from algoperf_ref.records.lock import OWNER, InUse, holder, locked

HOLD = """
import sys, time
from pathlib import Path
from algoperf_ref.records.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(timeout=10)


def test_the_second_process_is_told_who_the_first_is(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    who = f"process {other.pid} on host {platform.node()}"
    with pytest.raises(InUse, match=f"is in use by {who}"), locked(tmp_path):
        pass
    assert holder(tmp_path) == who


def test_a_killed_process_leaves_no_lock(other: subprocess.Popen[str], tmp_path: Path) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait(timeout=10)
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert json.loads((tmp_path / OWNER).read_text())["process"] == os.getpid()
    assert holder(tmp_path) is None
    assert not (tmp_path / OWNER).exists()


def test_a_second_lock_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with locked(tmp_path):
        with pytest.raises(InUse), locked(tmp_path):
            pass
        assert holder(tmp_path) is not None
    assert holder(tmp_path) is None


def test_an_error_inside_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert holder(tmp_path) is None


def test_a_directory_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot lock"), locked(tmp_path / "file" / "trial_1"):
        pass


def test_overwrite_deletes_no_trial_in_use(tmp_path: Path) -> None:
    directory = open_experiment(tmp_path, "mine", "ogbg", "jax")
    trial = open_trial(directory, 1)
    with locked(trial), pytest.raises(UserError, match="trial_1: it is in use by process"):
        open_experiment(tmp_path, "mine", "ogbg", "jax", overwrite=True)
    assert trial.exists()
    open_experiment(tmp_path, "mine", "ogbg", "jax", overwrite=True)
    assert not trial.exists()
