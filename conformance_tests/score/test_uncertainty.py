"""Intervals, chances of ranks and leaderboards without one submission, as they are reported."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.score import __main__ as command
from algoperf_ref.score import report as terminal
from algoperf_ref.score import score_logs
from algoperf_ref.score.outputs import as_json, write
from spec import tiers
from spec.uncertainty import bootstrap, leave_one_out

from .conftest import WriteTrial
from .samples import BELOW, TARGET, scored
from .test_leaderboard import COMPACT
from .test_leaderboard import scored as leaderboard


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("out")
    write(leaderboard(), directory, with_report=False)
    return directory


def test_all_places_state_the_same_intervals_and_chances(written: Path) -> None:
    report = leaderboard()
    drawn = bootstrap(report.study_lists(), report.settings.plan)
    chances = drawn.rank_probabilities()
    content = json.loads((written / "scores.json").read_text())["uncertainty"]
    assert (content["resamples"], content["seed"], content["level"]) == (2000, 0, 0.95)
    rows = {row["submission"]: row for row in table(written / "scores.csv")}
    text = terminal.text(report).splitlines()
    for name in report.scores:
        low, high = drawn.interval(name)
        assert content["submissions"][name] == {
            "interval": [low, high],
            "rank_probabilities": list(chances[name]),
        }
        assert (float(rows[name]["score_low"]), float(rows[name]["score_high"])) == (low, high)
        shares = [float(rows[name][f"probability_rank_{rank}"]) for rank in range(1, 7)]
        assert shares == list(chances[name])
        (line,) = [line for line in text if line.split()[1:2] == [name]]
        assert f"{low:.4f} to {high:.4f}" in line
    assert "  baseline: rank 1 (20 %), 2 (80 %)" in text
    assert "  leaving out any one submission keeps the order of the others" in text


def test_leaving_out_is_written(written: Path) -> None:
    report = leaderboard()
    rows = table(written / "leave_one_out.csv")
    assert len(rows) == 6 * 5
    content = json.loads((written / "scores.json").read_text())["leave_one_out"]
    for one in leave_one_out(report.study_lists(), report.settings.plan):
        own = {row["submission"]: row for row in rows if row["removed"] == one.removed}
        assert one.board.scores == {name: float(row["score"]) for name, row in own.items()}
        assert one.board.ranks == {name: int(row["rank"]) for name, row in own.items()}
        for name, row in own.items():
            assert float(row["change"]) == one.board.scores[name] - report.scores[name]
        assert {n: row["score"] for n, row in content[one.removed]["submissions"].items()} == dict(
            one.board.scores
        )


def test_the_seed_and_the_number_of_resamples_can_be_chosen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = leaderboard(bootstrap=500, bootstrap_seed=3)
    assert as_json(first) == as_json(leaderboard(bootstrap=500, bootstrap_seed=3))
    other = leaderboard(bootstrap=500, bootstrap_seed=4)
    assert as_json(first)["uncertainty"] != as_json(other)["uncertainty"]
    assert first.leaderboard == other.leaderboard
    flags = ["--rules", "v0.5", "--ruleset", "self", "--no_output", "--bootstrap", "500"]
    assert command.main([str(COMPACT), *flags, "--bootstrap-seed", "3"]) == 0
    assert "are of 500 resamples of the studies, seed 3" in capsys.readouterr().out


def test_intervals_can_be_turned_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--rules", "v0.5", "--ruleset", "self", "--no-report", "--output", str(tmp_path)]
    assert command.main([str(COMPACT), *flags, "--bootstrap", "0"]) == 0
    assert "% interval" not in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text())["uncertainty"] is None
    row = table(tmp_path / "scores.csv")[0]
    assert (row["score_low"], row["score_high"]) == ("", "")
    assert not [column for column in row if column.startswith("probability")]


def test_one_study_has_nothing_to_resample(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("a", [(5, BELOW), (30, TARGET)])
    report = scored(tmp_path, num_studies=1)
    assert report.bootstrap is None
    assert report.without_one == ()
    assert "How sure" not in terminal.text(report)
    assert "interval" not in terminal.text(report)


def test_conditions_of_both_targets_are_resampled_with_the_same_studies(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    # The test target is reached by all, the validation target by the first of two studies.
    write_trial("a", [(10, BELOW), (20, TARGET)], study=0, test_values=[TARGET, TARGET])
    write_trial("a", [(12, BELOW)], study=1, test_values=[TARGET])
    options: dict[str, Any] = {"rules": "paper2023", "tuning": "self", "held_out": "none"}
    report = scored(tmp_path, **options, num_studies=2, both_targets=True)
    assert report.bootstrap is not None
    # Credit only if the first study is drawn twice.
    share = float((report.bootstrap.scores["a"] == 1).mean())
    assert share == pytest.approx(0.25, abs=0.05)
    assert float((report.bootstrap.scores["a"] == 0).mean()) == pytest.approx(1 - share)


def test_a_swap_of_the_first_two_is_said(tmp_path: Path, write_trial: WriteTrial) -> None:
    seconds = {"a": (1400, 10_000), "b": (1000, 13_000), "c": (None, 4000)}
    for name, own in seconds.items():
        for workload, time in zip(("ogbg", "wmt"), own, strict=True):
            target = tiers.get(workload).validation_target_value
            row = (1.0, 0.0) if time is None else (float(time), target)
            write_trial(name, [row], workload=workload)
    report = score_logs(tmp_path, workloads="ogbg,wmt", num_studies=1)
    assert report.leaderboard.ranks == {"a": 1, "b": 2, "c": 3}
    line = "without c: rank 2, b, would be ahead of rank 1, a"
    assert line in [text.strip() for text in terminal.text(report).splitlines()]
    rows = as_json(report)["leave_one_out"]
    assert rows["c"]["swaps"] == [["b", "a"]]
    assert rows["a"]["swaps"] == rows["b"]["swaps"] == []


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.0005, "< 1 %"), (0.2, "20 %"), (0.9995, "> 99 %"), (1.0, "100 %")],
)
def test_a_chance_that_is_not_certain_does_not_look_certain(share: float, text: str) -> None:
    assert terminal.percent(share) == text
