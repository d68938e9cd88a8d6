"""Directories that appear whole or not at all."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from algoperf_ref.data.files import atomic_directory, read_json, write_json


def test_a_directory_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "data"
    with atomic_directory(target) as partial:
        (partial / "file").write_text("new")
        assert not target.exists()
    assert (target / "file").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["data"]


def test_an_error_leaves_the_old_state(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    (target / "file").write_text("old")

    def write() -> None:
        with atomic_directory(target) as partial:
            (partial / "file").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (target / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "data"
    for name in ("first", "second"):
        with atomic_directory(target) as partial:
            (partial / name).touch()
    assert [path.name for path in target.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    host = socket.gethostname()
    dead = tmp_path / f".data.partial-{host}-999999999"
    living = tmp_path / f".data.partial-{host}-{os.getppid()}"
    elsewhere = tmp_path / ".data.partial-another.host-1"
    for leftover in (dead, living, elsewhere):
        leftover.mkdir()
    with atomic_directory(tmp_path / "data"):
        pass
    assert not dead.exists()
    assert living.exists()
    assert elsewhere.exists()


def test_json_that_is_missing_or_broken_reads_as_none(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    assert read_json(path) is None
    path.write_text("{")
    assert read_json(path) is None
    write_json(path, {"ä": 1})
    assert read_json(path) == {"ä": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]
