"""Gradient descent in the layout from before v0.6: ``jax.pmap``, an axis of devices in front."""

import functools

import jax
import jax.numpy as jnp
from algorithmic_efficiency import spec
from flax import jax_utils


def get_batch_size(workload_name):
    return 256


def init_optimizer_state(
    workload: spec.Workload, model_params, model_state, hyperparameters, rng
) -> spec.OptimizerState:
    del model_params, model_state, rng
    momenta = jax.tree.map(lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes)
    return jax_utils.replicate(momenta), hyperparameters.learning_rate


@functools.partial(
    jax.pmap,
    axis_name="batch",
    in_axes=(None, None, 0, 0, 0, 0, 0),
    static_broadcasted_argnums=(0, 1),
)
def pmapped_step(workload, rate, momenta, params, model_state, batch, rng):
    def loss_fn(params):
        logits, new_model_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            dropout_rate=0.0,
        )
        loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return loss["summed"], (loss["n_valid_examples"], new_model_state)

    (_, (count, new_model_state)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    grads, count = jax.lax.psum((grads, count), axis_name="batch")
    momenta = jax.tree.map(lambda m, g: 0.9 * m + g / count, momenta, grads)
    return momenta, jax.tree.map(lambda p, m: p - rate * m, params, momenta), new_model_state


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
    momenta, rate = optimizer_state
    rngs = jax.random.split(rng, jax.local_device_count())
    momenta, params, model_state = pmapped_step(
        workload, rate, momenta, current_param_container, model_state, batch, rngs
    )
    return (momenta, rate), params, model_state


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
