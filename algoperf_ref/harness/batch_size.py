"""Asks a submission for its batch sizes and checks them."""

from __future__ import annotations

from types import ModuleType

from algoperf_ref.errors import UserError
from spec.data_order import UnevenShards, shard_of


def training_batch_size(
    submission: ModuleType, workload_name: str, base_name: str, *, divisor: int, num_devices: int
) -> int:
    """Returns the global batch size to train with.

    The submission is asked for the workload's name and, if it raises ``ValueError``, for the
    base workload's (harness contract, section 3). A tier may train with a fixed fraction of it.

    Args:
      submission: module with ``get_batch_size``.
      workload_name: for example ``ogbg_gelu``.
      base_name: for example ``ogbg``.
      divisor: the tier's batch size divisor; 1 for the full benchmark.
      num_devices: the global batch must be a multiple of it.

    Raises:
      UserError: not a positive integer, or not a multiple of the number of devices.
    """
    try:
        size = submission.get_batch_size(workload_name)
    except ValueError:
        size = submission.get_batch_size(base_name)
    checked = _positive_integer(size, workload_name)
    return _divisible(max(1, checked // divisor), num_devices, "training batch size")


def evaluation_batch_size(batch_size: int, *, num_devices: int) -> int:
    """Returns the workload's evaluation batch size if the devices can share it.

    Raises:
      UserError: not a multiple of the number of devices.
    """
    return _divisible(batch_size, num_devices, "evaluation batch size")


def _positive_integer(size: object, workload_name: str) -> int:
    try:
        value = size.__index__()  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        value = 0
    if value <= 0 or isinstance(size, bool):
        raise UserError(
            f"submission: get_batch_size({workload_name!r}) returned {size!r}; "
            "it must return a positive integer"
        )
    return int(value)


def _divisible(size: int, num_devices: int, what: str) -> int:
    try:
        shard_of(size, 0, num_devices)
    except UnevenShards as error:
        raise UserError(
            f"the {what} {error}; change the batch size or use another number of devices"
        ) from error
    return size
