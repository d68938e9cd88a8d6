"""Schedule-Free AdamW with linear warm-up; one configuration (PyTorch)."""

from __future__ import annotations

from reference_submissions._common import averaging_torch, schedules
from reference_submissions._common.averaging_torch import prepare_for_eval, update_params
from reference_submissions._common.batch_sizes import get_batch_size
from reference_submissions._common.pass_through import data_selection
from reference_submissions.self_tuning.schedule_free_adamw import defaults

__all__ = [
    "data_selection",
    "get_batch_size",
    "init_optimizer_state",
    "prepare_for_eval",
    "update_params",
]

init_optimizer_state = averaging_torch.initializer(
    settings=defaults.settings,
    update_rule=averaging_torch.schedule_free_adamw,
    schedule=schedules.linear_constant,
)
