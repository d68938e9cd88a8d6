"""A run killed at any instant loses nothing: resumed, it ends as one that was never killed."""

from __future__ import annotations

import random
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from algoperf_ref.records import checkpoints
from conformance_tests.harness.test_run import compare
from conformance_tests.support.killing import (
    SIZES,
    Server,
    check_files,
    trial_directory,
    what_remains,
)
from conformance_tests.support.molecules import write_tiny_ogbg

IN_CI = 20
IN_ALL = 200


class Unbroken(NamedTuple):
    """A run that was never killed.

    Attributes:
      server: starts further ones.
      remains: what it left.
      lines: lines that it executed in the recording modules.
    """

    server: Server
    remains: dict[str, Any]
    lines: int


@pytest.fixture(scope="module", params=["jax", "pytorch"])
def unbroken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    directory = tmp_path_factory.mktemp("killed")
    write_tiny_ogbg(directory / "data", **SIZES)
    server = Server(request.param, directory / "data")
    lines = server.run(directory / "unbroken")
    assert lines > 1000
    return Unbroken(
        server, what_remains(trial_directory(directory / "unbroken", request.param)), lines
    )


def run_to_the_end(unbroken: Unbroken, output: Path, kills: int, seed: int) -> int:
    """Kills a run again and again, then lets it end; returns how often it was killed in fact."""
    draw = random.Random(seed)
    directory = trial_directory(output, unbroken.server.framework)
    killed = 0
    for number in range(kills):
        if number % 4 == 3:  # from outside, in the middle of whatever it does
            how: dict[str, Any] = {"kill_after_seconds": draw.uniform(0.0, 1.0)}
        else:
            how = {"kill_at_line": draw.randrange(1, unbroken.lines)}
        if unbroken.server.run(output, **how) == -1:
            killed += 1
        if directory.exists():
            check_files(directory)
    if unbroken.server.run(output) == -1:
        raise AssertionError("the last run was not killed by this test")
    return killed


def kill_and_compare(
    unbroken: Unbroken, tmp_path: Path, kills: int, per_run: int, first_seed: int = 0
) -> int:
    killed = 0
    for seed in range(first_seed, first_seed + kills // per_run):
        output = tmp_path / f"run_{seed}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torn ends and damaged files are told, rightly
            killed += run_to_the_end(unbroken, output, per_run, seed)
            remains = what_remains(trial_directory(output, unbroken.server.framework))
        compare(remains, unbroken.remains)
        shutil.rmtree(output)
    return killed


@pytest.mark.clause("TIM-1", "REC-1")
def test_a_run_killed_at_random_instants_ends_as_an_unbroken_one(
    unbroken: Unbroken, tmp_path: Path
) -> None:
    killed = kill_and_compare(unbroken, tmp_path, IN_CI, per_run=4)
    # A resumed run is shorter than a whole one, so that some instants lie behind its end.
    assert killed >= IN_CI // 3


@pytest.mark.slow
@pytest.mark.clause("TIM-1", "REC-1")
def test_200_kills_lose_nothing(unbroken: Unbroken, tmp_path: Path) -> None:
    killed = 0
    kills = 2 * IN_ALL // 10
    for part in range(10):
        seed = 100 * part  # other instants in each part
        killed += kill_and_compare(unbroken, tmp_path / str(part), kills, 4, first_seed=seed)
        if killed >= IN_ALL:
            break
    print(f"\n{unbroken.server.framework}: {killed} kills, nothing lost")
    assert killed >= IN_ALL


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    unbroken: Unbroken, tmp_path: Path, damage: str
) -> None:
    output = tmp_path / "run"
    framework = unbroken.server.framework
    directory = trial_directory(output, framework)
    assert unbroken.server.run(output, kill_at_line=int(unbroken.lines * 0.97)) == -1
    newest = checkpoints.latest(directory)
    assert newest is not None
    content = bytearray(newest.read_bytes())
    if damage == "missing":
        newest.unlink()
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "truncated":
        newest.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 4
        newest.write_bytes(content)
    if damage != "missing":
        with pytest.warns(UserWarning, match=r"not a usable checkpoint.* trying the one before"):
            checkpoints.load_latest(directory)
    assert unbroken.server.run(output) > 0
    compare(what_remains(directory), unbroken.remains)
