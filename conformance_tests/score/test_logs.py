"""Reading logs: what is found where, and what is made of damaged files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.score.logs import TrialLocation, find_trials, read_trial

from .conftest import WriteTrial

COLUMN = "validation/mean_average_precision"
HEADER = f"accumulated_submission_time,global_step,preemption_count,{COLUMN}\n"


def location(path: Path) -> TrialLocation:
    return TrialLocation("s", 0, "ogbg", "jax", 1, path)


def rows(path: Path, content: str | bytes) -> tuple[list[tuple[float, float]], list[str]]:
    """Reads a file of this content: (seconds, metric) pairs and warnings."""
    data = content.encode() if isinstance(content, str) else content
    (path / "eval_measurements.csv").write_bytes(data)
    found = read_trial(location(path), (COLUMN,))
    assert all(str(path / "eval_measurements.csv") in warning for warning in found.warnings)
    return [(e.seconds, e.metrics[COLUMN]) for e in found.evaluations], list(found.warnings)


@pytest.mark.clause("REC-4", "REC-5")
def test_submissions_studies_workloads_and_trials_are_found_in_order(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    for study in (1, 0, 10):
        for trial in (2, 1, 10):
            write_trial("b", [(1, 0)], study=study, trial=trial)
    write_trial("a", [(1, 0)], workload="ogbg_gelu", framework="pytorch")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "b" / "study_0" / "trial_1").mkdir()
    (tmp_path / "b" / "study_0" / "trial_1" / "eval_measurements.csv").touch()
    (tmp_path / "b" / "study_0" / "ogbg_jax" / "plots").mkdir()
    inventory = find_trials(tmp_path)
    assert inventory.submissions == ("a", "b")
    found = [(t.submission, t.study, t.workload, t.trial) for t in inventory.trials]
    assert found == [
        ("a", 0, "ogbg_gelu", 1),
        *[("b", study, "ogbg", trial) for study in (0, 1, 10) for trial in (1, 2, 10)],
    ]
    assert inventory.warnings == ()


@pytest.mark.parametrize("part", ["s", "s/ogbg_jax", "."])
def test_a_submission_or_a_workload_directory_may_be_given_itself(
    tmp_path: Path, write_trial: WriteTrial, part: str
) -> None:
    expected = write_trial("s", [(1, 0)])
    (trial,) = find_trials(tmp_path / part).trials
    assert (trial.submission, trial.study, trial.path) == ("s", 0, expected)


def test_a_workload_directory_of_a_study_knows_its_submission(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", [(1, 0)], study=2)
    (trial,) = find_trials(tmp_path / "s" / "study_2" / "ogbg_jax").trials
    assert (trial.submission, trial.study) == ("s", 2)


def test_directories_that_do_not_fit_are_ignored_with_a_warning(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", [(1, 0)])
    (tmp_path / "empty").mkdir()
    (tmp_path / "plots" / "x").mkdir(parents=True)
    (tmp_path / "s" / "OGBG_jax" / "trial_1").mkdir(parents=True)
    (tmp_path / "s" / "wmt_jax").mkdir()
    (tmp_path / "s" / "mnist").mkdir()
    inventory = find_trials(tmp_path)
    assert inventory.submissions == ("empty", "s")
    assert len(inventory.trials) == 1
    expected = {
        "plots: ignored": 1,
        "OGBG_jax: ignored, unknown workload 'OGBG'": 1,
        "wmt_jax: holds no trial": 1,
        "empty: submission without any trial": 1,
    }
    for text, count in expected.items():
        assert sum(text in warning for warning in inventory.warnings) == count
    assert len(inventory.warnings) == len(expected)


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "foreign"])
def test_nothing_found_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "logs"
    if kind == "file":
        path.touch()
    elif kind != "missing":
        (path / "a" / "b" if kind == "foreign" else path).mkdir(parents=True)
    with pytest.raises(UserError, match=r"logs.*trial_<n>/eval_measurements\.csv"):
        find_trials(path)


def test_a_whole_file_is_read_as_it_is(tmp_path: Path) -> None:
    content = HEADER + "1.5,1,0,0.25\n3.5,9,0,0.5\n"
    assert rows(tmp_path, content) == ([(1.5, 0.25), (3.5, 0.5)], [])


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    content = f"{COLUMN},x,accumulated_submission_time\n0.25,7,1.5\n"
    assert rows(tmp_path, content) == ([(1.5, 0.25)], [])


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (b"", "empty"),
        (b"\n1,2\n", "empty"),
        (HEADER, "no evaluation"),
        ("a,b\n1,2\n", f"no column accumulated_submission_time, {COLUMN}"),
        (f"{COLUMN}\n1\n", "no column accumulated_submission_time"),
        (b"\xff\xfe\x00\x01", "no column"),
        (HEADER + "1" * 200_000, "not readable as CSV"),
    ],
    ids=["zero bytes", "no header", "header only", "foreign", "no time", "binary", "huge cell"],
)
def test_an_unusable_file_is_a_trial_without_evaluations(
    tmp_path: Path, content: str | bytes, warning: str
) -> None:
    found, warnings = rows(tmp_path, content)
    assert found == []
    assert len(warnings) == 1
    assert warning in warnings[0]


def test_a_missing_file_is_a_trial_without_evaluations(tmp_path: Path) -> None:
    found = read_trial(location(tmp_path), (COLUMN,))
    assert found.evaluations == ()
    assert "eval_measurements.csv: missing" in found.warnings[0]


@pytest.mark.parametrize("torn", ["3.5,9", "3.5,9,0,0.5,7\n", "\n"])
def test_a_torn_or_ragged_row_is_ignored_with_a_warning(tmp_path: Path, torn: str) -> None:
    found, warnings = rows(tmp_path, HEADER + "1.5,1,0,0.25\n" + torn)
    assert found == [(1.5, 0.25)]
    assert len(warnings) == 1
    assert "ignored 1 malformed rows" in warnings[0]


def test_malformed_cells_are_not_a_number(tmp_path: Path) -> None:
    cells = [b"", b"nan", b"high", b"\xff", b"0.\x000"]
    content = HEADER.encode() + b"".join(b"1.5,1,0,%s\n" % cell for cell in cells)
    found, warnings = rows(tmp_path, content)
    assert [math.isnan(value) for _, value in found] == [True, True, True, True, False]
    assert warnings == []


def test_of_a_resumed_run_the_last_attempt_counts(tmp_path: Path) -> None:
    content = HEADER + "".join(
        f"{seconds},{step},{attempt},{value}\n"
        for seconds, step, attempt, value in [
            (10, 100, 0, 0.1),
            (20, 200, 0, 0.2),
            (30, 300, 0, 0.9),  # lost: the run went back to step 200
            (31, 290, 1, 0.3),
            (42, 400, 1, 0.9),  # lost as well
            (39, 380, 2, 0.4),
        ]
    )
    found, warnings = rows(tmp_path, content)
    assert found == [(10, 0.1), (20, 0.2), (31, 0.3), (39, 0.4)]
    assert len(warnings) == 1
    assert "ignored 2 rows that a resumed run made again" in warnings[0]


def test_rows_of_one_attempt_are_never_dropped(tmp_path: Path) -> None:
    content = HEADER + "10,100,0,0.1\n12,100,0,0.2\n15,90,0,0.3\n"
    assert rows(tmp_path, content) == ([(10, 0.1), (12, 0.2), (15, 0.3)], [])


def test_a_decreasing_time_is_announced(tmp_path: Path) -> None:
    found, warnings = rows(tmp_path, HEADER + "20,1,0,0.1\n10,2,0,0.2\n")
    assert found == [(20, 0.1), (10, 0.2)]
    assert "submission time decreases" in warnings[0]
