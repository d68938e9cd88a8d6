"""A PyTorch submission as people write them for several processes (harness contract, section 7).

It sums loss and valid examples over the processes with ``torch.distributed.nn.all_reduce``, whose
gradient undoes the averaging of DistributedDataParallel, and keeps an average of the weights that
evaluations use.
"""

from __future__ import annotations

import torch
import torch.distributed.nn as dist_nn
from torch.optim.swa_utils import AveragedModel

from algoperf_ref.pytorch_utils import pytorch_setup
from conformance_tests.support.misbehaviour import completes, misbehave
from spec.submission import ForwardPassMode, TrainingCompleteError

USE_PYTORCH_DDP, RANK, DEVICE, N_GPUS = pytorch_setup()


def get_batch_size(workload_name):
    return 256  # 16 in the mini tier


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    assert isinstance(model_params, torch.nn.parallel.DistributedDataParallel) == USE_PYTORCH_DDP
    optimizer = torch.optim.SGD(model_params.parameters(), lr=hyperparameters.learning_rate)
    return {"optimizer": optimizer, "average": AveragedModel(model_params), "backup": None}


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
    train_state=None,
):
    misbehave(RANK, global_step)
    model = current_param_container
    if optimizer_state["backup"] is not None:
        model.load_state_dict(optimizer_state["backup"])
        optimizer_state["backup"] = None
    optimizer_state["optimizer"].zero_grad()
    logits, model_state = workload.model_fn(
        params=model,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
        dropout_rate=hyperparameters.dropout_rate,
    )
    losses = workload.loss_fn(
        label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights")
    )
    summed, num_valid = losses["summed"], losses["n_valid_examples"]
    if USE_PYTORCH_DDP:
        summed, num_valid = dist_nn.all_reduce(summed), dist_nn.all_reduce(num_valid)
    loss = summed / num_valid
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer_state["optimizer"].step()
    optimizer_state["average"].update_parameters(model)
    if workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(
            {"loss": loss.item(), "grad_norm": norm.item()}, global_step
        )
    if completes(RANK, global_step):
        raise TrainingCompleteError
    return optimizer_state, model, model_state


def prepare_for_eval(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    model = current_param_container
    if optimizer_state["backup"] is None:
        optimizer_state["backup"] = {k: v.clone() for k, v in model.state_dict().items()}
    average = optimizer_state["average"].module.state_dict()
    model.load_state_dict(average)
    return optimizer_state, model, model_state
