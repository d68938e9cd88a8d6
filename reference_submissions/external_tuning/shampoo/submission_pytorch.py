"""Distributed Shampoo, linear warm-up, cosine decay to 0 at the step hint (PyTorch)."""

from __future__ import annotations

from reference_submissions._common import schedules, settings, shampoo_torch
from reference_submissions._common.adapter_torch import initializer, update_params
from reference_submissions._common.batch_sizes import get_batch_size
from reference_submissions._common.pass_through import data_selection, prepare_for_eval

__all__ = [
    "data_selection",
    "get_batch_size",
    "init_optimizer_state",
    "prepare_for_eval",
    "update_params",
]

init_optimizer_state = initializer(
    settings=settings.tuned,
    update_rule=shampoo_torch.shampoo,
    schedule=schedules.cosine,
)
