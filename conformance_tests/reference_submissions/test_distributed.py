"""Two PyTorch processes take the step that one process takes on the whole batch."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import numpy as np
import torch
import torch.distributed
import torch.multiprocessing

from reference_submissions.external_tuning.nadamw import submission_pytorch as submission

# Four examples with unequal weights, so that the two halves hold unequal numbers of valid ones.
INPUTS = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [3.0, -2.0], [0.1, 0.7]])
TARGETS = torch.tensor([1.0, -2.0, 0.5, 3.0])
WEIGHTS = torch.tensor([1.0, 1.0, 1.0, 0.0])


class _Regression:
    """Weighted squared error of a linear model."""

    step_hint = 10
    metrics_logger = None

    def model_fn(self, params, batch, model_state, mode, rng, update_batch_norm):
        return params(batch["inputs"]).squeeze(1), None

    def loss_fn(self, label_batch, logits_batch, mask_batch=None, label_smoothing=0.0):
        errors = mask_batch * (logits_batch - label_batch) ** 2
        return {"summed": errors.sum(), "n_valid_examples": mask_batch.sum(), "per_example": errors}


def _train(wrap, rows) -> torch.Tensor:
    values = {"learning_rate": 0.1, "warmup_steps": 0, "weight_decay": 0.0, "grad_clip": 0.5}
    hyperparameters = namedtuple("Hyperparameters", values)(**values)
    linear = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(linear.weight, 0.3)
    torch.nn.init.zeros_(linear.bias)
    model, workload = wrap(linear), _Regression()
    state = submission.init_optimizer_state(workload, model, None, hyperparameters, None)
    batch = {"inputs": INPUTS[rows], "targets": TARGETS[rows], "weights": WEIGHTS[rows]}
    for step in range(3):
        submission.update_params(
            workload, model, None, None, hyperparameters, batch, None, state, [], step, None
        )
    return linear.weight.detach()


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    weight = _train(torch.nn.parallel.DistributedDataParallel, slice(2 * rank, 2 * rank + 2))
    np.save(Path(folder) / f"{rank}.npy", weight.numpy())
    torch.distributed.destroy_process_group()


def test_two_processes_take_the_steps_of_one_on_the_whole_batch(tmp_path: Path):
    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    expected = _train(lambda model: model, slice(0, 4)).numpy()
    for rank in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"{rank}.npy"), expected, rtol=1e-5)
