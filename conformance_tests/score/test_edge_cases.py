"""Every row of the table of edge cases: what the scorer makes of imperfect logs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.score import score_logs
from spec import tiers

from .conftest import WriteTrial
from .samples import BELOW, COLUMN, HEADER, INF, TARGET, hit_at, kinds, log, replace_log, scored


def one(path: Path, **options: object) -> float:
    """The time of submission ``s`` when one study is planned."""
    return scored(path, num_studies=1, **options).times["s"]["ogbg"]


# Trials.


@pytest.mark.clause("SCORE-3", "SCORE-15")
def test_of_trials_that_hit_at_the_same_evaluation_the_fastest_counts(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", [(10, BELOW), (84, TARGET)], trial=2)
    write_trial("s", [(10, BELOW), (64, TARGET)], trial=5)
    assert one(tmp_path) == 64
    # As published the first one in the listing counts, by any order of the file system.
    published = scored(tmp_path, num_studies=1, as_published=True)
    assert published.times["s"]["ogbg"] == 84
    (warning,) = [f for f in published.warnings if f.kind.label == "listing_decides"]
    assert "trial 2: 84 s, trial 5: 64 s" in warning.text


@pytest.mark.clause("SCORE-3", "SCORE-15")
def test_a_faster_trial_that_hits_at_a_later_evaluation_counts(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", [(10, BELOW), (84, TARGET)], trial=1)
    write_trial("s", [(10, BELOW), (20, BELOW), (64, TARGET)], trial=2)
    assert one(tmp_path) == 64
    assert one(tmp_path, as_published=True) == 84


@pytest.mark.clause("EVAL-5")
def test_nan_is_never_a_hit_and_never_the_best_value(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    target = tiers.get("criteo1tb").validation_target_value  # a loss, where NaN occurs
    rows = [(5.0, math.nan), (10.0, -math.inf), (20.0, target), (30.0, math.nan)]
    write_trial("s", rows, workload="criteo1tb")
    for as_published in (False, True):
        report = score_logs(tmp_path, num_studies=1, as_published=as_published)
        assert report.times["s"]["criteo1tb"] == 20.0
        assert report.trials[0].best_value == target


@pytest.mark.parametrize("bad", [1, 2])
def test_a_trial_without_the_target_column_is_infinite_and_inherits_nothing(
    tmp_path: Path, write_trial: WriteTrial, bad: int
) -> None:
    for trial in (1, 2):
        path = write_trial("s", hit_at(50 - trial), trial=trial)
        if trial == bad:
            other = HEADER.replace(COLUMN, "validation/loss")
            file = replace_log(path, log((1, 1, 0, 0.9), header=other))
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == 50 - (3 - bad)
    assert report.trials[bad - 1].selection_time == INF
    assert [(str(f.path), f.text) for f in report.warnings if f.kind.label == "unusable_file"] == [
        (str(file), f"no column {COLUMN}, the trial counts as not finished")
    ]


def test_a_test_column_is_needed_only_where_the_rules_ask_for_it(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    replace_log(write_trial("s", hit_at(20)), log((20, 1, 0, TARGET)))
    assert one(tmp_path) == 20
    report = scored(tmp_path, rules="paper2023", num_studies=1, held_out="none")
    assert report.times["s"]["ogbg"] == INF
    assert kinds(report) == ["unusable_file"]


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ("", "unusable_file", "empty"),
        (HEADER, "unusable_file", "no evaluation"),
        (None, "missing_file", "missing"),
        (b"\xff\xfe\x80\n\x80", "unusable_file", "no column"),
    ],
    ids=["zero bytes", "header only", "absent", "binary"],
)
def test_a_log_that_is_empty_or_absent_is_an_infinite_trial(
    tmp_path: Path,
    write_trial: WriteTrial,
    content: str | bytes | None,
    kind: str,
    text: str,
) -> None:
    path = write_trial("s", hit_at(20))
    if content is None:
        (path / "eval_measurements.csv").unlink()
    else:
        replace_log(path, content)
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == INF
    assert report.scores == {"s": 0.0}
    assert kinds(report) == [kind]
    assert report.findings[0].path == str(path / "eval_measurements.csv")
    assert text in report.findings[0].text


def test_bytes_that_are_not_utf_8_spoil_their_cell_only(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    content = (HEADER + f"5,1,0,\udcff{TARGET}\n9,2,0,{TARGET}\n").encode(errors="surrogateescape")
    replace_log(write_trial("s", hit_at(20)), content)
    assert one(tmp_path) == 9


# Rows.


@pytest.mark.clause("SCORE-13")
def test_of_a_resumed_run_the_last_attempt_counts(tmp_path: Path, write_trial: WriteTrial) -> None:
    rows = [
        (100, 100, 0, BELOW),
        (130, 200, 0, TARGET),  # lost: the run went back to step 100
        (120, 150, 1, BELOW),
        (140, 250, 1, TARGET),
    ]
    replace_log(write_trial("s", hit_at(20)), log(*rows))
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == 140
    assert kinds(report) == ["repeated_rows"]
    assert "ignored 1 rows that a resumed run made again" in report.findings[0].text
    assert report.trials[0].num_evaluations == 3


def test_decreasing_times_are_announced_and_the_smallest_hit_counts(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    content = log((200, 1, 0, TARGET), (150, 2, 0, TARGET))
    replace_log(write_trial("s", hit_at(20)), content)
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == 150
    assert kinds(report) == ["time_decreases"]
    # As published: the first row in the order of the file.
    replace_log(tmp_path / "s" / "ogbg_jax" / "trial_1", content.replace(HEADER, HEADER_SCORE))
    assert one(tmp_path, as_published=True) == 200


HEADER_SCORE = HEADER.replace("accumulated_submission_time", "score")


@pytest.mark.clause("SCORE-2", "SCORE-14")
def test_a_hit_at_the_budget_is_none_and_its_evaluations_are_counted(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    budget = tiers.get("ogbg", "mini").max_allowed_runtime_sec
    write_trial("s", [(10, BELOW), (budget, TARGET), (budget + 5, TARGET)])
    report = scored(tmp_path, num_studies=1)
    assert report.times["s"]["ogbg"] == INF
    assert report.trials[0].num_past_budget == 2
    assert kinds(report) == ["late_hit"]
    assert one(tmp_path, as_published=True) == budget


@pytest.mark.clause("SCORE-12")
@pytest.mark.parametrize("seconds", [0.0, -1.0])
@pytest.mark.parametrize("as_published", [False, True])
def test_a_time_that_is_not_positive_is_rejected(
    tmp_path: Path, write_trial: WriteTrial, seconds: float, as_published: bool
) -> None:
    write_trial("s", [(seconds, TARGET), (9.0, TARGET)])
    write_trial("t", hit_at(20))
    report = scored(tmp_path, num_studies=1, as_published=as_published)
    assert report.ratios == {"t": {"ogbg": 1.0}, "s": {"ogbg": INF}}
    assert kinds(report) == ["bad_time"]


# Studies, workloads, submissions.


@pytest.mark.clause("SCORE-5", "SCORE-19")
@pytest.mark.parametrize("left", ["nothing", "trials without a log"])
def test_a_study_that_is_absent_is_infinite_in_the_median(
    tmp_path: Path, write_trial: WriteTrial, left: str
) -> None:
    write_trial("s", hit_at(20), study=0)
    write_trial("t", hit_at(40), study=0)
    write_trial("t", hit_at(50), study=1)
    if left != "nothing":
        for study in (1, 2):
            (write_trial("s", hit_at(9), study=study) / "eval_measurements.csv").unlink()
    report = scored(tmp_path)
    assert (report.times["s"]["ogbg"], report.times["t"]["ogbg"]) == (INF, 50)
    assert any(f.kind.label == "missing_study" for f in report.findings)
    published = scored(tmp_path, as_published=True)
    assert (published.times["s"]["ogbg"], published.times["t"]["ogbg"]) == (20, 45)


def test_a_workload_that_one_or_all_submissions_lack_gives_no_credit(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    for workload in ("ogbg", "wmt"):
        target = tiers.get(workload).validation_target_value
        write_trial("a", [(9.0, target)], workload=workload)
    write_trial("b", [(9.0, tiers.get("ogbg").validation_target_value)])
    report = score_logs(tmp_path, num_studies=1)
    assert report.scores == {"a": 2 / 8, "b": 1 / 8}
    assert set(report.ratios["b"]) == set(report.scored_workloads)
    missing = {f.path: f.text for f in report.warnings if f.kind.label == "missing_workload"}
    assert "wmt" in missing[f"{tmp_path} (b)"]
    assert "wmt" not in missing[f"{tmp_path} (a)"]


def test_one_workload_in_two_frameworks_is_an_error_that_names_both(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    paths = [write_trial("s", hit_at(20), framework=name) for name in ("jax", "pytorch")]
    with pytest.raises(UserError) as caught:
        scored(tmp_path)
    assert all(str(path.parent) in str(caught.value) for path in paths)
    assert one(tmp_path, framework="jax") == 20


@pytest.mark.parametrize("name", ["OGBG_jax", "mnist_jax", "ogbg_gelu2_pytorch"])
def test_an_unknown_or_wrongly_cased_workload_is_ignored(
    tmp_path: Path, write_trial: WriteTrial, name: str
) -> None:
    directory = write_trial("s", hit_at(20)).parent
    write_trial("t", hit_at(20))
    directory.rename(directory.with_name(name))
    report = scored(tmp_path, num_studies=1)
    assert report.scores == {"t": 1.0, "s": 0.0}
    (warning,) = [f for f in report.warnings if f.kind.label == "unknown_workload"]
    assert warning.path == str(directory.with_name(name))


def test_stray_files_and_directories_at_every_level_change_nothing(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    path = write_trial("s", hit_at(20), study=0)
    before = scored(tmp_path, num_studies=1)
    for directory in (path, *path.parents[: len(path.relative_to(tmp_path).parts)]):
        (directory / "notes.txt").write_text("x")
        (directory / ".cache").mkdir()
    too_high = tmp_path / "s" / "study_0" / "trial_1"
    too_high.mkdir()
    replace_log(too_high, log((1, 1, 0, TARGET)))
    (path.parent / "trial_x").mkdir()
    (path.parent / "trial_01").mkdir()
    (path / "checkpoint_1").mkdir()
    assert scored(tmp_path, num_studies=1) == before


def test_an_empty_submission_scores_zero(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("s", hit_at(20))
    (tmp_path / "empty").mkdir()
    report = scored(tmp_path, num_studies=1)
    assert report.scores == {"s": 1.0, "empty": 0.0}
    assert kinds(report) == ["no_logs"]


def test_a_timestamped_sibling_is_a_part_a_submission_or_nothing(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", hit_at(30), study=0)
    write_trial("s-2024-03-01-10-20-30", hit_at(20), study=1)
    options = {"num_studies": 2}
    assert scored(tmp_path, **options).times == {"s": {"ogbg": 25}}
    separate = scored(tmp_path, timestamped="separate", num_studies=1)
    assert separate.times["s-2024-03-01-10-20-30"] == {"ogbg": 20}
    assert scored(tmp_path, timestamped="ignore", num_studies=1).times == {"s": {"ogbg": 30}}
    write_trial("s-2024-03-01-10-20-30", hit_at(20), study=0)
    with pytest.raises(UserError, match=r"are both study 0 of s; .*--timestamped separate"):
        scored(tmp_path, **options)


# Scores.


@pytest.mark.clause("SCORE-6", "SCORE-9", "SCORE-10")
def test_exactly_four_times_slower_is_in_and_earns_nothing(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("fast", hit_at(20))
    write_trial("slow", hit_at(80))
    report = scored(tmp_path, num_studies=1)
    assert report.ratios["slow"] == {"ogbg": 4.0}
    assert report.scores["slow"] == 0.0
    assert round(scored(tmp_path, num_studies=1, as_published=True).scores["slow"], 5) == 0.00505


def test_a_single_submission_has_ratio_one_and_is_told_so(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", hit_at(20))
    report = scored(tmp_path, num_studies=1)
    assert report.ratios == {"s": {"ogbg": 1.0}}
    assert report.warnings[-1].kind.label == "one_submission"


@pytest.mark.clause("HELD-10")
@pytest.mark.parametrize("options", [{}, {"rules": "v0.5", "held_out": "none"}])
def test_a_variant_that_is_no_held_out_workload_is_timed_and_changes_nothing(
    tmp_path: Path, write_trial: WriteTrial, options: dict[str, str]
) -> None:
    write_trial("a", hit_at(20))
    write_trial("b", hit_at(30))
    before = scored(tmp_path, num_studies=1, workloads=None, **options)
    target = tiers.get("ogbg_gelu", "mini").validation_target_value
    write_trial("a", hit_at(1, target), workload="ogbg_gelu")
    report = scored(tmp_path, num_studies=1, workloads=None, **options)
    assert report.scores == before.scores
    assert report.times["a"]["ogbg_gelu"] == 1
    assert any("not part of the score: ogbg_gelu" in line for line in report.assumptions)


@pytest.mark.clause("HELD-10", "SCORE-20")
def test_a_held_out_workload_that_is_missed_takes_the_credit_away(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    target = tiers.get("ogbg_model_size", "mini").validation_target_value
    for name, base, held_out in (("a", 20, 40), ("b", 10, 161), ("c", 15, None)):
        write_trial(name, hit_at(base))
        if held_out is not None:
            write_trial(name, hit_at(held_out, target), workload="ogbg_model_size")
    report = scored(tmp_path, rules="v0.5", num_studies=1)
    assert report.scores == {"a": 1.0, "b": 0.0, "c": 0.0}
    unmet = {name: [c.value for c in own.get("ogbg", ())] for name, own in _unmet(report)}
    assert unmet == {
        "a": [],
        "b": ["held_out_near_fastest"],
        "c": ["held_out_reached", "held_out_near_fastest"],
    }
    without = scored(tmp_path, rules="v0.5", num_studies=1, held_out="none")
    assert without.scores["b"] == 1.0


def _unmet(report):  # type: ignore[no-untyped-def]
    return sorted(report.leaderboard.unmet.items())
