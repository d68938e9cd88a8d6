"""The leaderboard of the reference submissions: what is run, what is scored, what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref import leaderboard, study
from algoperf_ref.data import datasets
from algoperf_ref.errors import UserError
from algoperf_ref.harness.hyperparameters import read_search_space
from algoperf_ref.leaderboard import ENTRIES, SPACE, SUBMISSIONS, Options, target_table
from algoperf_ref.records.experiment import open_experiment, open_trial
from algoperf_ref.records.trial_log import TrialLog
from spec import tiers, workloads
from spec.rulesets import Tuning

WORKLOADS = ("ogbg", "fastmri")


def asked(tmp_path: Path, **changes: Any) -> Options:
    """Options with everything given."""
    given: dict[str, Any] = {
        "tuning": Tuning.EXTERNAL,
        "submissions": ("adamw", "nadamw"),
        "framework": "pytorch",
        "workloads": ",".join(WORKLOADS),
        "trials": None,
        "clock": "steps",
        "jobs": 1,
        "seed": 3,
        "data_dir": tmp_path / "data",
        "output": tmp_path / "board",
    }
    return Options(**{**given, **changes})


class Studies:
    """Stands in for ``study.main``: writes logs in which the n-th study needs 10 n seconds."""

    def __init__(self, *, codes: dict[str, int] | None = None, misses: str = "") -> None:
        self.calls: list[dict[str, str]] = []
        self._codes, self._misses = codes or {}, misses

    def __call__(self, arguments: Sequence[str]) -> int:
        flags = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
        self.calls.append(flags)
        name = flags["experiment_name"]
        if self._codes.get(name, 0) < 2:
            place = Path(flags["experiment_dir"])
            self._write(place, name, flags["workloads"], flags["framework"])
        return self._codes.get(name, 0)

    def _write(self, root: Path, name: str, workload: str, framework: str) -> None:
        row = tiers.get(workload, "mini")
        reached = not (name == self._misses and workload == WORKLOADS[1])
        directory = open_experiment(root, name, workload, framework, study=0, resume=True)
        with TrialLog(open_trial(directory, 1)) as log:
            seconds = 10.0 * len(self.calls)
            value = row.validation_target_value if reached else 0.0
            log.append_scalar_metrics(
                {
                    "accumulated_submission_time": seconds,
                    "score": seconds,
                    f"validation/{row.target_metric_name}": value,
                    f"test/{row.target_metric_name}": value,
                },
                100 * len(self.calls),
                is_eval=True,
            )
            log.finish(seconds, 100 * len(self.calls))


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, str]]:
    """The data sets that were asked for, in place of making them."""
    calls: list[tuple[str, Path, str]] = []

    class Commands:
        def __init__(self, name: str) -> None:
            self._name = name

        def prepare(self, data_dir: Path, tier: str) -> None:
            calls.append((self._name, data_dir, tier))

    monkeypatch.setattr(datasets, "commands", Commands)
    return calls


def test_every_submission_of_the_tree_can_take_part() -> None:
    for tuning in Tuning:
        folder = SUBMISSIONS / f"{tuning.value}_tuning"
        there = {file.parent.name for file in folder.glob("*/submission_jax.py")}
        assert {entry.name for entry in ENTRIES if entry.tuning is tuning} == there
        assert any(entry.by_default for entry in ENTRIES if entry.tuning is tuning)
    assert len({(entry.tuning, entry.name) for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e.tuning is Tuning.EXTERNAL], ids=lambda e: e.name
)
def test_an_external_submission_has_as_many_points_as_trials(entry: leaderboard.Entry) -> None:
    space = json.loads((entry.directory / SPACE).read_text())
    assert isinstance(space, list)
    assert len(space) == entry.trials
    read_search_space(entry.directory / SPACE)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.tuning.value}-{e.name}")
def test_the_arguments_are_those_of_a_study(
    entry: leaderboard.Entry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = asked(tmp_path, tuning=entry.tuning, jobs=2)
    arguments = options.study_arguments(entry, "fastmri")
    assert f"--max_global_steps={tiers.get('fastmri', 'mini').step_hint}" in arguments
    assert study.main([*arguments, "--dry_run"]) == 0
    plan = capsys.readouterr().out
    assert plan.startswith(f"{entry.name}: {entry.tuning.value} tuning, rules v0.6, mini tier")
    assert "seed 3, clock steps" in plan
    (line,) = [line for line in plan.splitlines() if line.startswith("fastmri")]
    assert line.split()[1:3] == ["1", str(entry.trials)]


def test_data_are_prepared_then_all_submissions_run_and_scored(
    tmp_path: Path, prepared: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options, studies = asked(tmp_path), Studies(misses="nadamw")
    assert leaderboard.leaderboard(options, studies) == 0
    assert prepared == [(name, options.data_dir, "mini") for name in WORKLOADS]
    assert [(call["experiment_name"], call["workloads"]) for call in studies.calls] == [
        (name, workload) for name in ("adamw", "nadamw") for workload in WORKLOADS
    ]
    scores = json.loads((options.results / "scores.json").read_text())
    assert (scores["tier"], scores["ruleset"], scores["num_studies"]) == ("mini", "external", 1)
    assert set(scores["workloads"]) == set(WORKLOADS)
    ranked = {name: row["rank"] for name, row in scores["submissions"].items()}
    assert ranked == {"adamw": 1, "nadamw": 2}
    table = (options.results / "targets.md").read_text()
    assert table.splitlines() == [
        "| workload | adamw | nadamw |",
        "| --- | --- | --- |",
        "| `ogbg` | 10.0 s, 100 | 30.0 s, 300 |",
        "| `fastmri` | 20.0 s, 200 | - |",
    ]
    assert table in capsys.readouterr().out


def test_only_the_submissions_that_were_asked_for_are_scored(tmp_path: Path) -> None:
    leaderboard.leaderboard(asked(tmp_path), Studies())
    options = asked(tmp_path, submissions=("nadamw",))
    assert leaderboard.leaderboard(options, lambda arguments: 0) == 0
    scores = json.loads((options.results / "scores.json").read_text())
    assert list(scores["submissions"]) == ["nadamw"]


def test_the_fastest_trial_counts_in_the_table(tmp_path: Path) -> None:
    file = tmp_path / "trials.csv"
    file.write_text(
        "submission,workload,hit_seconds,hit_step\n"
        "a,ogbg,12.5,300\na,ogbg,9.25,400\na,fastmri,,\nb,fastmri,1250,12000\n"
    )
    assert target_table(file, ["a", "b"], ["ogbg", "fastmri"]).splitlines()[2:] == [
        "| `ogbg` | 9.2 s, 400 | - |",
        "| `fastmri` | - | 1250.0 s, 12,000 |",
    ]


def test_a_failed_trial_leaves_the_others_scored(tmp_path: Path) -> None:
    options = asked(tmp_path)
    assert leaderboard.leaderboard(options, Studies(codes={"adamw": 1})) == 1
    assert (options.results / "scores.json").is_file()


@pytest.mark.parametrize("code", [2, 130])
def test_a_study_that_cannot_go_on_ends_it(code: int, tmp_path: Path) -> None:
    studies = Studies(codes={"adamw": code})
    assert leaderboard.leaderboard(asked(tmp_path), studies) == code
    assert len(studies.calls) == 1
    assert not asked(tmp_path).results.exists()


def test_rulesets_and_frameworks_have_directories_of_their_own(tmp_path: Path) -> None:
    places = {
        asked(tmp_path, tuning=tuning, framework=framework).logs
        for tuning in Tuning
        for framework in ("jax", "pytorch")
    }
    assert len(places) == 4
    # The scorer would take results among the logs for a submission.
    assert not any(asked(tmp_path).results.is_relative_to(place) for place in places)


def test_an_unknown_submission_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'adam'; choose from nadamw, adamw"):
        asked(tmp_path, submissions=("adam",)).entries()
    with pytest.raises(UserError, match="no self-tuning reference submission 'lamb'"):
        asked(tmp_path, submissions=("lamb",), tuning=Tuning.SELF).entries()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--submissions", "adam"], "'adam'"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--trials", "0"], "--trials is 0"),
        (["--seed=-1"], "--seed is -1"),
        (["--workloads", "mnist5"], "mnist5"),
        (["--workloads", "cifar"], "unknown mini workload 'cifar'"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    flags: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leaderboard.main([*flags, "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert expected in error
    assert len(error.splitlines()) == 1


def test_the_default_workloads_are_all_of_the_mini_tier(
    tmp_path: Path, prepared: list[Any]
) -> None:
    leaderboard.prepare(asked(tmp_path, workloads="base"))
    assert [name for name, _, _ in prepared] == list(
        dict.fromkeys(map(datasets.of_workload, workloads.names("base")))
    )
