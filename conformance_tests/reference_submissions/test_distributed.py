"""Two PyTorch processes take the step that one process takes on the whole batch."""

from __future__ import annotations

import importlib
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from conformance_tests.reference_submissions.training import PATHS

TRAINED = [path for path in PATHS if path.startswith(("external_tuning", "self_tuning"))]
# Four examples with unequal weights, so that the two halves hold unequal numbers of valid ones.
INPUTS = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [3.0, -2.0], [0.1, 0.7]])
TARGETS = torch.tensor([1.0, -2.0, 0.5, 3.0])
WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 0.0])


class _Regression:
    """Weighted squared error of a small network."""

    step_hint = 10
    metrics_logger = None

    def model_fn(self, params, batch, model_state, mode, rng, update_batch_norm, dropout_rate=None):
        return params(batch["inputs"]).squeeze(1), None

    def loss_fn(self, label_batch, logits_batch, mask_batch=None, label_smoothing=0.0):
        errors = mask_batch * (logits_batch - label_batch) ** 2
        return {"summed": errors.sum(), "n_valid_examples": mask_batch.sum(), "per_example": errors}


def _train(path: str, wrap, rows) -> np.ndarray:
    """All weights after a few steps."""
    submission = importlib.import_module(f"reference_submissions.{path}.submission_pytorch")
    values = {
        "learning_rate": 0.1,
        "warmup_steps": 0,
        "weight_decay": 0.01,
        "grad_clip": 0.5,
        "preconditioner_interval": 2,
    }
    hyperparameters = None
    if path.startswith("external_tuning"):
        hyperparameters = namedtuple("Hyperparameters", values)(**values)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.linspace(-0.4, 0.5, p.numel()).reshape(p.shape))
    model, workload = wrap(network), _Regression()
    state = submission.init_optimizer_state(workload, model, None, hyperparameters, None)
    batch = {"inputs": INPUTS[rows], "targets": TARGETS[rows], "weights": WEIGHTS[rows]}
    for step in range(5):
        submission.update_params(
            workload, model, None, None, hyperparameters, batch, None, state, [], step, None
        )
    return torch.cat([p.detach().ravel() for p in network.parameters()]).numpy()


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    rows = slice(2 * rank, 2 * rank + 2)
    wrap = torch.nn.parallel.DistributedDataParallel
    weights = {path: _train(path, wrap, rows) for path in TRAINED}
    np.savez(Path(folder) / f"{rank}.npz", **weights)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    """The weights of each process by submission."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(_process, (str(folder),), nprocs=2)
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


@pytest.mark.parametrize("path", TRAINED)
def test_two_processes_take_the_steps_of_one_on_the_whole_batch(path, two_processes):
    first, second = (weights[path] for weights in two_processes)
    np.testing.assert_array_equal(first, second)
    expected = _train(path, lambda model: model, slice(0, 4))
    # Adam's first steps divide by the root of tiny second moments.
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-5)


def test_the_ascent_of_sam_needs_the_gradient_of_all_processes(two_processes):
    """The test above could not tell otherwise: each half has another gradient."""
    halves = [
        _train("external_tuning.sam", lambda model: model, slice(2 * r, 2 * r + 2)) for r in (0, 1)
    ]
    ours = two_processes[0]["external_tuning.sam"]
    assert all(np.abs(half - ours).max() > 1e-2 for half in halves)
