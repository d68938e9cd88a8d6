"""``python -m algoperf_ref.study`` from the outside, with trials that train nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref import study
from algoperf_ref.records.lock import locked
from conformance_tests.support import fake_run

PROGRAM = (str(Path(fake_run.__file__)),)
TASKS = ["ogbg 0 1", "ogbg 0 2", "ogbg_gelu 0 1", "ogbg_gelu 0 2"]
TASKS += [name.replace(" 0 ", " 1 ") for name in TASKS]

Command = Callable[..., int]


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """Two studies of two trials of two workloads."""
    (tmp_path / "submission.py").write_text("")
    (tmp_path / "space.json").write_text(json.dumps({"lr": {"feasible_points": [1, 2]}}))
    return [
        f"--submission-path={tmp_path / 'submission.py'}",
        "--workloads=ogbg,ogbg_gelu",
        "--framework=pytorch",
        "--tier=mini",
        f"--tuning_search_space={tmp_path / 'space.json'}",
        "--studies=2",
        "--num-tuning-trials=2",
        f"--experiment_dir={tmp_path / 'experiments'}",
        "--experiment-name=mine",
        "--quiet",
    ]


@pytest.fixture
def command(flags: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the study with further flags, and trials that do what they are told."""

    def run(*further: str, **behaviour: str) -> int:
        monkeypatch.setenv("FAKE_RUN", json.dumps(behaviour))
        return study.main([*flags, *further], program=PROGRAM)

    return run


def starts(tmp_path: Path) -> list[str]:
    """The trials that were started, in order; forgets them."""
    path = tmp_path / "starts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line)["task"] for line in lines]


def events(tmp_path: Path, name: str = "study.jsonl") -> list[dict[str, Any]]:
    text = (tmp_path / "experiments" / "mine" / name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def trial(tmp_path: Path, task: str) -> Path:
    workload, number, index = task.split()
    top = tmp_path / "experiments" / "mine" / f"study_{number}"
    return top / f"{workload}_pytorch" / f"trial_{index}"


def test_every_trial_runs_once_study_by_study_with_one_recorded_seed(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    out = capsys.readouterr().out
    lines = (tmp_path / "starts.jsonl").read_text().splitlines()
    assert starts(tmp_path) == TASKS
    recorded = json.loads((tmp_path / "experiments" / "mine" / "study.json").read_text())
    assert {json.loads(line)["flags"]["rng_seed"] for line in lines} == {
        str(recorded["configuration"]["rng_seed"])
    }
    assert recorded["plan"]["ogbg"] == {
        "num_studies": 2,
        "num_trials": 2,
        "budget_seconds": 240.0,
    }
    assert "8 of 8 trials complete; 8 reached the validation target" in out
    assert f"algoperf_ref.score {tmp_path / 'experiments' / 'mine'} --rules v0.6" in out
    assert "--tier mini --num-studies 2" in out


def test_the_same_command_again_runs_nothing(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    before = (tmp_path / "experiments" / "mine" / "study.json").read_bytes()
    starts(tmp_path)
    assert command() == 0
    assert starts(tmp_path) == []
    assert (tmp_path / "experiments" / "mine" / "study.json").read_bytes() == before
    assert (
        "machine hours of submission time by the budgets, 0.0 of them to go"
        in capsys.readouterr().out
    )


def test_crashes_stay_in_their_trials_and_are_taken_up_again(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"ogbg 0 1": "SIGKILL", "ogbg_gelu 0 2": "SIGSEGV", "ogbg 1 2": "traceback"}
    assert command(**told) == 1
    assert starts(tmp_path) == TASKS
    out = capsys.readouterr().out
    assert "ogbg study 0 trial 1: crashed: killed by SIGKILL" in out
    assert "ogbg_gelu study 0 trial 2: crashed: killed by SIGSEGV" in out
    assert "exit code 1 and wrote no result" in out
    assert "5 of 8 trials complete, 3 unfinished" in out
    crashed = [e for e in events(tmp_path) if e.get("ending") == "crashed"]
    assert [e["signal"] for e in crashed] == ["SIGKILL", "SIGSEGV", None]
    consoles = tmp_path / "experiments" / "mine" / "consoles"
    assert "RuntimeError: a bug" in (consoles / "ogbg.study_1.trial_2.log").read_text()
    assert command() == 0
    assert starts(tmp_path) == list(told)


def test_a_failed_trial_is_left_alone_until_it_is_asked_for(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(**{"ogbg 0 2": "submission_failed"}) == 1
    assert starts(tmp_path) == TASKS
    assert "ogbg study 0 trial 2: failed: it was submission_failed" in capsys.readouterr().out
    assert command() == 1
    assert starts(tmp_path) == []
    assert "--retry_failed goes on" in capsys.readouterr().out
    assert command("--retry-failed") == 0
    assert starts(tmp_path) == ["ogbg 0 2"]


def test_stop_on_failure_starts_no_further_trial(command: Command, tmp_path: Path) -> None:
    assert command("--stop_on_failure", **{"ogbg 0 2": "non_finite"}) == 1
    assert starts(tmp_path) == TASKS[:2]


def test_a_refused_trial_spares_the_others_of_its_workload_the_same_end(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(**{"ogbg 0 1": "refuse"}) == 1
    assert starts(tmp_path) == [TASKS[0], *(name for name in TASKS if "gelu" in name)]
    assert "ogbg study 0 trial 1: refused: the data are missing" in capsys.readouterr().out


def test_a_damaged_result_is_told_kept_and_run_again(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    starts(tmp_path)
    (trial(tmp_path, "ogbg 1 1") / "result.json").write_text('{"workload": "og')
    capsys.readouterr()
    assert command("--dry_run") == 0
    assert "result.json is damaged" in capsys.readouterr().out
    assert command() == 0
    assert starts(tmp_path) == ["ogbg 1 1"]


def test_a_trial_in_use_is_left_to_its_process(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = trial(tmp_path, "ogbg 0 1")
    directory.mkdir(parents=True)
    with locked(directory):
        assert command() == 1
    out = capsys.readouterr().out
    assert f"{directory} is in use by process {os.getpid()} on host" in out
    assert "7 of 8 trials complete, 1 in use" in out
    assert starts(tmp_path) == TASKS[1:]


def test_a_dry_run_writes_nothing_and_counts_what_is_done(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--dry_run") == 0
    assert not (tmp_path / "experiments").exists()
    out = capsys.readouterr().out
    assert "seed drawn at the start" in out
    assert out.split("total")[1].split()[:5] == ["8", "0.533", "0", "0", "8"]
    assert "evaluations, logging, checkpoints and start-up are not" in out
    command(**{"ogbg 0 1": "SIGKILL", "ogbg 0 2": "timed_out"})
    starts(tmp_path)
    capsys.readouterr()
    assert command("--dry_run") == 0
    out = capsys.readouterr().out
    # One crashed and so to do, one failed and so not.
    assert out.split("total")[1].split()[:5] == ["8", "0.533", "6", "1", "1"]
    assert starts(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("--rng_seed=4", "--rng_seed is 4, but the study in"),
        ("--clock=steps", "--clock is steps, but"),
        ("--rules=v0.5", "--rules is v0.5, but"),
        ("--num_tuning_trials=3", "--num_tuning_trials is 3, but"),
        ("--framework=jax", "--framework is jax, but"),
    ],
)
def test_a_study_goes_on_as_it_began(
    command: Command,
    change: str,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("--rng_seed=3", "--workloads=ogbg", "--studies=1") == 0
    starts(tmp_path)
    assert command(change) == 2
    assert expected in capsys.readouterr().err
    assert starts(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "flag"),
    [("submission.py", "--submission_path"), ("space.json", "--tuning_search_space")],
)
def test_a_changed_file_is_an_error_and_a_reformatted_search_space_is_none(
    command: Command, file: str, flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--workloads=ogbg", "--studies=1") == 0
    (tmp_path / "space.json").write_text('{\n "lr":   {"feasible_points": [1, 2]}}\n')
    assert command("--workloads=ogbg", "--studies=1") == 0
    (tmp_path / file).write_text(
        '{"lr": {"feasible_points": [2, 1]}}' if file == "space.json" else "import os\n"
    )
    assert command("--workloads=ogbg", "--studies=1") == 2
    assert f"{flag} has another content than when the study" in capsys.readouterr().err


def test_workloads_and_studies_may_be_added_later(command: Command, tmp_path: Path) -> None:
    assert command("--workloads=ogbg", "--studies=1") == 0
    assert starts(tmp_path) == TASKS[:2]
    assert command() == 0
    assert starts(tmp_path) == TASKS[2:]
    recorded = json.loads((tmp_path / "experiments" / "mine" / "study.json").read_text())
    assert {name: row["num_studies"] for name, row in recorded["plan"].items()} == {
        "ogbg": 2,
        "ogbg_gelu": 2,
    }


def test_trials_of_another_run_in_the_directory_are_an_error(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--rng_seed=3") == 0
    (tmp_path / "experiments" / "mine" / "study.json").unlink()
    assert command("--rng_seed=4") == 2
    assert "--rng_seed is 4, but the study in" in capsys.readouterr().err


def test_slices_share_the_work_without_a_word_to_each_other(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--slice=1/3") == 2
    assert "--slice needs --rng_seed" in capsys.readouterr().err
    assert not (tmp_path / "experiments").exists()
    found = []
    for index in (3, 1, 2):
        assert command(f"--slice={index}/3", "--rng_seed=9") == 0
        mine = starts(tmp_path)
        assert len(mine) in (2, 3)
        found += mine
        ended = events(tmp_path, f"study_{index}_of_3.jsonl")
        assert sum(e["event"] == "trial ended" for e in ended) == len(mine)
    assert sorted(found) == sorted(TASKS)
    assert command() == 0  # The whole is done, and the seed is found in study.json.
    assert starts(tmp_path) == []


def test_several_trials_at_a_time_are_the_same_trials(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--jobs=3") == 0
    assert "3 trials at a time share the machine, so their times do not count" in (
        capsys.readouterr().out
    )
    assert sorted(starts(tmp_path)) == sorted(TASKS)


def test_further_flags_reach_the_run(command: Command, tmp_path: Path) -> None:
    code = command("--workloads=ogbg", "--studies=1", "--", "--trace-steps", "5", "--notensorboard")
    assert code == 0
    flags = json.loads((tmp_path / "starts.jsonl").read_text().splitlines()[0])["flags"]
    assert "trace_steps" in flags
    assert flags["tensorboard"] == "false"


@pytest.mark.parametrize(
    ("further", "expected"),
    [
        (["--workloads=ogbgg"], "did you mean ogbg"),
        (["--workloads=,"], "--workloads names no workload"),
        (["--workloads=qualification", "--rules=paper2023"], "has no such workloads"),
        (["--rules=v9"], "--rules is 'v9'"),
        (["--tuning_ruleset=both"], "--tuning_ruleset is 'both'"),
        (["--studies=0"], "--studies is 0"),
        (["--num_tuning_trials=0"], "--num_tuning_trials is 0"),
        (["--jobs=0"], "--jobs is 0"),
        (["--slice=4/3"], "--slice is '4/3'"),
        (["--experiment_name=../other"], "must stay inside"),
        (["--framework=jax", "--nproc_per_node=2"], "--nproc_per_node starts PyTorch's"),
        (["--", "--study=1"], "--study stands after --"),
        (["--", "--overwrite"], "--overwrite stands after --"),
        (["--", "--trace_steps=-1"], "--trace_steps is -1"),
    ],
)
def test_a_users_mistake_is_one_line_and_starts_nothing(
    command: Command,
    further: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(*further) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert expected in error
    assert error.count("\n") == 1
    assert starts(tmp_path) == []
    assert not (tmp_path / "experiments").exists()


def test_a_directory_that_cannot_be_written_is_one_sentence(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiments").write_text("a file where the directory should be")
    assert command() == 2
    assert "give another --experiment_dir" in capsys.readouterr().err


def test_a_damaged_study_file_is_one_sentence(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiments" / "mine").mkdir(parents=True)
    (tmp_path / "experiments" / "mine" / "study.json").write_text("{")
    assert command() == 2
    assert "study.json cannot be read" in capsys.readouterr().err


# The study as a process of its own, so that it can be sent signals.
STUDY = (
    "import sys; from algoperf_ref import study; sys.exit(study.main(program=[sys.argv.pop(1)]))"
)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_the_trial_and_the_study_says_how_to_go_on(
    number: signal.Signals, code: int, flags: list[str], command: Command, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUDY, *PROGRAM, *flags],
        env={**os.environ, "FAKE_RUN": json.dumps({"ogbg 0 2": "sleep"})},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "asleep").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        error = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == code
    assert "interrupted; the same command goes on" in error
    assert starts(tmp_path) == TASKS[:2]
    ended = [e for e in events(tmp_path) if e["event"] == "trial ended"]
    assert [e["ending"] for e in ended][:2] == ["complete", "interrupted"]
    assert command() == 0
    assert starts(tmp_path) == TASKS[1:]


def test_the_module_is_a_program_with_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "algoperf_ref.study", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for flag in ("--workloads", "--slice", "--dry_run", "--retry_failed", "--stop_on_failure"):
        assert flag in done.stdout
