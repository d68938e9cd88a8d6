"""The whole stack on a tiny molecule set: command line, Python API, determinism, resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import algoperf_ref
from algoperf_ref import run as run_module
from algoperf_ref.harness.results import Status, TrialResult
from algoperf_ref.records import checkpoints
from conformance_tests.support.molecules import write_tiny_ogbg
from spec import tiers

NADAMW = Path(__file__).parents[2] / "reference_submissions" / "external_tuning" / "nadamw"
# One workload object serves all tests, as it serves all trials of a study: it compiles once.
LOADED: dict[Any, Any] = {}
SIZES = {"train": 96, "validation": 24, "test": 24}
POINT = {
    "learning_rate": 0.01,
    "one_minus_beta1": 0.1,
    "beta2": 0.99,
    "warmup_factor": 0.1,
    "weight_decay": 0.01,
    "dropout_rate": 0.1,
    "label_smoothing": 0.0,
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    write_tiny_ogbg(path, **SIZES)
    return path


@pytest.fixture(params=["jax", "pytorch"])
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `algoperf_ref.run` load the mini workload with the sizes of the tiny data."""
    load = run_module.workloads.load

    def load_tiny(*args: Any, **kwargs: Any) -> Any:
        key = (*args, *kwargs.items())
        if key not in LOADED:
            LOADED[key] = shrink(load(*args, **kwargs))
        return LOADED[key]

    def shrink(workload: Any) -> Any:
        row = replace(
            workload.spec,
            num_train_examples=SIZES["train"],
            num_eval_train_examples=SIZES["validation"],
            num_validation_examples=SIZES["validation"],
            num_test_examples=SIZES["test"],
            eval_batch_size=16,
            eval_period_time_sec=5,
            simulated_step_seconds=1.0,
            validation_target_value=2.0,  # out of reach
            step_hint=20,
        )
        return type(workload)(row, workload.tier, workload.backend)

    monkeypatch.setattr(run_module.workloads, "load", load_tiny)


def trial(framework: str, data_dir: Path, **options: Any) -> TrialResult:
    defaults: dict[str, Any] = {
        "tier": "mini",
        "data_dir": data_dir,
        "hyperparameters": POINT,
        "seed": 3,
        "clock": "steps",
        "max_global_steps": 12,
    }
    return algoperf_ref.run_trial("ogbg", framework, NADAMW, **{**defaults, **options})


def without_times(result: TrialResult) -> list[Any]:
    # Simulated time is the same too: everything is compared but the count of resumes.
    return [
        (step, {k: v for k, v in metrics.items() if k != "preemption_count"})
        for step, metrics in result.eval_results
    ]


@pytest.mark.usefixtures("tiny")
def test_the_same_seed_gives_the_same_trajectory_and_another_seed_another(
    framework: str, data_dir: Path
) -> None:
    first, again = trial(framework, data_dir), trial(framework, data_dir)
    assert [step for step, _ in first.eval_results] == [1, 6, 11, 12]
    assert without_times(first) == without_times(again)
    other = trial(framework, data_dir, seed=4)
    assert other.eval_results[-1][1]["train/loss"] != first.eval_results[-1][1]["train/loss"]


@pytest.mark.usefixtures("tiny")
def test_training_lowers_the_loss(framework: str, data_dir: Path) -> None:
    result = trial(framework, data_dir, max_global_steps=20)
    losses = [metrics["train/loss"] for _, metrics in result.eval_results]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.usefixtures("tiny")
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    framework: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trial(framework, data_dir, output_dir=tmp_path / "whole")

    from algoperf_ref.harness.trial_parts import CountingQueue

    draw = CountingQueue.__next__

    def interrupted_draw(queue: CountingQueue) -> Any:
        if queue.drawn == 9:
            raise KeyboardInterrupt
        return draw(queue)

    monkeypatch.setattr(CountingQueue, "__next__", interrupted_draw)
    with pytest.raises(KeyboardInterrupt):
        trial(framework, data_dir, output_dir=tmp_path / "parts")
    monkeypatch.setattr(CountingQueue, "__next__", draw)
    resumed = trial(framework, data_dir, output_dir=tmp_path / "parts", resume=True)

    assert without_times(resumed) == without_times(whole)
    states = []
    for result in (whole, resumed):
        assert result.directory is not None
        found = checkpoints.load_latest(result.directory)
        assert found is not None
        states.append(found[0])
    assert states[0]["batches_drawn"] == states[1]["batches_drawn"] == 12
    compare(states[0]["training"], states[1]["training"])


def compare(ours: Any, theirs: Any) -> None:
    """Equality to the last bit, through containers."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for key in ours:
            compare(ours[key], theirs[key])
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


@pytest.mark.usefixtures("tiny")
def test_the_command_line_trains_logs_and_summarises(
    framework: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_module.main(
        [
            f"--submission_path={NADAMW}",
            "--workload=ogbg_gelu",
            f"--framework={framework}",
            "--tier=mini",
            f"--tuning-search-space={NADAMW / 'tuning_search_space.json'}",
            "--num-tuning-trials=2",
            f"--data_dir={data_dir}",
            f"--experiment_dir={tmp_path}",
            "--experiment-name=try",
            "--rng_seed=0",
            "--clock=steps",
            "--max_global_steps=2",
            "--nosave_checkpoints",
        ]
    )
    captured = capsys.readouterr()
    assert code == 0
    assert captured.out.count("validation target not reached (simulated time)") == 2
    assert "step_limit after 2 steps" in captured.err
    directory = tmp_path / "try" / f"ogbg_gelu_{framework}"
    assert sorted(p.name for p in directory.iterdir()) == ["trial_1", "trial_2"]
    assert not list(directory.glob("trial_*/checkpoint_*"))
    meta_data = json.loads((directory / "trial_1" / "meta_data_0.json").read_text())
    assert meta_data["global_batch_size"] == 32
    assert meta_data["clock"] == "steps"
    assert meta_data["tier"] == "mini"


@pytest.mark.usefixtures("tiny")
def test_a_failing_submission_is_one_sentence_and_exit_code_1(
    framework: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "submission.py"
    module = f"reference_submissions.external_tuning.nadamw.submission_{framework}"
    path.write_text(
        f"from {module} import *\n"
        "def update_params(workload, current_param_container, current_params_types, model_state,\n"
        "    hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step, rng):\n"
        "    raise ZeroDivisionError('warm-up of 0 steps')\n"
    )
    code = run_module.main(
        [
            f"--submission_path={path}",
            "--workload=ogbg",
            f"--framework={framework}",
            "--tier=mini",
            f"--tuning_search_space={NADAMW / 'tuning_search_space.json'}",
            f"--data_dir={data_dir}",
            f"--experiment_dir={tmp_path / 'runs'}",
            "--quiet",
        ]
    )
    error = capsys.readouterr().err
    assert code == 1
    assert "update_params raised ZeroDivisionError after 0 steps: warm-up of 0 steps" in error
    assert "Traceback" not in error
    log = tmp_path / "runs" / f"ogbg_{framework}" / "trial_1" / "trial.log"
    assert "Traceback" in log.read_text()


GOOD_FLAGS = {
    "submission_path": str(NADAMW),
    "workload": "ogbg",
    "framework": "jax",
    "tier": "mini",
    "tuning_search_space": str(NADAMW / "tuning_search_space.json"),
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"workload": "ogbgg"}, "ogbg"),
        ({"workload": "cifar"}, "cifar"),
        ({"framework": "tensorflow"}, "choose one of jax, pytorch"),
        ({"tier": "tiny"}, "choose one of full, mini"),
        ({"tuning_search_space": "nothing.json"}, "nothing.json: No such file"),
        ({"submission_path": "nothing.py"}, "--submission_path nothing.py"),
        ({"data_dir": "nowhere"}, "python -m algoperf_ref.data prepare ogbg --tier mini"),
        ({"rng_seed": "-1"}, "--rng_seed is -1"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    changes: dict[str, str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {**GOOD_FLAGS, "experiment_dir": str(tmp_path), **changes}
    code = run_module.main([f"--{name}={value}" for name, value in flags.items()])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: ") or "\nerror: " in error
    assert expected in error
    assert "Traceback" not in error


def test_the_module_is_a_program_with_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "algoperf_ref.run", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for flag in ("--submission_path", "--tier", "--rules", "--study", "--clock", "--rng_seed"):
        assert flag in done.stdout


def test_importing_the_package_imports_no_framework() -> None:
    code = (
        "import sys, algoperf_ref, algoperf_ref.run; "
        "sys.exit(bool({'jax', 'torch', 'tensorflow', 'rdkit'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert algoperf_ref.workloads.names(tier="mini") == tiers.names("mini")


# A program of its own, for what has to be settled before a framework is imported.
PROGRAM = """
import json, sys
from dataclasses import replace
from algoperf_ref import run
load = run.workloads.load
def tiny(*args, **kwargs):
    w = load(*args, **kwargs)
    row = replace(w.spec, num_train_examples=96, num_validation_examples=24, num_test_examples=24,
                  num_eval_train_examples=24, eval_batch_size=16, validation_target_value=2.0)
    return type(w)(row, w.tier, w.backend)
run.workloads.load = tiny
framework, submission, data_dir, point = json.loads(sys.argv[1])
result = run.run_trial("ogbg", framework, submission, tier="mini", data_dir=data_dir,
    hyperparameters=point, seed=1, max_global_steps=1, clock="steps")
assert result.status.value == "step_limit", result
print(json.dumps({"metrics": result.eval_results[-1][1], "modules": list(sys.modules)}))
"""


def run_program(framework: str, data_dir: Path, **environment: str) -> Any:
    arguments = json.dumps([framework, str(NADAMW), str(data_dir), POINT])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(("framework", "other"), [("jax", "torch"), ("pytorch", "jax")])
def test_a_run_never_imports_the_other_framework(
    framework: str, other: str, data_dir: Path
) -> None:
    modules = run_program(framework, data_dir)["modules"]
    assert other not in modules
    assert "tensorflow" not in modules


def test_evaluation_covers_the_same_examples_on_any_number_of_devices(data_dir: Path) -> None:
    flag = "--xla_force_host_platform_device_count="
    one, two = (run_program("jax", data_dir, XLA_FLAGS=f"{flag}{n}")["metrics"] for n in (1, 2))
    # The learning rate of the first step is 0: both evaluate the initial parameters.
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=1e-5), name


@pytest.mark.usefixtures("tiny")
def test_the_result_is_typed_and_complete(data_dir: Path) -> None:
    result = trial("jax", data_dir, max_global_steps=1, tuning="external")
    assert result.status is Status.STEP_LIMIT
    assert result.framework == "jax"
    assert result.clock == "steps"
    assert result.run_seed == 3
    assert not result.reached_validation_target
    assert result.directory is None
