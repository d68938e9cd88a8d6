"""A training step of a workload's module as one would write it without a workload, in PyTorch.

The module is called directly and the loss is torch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).sum() / weights.sum()


def _cross_entropy(batch: Any, logits: Any) -> torch.Tensor:
    targets = batch["targets"].long()
    losses = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
    return _mean(losses, batch["weights"].flatten())


def _clicks(batch: Any, logits: Any) -> torch.Tensor:
    losses = F.binary_cross_entropy_with_logits(
        logits.reshape(-1), batch["targets"], reduction="none"
    )
    return _mean(losses, batch["weights"])


def _tasks(batch: Any, logits: Any) -> torch.Tensor:
    weights = batch["weights"]
    known = torch.where(weights > 0, batch["targets"], 0.0)
    losses = F.binary_cross_entropy_with_logits(logits, known, reduction="none")
    return _mean(losses, weights)


def _absolute_error(batch: Any, images: Any) -> torch.Tensor:
    losses = F.l1_loss(images, batch["targets"], reduction="none").mean((1, 2))
    return _mean(losses, batch["weights"])


def _alignments(batch: Any, outputs: Any) -> torch.Tensor:
    logits, logit_paddings = outputs
    labels, paddings = batch["targets"]
    lengths = [(1 - p).sum(1).long() for p in (logit_paddings, paddings)]
    log_probabilities = F.log_softmax(logits, dim=-1).transpose(0, 1)
    losses = F.ctc_loss(log_probabilities, labels.long(), *lengths, reduction="sum")
    return losses / (1 - paddings).sum()


LOSSES: dict[str, Callable[[Any, Any], torch.Tensor]] = {
    "criteo1tb": _clicks,
    "fastmri": _absolute_error,
    "imagenet_resnet": _cross_entropy,
    "imagenet_vit": _cross_entropy,
    "librispeech_conformer": _alignments,
    "librispeech_deepspeech": _alignments,
    "ogbg": _tasks,
    "wmt": _cross_entropy,
}
"""(batch, outputs) -> mean loss, by base workload."""


def bare_step(workload: Any, inputs: Any, batch: Any, rate: float, key: Any) -> Callable[..., Any]:
    """Returns ``(module, None) -> loss``; the gradients are left in the module.

    Args:
      workload: its name is read.
      inputs: what the module reads of the batch.
      batch: on the device.
      rate: of dropout.
      key: not used: PyTorch draws dropout from its global generator.
    """
    del key
    loss_of = LOSSES[workload.name]

    def step(module: torch.nn.Module, state: None) -> float:
        module.train()
        module.zero_grad()
        loss = loss_of(batch, module(inputs, rate))
        loss.backward()
        return loss.item()

    return step
