"""Experiment directories: never a prompt, never a file lost, never a late surprise."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.records.experiment import open_experiment, open_trial


def opened(root: Path, **options: Any) -> Path:
    return open_experiment(root, "exp", "ogbg", "jax", **options)


def with_trials(root: Path) -> Path:
    directory = opened(root)
    for trial in (1, 2):
        (open_trial(directory, trial) / "measurements.csv").write_text("global_step\n1\n")
    return directory


@pytest.mark.clause("REC-4")
def test_a_new_experiment_gets_the_official_directory(tmp_path: Path) -> None:
    directory = opened(tmp_path / "new" / "root")
    assert directory == tmp_path / "new" / "root" / "exp" / "ogbg_jax"
    assert open_trial(directory, 3) == directory / "trial_3"
    assert open_trial(directory, 3).is_dir()
    assert [entry.name for entry in directory.iterdir()] == ["trial_3"]


@pytest.mark.clause("REC-4")
@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_the_part_is_left_out(tmp_path: Path, name: str | None) -> None:
    assert open_experiment(tmp_path, name, "ogbg", "pytorch") == tmp_path / "ogbg_pytorch"


@pytest.mark.clause("REC-5")
def test_a_study_has_its_own_directory(tmp_path: Path) -> None:
    assert opened(tmp_path, study=2) == tmp_path / "exp" / "study_2" / "ogbg_jax"


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = open_experiment("~/logs", "exp", "ogbg", "jax")
    assert directory == tmp_path / "logs" / "exp" / "ogbg_jax"


def test_a_time_stamp_is_appended_to_the_name(tmp_path: Path) -> None:
    now = datetime.datetime(2026, 3, 4, 5, 6, 7)
    directory = opened(tmp_path, append_timestamp=True, now=now)
    assert directory.parent.name == "exp-2026-03-04-05-06-07"
    unnamed = open_experiment(tmp_path, None, "ogbg", "jax", append_timestamp=True, now=now)
    assert unnamed.parent.name == "2026-03-04-05-06-07"


def test_an_existing_experiment_is_an_error_that_names_both_flags(tmp_path: Path) -> None:
    directory = with_trials(tmp_path)
    with pytest.raises(UserError, match=r"ogbg_jax already has trials.*--resume_last_run.*") as e:
        opened(tmp_path)
    assert "--overwrite" in str(e.value)
    assert (directory / "trial_2" / "measurements.csv").exists()


def test_a_directory_without_trials_is_used(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    (directory / "run.log").touch()
    assert opened(tmp_path) == directory


def test_resuming_keeps_everything_and_may_start_from_nothing(tmp_path: Path) -> None:
    directory = with_trials(tmp_path)
    assert opened(tmp_path, resume=True) == directory
    assert (directory / "trial_2" / "measurements.csv").exists()
    assert opened(tmp_path / "other", resume=True).is_dir()


def test_overwriting_deletes_this_workload_and_framework_only(tmp_path: Path) -> None:
    directory = with_trials(tmp_path)
    (directory / "ogbg_jax_2026.log").touch()
    neighbour = tmp_path / "exp" / "ogbg_pytorch" / "trial_1"
    neighbour.mkdir(parents=True)
    assert opened(tmp_path, overwrite=True) == directory
    assert list(directory.iterdir()) == []
    assert neighbour.is_dir()


def test_overwriting_nothing_is_fine(tmp_path: Path) -> None:
    assert opened(tmp_path, overwrite=True).is_dir()


@pytest.mark.parametrize("foreign", ["thesis.tex", "src", "trial_x", "trial_0", ".git"])
def test_a_directory_that_holds_something_else_is_not_deleted(tmp_path: Path, foreign: str) -> None:
    directory = with_trials(tmp_path)
    if "." in foreign[1:]:
        (directory / foreign).touch()
    else:
        (directory / foreign).mkdir()
    with pytest.raises(UserError, match=f"it holds {foreign}"):
        opened(tmp_path, overwrite=True)
    assert (directory / "trial_1" / "measurements.csv").exists()


def test_overwriting_does_not_follow_links(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "trial_1").mkdir(parents=True)
    (precious / "trial_1" / "checkpoint_9").touch()
    link = tmp_path / "root" / "exp" / "ogbg_jax"
    link.parent.mkdir(parents=True)
    link.symlink_to(precious, target_is_directory=True)
    with pytest.raises(UserError, match=r"through the link .*ogbg_jax"):
        opened(tmp_path / "root", overwrite=True)

    link.unlink()
    link.parent.rmdir()
    (tmp_path / "outside" / "ogbg_jax" / "trial_1").mkdir(parents=True)
    link.parent.symlink_to(tmp_path / "outside", target_is_directory=True)
    with pytest.raises(UserError, match="outside --experiment_dir"):
        opened(tmp_path / "root", overwrite=True)

    directory = with_trials(tmp_path / "third")
    (directory / "trial_1" / "link").symlink_to(precious, target_is_directory=True)
    opened(tmp_path / "third", overwrite=True)
    assert (precious / "trial_1" / "checkpoint_9").exists()
    assert (tmp_path / "outside" / "ogbg_jax" / "trial_1").is_dir()


def test_a_linked_trial_is_not_deleted(tmp_path: Path) -> None:
    directory = with_trials(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (directory / "trial_3").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(UserError, match="it holds trial_3"):
        opened(tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["../up", "a/../../b", "/absolute"])
def test_a_name_that_leaves_the_experiment_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="must stay inside"):
        open_experiment(tmp_path / "root", name, "ogbg", "jax", overwrite=True)


def test_contradicting_flags_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--resume_last_run .* --overwrite"):
        opened(tmp_path, resume=True, overwrite=True)
    with pytest.raises(UserError, match=r"--append_timestamp .* --resume_last_run"):
        opened(tmp_path, resume=True, append_timestamp=True)


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_place_that_cannot_be_written_is_an_error_before_training(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*--experiment_dir"):
        opened(tmp_path / "file", **options)


def test_a_read_only_directory_is_an_error_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _: bytes) -> int:
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(UserError, match=r"cannot write to .*ogbg_jax \(Permission denied\)"):
        opened(tmp_path)


def test_trials_are_counted_from_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        open_trial(tmp_path, 0)
    (tmp_path / "trial_1").touch()
    with pytest.raises(UserError, match=r"cannot create .*trial_1"):
        open_trial(tmp_path, 1)
