"""``python -m algoperf_ref.quickstart``: on a few molecules, and for real in ``nox -s long``."""

from __future__ import annotations

import errno
import math
import shlex
import sys
from pathlib import Path

import pytest

from algoperf_ref import quickstart, run
from algoperf_ref.data.ogbg import prepare as prepare_module
from algoperf_ref.errors import UserError
from algoperf_ref.harness.results import Status, TrialResult
from algoperf_ref.score import __main__ as score_main
from spec import __main__ as spec_main

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def without_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny data set stands in for the mini one."""
    monkeypatch.setattr(quickstart, "prepare_data", lambda data_dir: None)


def _result(**changes) -> TrialResult:
    row = {f"{split}/mean_average_precision": 0.4 for split in ("train", "validation", "test")}
    values = {
        "workload": "ogbg",
        "framework": "jax",
        "tier": "mini",
        "rules": "v0.6",
        "tuning": "external",
        "study": 0,
        "trial": 1,
        "run_seed": 0,
        "trial_seed": 1,
        "clock": "wall",
        "hyperparameters": {},
        "status": Status.TARGETS_REACHED,
        "message": "",
        "global_step": 20,
        "submission_seconds": 20.0,
        "evaluation_seconds": 1.0,
        "logging_seconds": 0.1,
        "validation_time_seconds": 19.0,
        "test_time_seconds": 20.0,
        "target_metric": "mean_average_precision",
        "eval_results": tuple(
            (step, {**row, "accumulated_submission_time": float(step)}) for step in (1, 10, 20)
        ),
        "directory": None,
    }
    return TrialResult(**{**values, **changes})


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_one_command_trains_scores_and_draws(
    framework, tiny_ogbg, without_preparation, tmp_path, capsys
):
    output = tmp_path / "runs"
    arguments = ["--framework", framework, "--data_dir", str(tiny_ogbg), "--output", str(output)]
    assert quickstart.main(arguments) == 0
    trial = output / "nadamw" / f"ogbg_{framework}" / "trial_1"
    assert (trial / "learning_curve.png").read_bytes().startswith(PNG)
    assert (trial / "eval_measurements.csv").is_file()
    printed = capsys.readouterr().out
    assert "nadamw" in printed
    assert "validation target reached after" in printed


def test_started_again_it_replaces_its_own_run(tiny_ogbg, without_preparation, tmp_path):
    arguments = ["--data_dir", str(tiny_ogbg), "--output", str(tmp_path / "runs")]
    assert [quickstart.main(arguments), quickstart.main(arguments)] == [0, 0]


@pytest.mark.parametrize("reached", [19.0, math.inf])
def test_the_picture_is_drawn_with_and_without_a_reached_target(reached, tmp_path):
    picture = tmp_path / "curve.png"
    quickstart.learning_curve(_result(validation_time_seconds=reached), picture)
    assert picture.read_bytes().startswith(PNG)


def test_a_missed_target_is_said_in_one_sentence(monkeypatch, tmp_path, capsys):
    missed = _result(validation_time_seconds=math.inf, status=Status.OUT_OF_TIME)
    monkeypatch.setattr(quickstart, "quickstart", lambda places, seed: missed)
    assert quickstart.main(["--output", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "without reaching the validation target" in error
    assert error.count("\n") == 1


def test_a_failed_run_is_said_in_one_sentence_with_its_reason(
    monkeypatch, without_preparation, tmp_path, capsys
):
    failed = _result(
        status=Status.SUBMISSION_FAILED, message="it raised ValueError", directory=tmp_path
    )
    monkeypatch.setattr(run, "run_study", lambda *_, **__: type("", (), {"trials": [failed]}))
    assert quickstart.main(["--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "it raised ValueError" in error
    assert error.count("\n") == 1


def test_data_that_cannot_be_made_is_one_sentence(monkeypatch, tmp_path, capsys):
    def fail(data_dir: Path) -> None:
        raise UserError("rdkit is not installed")

    monkeypatch.setattr(quickstart, "prepare_data", fail)
    assert quickstart.main(["--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: rdkit is not installed\n"


def test_a_full_disk_is_one_sentence(monkeypatch, tmp_path, capsys):
    def fail(data_dir: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(quickstart, "prepare_data", fail)
    assert quickstart.main(["--output", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_the_data_of_the_mini_tier_are_prepared_where_the_user_wants_them(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(prepare_module, "prepare", lambda *arguments: calls.append(arguments))
    quickstart.prepare_data(tmp_path)
    assert calls == [(tmp_path, "mini")]


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_what_to_try_next_are_commands_that_exist(framework, tmp_path):
    places = quickstart.Places(framework, tmp_path / "my data", tmp_path / "out")
    parsers = {
        "algoperf_ref.run": run._parser(),
        "algoperf_ref.quickstart": quickstart._parser(),
        "algoperf_ref.score": score_main._parser(),
        "spec": spec_main._parser(),
    }
    commands = quickstart.next_commands(places)
    assert len(commands) >= 4
    for _, command in commands:
        python, dash_m, module, *arguments = shlex.split(command)
        assert Path(python).resolve() == Path(sys.executable).resolve()
        assert dash_m == "-m"
        parsed = parsers[module].parse_args(arguments)
        for name in ("submission_path", "tuning_search_space"):
            assert getattr(parsed, name, None) is None or Path(getattr(parsed, name)).exists()


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_the_quickstart_reaches_its_target(framework, tmp_path, capsys):
    arguments = ["--data_dir", str(tmp_path / "data"), "--output", str(tmp_path / "out")]
    assert quickstart.main(["--framework", framework, *arguments]) == 0
    assert "validation target reached" in capsys.readouterr().out
