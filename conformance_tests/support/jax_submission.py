"""A JAX submission as people write them: shardings given to ``jax.jit``, arrays donated."""

from __future__ import annotations

import functools

import jax
import optax

from algoperf_ref import jax_sharding_utils
from conformance_tests.support.misbehaviour import completes, misbehave
from spec.submission import ForwardPassMode, TrainingCompleteError


def get_batch_size(workload_name):
    return 256  # 16 in the mini tier


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    optimizer = optax.sgd(hyperparameters.learning_rate, momentum=0.9)
    return optimizer.init(model_params), optimizer.update


def data_selection(
    workload,
    input_queue,
    optimizer_state,
    current_param_container,
    model_state,
    hyperparameters,
    global_step,
    rng,
):
    return next(input_queue)


def _step(workload, update, params, state, batch, rng, dropout_rate):
    def mean_loss(params):
        logits, _ = workload.model_fn(
            params, batch, None, ForwardPassMode.TRAIN, rng, True, dropout_rate=dropout_rate
        )
        losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return losses["summed"] / losses["n_valid_examples"]

    loss, gradients = jax.value_and_grad(mean_loss)(params)
    updates, state = update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss


def update_params(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    batch,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    misbehave(jax.process_index(), global_step)
    state, update = optimizer_state
    replicated = jax_sharding_utils.get_replicate_sharding()
    sharded = jax_sharding_utils.get_batch_dim_sharding()
    # Made anew on every step, as many submissions do; JAX finds the compiled one.
    step = jax.jit(
        functools.partial(_step, workload, update),
        in_shardings=(replicated, replicated, sharded, replicated, replicated),
        out_shardings=replicated,
        donate_argnums=(0, 1),
    )
    params, state, loss = step(
        current_param_container, state, batch, rng, hyperparameters.dropout_rate
    )
    if workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics({"loss": loss}, global_step)
    if completes(jax.process_index(), global_step):
        raise TrainingCompleteError
    return (state, update), params, model_state
