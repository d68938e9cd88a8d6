"""``python -m algoperf_ref.target_setting`` with a stand-in for training, and once for real."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from algoperf_ref import target_setting as script
from algoperf_ref.errors import UserError
from spec.target_setting import ALGORITHMS
from spec.workloads import Direction

STUDY = script.Study(
    workload="ogbg",
    tier="mini",
    framework="pytorch",
    num_trials=3,
    num_reruns=4,
    max_global_steps=10,
    seed=0,
)


class Trainer:
    """Gives every run the values of a table instead of training it."""

    def __init__(self, values: dict[str, list[float]] | None = None) -> None:
        self.values = values or {}
        self.trained: list[str] = []

    def __call__(self, study: script.Study, run: script.Run, data_dir: str) -> script.Record:
        self.trained.append(run.id)
        validation = self.values.get(run.id, [0.1, 0.2])
        return {
            **asdict(run),
            "status": "step_limit",
            "steps": list(range(len(validation))),
            "validation": validation,
            "test": [value / 2 for value in validation],
        }


RERUN_VALUES = {f"rerun/nadamw/2/{i}": [0.1, v] for i, v in enumerate([0.6, 0.9, 0.7, 0.8], 1)}
BEST = {"tuning/nadamw/2": [0.2, 0.9, math.nan], "tuning/adamw/1": [0.8, 0.85]}


def test_every_algorithm_gets_its_trials_and_every_run_a_seed_of_its_own():
    runs = script.tuning_runs(STUDY)
    assert [run.algorithm for run in runs] == [a for a in ALGORITHMS for _ in range(3)]
    best = {"id": "tuning/nadamw/2", "algorithm": "nadamw", "hyperparameters": {"x": 1}}
    again = script.reruns(STUDY, best)
    assert len(again) == 4
    assert all(run.hyperparameters == {"x": 1} for run in again)
    assert len({run.seed for run in runs + again}) == len({run.id for run in runs + again}) == 16


def test_targets_are_median_and_worst_case_of_the_reruns_of_the_best_trial(tmp_path):
    """Best validation values (0.6, 0.9, 0.7, 0.8), median 0.75; tests are half of them, and of
    the two runs beyond it the worse has 0.4."""
    trainer = Trainer(
        {**BEST, **{k.replace("rerun/", "rerun/tuning/"): v for k, v in RERUN_VALUES.items()}}
    )
    result = script.set_targets(STUDY, tmp_path / "targets.json", "", trainer=trainer)
    assert result["best"]["id"] == "tuning/nadamw/2"
    assert result["targets"] == {"validation": pytest.approx(0.75), "test": 0.4, "num_reached": 2}
    assert result["best_validation_by_algorithm"] == {
        "adamw": 0.85,
        "nadamw": 0.9,
        "heavy_ball": 0.2,
        "nesterov": 0.2,
    }
    assert result["study"]["num_trials"] == 3
    assert result["benchmark_budget"] == {"num_trials": 200, "num_reruns": 20}
    assert json.loads((tmp_path / "targets.json").read_text()) == result
    assert len((tmp_path / "targets.jsonl").read_text().splitlines()) == 1 + 4 * 3 + 4


def constant_trainer(study: script.Study, run: script.Run, data_dir: str) -> script.Record:
    """A stand-in that other processes can import."""
    return Trainer()(study, run, data_dir)


def test_several_processes_give_the_result_of_one(tmp_path):
    one = script.set_targets(STUDY, tmp_path / "1.json", "", 1, trainer=Trainer())
    two = script.set_targets(STUDY, tmp_path / "2.json", "", 2, trainer=constant_trainer)
    assert one == two


def test_finished_runs_are_not_run_again(tmp_path):
    output = tmp_path / "targets.json"
    first = script.set_targets(STUDY, output, "", trainer=Trainer(BEST))
    idle = Trainer()
    assert script.set_targets(STUDY, output, "", trainer=idle) == first
    assert idle.trained == []


def test_a_stopped_study_goes_on_with_the_runs_that_are_left(tmp_path):
    output, records = tmp_path / "targets.json", tmp_path / "targets.jsonl"
    whole = script.set_targets(STUDY, output, "", trainer=Trainer(BEST))
    lines = records.read_text().splitlines(keepends=True)
    # Five runs are there; the sixth was being written.
    records.write_text("".join(lines[:6]) + lines[6][:20])
    trainer = Trainer(BEST)
    assert script.set_targets(STUDY, output, "", trainer=trainer) == whole
    assert len(trainer.trained) == 16 - 5


def test_records_of_another_study_are_not_mixed_in(tmp_path):
    output = tmp_path / "targets.json"
    script.set_targets(STUDY, output, "", trainer=Trainer())
    with pytest.raises(UserError, match="another study"):
        script.set_targets(replace(STUDY, seed=1), output, "", trainer=Trainer())


def test_a_damaged_record_is_named_by_file_and_line(tmp_path):
    output, records = tmp_path / "targets.json", tmp_path / "targets.jsonl"
    script.set_targets(STUDY, output, "", trainer=Trainer())
    lines = records.read_text().splitlines()
    records.write_text("\n".join([*lines[:2], "{", *lines[3:]]) + "\n")
    with pytest.raises(UserError, match=r"targets\.jsonl, line 3 is damaged"):
        script.set_targets(STUDY, output, "", trainer=Trainer())


def test_trials_without_any_value_give_no_targets_but_a_reason(tmp_path):
    nothing = {run.id: [] for run in script.tuning_runs(STUDY)}
    with pytest.raises(UserError, match="none of 12 trials has a finite value"):
        script.set_targets(STUDY, tmp_path / "t.json", "", trainer=Trainer(nothing))


def test_the_best_trial_of_a_minimised_metric_has_the_smallest_value():
    records = [{"id": i, "validation": v} for i, v in enumerate([[0.3, 0.2], [0.1, 0.9], []])]
    assert script.best_record(records, Direction.MINIMIZE)["id"] == 1


def test_a_run_trains_to_its_step_limit_although_its_targets_are_reached(tiny_ogbg):
    run = script.tuning_runs(STUDY)[3]
    assert run.algorithm == "nadamw"
    record = script.train(STUDY, run, str(tiny_ogbg))
    assert record["status"] == "step_limit"
    assert record["global_step"] == record["steps"][-1] == 10
    assert len(record["validation"]) == len(record["test"]) == len(record["steps"]) >= 2
    assert all(0.0 < value < 1.0 for value in record["validation"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trials", "0"], "--trials is 0"),
        (["--workload", "obgb"], "obgb"),
        (["--max_global_steps", "0"], "--max_global_steps is 0"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_a_wrong_flag_is_one_sentence(flags, message, tmp_path, capsys):
    arguments = ["--workload", "ogbg", "--framework", "pytorch", "--output", str(tmp_path / "t")]
    assert script.main([*arguments, *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_default_budget_is_the_benchmarks_own(tmp_path):
    arguments = ["--workload", "ogbg", "--framework", "jax", "--output", str(tmp_path / "t")]
    study = script._study(script._parser().parse_args(arguments))
    assert (study.num_trials, study.num_reruns, study.max_global_steps) == (200, 20, 1200)


def test_another_studys_best_configuration_is_run_again_instead_of_tuning(tmp_path):
    base, output = tmp_path / "base.json", tmp_path / "variant.json"
    first = script.set_targets(STUDY, base, "", trainer=Trainer(BEST))
    configuration = script.read_configuration(base)
    assert configuration["hyperparameters"] == first["best"]["hyperparameters"]
    study = replace(STUDY, num_trials=0)
    trainer = Trainer(BEST)
    result = script.set_targets(study, output, "", trainer=trainer, configuration=configuration)
    assert result["best"]["tuned_on"] == STUDY.workload
    assert result["best_validation_by_algorithm"] == {}
    assert len(result["reruns"]) == STUDY.num_reruns
    ids = [
        json.loads(line)["id"] for line in output.with_suffix(".jsonl").read_text().splitlines()[1:]
    ]
    assert all(id.startswith("rerun/") for id in ids)


@pytest.mark.parametrize("text", ["", "[]", '{"best": {}}'])
def test_a_configuration_that_is_no_result_is_one_sentence(text, tmp_path):
    path = tmp_path / "no.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"no\.json: not the result of a study"):
        script.read_configuration(path)


def test_missing_data_is_one_sentence_with_the_command_that_mends_it(tmp_path, capsys):
    arguments = ["--workload", "ogbg", "--framework", "pytorch", "--data_dir", str(tmp_path)]
    arguments += ["--trials", "1", "--reruns", "1", "--output", str(tmp_path / "t.json")]
    assert script.main(arguments) == 2
    assert "python -m algoperf_ref.data prepare ogbg --tier mini" in capsys.readouterr().err


def test_the_search_space_of_every_algorithm_lies_beside_it():
    assert all((Path(script.SUBMISSIONS) / a / "submission_jax.py").is_file() for a in ALGORITHMS)
