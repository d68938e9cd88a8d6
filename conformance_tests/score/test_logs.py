"""Which trials are found in a collection of logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.score.logs import Inventory, find_trials
from algoperf_ref.score.options import Timestamped
from algoperf_ref.score.sources import open_source

from .conftest import WriteTrial


def find(path: Path, **options: str) -> Inventory:
    return find_trials(open_source(path), **options)  # type: ignore[arg-type]


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
    inventory = find(tmp_path)
    assert inventory.submissions == ("a", "b")
    found = [(t.submission, t.study, t.workload, t.trial) for t in inventory.trials]
    assert found == [
        ("a", 0, "ogbg_gelu", 1),
        *[("b", study, "ogbg", trial) for study in (0, 1, 10) for trial in (1, 2, 10)],
    ]
    assert inventory.findings == ()


@pytest.mark.parametrize("part", ["s", "s/ogbg_jax", "."])
def test_a_submission_or_a_workload_directory_may_be_given_itself(
    tmp_path: Path, write_trial: WriteTrial, part: str
) -> None:
    expected = write_trial("s", [(1, 0)])
    (trial,) = find(tmp_path / part).trials
    assert (trial.submission, trial.study, Path(trial.shown)) == ("s", 0, expected)


@pytest.mark.parametrize("part", ["s/study_2/ogbg_jax", "s/study_2", "s"])
def test_a_part_of_a_submission_knows_its_submission_and_study(
    tmp_path: Path, write_trial: WriteTrial, part: str
) -> None:
    write_trial("s", [(1, 0)], study=2)
    (trial,) = find(tmp_path / part).trials
    assert (trial.submission, trial.study) == ("s", 2)


def test_submissions_may_lie_some_directories_deeper(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("logs/external_tuning/a", [(1, 0)])
    write_trial("logs/external_tuning/b", [(1, 0)])
    assert find(tmp_path).submissions == ("a", "b")
    write_trial("logs/self_tuning/c", [(1, 0)])
    assert find(tmp_path, ruleset="self").submissions == ("c",)
    assert find(tmp_path, ruleset="external").submissions == ("a", "b")
    with pytest.raises(UserError, match=r"several collections .*\(external_tuning, self_tuning\)"):
        find(tmp_path)


def test_directories_that_do_not_fit_are_ignored_with_a_finding(
    tmp_path: Path, write_trial: WriteTrial
) -> None:
    write_trial("s", [(1, 0)])
    (tmp_path / "empty").mkdir()
    (tmp_path / "plots" / "x").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "s" / "OGBG_jax" / "trial_1").mkdir(parents=True)
    (tmp_path / "s" / "wmt_jax").mkdir()
    (tmp_path / "s" / "mnist").mkdir()
    inventory = find(tmp_path)
    assert inventory.submissions == ("empty", "s")
    assert len(inventory.trials) == 1
    expected = {
        "plots: ignored": 1,
        "OGBG_jax: ignored, unknown workload 'OGBG'": 1,
        "wmt_jax: holds no trial": 1,
        "empty: submission without any trial": 1,
    }
    for text, count in expected.items():
        assert sum(text in str(finding) for finding in inventory.findings) == count
    assert len(inventory.findings) == len(expected)


@pytest.mark.parametrize("kind", ["empty", "foreign", "only files"])
def test_nothing_found_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "logs"
    (path / "a" / "b" if kind == "foreign" else path).mkdir(parents=True)
    if kind == "only files":
        (path / "eval_measurements.csv").touch()
    with pytest.raises(UserError, match=r"no logs found in .*logs.*trial_<n>/eval_measurements"):
        find(path)


def test_a_name_without_framework_needs_one_told(tmp_path: Path, write_trial: WriteTrial) -> None:
    directory = write_trial("s", [(1, 0)]).parent
    directory.rename(directory.with_name("ogbg"))
    with pytest.raises(UserError, match=r"s/ogbg does not say its framework: name it ogbg_jax or"):
        find(tmp_path)
    (trial,) = find(tmp_path, framework="pytorch").trials
    assert (trial.workload, trial.framework) == ("ogbg", "pytorch")


NAMED = "s-2024-03-01-10-20-30"


@pytest.mark.parametrize(
    ("choice", "submissions", "kinds"),
    [
        (Timestamped.MERGE, {"s": 2}, ["timestamped"]),
        (Timestamped.SEPARATE, {"s": 1, NAMED: 1}, []),
        (Timestamped.IGNORE, {"s": 1}, ["timestamped"]),
    ],
)
def test_a_timestamped_sibling_counts_once_at_most(
    tmp_path: Path,
    write_trial: WriteTrial,
    choice: Timestamped,
    submissions: dict[str, int],
    kinds: list[str],
) -> None:
    write_trial("s", [(1, 0)], study=0)
    write_trial(NAMED, [(1, 0)], study=1)
    inventory = find(tmp_path, timestamped=choice)
    found = [trial.submission for trial in inventory.trials]
    assert {name: found.count(name) for name in inventory.submissions} == submissions
    assert [finding.kind.label for finding in inventory.findings] == kinds
