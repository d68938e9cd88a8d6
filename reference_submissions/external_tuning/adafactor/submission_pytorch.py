"""Adafactor with momentum, linear warm-up, cosine decay to 0 at the step hint (PyTorch)."""

from __future__ import annotations

from functools import partial

from reference_submissions._common import adafactor_torch, schedules, settings
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
    settings=partial(settings.tuned, beta2=0.99),
    update_rule=adafactor_torch.adafactor,
    schedule=schedules.cosine,
)
