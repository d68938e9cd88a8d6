"""Stochastic gradient descent with a line search on every batch; nothing to tune (JAX)."""

from __future__ import annotations

from reference_submissions._common import line_search_jax
from reference_submissions._common.adapter_jax import update_params
from reference_submissions._common.batch_sizes import get_batch_size
from reference_submissions._common.pass_through import data_selection, prepare_for_eval
from reference_submissions.self_tuning.line_search import defaults

__all__ = [
    "data_selection",
    "get_batch_size",
    "init_optimizer_state",
    "prepare_for_eval",
    "update_params",
]

init_optimizer_state = line_search_jax.initializer(defaults.settings)
