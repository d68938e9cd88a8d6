# SPDX-License-Identifier: Apache-2.0
"""my_submission: AdamW with warm-up and cosine decay, self-tuning (JAX).

The harness imports this file and calls the five public functions, with these arguments:
``get_batch_size`` before the training; ``init_optimizer_state`` at the start of a trial; for every
step ``data_selection`` and ``update_params``; before an evaluation ``prepare_for_eval``. The clock
runs during the last three. Helper functions and further files beside this one are welcome.

Letters and a number, like SUB-7, name a rule: ``python -m spec show SUB-7`` prints it. The most
important one is VALID-13: apart from the batch size, nothing may depend on which workload it is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import optax

from algoperf_ref import jax_sharding_utils
from spec.submission import ForwardPassMode, Workload

# The same for every workload, known or not. An algorithm may also find them while the clock runs
# (VALID-11), but not look them up for a workload (VALID-12).
LEARNING_RATE, WEIGHT_DECAY, WARMUP_FACTOR = 3e-3, 1e-2, 0.05
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

BATCH_SIZES = {
    "criteo1tb": 262_144,
    "fastmri": 32,
    "imagenet_resnet": 1024,
    "imagenet_resnet_silu": 512,  # a variant that needs more memory than its base workload
    "imagenet_resnet_gelu": 512,
    "imagenet_vit": 1024,
    "imagenet_vit_glu": 512,
    "librispeech_conformer": 256,
    "librispeech_deepspeech": 256,
    "ogbg": 512,
    "wmt": 128,
    # Not part of the benchmark, but handy to try things out.
    "mnist": 128,
    "cifar": 128,
}


def get_batch_size(workload_name: str) -> int:
    """Chooses the number of training examples of a step, over all devices.

    This is the one choice that may be made by the name of the workload (VALID-3). It must fit into
    the memory of the benchmarking hardware and be a multiple of the number of devices. The mini
    tier divides it.

    Raises:
      ValueError: the name is unknown. For a variant, such as ``ogbg_gelu``, the harness then asks
        for the base workload, ``ogbg``.
    """
    if workload_name in BATCH_SIZES:
        return BATCH_SIZES[workload_name]
    raise ValueError(f"no batch size for workload {workload_name!r}; add it to BATCH_SIZES")


def init_optimizer_state(
    workload: Workload, model_params: Any, model_state: Any, hyperparameters: Any, rng: Any
) -> tuple[Any, Any]:
    """Makes what the training algorithm remembers from one step to the next.

    Args:
      workload: see :class:`spec.submission.Workload` for what may be used; ``step_hint`` is how
        many steps a good training takes.
      model_params: initial parameters, a tree of arrays. They must not be changed here (VALID-4).
      model_state: what the model remembers besides: statistics of batch normalisation, or None.
      hyperparameters: None; a self-tuning submission has no search space (VALID-16).
      rng: random key, for an algorithm that needs one.

    Returns:
      A pair: a tree of arrays, which is what a checkpoint keeps, and anything else, which is made
      anew when a run is resumed (SUB-20). Here the second part is the compiled step.
    """
    del model_state, hyperparameters, rng
    optimizer = _optimizer(
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        warmup_factor=WARMUP_FACTOR,
        step_hint=workload.step_hint,
    )
    # All devices hold the same parameters, and each has its part of the batch (SUB-19).
    everywhere = jax_sharding_utils.get_replicate_sharding()
    by_example = jax_sharding_utils.get_batch_dim_sharding()
    step = jax.jit(
        functools.partial(_step, workload, optimizer),
        donate_argnums=(0, 1, 2),  # their memory is used for the results; the old arrays are gone
        in_shardings=(everywhere, everywhere, everywhere, by_example, everywhere),
        out_shardings=everywhere,
    )
    return jax.jit(optimizer.init, out_shardings=everywhere)(model_params), step


def data_selection(
    workload: Workload,
    input_queue: Iterator[dict[str, Any]],
    optimizer_state: Any,
    current_param_container: Any,
    model_state: Any,
    hyperparameters: Any,
    global_step: int,
    rng: Any,
) -> dict[str, Any]:
    """Chooses the batch of the next step: usually the next one of the queue.

    Batches may be repeated, combined or changed in ways that make sense for any workload (VALID-7).

    Returns:
      What ``update_params`` gets as ``batch``: ``inputs``, ``targets`` and, where some examples do
      not count, ``weights``.
    """
    del workload, optimizer_state, current_param_container, model_state, hyperparameters
    del global_step, rng
    return next(input_queue)


def update_params(
    workload: Workload,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: dict[str, Any],
    loss_type: Any,
    optimizer_state: tuple[Any, Any],
    eval_results: list[tuple[int, dict[str, float]]],
    global_step: int,
    rng: Any,
    train_state: Any = None,
) -> tuple[tuple[Any, Any], Any, Any]:
    """Does one training step.

    Args:
      workload: as above.
      current_param_container: the parameters, a tree of arrays.
      current_params_types: the kind of each parameter (weight, bias, ...), in a tree of the same
        structure; for algorithms that treat kinds differently (SUB-3).
      model_state: as above.
      hyperparameters: None.
      batch: what ``data_selection`` returned.
      loss_type: one of five; the algorithm has to work with all of them (VALID-9).
      optimizer_state: what the step before, or ``init_optimizer_state``, returned.
      eval_results: step and metrics of the evaluations so far.
      global_step: number of steps done, 0 in the first.
      rng: random key, another one in every step.
      train_state: what the clock shows, and more (SUB-10). The harness passes it to submissions
        that have this parameter; it may be left out.

    Returns:
      Optimizer state, parameters, model state: three values in this order (SUB-14).
    """
    del workload, current_params_types, hyperparameters, loss_type, eval_results, global_step
    del train_state
    arrays, step = optimizer_state
    arrays, params, model_state = step(arrays, current_param_container, model_state, batch, rng)
    return (arrays, step), params, model_state


def prepare_for_eval(
    workload: Workload,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    loss_type: Any,
    optimizer_state: tuple[Any, Any],
    eval_results: list[tuple[int, dict[str, float]]],
    global_step: int,
    rng: Any,
) -> tuple[tuple[Any, Any], Any, Any]:
    """Gives the harness what it is to evaluate; a submission may do without this function (SUB-8).

    The parameters returned are evaluated, off the clock, and training goes on from them. So an
    algorithm that evaluates an average has to keep the parameters it trains in its optimizer state.

    Returns:
      As ``update_params``; here everything as it is.
    """
    del workload, current_params_types, hyperparameters, loss_type, eval_results, global_step, rng
    return optimizer_state, current_param_container, model_state


def _optimizer(
    learning_rate: float, weight_decay: float, warmup_factor: float, step_hint: int
) -> optax.GradientTransformation:
    """The update rule with its schedule; ``warmup_factor`` is a fraction of the step hint."""
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=learning_rate,
        warmup_steps=int(warmup_factor * step_hint),
        decay_steps=step_hint,  # counted from the first step, with the warm-up
    )
    return optax.adamw(schedule, b1=BETA1, b2=BETA2, eps=EPSILON, weight_decay=weight_decay)


def _step(
    workload: Workload,
    optimizer: optax.GradientTransformation,
    arrays: Any,
    params: Any,
    model_state: Any,
    batch: dict[str, Any],
    rng: Any,
) -> tuple[Any, Any, Any]:
    """The part of a step that is compiled."""

    def mean_loss(params: Any) -> tuple[Any, Any]:
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            # dropout_rate=0.1 would replace the default rate of the workload (DROP-5).
        )
        loss = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=0.0,
        )
        return loss["summed"] / loss["n_valid_examples"], new_model_state

    grads, model_state = jax.grad(mean_loss, has_aux=True)(params)
    updates, arrays = optimizer.update(grads, arrays, params)
    return arrays, optax.apply_updates(params, updates), model_state
