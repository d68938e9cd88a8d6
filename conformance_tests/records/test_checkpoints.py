"""Checkpoints survive kills and damage, and never lose the last good state."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.records import checkpoints
from algoperf_ref.records.checkpoints import CheckpointError
from algoperf_ref.records.codec import CodecError
from algoperf_ref.records.files import CannotWrite

STATE = {
    "model_params": {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.zeros(0)},
    "optimizer_state": ({"count": np.int32(7)}, None),
    "eval_results": [(1, {"validation/loss": 0.25}), (9, {"validation/loss": float("inf")})],
    "global_step": 9,
}


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


class Killed(BaseException):
    """Stands for a SIGKILL at some instant: no handler of the program runs after it."""


@pytest.mark.clause("REC-6")
def test_a_saved_state_is_loaded_with_its_step(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 9, STATE)
    assert path == tmp_path / "checkpoint_9"
    loaded = checkpoints.load_latest(tmp_path)
    assert loaded is not None
    state, step = loaded
    assert step == 9
    np.testing.assert_array_equal(state["model_params"]["w"], STATE["model_params"]["w"])
    assert state["model_params"]["w"].flags.writeable
    assert state["optimizer_state"] == ({"count": 7}, None)
    assert state["eval_results"] == STATE["eval_results"]


def test_equal_states_give_equal_files(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        contents.append(checkpoints.save(tmp_path / name, 3, STATE).read_bytes())
    assert contents[0] == contents[1]


def test_an_empty_or_missing_directory_has_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.latest(tmp_path) is None
    assert checkpoints.load_latest(tmp_path) is None
    assert checkpoints.load_latest(tmp_path / "missing") is None


def test_the_latest_is_the_highest_number_not_the_last_name(tmp_path: Path) -> None:
    for step in (9, 10, 2):
        checkpoints.save(tmp_path, step, {"step": step}, keep=None)
    (tmp_path / "checkpoint_010").touch()
    (tmp_path / "checkpoint_11.bak").touch()
    assert checkpoints.latest(tmp_path) == tmp_path / "checkpoint_10"


@pytest.mark.parametrize(
    ("keep", "expected"),
    [(1, ["checkpoint_3"]), (2, ["checkpoint_2", "checkpoint_3"]), (None, None), (9, None)],
)
def test_older_checkpoints_are_deleted_as_asked(
    tmp_path: Path, keep: int | None, expected: list[str] | None
) -> None:
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, {"step": step}, keep=keep)
    assert names(tmp_path) == (expected or ["checkpoint_1", "checkpoint_2", "checkpoint_3"])


def test_checkpoints_of_an_abandoned_continuation_are_removed(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 50, {"step": 50}, keep=None)
    (tmp_path / "checkpoint_100").write_bytes(b"damaged")
    checkpoints.save(tmp_path, 60, {"step": 60}, keep=2)
    assert names(tmp_path) == ["checkpoint_50", "checkpoint_60"]


@pytest.mark.parametrize("moment", ["before the rename", "after the rename"])
def test_a_kill_around_the_rename_leaves_a_usable_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    checkpoints.save(tmp_path, 1, {"step": 1})
    really_replace = os.replace

    def replace_and_die(source: Any, target: Any) -> None:
        assert (tmp_path / "checkpoint_1").exists(), "the old file goes only after the new is there"
        if moment == "after the rename":
            really_replace(source, target)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_and_die)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process cleans nothing up
        with pytest.raises(Killed):
            checkpoints.save(tmp_path, 2, {"step": 2})
    expected = 2 if moment == "after the rename" else 1
    assert checkpoints.load_latest(tmp_path) == ({"step": expected}, expected)
    if moment == "before the rename":
        assert len(names(tmp_path)) == 2, "the temporary file is left behind"
    checkpoints.save(tmp_path, 3, {"step": 3})
    assert names(tmp_path) == ["checkpoint_3"], "the next save clears up"


def test_a_full_disk_keeps_the_last_checkpoint_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(tmp_path, 1, {"step": 1})

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", no_space)
    with pytest.raises(CannotWrite, match=r"checkpoint_2: No space left .* still there"):
        checkpoints.save(tmp_path, 2, {"w": np.zeros(3)})
    assert names(tmp_path) == ["checkpoint_1"]


def test_a_state_that_cannot_be_stored_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"^optimizer_state\['foo'\]: "):
        checkpoints.save(tmp_path, 2, {"optimizer_state": {"foo": object()}})
    assert names(tmp_path) == []


@pytest.mark.parametrize(("step", "keep"), [(-1, 1), (1, 0)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, step: int, keep: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        checkpoints.save(tmp_path, step, {}, keep=keep)


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]


def test_a_bit_flipped_anywhere_in_the_data_is_noticed(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 9, STATE)
    content = path.read_bytes()
    data = np.arange(12, dtype=np.float32).tobytes()
    start = content.index(data)
    for position in range(start, start + len(data), 5):
        path.write_bytes(flipped(content, position))
        with pytest.raises(CheckpointError, match="checkpoint_9 is not a usable checkpoint"):
            checkpoints.load(path)


def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 9, STATE)
    content, intact = path.read_bytes(), repr(checkpoints.load(path))
    for position in range(0, len(content), 7):
        path.write_bytes(flipped(content, position))
        try:
            assert repr(checkpoints.load(path)) == intact, "zip fields that no reader uses"
        except CheckpointError:
            continue


def test_a_truncated_file_is_noticed_at_every_length(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 9, STATE)
    content = path.read_bytes()
    for length in [*range(0, len(content), 41), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            checkpoints.load(path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "directory"])
def test_a_damaged_newest_file_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    checkpoints.save(tmp_path, 1, {"w": np.arange(3)}, keep=2)
    newest = checkpoints.save(tmp_path, 2, {"w": np.arange(3)}, keep=2)
    content = newest.read_bytes()
    newest.unlink()
    if damage == "directory":
        newest.mkdir()
    else:
        position = content.index(np.arange(3).tobytes())
        forms = {
            "truncated": content[:-30],
            "empty": b"",
            "flipped": flipped(content, position),
        }
        newest.write_bytes(forms[damage])
    with pytest.warns(UserWarning, match=r"checkpoint_2 is not a usable .*trying the one before"):
        loaded = checkpoints.load_latest(tmp_path)
    assert loaded is not None
    assert loaded[1] == 1


def test_if_no_checkpoint_is_usable_a_person_decides(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_4").write_bytes(b"not a zip file")
    with (
        pytest.warns(UserWarning, match="no earlier one is left"),
        pytest.raises(UserError, match=r"no usable checkpoint .*checkpoint_4.* --overwrite"),
    ):
        checkpoints.load_latest(tmp_path)


def test_a_good_directory_loads_without_warnings(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 4, STATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.load_latest(tmp_path) is not None


def test_a_renamed_checkpoint_is_refused(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 4, STATE).rename(tmp_path / "checkpoint_5")
    with pytest.raises(CheckpointError, match="holds step 4, so it was renamed"):
        checkpoints.load(path)


def rewritten(path: Path, changes: dict[str, bytes], **options: Any) -> None:
    """Writes the archive again, members exchanged, manifest made to agree."""
    import hashlib

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    members.update(changes)
    manifest["members"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in members.items()
    }
    manifest.update(options.get("manifest", {}))
    with zipfile.ZipFile(path, "w", options.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, content in {**members, "manifest.json": json.dumps(manifest).encode()}.items():
            archive.writestr(name, content)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was loaded",))


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, 4, STATE)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    rewritten(path, {"arrays/00000.npy": buffer.getvalue()})
    with pytest.raises(CheckpointError, match="Object arrays"):
        checkpoints.load(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="not a zip file"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"compression": zipfile.ZIP_DEFLATED}, "is compressed"),
        ({}, {"manifest": {"format": 2}}, "format 2, this version reads 1"),
        ({}, {"manifest": {"step": "4"}}, "not a usable checkpoint"),
        ({}, {"manifest": {"members": []}}, "not a usable checkpoint"),
        ({"../outside": b"x"}, {}, "not a usable checkpoint"),
        ({"structure.json": b"[]"}, {}, "holds a list, not a dict"),
        ({"structure.json": b'{"array": 99}'}, {}, "malformed structure"),
        ({"structure.json": b"{"}, {}, "not a usable checkpoint"),
    ],
)
def test_a_foreign_archive_is_refused(
    tmp_path: Path, changes: dict[str, bytes], options: dict[str, Any], message: str
) -> None:
    path = checkpoints.save(tmp_path, 4, STATE)
    rewritten(path, changes, **options)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(path)
