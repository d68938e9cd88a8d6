"""torch layers that normalise over the batch; twin of ``jax_norm_layers``."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks.torch_layers import StatisticsLayer
from spec.submission import ParameterType

BATCH_NORM_MOMENTUM = 0.9
"""Weight of the old running statistics, as in JAX; torch's own layers take the new ones' weight.

Source: Workload facts (imagenet_resnet), 2.
"""

BATCH_NORM_EPSILON = 1e-5
"""Source: Workload facts (imagenet_resnet), 2."""


class BatchNorm(StatisticsLayer):
    """Batch norm over all axes but the second one, for inputs of any rank from 2.

    A training pass normalises with the mean and the biased variance of the global batch, over all
    processes, which must have equal parts of it: the targets were set so (Decisions, 1). If
    ``updates_statistics`` is set, it puts both into the running statistics: old * momentum + new *
    (1 - momentum), and counts itself in ``num_batches_tracked``. torch's own layer would put the
    unbiased variance there; this is the JAX twin's function. An evaluation pass normalises with
    the running statistics.

    Args:
      channels: size of the second axis.
      initial_scale: what all elements of the weight start at; the bias starts at 0.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, channels: int, initial_scale: float = 1.0) -> None:
        super().__init__()
        self._initial_scale = initial_scale
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.int64))
        self.parameter_types = {
            "weight": ParameterType.BATCH_NORM_SCALE,
            "bias": ParameterType.BATCH_NORM_BIAS,
        }

    def initialise(self, generator: torch.Generator) -> None:
        """Sets scale, bias and the running statistics; see :class:`TypedLayer`."""
        nn.init.constant_(self.weight, self._initial_scale)
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        self.num_batches_tracked.zero_()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalises ``[batch, channels, ...]``.

        Raises:
          ValueError: a training pass with a single value per channel.
        """
        if not self.training:
            return self._normalise(inputs, self.running_mean, self.running_var)
        if dist.is_initialized() and dist.get_world_size() > 1:
            return self._over_processes(inputs)
        if not self.updates_statistics:
            return self._normalise(inputs, None, None)
        # Not the buffers themselves: the kernel would put the unbiased variance into them, and
        # what it was given it keeps for the backward pass, so that it must not change later.
        mean = torch.zeros_like(self.running_mean)
        variance = torch.zeros_like(self.running_var)
        outputs = self._normalise(inputs, mean, variance)
        count = inputs.numel() // len(mean)
        self._update(mean, variance * ((count - 1) / count))
        return outputs

    @torch.no_grad()
    def _update(self, mean: torch.Tensor, biased_variance: torch.Tensor) -> None:
        new_weight = 1.0 - BATCH_NORM_MOMENTUM
        self.running_mean.mul_(BATCH_NORM_MOMENTUM).add_(mean, alpha=new_weight)
        self.running_var.mul_(BATCH_NORM_MOMENTUM).add_(biased_variance, alpha=new_weight)
        self.num_batches_tracked.add_(1)

    def _over_processes(self, inputs: torch.Tensor) -> torch.Tensor:
        """A training pass whose statistics are those of the parts of all processes together."""
        axes = [0, *range(2, inputs.ndim)]
        own = torch.stack([inputs.mean(axes), inputs.square().mean(axes)])
        mean, square = sum_over_processes(own) / dist.get_world_size()
        variance = (square - mean.square()).clamp_min(0.0)
        if self.updates_statistics:
            self._update(mean, variance)
        scale = self.weight * torch.rsqrt(variance + BATCH_NORM_EPSILON)
        shift = self.bias - mean * scale
        shape = (1, -1, *(1,) * (inputs.ndim - 2))
        return inputs * scale.reshape(shape) + shift.reshape(shape)

    def _normalise(
        self, inputs: torch.Tensor, mean: torch.Tensor | None, variance: torch.Tensor | None
    ) -> torch.Tensor:
        """Normalises; a training pass writes mean and unbiased variance of the batch."""
        return F.batch_norm(
            inputs,
            mean,
            variance,
            self.weight,
            self.bias,
            training=self.training,
            momentum=1.0,
            eps=BATCH_NORM_EPSILON,
        )


def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Returns the sum of the values of all processes; gradients flow back to all of them."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        total: torch.Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
        return total
    return values


class _Sum(torch.autograd.Function):
    """Sum over the processes. torch's own synchronised batch norm does not run on CPUs."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        # Every process's loss depends on the sum, hence on this process's values.
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
