"""The command line: its flags, what it writes, and how it fails."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.score import __main__ as command
from algoperf_ref.score import outputs, published, score_logs
from algoperf_ref.score.options import Options, resolve
from spec import rulesets, tiers
from spec.rulesets import Tuning

from .conftest import WriteTrial
from .samples import BELOW, TARGET, scored
from .test_leaderboard import COMPACT
from .test_leaderboard import scored as leaderboard

ROOT = Path(__file__).parents[2]
SELF = ["--rules", "v0.5", "--ruleset", "self"]


def run(*arguments: str) -> int:
    return command.main([*arguments])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# What is written.


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("out") / "new"
    assert run(str(COMPACT), *SELF, "--output", str(directory)) == 0
    return directory


def test_all_files_are_written_and_named(
    written: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = {
        *("scores.csv", "scores.json", "time_to_target.csv", "trials.csv"),
        *("performance_profile.csv", "speedup.csv", "leave_one_out.csv"),
        *("performance_profile.svg", "performance_profile.png", "report.html"),
    }
    assert names <= {path.name for path in written.iterdir()}
    assert not [path.name for path in written.iterdir() if path.name.startswith(".")]
    assert run(str(COMPACT), *SELF, "--output", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert all(f"  {tmp_path / name}" in out.splitlines() for name in names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_scores_csv_is_the_ranked_table(written: Path) -> None:
    rows = table(written / "scores.csv")
    report = leaderboard()
    assert [row["submission"] for row in rows] == list(report.scores)
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [float(row["score"]) for row in rows] == list(report.scores.values())
    assert (rows[2]["targets_reached"], rows[2]["credited"], rows[2]["workloads"]) == (
        *("6", "4"),
        "8",
    )


def test_times_to_target_have_a_column_per_study(written: Path) -> None:
    rows = {(r["submission"], r["workload"]): r for r in table(written / "time_to_target.csv")}
    report = leaderboard()
    assert len(rows) == 6 * 14
    row = rows["sinv6", "ogbg"]
    assert float(row["median"]) == report.times["sinv6"]["ogbg"]
    assert (row["role"], row["unit"], row["credited"], row["ratio"]) == (
        *("base", "s"),
        *("inf", "inf"),
    )
    assert row["conditions_missed"] == "base_near_fastest held_out_reached held_out_near_fastest"
    assert [float(row[f"study_{k}"]) for k in range(5)] == list(
        report.study_times["sinv6"]["ogbg"].values()
    )
    never = rows["sinv6", "criteo1tb_embed_init"]
    assert (never["role"], never["median"], never["study_0"]) == ("held_out", "inf", "")


def test_every_trial_has_a_row(written: Path) -> None:
    rows = table(written / "trials.csv")
    assert len(rows) == 399
    hit = next(r for r in rows if (r["submission"], r["workload"]) == ("baseline", "ogbg"))
    assert hit["hit"] == "yes"
    assert float(hit["hit_seconds"]) == leaderboard().study_times["baseline"]["ogbg"][0]
    assert int(hit["hit_step"]) > 0
    assert float(hit["median_step_seconds"]) > 0
    assert hit["file"].endswith("/study_0/ogbg_jax/trial_1/eval_measurements.csv")
    missed = next(r for r in rows if (r["submission"], r["workload"]) == ("adamg", "ogbg"))
    assert (missed["hit"], missed["hit_seconds"], missed["hit_step"]) == ("no", "", "")


def test_a_profile_is_written_as_its_steps_or_as_the_grid(written: Path, tmp_path: Path) -> None:
    def integral(points: list[tuple[float, float]]) -> float:
        pairs = pairwise(points)
        return sum((right[0] - left[0]) * left[1] for left, right in pairs) / 3

    def points(path: Path, name: str) -> list[tuple[float, float]]:
        rows = table(path / "performance_profile.csv")
        return [(float(r["tau"]), float(r["fraction"])) for r in rows if r["submission"] == name]

    report = leaderboard()
    for name, value in report.scores.items():
        steps = points(written, name)
        assert (steps[0][0], steps[-1][0]) == (1.0, 4.0)
        assert integral(steps) == pytest.approx(value, abs=1e-12)
    assert run(str(COMPACT), *SELF, "--as-published", "--output", str(tmp_path)) == 0
    assert len(points(tmp_path, "baseline")) == 100


def test_the_speedups_are_written(written: Path) -> None:
    rows = {row["submission"]: row for row in table(written / "speedup.csv")}
    assert {row["reference"] for row in rows.values()} == {"baseline"}
    assert float(rows["baseline"]["speedup"]) == 1.0
    row = rows["schedule_free_adamw"]
    assert float(row["inverse"]) == pytest.approx(1 / float(row["speedup"]))
    # v0.5 is scored, so the older form uses the same budgets.
    assert float(row["inverse_v05_budgets"]) == pytest.approx(float(row["inverse"]))
    assert (row["replaced"], row["replaced_reference"]) == ("1", "1")


def test_the_json_has_the_documented_keys_and_only_numbers(written: Path) -> None:
    text = (written / "scores.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    documentation = (Path(outputs.__file__).parent / "OUTPUT.md").read_text()
    documented = set(re.findall(r"`(\w+)`", documentation))
    assert content["schema"] == outputs.SCHEMA
    submission = content["submissions"]["baseline"]
    sure, without = content["uncertainty"], content["leave_one_out"]["baseline"]
    for part in (
        *(content, submission, submission["workloads"]["ogbg"], content["warnings"][0]),
        *(sure, sure["submissions"]["adamg"], without, without["submissions"]["adamg"]),
    ):
        assert set(part) <= documented
    assert submission["score"] == leaderboard().scores["baseline"]
    assert submission["workloads"]["ogbg"]["median"] == leaderboard().times["baseline"]["ogbg"]
    assert content["submissions"]["adamg"]["workloads"]["ogbg"]["median"] is None


def test_columns_of_all_tables_are_documented(written: Path) -> None:
    text = (Path(outputs.__file__).parent / "OUTPUT.md").read_text()
    for path in written.glob("*.csv"):
        assert f"`{path.name}`" in text
        for column in path.read_text().splitlines()[0].split(","):
            numbered = column.startswith(("study_", "probability_rank_"))
            assert numbered or f"`{column}`" in text


# Flags.


def test_flags_take_dashes_and_underscores_alike(capsys: pytest.CaptureFixture[str]) -> None:
    outs = []
    for mark in "-_":
        flags = [f"--held{mark}out=none", f"--no{mark}output", f"--as{mark}published"]
        assert run(str(COMPACT), *SELF, *flags) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]
    assert "are not applied" in outs[0]


def test_submissions_are_included_and_excluded_by_name() -> None:
    whole = leaderboard()
    some = leaderboard(include="baseline, sinv6")
    assert set(some.scores) == {"baseline", "sinv6"}
    assert set(leaderboard(exclude="adamg,baseline").scores) == set(whole.scores) - {
        *("adamg", "baseline"),
    }
    # Scores are relative to the set: without the fastest of some workloads the others gain.
    assert leaderboard(exclude="schedule_free_adamw").scores["baseline"] > whole.scores["baseline"]
    with pytest.raises(UserError, match=r"--include: there is no 'sinv7'; did you mean sinv6"):
        leaderboard(include="sinv7")
    with pytest.raises(UserError, match="leave no submission"):
        leaderboard(include="sinv6", exclude="sinv6")


@pytest.mark.clause("RULE-8")
def test_the_score_may_be_the_mean_over_some_workloads() -> None:
    report = leaderboard(workloads="qualification")
    assert report.scored_workloads == rulesets.V0_5.qualification_workloads
    held_out = ("criteo1tb_embed_init", "ogbg_model_size", "wmt_glu_tanh")
    assert report.settings.plan.held_out == held_out
    assert {t.location.workload for t in report.trials} == {
        *report.scored_workloads,
        *report.settings.plan.held_out,
    }
    assert set(leaderboard(workloads="wmt").scores.values()) <= {0.0} | {
        max(0.0, (4 - own["wmt"]) / 3) for own in leaderboard(workloads="wmt").ratios.values()
    }


def test_held_out_workloads_are_published_named_or_listed_in_a_file(tmp_path: Path) -> None:
    default = leaderboard()
    assert leaderboard(held_out="published").leaderboard == default.leaderboard
    some = leaderboard(held_out="ogbg_model_size,wmt_glu_tanh")
    assert some.settings.plan.held_out == ("ogbg_model_size", "wmt_glu_tanh")
    for text in ("ogbg_model_size\nwmt_glu_tanh\n", '["ogbg_model_size", "wmt_glu_tanh"]'):
        file = tmp_path / "held_out"
        file.write_text(text)
        assert leaderboard(held_out=str(file)).leaderboard == some.leaderboard
    assert (
        leaderboard(held_out="none").scores["nadamw_sequential"] > some.scores["nadamw_sequential"]
    )


def test_steps_may_be_counted_in_place_of_seconds(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("few_steps", [(5, BELOW), (90, TARGET)])
    write_trial("fast", [(5, BELOW), (6, BELOW), (30, TARGET)])
    report = scored(tmp_path, num_studies=1, time_axis="steps")
    assert report.times == {"few_steps": {"ogbg": 11}, "fast": {"ogbg": 21}}
    assert report.scores["few_steps"] == 1.0
    assert report.unit == "steps"
    assert report.speedups.old_style is None


def test_paper_conditions_may_look_at_both_targets(tmp_path: Path, write_trial: WriteTrial) -> None:
    # The self-tuning time is that to the test target; the validation target was missed.
    write_trial("s", [(10, BELOW)], test_values=[TARGET])
    options = {"rules": "paper2023", "tuning": "self", "held_out": "none", "num_studies": 1}
    assert scored(tmp_path, **options).scores == {"s": 1.0}
    assert scored(tmp_path, **options, both_targets=True).scores == {"s": 0.0}
    with pytest.raises(UserError, match=r"--both_targets: v0\.6 looks at"):
        scored(tmp_path, both_targets=True)


def test_the_reference_of_speedups_can_be_chosen() -> None:
    report = leaderboard(reference="sinv6")
    assert report.speedups.values["sinv6"].factor == 1.0
    there, back = leaderboard().speedups.values["sinv6"], report.speedups.values["baseline"]
    assert there.factor * back.factor == pytest.approx(1)


# Strict.


def complete(
    write_trial: WriteTrial, version: str, tuning: Tuning, tier: str = "mini"
) -> dict[str, Any]:
    """Writes every run that a version asks for; returns the options to score it."""
    rules = rulesets.get(version)
    plan = scored_plan(version, tuning)
    for workload in (*plan.workloads, *plan.held_out):
        row = tiers.get(workload, tier)
        target = max(row.validation_target_value, row.test_target_value)
        for study in range(rules.num_studies[tuning]):
            for trial in range(1, rules.num_trials[tuning] + 1):
                rows = [(5.0, 0.01), (20.0 + trial, target)]
                write_trial("a", rows, workload=workload, study=study, trial=trial)
    return {"rules": version, "tuning": tuning, "strict": True}


def scored_plan(version: str, tuning: Tuning) -> Any:
    return resolve(Options(rules=version, tuning=tuning, tier="mini")).plan


@pytest.mark.parametrize("tuning", list(Tuning))
@pytest.mark.parametrize("version", ["paper2023", "v0.5", "v0.6"])
def test_strict_passes_on_a_complete_leaderboard_of_every_version(
    tmp_path: Path, write_trial: WriteTrial, version: str, tuning: Tuning
) -> None:
    options = complete(write_trial, version, tuning)
    assert scored(tmp_path, **options).scores == {"a": 1.0}
    (tmp_path / "a" / "study_1" / "ogbg_jax" / "trial_1" / "eval_measurements.csv").unlink()
    with pytest.raises(UserError, match=r"--strict: .*study_1/ogbg_jax/trial_1/eval_mea.*missing"):
        scored(tmp_path, **options)


def test_strict_refuses_the_real_leaderboard_which_lacks_runs() -> None:
    with pytest.raises(UserError, match=r"--strict: .*\(adamg\): .* 4 of 5 \(and 2 more\)"):
        leaderboard(strict=True)


# Against published times.


def test_one_submission_is_ranked_among_the_published_ones() -> None:
    whole = leaderboard()
    report = leaderboard(rules=None, tuning=None, against="v0.5-self")
    assert report.rules == "v0.5"
    assert report.against is not None
    assert dict(report.against.before.scores) == dict(whole.scores)
    assert set(report.against.own) == {f"{name} (yours)" for name in whole.scores}
    # Every submission is there twice, so that nothing changes.
    for name, value in whole.scores.items():
        assert report.scores[name] == report.scores[f"{name} (yours)"] == value


def test_a_new_submission_moves_the_scores_of_the_others(
    tmp_path: Path, write_trial: WriteTrial, capsys: pytest.CaptureFixture[str]
) -> None:
    for study in range(5):
        for workload in ("ogbg", "ogbg_model_size"):
            target = tiers.get(workload).validation_target_value
            write_trial("new", [(900.0 + study, target)], workload=workload, study=study)
    assert run(str(tmp_path), "--against", "v0.5-self", "--output", str(tmp_path / "out")) == 0
    out = capsys.readouterr().out
    assert "rank before" in out
    assert re.search(r"^ +5  new +0\.1250 .* - +-$", out, re.MULTILINE)
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["against"]["own"] == ["new"]
    before = content["against"]["before"]["baseline"]
    assert before["score"] == leaderboard().scores["baseline"]
    # 900 s is more than four times faster on ogbg than anybody: their credit there is gone.
    assert content["submissions"]["baseline"]["score"] < before["score"]


def test_a_single_study_may_be_compared_with_published_medians(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    target = tiers.get("ogbg").validation_target_value
    write_trial("new", [(5000.0, target)])
    report = score_logs(tmp_path, against="v0.5-self", num_studies=1, held_out="none")
    assert report.times["new"]["ogbg"] == 5000
    assert report.times["baseline"] == leaderboard().times["baseline"]
    assert any("enter each study with their median" in line for line in report.assumptions)


def test_published_times_may_come_from_a_file_of_the_schema(tmp_path: Path) -> None:
    series = {"seconds": [9.0, 8.0, None], "steps": [3, 2, None]}
    content = {
        "schema": published.SCHEMA,
        "name": "mine",
        "rules": "v0.6",
        "ruleset": "external",
        "origin": "a test",
        "submissions": {
            "x": {"ogbg": {**series, "as_published_seconds": series["seconds"]}},
        },
    }
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(content))
    times = published.load(str(file))
    assert times.study_times()["x"]["ogbg"] == (9.0, 8.0, float("inf"))
    assert times.ruleset is rulesets.V0_6
    for key, value in (
        ("schema", "other/1"),
        ("rules", "v9"),
        ("submissions", {}),
        ("submissions", {"x": {"mnist": content["submissions"]["x"]["ogbg"]}}),
        ("submissions", {"x": {"ogbg": {**series, "as_published_seconds": [0.0]}}}),
        ("submissions", {"x": {"ogbg": {**series, "as_published_seconds": [1.0] * 4}}}),
        ("submissions", []),
    ):
        file.write_text(json.dumps({**content, key: value}))
        with pytest.raises(UserError, match="is no file of the schema"):
            published.load(str(file))


# Errors.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "v0.7"], "invalid choice: 'v0.7'"),
        (["--num_studies", "0"], "--num_studies must be at least 1"),
        (["--bootstrap", "-1"], "--bootstrap is 0 to 1000000, not -1"),
        (["--bootstrap", "many"], "invalid int value: 'many'"),
        (["--bootstrap-seed=-1"], "--bootstrap_seed must not be negative, as -1 is"),
        (["--workloads", "mnist"], "--workloads: there is no 'mnist'"),
        (["--workloads", ","], "--workloads names no workload"),
        (["--workloads", "qualification", "--rules", "paper2023"], "has no qualification set"),
        (["--held_out", "ogbg_tanh"], "--held_out: ogbg_tanh is no variant"),
        (["--held_out", ""], "names no workload"),
        (["--held_out", "ogbg_gelu", "--rules", "v0.6"], "v0.6 has no held-out workloads"),
        (["--reference", "basline"], "--reference: there is no 'basline'; did you mean baseline"),
        (["--against", "v0.6-external"], "no published times 'v0.6-external'; this installation"),
        (["--against", "v0.5-self", "--tier", "mini"], "of the full tier"),
        (["--against", "v0.5-self", "--rules", "v0.6"], "does not go with --against v0.5-self"),
        (["--as_published", "--rules", "paper2023"], "no leaderboard was published by paper2023"),
        (["--as_published", "--time_axis", "steps"], "no leaderboard was published in steps"),
        (["--rules", "v0.6"], "where v0.6 plans 3: give --num_studies 5 or another --rules"),
        (["--framework", "tf"], "invalid choice"),
        (["--no_such_flag"], "unrecognized arguments"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = run(str(COMPACT), *SELF, *arguments, "--no_output")
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_an_output_directory_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(str(COMPACT), *SELF, "--output", str(tmp_path / "file")) == 2
    assert "--output" in capsys.readouterr().err


def test_the_command_runs_as_a_module_and_fails_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "algoperf_ref.score", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no logs found in ")
    assert done.stderr.count("\n") == 1
