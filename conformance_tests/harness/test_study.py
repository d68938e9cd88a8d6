"""A study: points, seeds, directories, failures and resumes, with fakes and real files."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.options import RunOptions
from algoperf_ref.harness.results import Status, StudyResult
from algoperf_ref.harness.study import run_study
from algoperf_ref.records import checkpoints
from conformance_tests.support.fakes import METRIC, FakeWorkload

# The functions of `fakes.fake_functions` as the file that a user would have.
SUBMISSION = """
import os
import numpy as np

def get_batch_size(workload_name):
    return 32

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {"positions": 0.0, "random": 0.0}

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    return next(input_queue)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng, train_state):
    if os.environ.get("FAIL_AT") == str(global_step):
        raise ValueError("the learning rate exploded")
    if os.environ.get("INTERRUPT_AT") == str(global_step):
        raise KeyboardInterrupt
    optimizer_state["positions"] += float(batch["inputs"][0]) * (global_step + 1)
    optimizer_state["random"] += float(np.random.random())
    if workload.metrics_logger is not None and global_step % 5 == 0:
        loss = 1.0 / (1 + global_step)
        workload.metrics_logger.append_scalar_metrics({"loss": loss}, global_step)
    return optimizer_state, {"w": current_param_container["w"] + 1}, model_state
"""
SPACE = {"learning_rate": {"min": 1e-3, "max": 1e-1, "scaling": "log"}}


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    (tmp_path / "submission.py").write_text(SUBMISSION)
    (tmp_path / "space.json").write_text(json.dumps(SPACE))
    return RunOptions(
        submission_path=str(tmp_path / "submission.py"),
        workload="ogbg",
        framework="pytorch",
        tier="mini",
        clock="steps",
        rng_seed=5,
        tuning_search_space=str(tmp_path / "space.json"),
        experiment_dir=str(tmp_path / "experiments"),
        experiment_name="fake",
    )


def run(options: RunOptions, workload: FakeWorkload | None = None) -> StudyResult:
    workload = workload or FakeWorkload()
    return run_study(options, workload, workload.backend, Quiet())


def rows(directory: Path, name: str) -> list[dict[str, str]]:
    with (directory / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_trial_leaves_the_official_files(options: RunOptions, tmp_path: Path) -> None:
    [trial] = run(options).trials
    directory = tmp_path / "experiments" / "fake" / "ogbg_pytorch" / "trial_1"
    assert trial.directory == directory
    names = {path.name for path in directory.iterdir()}
    assert names >= {
        "measurements.csv",
        "eval_measurements.csv",
        "hparams.json",
        "meta_data_0.json",
        "flags_0.json",
        "result.json",
        "checkpoint_51",
    }
    evaluations = rows(directory, "eval_measurements.csv")
    assert [int(row["global_step"]) for row in evaluations] == [1, 11, 21, 31, 41, 51]
    assert float(evaluations[-1]["score"]) == 51.0
    everything = rows(directory, "measurements.csv")
    assert len(everything) == 6 + 11 + 1  # evaluations, the submission's own rows, the last row
    assert everything[-1]["score"] == "51.0"
    assert json.loads((directory / "hparams.json").read_text()) == trial.hyperparameters
    assert json.loads((directory / "meta_data_0.json").read_text())["rng_seed"] == 5


def test_the_batch_size_is_divided_by_the_tiers_divisor(options: RunOptions) -> None:
    workload = FakeWorkload()
    run(options, workload)
    assert "queue train 8 from 0" in workload.events  # 32 / 4


def test_trials_have_points_and_seeds_of_their_own_and_repeat_exactly(options: RunOptions) -> None:
    three = replace(options, num_tuning_trials=3)
    first = run(three).trials
    again = run(replace(three, overwrite=True)).trials
    assert len({t.trial_seed for t in first}) == 3
    assert len({t.hyperparameters["learning_rate"] for t in first if t.hyperparameters}) == 3
    assert [t.hyperparameters for t in first] == [t.hyperparameters for t in again]
    assert [t.eval_results for t in first] == [t.eval_results for t in again]
    assert [t.trial_seed for t in first] == [t.trial_seed for t in again]


def test_a_slice_of_trials_keeps_global_numbers_points_and_seeds(options: RunOptions) -> None:
    whole = run(replace(options, num_tuning_trials=4)).trials
    part = run(
        replace(
            options,
            num_tuning_trials=4,
            hparam_start_index=2,
            hparam_end_index=4,
            experiment_name="part",
        )
    ).trials
    assert [t.trial for t in part] == [3, 4]
    assert [t.hyperparameters for t in part] == [t.hyperparameters for t in whole[2:]]
    assert [t.trial_seed for t in part] == [t.trial_seed for t in whole[2:]]


def test_the_studys_time_is_that_of_its_fastest_trial(options: RunOptions) -> None:
    result = run(replace(options, num_tuning_trials=2))
    assert result.time_seconds == 51.0
    slow = run(replace(options, experiment_name="slow", max_global_steps=3), FakeWorkload())
    assert slow.time_seconds == math.inf


def test_an_existing_directory_is_an_error_that_names_both_flags(options: RunOptions) -> None:
    run(options)
    with pytest.raises(UserError, match=r"--resume_last_run.*--overwrite"):
        run(options)


def test_an_error_before_training_leaves_no_directory(options: RunOptions, tmp_path: Path) -> None:
    class WithoutData(FakeWorkload):
        def check_data(self, data_dir: Any) -> None:
            raise UserError("no data")

    with pytest.raises(UserError, match="no data"):
        run(options, WithoutData())
    with pytest.raises(UserError, match="No such file"):
        run(replace(options, tuning_search_space=str(tmp_path / "nothing.json")))
    assert not (tmp_path / "experiments").exists()


def test_a_finished_trial_is_not_run_again_on_resume(options: RunOptions) -> None:
    first = run(options)
    workload = FakeWorkload()
    again = run(replace(options, resume_last_run=True), workload)
    assert workload.events == ["check data"]
    assert again == first


def test_a_run_that_ended_at_its_step_limit_goes_on_under_a_larger_one(
    options: RunOptions,
) -> None:
    [whole] = run(replace(options, experiment_name="whole", max_global_steps=30)).trials
    run(replace(options, max_global_steps=30))
    [same] = run(replace(options, max_global_steps=30, resume_last_run=True)).trials
    assert same.status is Status.STEP_LIMIT
    assert same.global_step == whole.global_step == 30
    [longer] = run(replace(options, resume_last_run=True)).trials
    assert longer.status is Status.TARGETS_REACHED
    assert [step for step, _ in longer.eval_results] == [1, 11, 21, 30, 40, 50]


def test_a_failed_trial_is_recorded_with_its_traceback_and_the_study_goes_on(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailsOnce(FakeWorkload):
        def attach_metrics_logger(self, metrics_logger: Any) -> None:
            super().attach_metrics_logger(metrics_logger)
            if metrics_logger is None:
                monkeypatch.delenv("FAIL_AT", raising=False)

    monkeypatch.setenv("FAIL_AT", "3")
    failed, good = run(replace(options, num_tuning_trials=2), FailsOnce()).trials
    assert failed.status is Status.SUBMISSION_FAILED
    assert "update_params raised ValueError after 3 steps" in failed.message
    assert failed.validation_time_seconds == math.inf
    assert good.status is Status.TARGETS_REACHED
    assert failed.directory is not None
    text = (failed.directory / "trial.log").read_text()
    assert "Traceback" in text
    assert "the learning rate exploded" in text


def test_a_resumed_run_gives_what_an_uninterrupted_one_gives(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = run(options).trials
    assert whole.directory is not None

    interrupted = replace(options, experiment_name="interrupted")
    monkeypatch.setenv("INTERRUPT_AT", "37")
    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    monkeypatch.delenv("INTERRUPT_AT")
    [resumed] = run(replace(interrupted, resume_last_run=True)).trials

    assert resumed.directory is not None
    assert resumed.status is whole.status
    assert resumed.submission_seconds == whole.submission_seconds
    for (step, metrics), (other_step, others) in zip(
        resumed.eval_results, whole.eval_results, strict=True
    ):
        assert step == other_step
        differing = {name for name in metrics if metrics[name] != others[name]}
        assert differing <= {"preemption_count"}
    states = [checkpoints.load_latest(t.directory) for t in (whole, resumed) if t.directory]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0][0]["training"] == states[1][0]["training"]
    for name in ("measurements.csv", "eval_measurements.csv"):
        without_count = [
            [{k: v for k, v in row.items() if k != "preemption_count"} for row in table]
            for table in (rows(whole.directory, name), rows(resumed.directory, name))
        ]
        assert without_count[0] == without_count[1]
    assert (resumed.directory / "flags_1.json").exists()
    assert resumed.eval_results[-1][1]["preemption_count"] == 1


def test_a_resumed_run_keeps_its_drawn_seed_and_refuses_another(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = replace(options, rng_seed=None)
    monkeypatch.setenv("INTERRUPT_AT", "15")
    with pytest.raises(KeyboardInterrupt):
        run(drawn)
    monkeypatch.delenv("INTERRUPT_AT")
    with pytest.raises(UserError, match=r"--clock is wall.*started with steps"):
        run(replace(drawn, resume_last_run=True, clock="wall"))
    [trial] = run(replace(drawn, resume_last_run=True)).trials
    assert trial.directory is not None
    recorded = json.loads((trial.directory / "flags_0.json").read_text())["rng_seed"]
    assert trial.run_seed == recorded
    with pytest.raises(UserError, match=rf"--rng_seed is {recorded ^ 1}"):
        run(replace(drawn, resume_last_run=True, rng_seed=recorded ^ 1))


@pytest.mark.clause("TUNE-7")
def test_seed_0_is_a_seed_like_any_other(options: RunOptions) -> None:
    [zero] = run(replace(options, rng_seed=0)).trials
    [again] = run(replace(options, rng_seed=0, overwrite=True)).trials
    assert zero.run_seed == 0
    assert zero.trial_seed == again.trial_seed


def test_self_tuning_passes_no_hyperparameters_and_uses_its_budget(options: RunOptions) -> None:
    workload = FakeWorkload(evaluate=lambda step: 0.0)
    [trial] = run(
        replace(options, tuning_ruleset="self", tuning_search_space=None), workload
    ).trials
    assert trial.hyperparameters is None
    assert trial.status is Status.OUT_OF_TIME
    assert 150.0 <= trial.submission_seconds < 160.0  # 1.5 times 100 s, plus at most a period


def test_the_two_rulesets_use_different_streams_of_one_seed(options: RunOptions) -> None:
    external, self_tuning = FakeWorkload(), FakeWorkload()
    run(options, external)
    run(
        replace(options, tuning_ruleset="self", tuning_search_space=None, experiment_name="s"),
        self_tuning,
    )
    assert list(external.keys["model"]) != list(self_tuning.keys["model"])


def test_a_trial_without_directory_keeps_no_files(options: RunOptions, tmp_path: Path) -> None:
    [trial] = run(replace(options, experiment_dir=None)).trials
    assert trial.directory is None
    assert not (tmp_path / "experiments").exists()
    assert trial.eval_results[-1][1][f"validation/{METRIC}"] == 0.51


def test_studies_have_their_own_directories_points_and_seeds(options: RunOptions) -> None:
    trials = [run(replace(options, study=study)).trials[0] for study in (0, 1)]
    assert [t.directory.parent.parent.name for t in trials if t.directory] == ["study_0", "study_1"]
    assert trials[0].hyperparameters != trials[1].hyperparameters
    assert trials[0].trial_seed != trials[1].trial_seed
