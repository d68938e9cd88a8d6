"""From logs on disk to scores, by the written rules."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.score import reading, score_logs
from algoperf_ref.score.__main__ import main
from spec import rulesets, tiers

from .conftest import WriteTrial
from .samples import BELOW, BUDGET, TARGET, hit_at, kinds, scored


@pytest.mark.clause("SCORE-2", "SCORE-3", "SCORE-5")
def test_a_workload_takes_the_median_of_the_fastest_trials(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    for study, times in enumerate([(50, 30), (20, 90), (70,)]):
        for trial, seconds in enumerate(times, 1):
            write_trial("s", hit_at(seconds), study=study, trial=trial)
    report = scored(tmp_path)
    assert report.study_times == {"s": {"ogbg": {0: 30, 1: 20, 2: 70}}}
    assert report.times == {"s": {"ogbg": 30}}
    assert report.scores == {"s": 1.0}
    assert {trial.hit_step for trial in report.trials} == {11}
    assert {trial.best_value for trial in report.trials} == {TARGET}
    assert kinds(report) == []


@pytest.mark.clause("SCORE-7", "SCORE-9", "SCORE-11")
def test_scores_are_relative_to_the_fastest_and_ranked(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    for name, seconds in (("slow", 40), ("fast", 20), ("never", None), ("ten", 200)):
        write_trial(name, hit_at(seconds) if seconds else [(5, BELOW)])
    report = scored(tmp_path, num_studies=1)
    assert report.ratios == {
        "fast": {"ogbg": 1.0},
        "never": {"ogbg": math.inf},
        "slow": {"ogbg": 2.0},
        "ten": {"ogbg": math.inf},
    }
    assert list(report.scores.items()) == [
        ("fast", 1.0),
        ("slow", pytest.approx(2 / 3)),
        ("never", 0.0),
        ("ten", 0.0),
    ]


@pytest.mark.clause("SCORE-5")
def test_missing_studies_count_as_infinite_unless_fewer_are_planned(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", hit_at(20), study=0)
    assert scored(tmp_path).times == {"s": {"ogbg": math.inf}}
    assert scored(tmp_path, num_studies=1).times == {"s": {"ogbg": 20}}
    with pytest.raises(UserError, match="--num_studies must be at least 1"):
        scored(tmp_path, num_studies=0)


def test_all_eight_workloads_stay_in_the_denominator(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    row = tiers.get("ogbg")
    write_trial("s", [(100.0, row.validation_target_value)])
    report = score_logs(tmp_path, num_studies=1)
    assert len(report.scored_workloads) == 8
    assert report.scores == {"s": 1 / 8}


@pytest.mark.clause("SCORE-2", "RULE-1")
@pytest.mark.parametrize("version", ["paper2023", "v0.5", "v0.6"])
@pytest.mark.parametrize("tuning", ["external", "self"])
def test_a_hit_at_the_budget_is_too_late(
    tmp_path: Path, write_trial: WriteTrial, version: str, tuning: str
) -> None:
    budget = rulesets.get(version).budget_seconds(BUDGET, tuning)
    write_trial("late", hit_at(budget))
    write_trial("in_time", hit_at(math.nextafter(budget, 0)))
    report = scored(tmp_path, rules=version, tuning=tuning, num_studies=1, held_out="none")
    assert report.times["late"]["ogbg"] == math.inf
    assert report.times["in_time"]["ogbg"] < budget
    (warning,) = report.warnings
    assert "late" in warning.path
    assert "only after the budget" in warning.text


@pytest.mark.clause("SCORE-4", "RULE-5")
def test_the_paper_scores_the_test_time_of_the_trial_first_on_validation(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    rows = [(float(seconds), BELOW if seconds < 30 else TARGET) for seconds in (10, 20, 30, 40)]
    slow_test = [BELOW, BELOW, BELOW, TARGET]
    write_trial("s", rows, trial=1, test_values=slow_test)
    later = [(seconds + 1, value) for seconds, value in rows]
    write_trial("s", later, trial=2, test_values=[TARGET] * 4)
    paper = scored(tmp_path, rules="paper2023", num_studies=1)
    assert paper.times["s"]["ogbg"] == 40
    self_tuned = scored(tmp_path, rules="paper2023", tuning="self", num_studies=1)
    assert self_tuned.times["s"]["ogbg"] == 40
    assert scored(tmp_path, num_studies=1).times["s"]["ogbg"] == 30
    assert "only the first 1 count" in str(self_tuned.warnings[0])
    assert any("held-out" in sentence for sentence in paper.assumptions)


@pytest.mark.parametrize("content", ["", "accumulated_submission_time\n", "a,b\n1,2\n", None])
def test_an_unusable_trial_does_not_spoil_the_others(
    tmp_path: Path, write_trial: WriteTrial, content: str | None
) -> None:
    write_trial("s", hit_at(20), trial=2)
    path = write_trial("s", hit_at(10), trial=1) / "eval_measurements.csv"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == 20
    assert str(path) in str(report.warnings[0])


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_times_that_are_not_positive_are_rejected(
    tmp_path: Path, write_trial: WriteTrial, seconds: float
) -> None:
    path = write_trial("s", [(seconds, TARGET), (9.0, TARGET)])
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == math.inf
    (warning,) = [w for w in report.warnings if w.kind.label == "bad_time"]
    assert warning.path.startswith(str(path))
    assert "times are positive" in warning.text


def test_nan_and_infinity_are_never_a_hit(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("s", [(1.0, math.nan), (2.0, math.inf), (math.nan, TARGET), (9.0, TARGET)])
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == 9.0
    assert report.trials[0].best_value == TARGET


def test_a_workload_in_two_frameworks_is_an_error_unless_one_is_chosen(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", hit_at(20), framework="jax")
    write_trial("s", hit_at(30), framework="pytorch")
    with pytest.raises(UserError, match=r"ogbg_jax and .*ogbg_pytorch are one workload"):
        scored(tmp_path, num_studies=1)
    assert scored(tmp_path, num_studies=1, framework="pytorch").times["s"]["ogbg"] == 30


def test_more_studies_than_planned_are_an_error(tmp_path: Path, write_trial: WriteTrial) -> None:
    for study in range(4):
        write_trial("s", hit_at(20), study=study)
    with pytest.raises(UserError, match=r"s has 4 studies of ogbg where v0\.6 plans 3"):
        scored(tmp_path)


def test_a_run_with_and_one_without_a_study_directory_cannot_be_one_study(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", hit_at(20))
    write_trial("s", hit_at(20), study=0)
    with pytest.raises(UserError, match="are both study 0"):
        scored(tmp_path)


@pytest.mark.clause("RULE-2")
def test_trials_beyond_the_allowed_number_do_not_count(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    for trial in range(1, 8):
        write_trial("s", hit_at(100 - trial), trial=trial)
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == 95
    assert "7 trials where the rules allow 5" in str(report.warnings[0])


def test_variants_are_timed_but_not_scored(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("s", hit_at(20))
    target = tiers.get("ogbg_gelu", "mini").validation_target_value
    write_trial("s", hit_at(30, target), workload="ogbg_gelu")
    report = scored(tmp_path, num_studies=1, workloads=None)
    assert report.times["s"] == {"ogbg": 20, "ogbg_gelu": 30}
    assert report.ratios["s"]["ogbg"] == 1.0
    assert "ogbg_gelu" not in report.ratios["s"]
    assert "timed but not part of the score: ogbg_gelu" in report.assumptions


def test_an_empty_submission_scores_zero(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("s", hit_at(20))
    (tmp_path / "empty").mkdir()
    report = scored(tmp_path, num_studies=1)
    assert report.scores == {"s": 1.0, "empty": 0.0}
    assert "it scores 0" in str(report.warnings[0])


def test_simulated_times_are_announced(tmp_path: Path, write_trial: WriteTrial) -> None:
    path = write_trial("s", hit_at(20))
    (path / "meta_data_0.json").write_text(json.dumps({"tier": "mini", "clock": "steps"}))
    [warning] = scored(tmp_path, num_studies=1).warnings[:1]
    assert "simulated" in warning.text
    assert str(path.parent) == warning.path


def test_logs_of_another_tier_are_announced(tmp_path: Path, write_trial: WriteTrial) -> None:
    path = write_trial("s", hit_at(20))
    (path / "meta_data_0.json").write_text(json.dumps({"tier": "mini"}))
    assert kinds(scored(tmp_path)) == []
    assert kinds(score_logs(tmp_path)) == ["other_tier"]
    (path / "meta_data_0.json").write_text("{")
    assert kinds(score_logs(tmp_path)) == []


def test_logs_of_another_tuning_ruleset_are_announced(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    path = write_trial("s", hit_at(20))
    (path / "flags_0.json").write_text(json.dumps({"tuning_ruleset": "self"}))
    assert kinds(scored(tmp_path)) == ["other_ruleset"]
    assert kinds(scored(tmp_path, tuning="self")) == []


def test_workloads_of_another_tier_are_ignored(
    tmp_path: Path, write_trial: WriteTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workloads of the benchmark are in both tiers; here the mini tier has ogbg only."""
    write_trial("s", [(1.0, 0.1)], workload="wmt")
    monkeypatch.setattr(reading.tiers, "names", lambda tier: ("ogbg",))
    with pytest.raises(UserError, match="tier mini has no wmt"):
        scored(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": "v0.7"}, "--rules: unknown ruleset version"),
        ({"tuning": "none"}, "--ruleset is external or self, not 'none'"),
        ({"tier": "huge"}, "--tier is full or mini"),
        ({"framework": "pytorch"}, "no trial of framework pytorch"),
    ],
)
def test_bad_options_are_named(
    tmp_path: Path, write_trial: WriteTrial, options: dict[str, str], message: str
) -> None:
    write_trial("s", hit_at(20))
    with pytest.raises(UserError, match=message):
        scored(tmp_path, **options)


def test_the_order_of_directory_entries_changes_nothing(
    tmp_path: Path, write_trial: WriteTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        for study in range(3):
            for trial in (1, 2, 3):
                seconds = 10 + 7 * study + len(name) + trial % 2
                write_trial(name, hit_at(seconds), study=study, trial=trial)
    really_scandir = os.scandir

    class Shuffled:
        """The entries of a directory in another order every time."""

        def __init__(self, path: str) -> None:
            with really_scandir(path) as entries:
                self._entries = list(entries)
            generator.shuffle(self._entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None:
            self._entries = []

    for options in ({}, {"as_published": True}):
        first = scored(tmp_path, **options)
        generator = random.Random(0)
        with monkeypatch.context() as patched:
            patched.setattr(os, "scandir", Shuffled)
            for _ in range(5):
                assert scored(tmp_path, **options) == first


def test_the_command_prints_ranks_times_and_assumptions(
    tmp_path: Path, write_trial: WriteTrial, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trial("quick", hit_at(20))
    write_trial("slow", hit_at(30))
    write_trial("broken", [])
    arguments = ["--tier", "mini", "--workloads=ogbg", "--num_studies=1", "--no_output"]
    assert main([str(tmp_path), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "rank  submission   score  targets reached  speedup over quick",
        "----  ----------  ------  ---------------  ------------------",
        "   1  quick       1.0000           1 of 1               1.000",
        "   2  slow        0.8333           1 of 1               0.667",
        "   3  broken      0.0000           0 of 1  0.083 (1 replaced)",
    ]
    assert any(line.split()[:4] == ["slow", "ogbg", "30.00", "1.500"] for line in lines)
    assert any("rules v0.6, external tuning, mini tier" in line for line in lines)
    warnings = lines[lines.index("Warnings:") :]
    assert any("broken" in line and "missing" in line for line in warnings)


def test_equal_scores_share_a_rank_and_many_trials_are_listed_on_request(
    tmp_path: Path, write_trial: WriteTrial, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        for study in range(3):
            for trial in range(1, 5):
                write_trial(name, hit_at(20), study=study, trial=trial)
    assert main([str(tmp_path), "--tier", "mini", "--no_output"]) == 0
    short = capsys.readouterr().out
    assert [line.split()[0] for line in short.splitlines()[2:4]] == ["1", "1"]
    assert main([str(tmp_path), "--tier", "mini", "--no_output", "--trials"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(short.splitlines()) + 24 + 3


def test_the_command_ends_with_one_sentence_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_scoring_and_records_import_no_framework() -> None:
    code = (
        "import sys, algoperf_ref.score.__main__, algoperf_ref.records.trial_log, "
        "algoperf_ref.records.checkpoints, algoperf_ref.records.metadata, "
        "algoperf_ref.records.experiment\n"
        "heavy = {'jax', 'torch', 'tensorflow', 'pandas', 'ml_dtypes'} & sys.modules.keys()\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
