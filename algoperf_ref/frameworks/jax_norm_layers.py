"""flax layers that normalise over the batch; twin of ``torch_norm_layers``."""

from __future__ import annotations

import flax.linen as nn

from algoperf_ref.frameworks.jax_layers import typed
from spec.submission import ParameterType

BATCH_NORM_MOMENTUM = 0.9
"""Weight of the old running statistics. Source: Workload facts (imagenet_resnet), 2."""

BATCH_NORM_EPSILON = 1e-5
"""Source: Workload facts (imagenet_resnet), 2."""


def batch_norm(name: str, *, training: bool, initial_scale: float = 1.0) -> nn.BatchNorm:
    """Returns a batch norm over all axes but the last one, for inputs of any rank.

    A training pass normalises with the mean and the biased variance of the whole batch, over all
    devices, and puts both into the running statistics ``mean`` and ``var`` of the collection
    ``batch_stats``: old * momentum + new * (1 - momentum). An evaluation pass normalises with the
    running statistics. Whether a training pass keeps the new ones is up to the caller of the
    model (Decisions, 2).

    Args:
      name: key of the layer in the trees of parameters and statistics.
      training: whether this is a training pass.
      initial_scale: what all elements of ``scale`` start at; ``bias`` starts at 0.
    """
    return nn.BatchNorm(
        use_running_average=not training,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        name=name,
        scale_init=typed(nn.initializers.constant(initial_scale), ParameterType.BATCH_NORM_SCALE),
        bias_init=typed(nn.initializers.zeros_init(), ParameterType.BATCH_NORM_BIAS),
    )
