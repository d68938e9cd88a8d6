"""PyTorch under torchrun (gloo): the numbers of one process, and failures that end all ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks import processes
from algoperf_ref.frameworks.torch_backend import TorchBackend
from conformance_tests.distributed.runs import CUSTOM, NADAMW, SELF_TUNING, Runs, differences
from conformance_tests.support.misbehaviour import SLOW_SECONDS

# The same sums in another order. NadamW divides by the root of tiny second moments in its first
# steps, and a flipped rank of two molecules moves the average precision.
TOLERANCES = {"parameters": 2e-4, "loss": 1e-6, "metrics": 2e-3}


def check(found: dict[str, float]) -> None:
    for name, tolerance in TOLERANCES.items():
        assert found[name] <= tolerance, (name, found)


@pytest.mark.clause("DATA-8", "DATA-3")
def test_a_reference_submission_trains_on_two_ranks_as_on_one(runs: Runs) -> None:
    one = runs("torch_one", "pytorch")
    two = runs("torch_two", "pytorch", processes=2)
    assert (one.code, two.code) == (0, 0), two.output
    check(differences(one, two))
    assert "\n".join(two.output).count("target: validation") == 1, "one rank prints"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("submission", "ranks"), [(CUSTOM["pytorch"], 2), (SELF_TUNING, 2), (NADAMW, 4)]
)
def test_submissions_train_on_several_ranks_as_on_one(
    submission: Any, ranks: int, runs: Runs
) -> None:
    name = f"torch_{submission.stem}_{submission.parent.stem}"
    one = runs(f"{name}_one", "pytorch", submission=submission)
    several = runs(f"{name}_{ranks}", "pytorch", submission=submission, processes=ranks)
    assert (one.code, several.code) == (0, 0), several.output
    check(differences(one, several))


def test_a_rank_that_raises_ends_all_of_them_with_its_sentence(runs: Runs) -> None:
    run = runs(
        "torch_raise",
        "pytorch",
        processes=2,
        submission=CUSTOM["pytorch"],
        misbehave="raise,1,2",
        timeout=90,
    )
    assert run.code == 1
    sentence = "the submission's update_params raised ValueError after 2 steps: no more ideas"
    assert run.result["status"] == "submission_failed"
    assert run.result["message"] == f"process 1 of 2 failed: {sentence}"
    assert f"error: trial 1: process 1 of 2 failed: {sentence}" in run.errors
    assert f"error: trial 1: {sentence}" in run.errors, "the rank itself says it too"


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_which_goes_on_as_if_nothing_had_been(runs: Runs) -> None:
    options: dict[str, Any] = {
        "framework": "pytorch",
        "processes": 2,
        "submission": CUSTOM["pytorch"],
        "dropout": 0.1,  # every rank draws masks of its own, and draws them again
        "steps": 8,
    }
    whole = runs("torch_whole", **options)
    killed = runs("torch_killed", misbehave="kill,1,5", timeout=90, **options)
    assert killed.code == 1
    assert killed.result["status"] == "process_lost"
    assert any("process 1 of 2 died or is out of reach" in line for line in killed.errors)
    flags = ("--clock=steps", "--resume_last_run")
    resumed = runs("torch_killed", flags=flags, **options)
    assert resumed.code == 0, resumed.output
    assert resumed.result["preemption_count"] == 1
    for name, value in whole.params().items():
        np.testing.assert_array_equal(resumed.params()[name], value)


@pytest.mark.slow
def test_a_killed_first_rank_is_named_by_the_other(runs: Runs) -> None:
    run = runs(
        "torch_first_killed",
        "pytorch",
        processes=2,
        submission=CUSTOM["pytorch"],
        misbehave="kill,0,3",
        timeout=90,
    )
    assert run.code == 1
    assert any("process 0 of 2 died or is out of reach" in line for line in run.errors)


@pytest.mark.slow
@pytest.mark.clause("TIM-5")
def test_the_slowest_ranks_time_counts(runs: Runs) -> None:
    # It sleeps after all collectives of the only step: the first rank's own clock does not see it.
    run = runs(
        "torch_slow",
        "pytorch",
        processes=2,
        submission=CUSTOM["pytorch"],
        misbehave="slow,1,0",
        steps=1,
        flags=("--clock=wall", "--rng_seed=3"),
    )
    assert run.code == 0, run.output
    assert run.result["submission_seconds"] >= SLOW_SECONDS


@pytest.mark.slow
def test_training_complete_on_one_rank_is_so_on_all(runs: Runs) -> None:
    run = runs(
        "torch_complete",
        "pytorch",
        processes=2,
        submission=CUSTOM["pytorch"],
        misbehave="complete,1,4",
        steps=20,
        timeout=90,
    )
    assert run.code == 0, run.output
    assert run.result["status"] == "training_complete"
    assert run.result["global_step"] == 5


@pytest.mark.slow
def test_a_batch_that_ranks_cannot_share_is_told_once(runs: Runs) -> None:
    run = runs("torch_uneven", "pytorch", processes=3, timeout=90)
    assert run.code == 1
    assert any("is not a multiple of the number of devices 3" in line for line in run.errors)
    assert not run.directory.exists()


class Rank:
    """Stands for a group of processes."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.count = 4


def draws(index: int, monkeypatch: pytest.MonkeyPatch, **options: bool) -> list[float]:
    import torch

    monkeypatch.setattr(processes, "_current", Rank(index) if index >= 0 else None)
    backend = TorchBackend()
    backend.seed_global_generators(backend.seed_key(5), **options)
    return list(torch.rand(4).tolist())


def test_every_rank_draws_other_dropout_masks_the_first_those_of_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = draws(-1, monkeypatch)
    of_ranks = [draws(index, monkeypatch) for index in range(4)]
    assert of_ranks[0] == alone
    assert len({tuple(values) for values in of_ranks}) == 4
    assert draws(2, monkeypatch) == of_ranks[2]
    shared = [draws(index, monkeypatch, is_shared=True) for index in range(4)]
    assert shared == [alone] * 4
