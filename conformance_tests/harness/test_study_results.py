"""What a study of one workload does with a result that it finds in a trial directory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.files import DamagedResult, read_result
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.results import Status, TrialResult
from algoperf_ref.harness.study import run_study
from algoperf_ref.records.lock import InUse, locked
from conformance_tests.support.fakes import FakeWorkload

# What `fakes.fake_functions` does, as the file that a user would have.
SUBMISSION = """
def get_batch_size(workload_name):
    return 32

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    return next(input_queue)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng, train_state):
    return optimizer_state, {"w": current_param_container["w"] + 1}, model_state
"""


class Notes(Quiet):
    """Keeps what the user would be told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def noticed(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    (tmp_path / "submission.py").write_text(SUBMISSION)
    return RunOptions(
        submission_path=str(tmp_path / "submission.py"),
        workload="ogbg",
        framework="pytorch",
        tier="mini",
        clock="steps",
        rng_seed=5,
        tuning_ruleset="self",
        experiment_dir=str(tmp_path / "experiments"),
        resume_last_run=True,
    )


def run(options: RunOptions, notes: Notes | None = None) -> TrialResult:
    workload = FakeWorkload()
    return run_study(options, workload, workload.backend, notes or Notes()).trials[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"workload": "ogbg"}', "\xff"])
def test_a_damaged_result_is_moved_aside_and_the_trial_ends_with_the_same_one(
    content: str, options: RunOptions
) -> None:
    first = run(options)
    assert first.directory is not None
    path = first.directory / "result.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DamagedResult, match=r"result\.json is damaged"):
        read_result(first.directory)
    notes = Notes()
    again = run(options, notes)
    assert any("result.json.damaged_1, and the trial is run again" in line for line in notes.lines)
    assert path.with_name("result.json.damaged_1").read_bytes() == content.encode("latin-1")
    assert read_result(first.directory) == again
    assert again.preemption_count == 1
    assert again.validation_time_seconds == first.validation_time_seconds
    assert again.global_step == first.global_step


def test_a_trial_directory_serves_one_process_at_a_time(options: RunOptions) -> None:
    first = run(options)
    assert first.directory is not None
    before = {p.name: p.read_bytes() for p in first.directory.iterdir() if p.is_file()}
    with locked(first.directory):
        with pytest.raises(InUse, match="trial_1 is in use by process"):
            run(options)
        (first.directory / "trial.owner.json").unlink()
    after = {p.name: p.read_bytes() for p in first.directory.iterdir() if p.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("status", "limit", "expected"),
    [
        (Status.TARGETS_REACHED, None, True),
        (Status.OUT_OF_TIME, 1000, True),
        (Status.STEP_LIMIT, 10, True),
        (Status.STEP_LIMIT, 9, True),
        (Status.STEP_LIMIT, 11, False),
        (Status.STEP_LIMIT, None, False),
        (Status.SUBMISSION_FAILED, 10, False),
        (Status.INTERRUPTED, None, False),
    ],
)
def test_a_result_is_final_unless_something_is_left_to_do(
    status: Status, limit: int | None, expected: bool, options: RunOptions
) -> None:
    result = replace(run(options), status=status, global_step=10)
    assert result.is_final(limit) is expected
    assert result.directory is not None
    assert json.loads((result.directory / "result.json").read_text())["trial"] == 1
