"""Two studies of two trials of a tiny ogbg, a process for each trial, one of them killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from algoperf_ref import score, study
from algoperf_ref.harness.files import read_result
from conformance_tests.support.molecules import write_tiny_ogbg
from spec.tuning import trial_points, trial_seed

NADAMW = Path(__file__).parents[2] / "reference_submissions" / "external_tuning" / "nadamw"
SPACE = NADAMW / "tuning_search_space.json"
SIZES = {"train": 64, "validation": 16, "test": 16}

# `python -m algoperf_ref.run`, with the mini workload at the sizes of the tiny data.
PROGRAM = f"""
import sys
from dataclasses import replace
from algoperf_ref import run
load = run.workloads.load
def tiny(*args, **kwargs):
    w = load(*args, **kwargs)
    row = replace(w.spec, num_train_examples={SIZES["train"]}, eval_batch_size=16,
                  num_eval_train_examples=16, num_validation_examples=16, num_test_examples=16,
                  eval_period_time_sec=2, simulated_step_seconds=1.0, validation_target_value=2.0)
    return type(w)(row, w.tier, w.backend)
run.workloads.load = tiny
sys.exit(run.main())
"""

# NadamW, except that the first process that comes to its sixth step is killed.
SUBMISSION = """
import os, signal
from pathlib import Path
from reference_submissions.external_tuning.nadamw import submission_pytorch as nadamw
from reference_submissions.external_tuning.nadamw.submission_pytorch import (
    data_selection, get_batch_size, init_optimizer_state)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng, train_state=None):
    kill = Path(__file__).with_name("kill")
    if global_step == 5 and kill.exists():
        kill.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return nadamw.update_params(
        workload, current_param_container, current_params_types, model_state, hyperparameters,
        batch, loss_type, optimizer_state, eval_results, global_step, rng)
"""


def test_a_study_outlives_a_killed_trial_and_the_same_command_completes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_ogbg(tmp_path / "data", **SIZES)
    (tmp_path / "submission.py").write_text(SUBMISSION)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "kill").touch()
    command = [
        f"--submission_path={tmp_path / 'submission.py'}",
        "--workloads=ogbg",
        "--framework=pytorch",
        "--tier=mini",
        f"--tuning_search_space={SPACE}",
        "--studies=2",
        "--num_tuning_trials=2",
        "--rng_seed=7",
        f"--data_dir={tmp_path / 'data'}",
        f"--experiment_dir={tmp_path / 'experiments'}",
        "--experiment_name=mine",
        "--clock=steps",
        "--max_global_steps=8",
    ]
    program = [str(tmp_path / "program.py")]

    assert study.main(command, program=program) == 1
    first = capsys.readouterr()
    assert "ogbg study 0 trial 1: crashed: killed by SIGKILL" in first.out
    assert "3 of 4 trials complete, 1 unfinished" in first.out
    assert "step_limit after 8 steps" in first.err  # what the trials print is shown
    top = tmp_path / "experiments" / "mine"
    trials = {
        (k, i): top / f"study_{k}" / "ogbg_pytorch" / f"trial_{i}" for k in (0, 1) for i in (1, 2)
    }
    others = {key: (path / "result.json").read_bytes() for key, path in list(trials.items())[1:]}
    assert not (trials[0, 1] / "result.json").exists()

    assert study.main(command, program=program) == 0
    second = capsys.readouterr().out
    assert second.count("after 8 steps") == 1
    assert "4 of 4 trials complete" in second
    assert {key: (trials[key] / "result.json").read_bytes() for key in others} == others
    starts = {key: len(list(path.glob("meta_data_*.json"))) for key, path in trials.items()}
    assert starts == {(0, 1): 2, (0, 2): 1, (1, 1): 1, (1, 2): 1}

    # Points and seeds are those of the rules, whoever runs the trial.
    space = json.loads(SPACE.read_text())
    for (k, i), path in trials.items():
        result = read_result(path)
        assert result is not None
        assert result.trial_seed == trial_seed(7, k, i)
        points = trial_points(space, num_trials=2, seed=7, study=k, num_studies=2)
        assert result.hyperparameters == points[i - 1]
        steps = [step for step, _ in result.eval_results]
        assert steps == [1, 3, 5, 7, 8]
    report = score.score_logs(top, tier="mini", num_studies=2)
    assert len(report.trials) == 4
