"""JAX on forced host devices and in several processes: the numbers of one device."""

from __future__ import annotations

from typing import Any

import pytest

from conformance_tests.distributed.runs import CUSTOM, NADAMW, Finished, Runs, differences
from conformance_tests.support.misbehaviour import SLOW_SECONDS

TOLERANCES = {"parameters": 2e-4, "loss": 1e-6, "metrics": 2e-3}
# Dropout is on: its masks do not depend on the number of devices either.
OPTIONS: dict[str, Any] = {"framework": "jax", "dropout": 0.1}


def check(one: Finished, other: Finished) -> None:
    assert other.code == 0, other.output
    found = differences(one, other)
    for name, tolerance in TOLERANCES.items():
        assert found[name] <= tolerance, (name, found)
    # Simulated time: the logs agree in everything but the metrics.
    rows = [(r.directory / "eval_measurements.csv").read_text().split() for r in (one, other)]
    assert rows[0][0] == rows[1][0]
    assert len(rows[0]) == len(rows[1])


@pytest.fixture(scope="session")
def one(runs: Runs) -> Finished:
    run = runs("jax_one", **OPTIONS)
    assert run.code == 0, run.output
    return run


@pytest.mark.clause("DATA-5", "DATA-8")
def test_eight_devices_train_as_one(one: Finished, runs: Runs) -> None:
    check(one, runs("jax_8", devices=8, **OPTIONS))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_other_numbers_of_devices_train_as_one(devices: int, one: Finished, runs: Runs) -> None:
    check(one, runs(f"jax_{devices}", devices=devices, **OPTIONS))


@pytest.mark.slow
@pytest.mark.parametrize("submission", [NADAMW, CUSTOM["jax"]])
@pytest.mark.parametrize("devices", [1, 2])
def test_two_processes_train_as_one_device(submission: Any, devices: int, runs: Runs) -> None:
    name = f"jax_{submission.stem}"
    alone = runs(f"{name}_one", submission=submission, **OPTIONS)
    two = runs(
        f"{name}_two_{devices}", submission=submission, processes=2, devices=devices, **OPTIONS
    )
    check(alone, two)


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_a_process_that_raises_ends_the_other_with_its_sentence(process: int, runs: Runs) -> None:
    run = runs(
        f"jax_raise_{process}",
        submission=CUSTOM["jax"],
        processes=2,
        misbehave=f"raise,{process},2",
        timeout=150,
        **OPTIONS,
    )
    assert run.code == 1
    assert run.result["status"] == "submission_failed"
    sentence = "the submission's update_params raised ValueError after 2 steps: no more ideas"
    assert any(
        f"process {process} of 2 failed: {sentence}" in line
        for line in run.output[1 - process].splitlines()
    )


@pytest.mark.slow
def test_a_killed_process_ends_the_run(runs: Runs) -> None:
    run = runs(
        "jax_killed",
        submission=CUSTOM["jax"],
        processes=2,
        misbehave="kill,1,3",
        timeout=150,
        **OPTIONS,
    )
    assert run.code == 1
    assert run.result["status"] == "process_lost"
    assert any("process 1 of 2 died or is out of reach" in line for line in run.errors)


@pytest.mark.slow
@pytest.mark.clause("TIM-5")
def test_the_slowest_process_counts(runs: Runs) -> None:
    run = runs(
        "jax_slow",
        submission=CUSTOM["jax"],
        processes=2,
        misbehave="slow,1,2",
        steps=3,
        flags=("--clock=wall", "--rng_seed=3"),
        **OPTIONS,
    )
    assert run.code == 0, run.output
    assert run.result["submission_seconds"] >= SLOW_SECONDS
