"""The real self-tuning leaderboard of the first competition (v0.5), against independent numbers.

The compact logs of the package are scored always. The complete logs are not part of the project:
``ALGOPERF_LEADERBOARD`` names the directory or archive of them, and further tests run.
"""

from __future__ import annotations

import json
import math
import os
import tarfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.score import ScoreReport, build_data, published, score_logs
from algoperf_ref.score.outputs import as_json

DATA = Path(str(resources.files("algoperf_ref.score") / "data"))
COMPACT = DATA / "v05_self_tuning.tar.xz"
COMPLETE = os.environ.get("ALGOPERF_LEADERBOARD")
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "leaderboard_v05_self.json").read_text()
)["submissions"]
VERSIONS: dict[str, dict[str, Any]] = {
    "as_published": {"rules": "v0.5", "as_published": True},
    "written_rule_exact": {"rules": "v0.5"},
    "paper_2023_exact": {"rules": "paper2023"},
}

needs_complete_logs = pytest.mark.skipif(COMPLETE is None, reason="set ALGOPERF_LEADERBOARD")


def scored(path: Path | str = COMPACT, **options: Any) -> ScoreReport:
    return score_logs(path, **{"rules": "v0.5", "tuning": "self", **options})


def golden(key: str) -> dict[str, float]:
    return {name: row[key] for name, row in GOLDEN.items()}


@pytest.mark.clause("SCORE-10", "SCORE-14", "SCORE-15", "SCORE-19", "SCORE-20", "HELD-10")
def test_as_published_gives_the_published_scores() -> None:
    report = scored(as_published=True)
    assert {name: round(score, 4) for name, score in report.scores.items()} == golden("published")
    assert [f"{score:.4f}" for score in report.scores.values()] == (
        ["0.8542", "0.8194", "0.3308", "0.1420", "0.0903", "0.0000"]
    )


@pytest.mark.clause("SCORE-9", "SCORE-20", "HELD-8", "HELD-9", "HELD-10")
@pytest.mark.parametrize("column", VERSIONS)
def test_every_version_gives_the_independent_scores(column: str) -> None:
    report = scored(**VERSIONS[column])
    assert dict(report.scores) == pytest.approx(golden(column), rel=0, abs=1e-9)


@pytest.mark.clause("SCORE-2", "SCORE-5")
def test_the_times_to_target_are_the_independent_ones() -> None:
    report = scored()
    for name, row in GOLDEN.items():
        for workload, seconds in row["time_to_target_s"].items():
            found = report.times[name].get(workload, math.inf)
            assert found == (math.inf if seconds is None else pytest.approx(seconds, rel=1e-12))


def test_the_published_times_of_the_package_are_those_of_the_logs() -> None:
    times = published.load("v0.5-self")
    for kind, options in (
        ("seconds", {}),
        ("steps", {"time_axis": "steps"}),
        ("as_published_seconds", {"as_published": True}),
    ):
        report = scored(**options)
        found = {
            name: {workload: tuple(own.values()) for workload, own in table.items()}
            for name, table in report.study_times.items()
        }
        assert times.series[kind] == found


def test_the_leaderboard_is_incomplete_and_says_what_is_missing() -> None:
    missing = [f for f in scored().warnings if f.kind.label == "missing_workload"]
    assert [(f.path.rpartition("(")[2], f.text) for f in missing] == [
        ("sinv6)", "never run: criteo1tb, criteo1tb_embed_init"),
        ("sinv6_75)", "never run: criteo1tb, criteo1tb_embed_init"),
    ]


@needs_complete_logs
@pytest.mark.parametrize("column", VERSIONS)
def test_the_complete_logs_give_the_same_to_the_last_bit(column: str) -> None:
    assert COMPLETE is not None
    complete, compact = scored(COMPLETE, **VERSIONS[column]), scored(**VERSIONS[column])
    assert complete.leaderboard == compact.leaderboard
    assert complete.study_times == compact.study_times
    assert as_json(complete)["submissions"] == as_json(compact)["submissions"]


@needs_complete_logs
def test_both_files_of_the_package_are_made_from_the_complete_logs(tmp_path: Path) -> None:
    assert COMPLETE is not None
    times = published.load("v0.5-self")
    made = build_data.published_times(Path(COMPLETE), times.name, "v0.5", "self", times.origin)
    assert made.decode() == (DATA / "published_v0.5-self.json").read_text()
    again = tmp_path / "again.tar.xz"
    again.write_bytes(build_data.compact_logs(Path(COMPLETE)))
    assert list(_members(again)) == list(_members(COMPACT))


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            yield member.name, file.read()
