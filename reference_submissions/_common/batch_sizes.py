"""``get_batch_size`` of the reference submissions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

BATCH_SIZES: Mapping[str, int] = MappingProxyType(
    {
        # The batch sizes that the targets were set with (workload facts, one sheet per data set).
        "criteo1tb": 262_144,
        "fastmri": 32,
        "imagenet_resnet": 1024,
        "imagenet_resnet_silu": 512,
        "imagenet_resnet_gelu": 512,
        "imagenet_vit": 1024,
        "imagenet_vit_glu": 512,
        "librispeech_conformer": 256,
        "librispeech_deepspeech": 256,
        "ogbg": 512,
        "wmt": 128,
        # Development workloads, our choice.
        "mnist": 128,
        "cifar": 128,
    }
)
"""Global training batch size by workload name, for the full-size benchmark."""


def get_batch_size(workload_name: str) -> int:
    """Returns the global training batch size of a workload.

    Args:
      workload_name: a base workload, or a variant that needs a batch size of its own.

    Returns:
      Examples per training step, over all devices.

    Raises:
      ValueError: the name is not listed. For a variant, the harness then asks again with the name
        of its base workload (harness contract, section 3).
    """
    try:
        return BATCH_SIZES[workload_name]
    except KeyError:
        known = ", ".join(BATCH_SIZES)
        raise ValueError(f"no batch size for workload {workload_name!r}; known: {known}") from None
