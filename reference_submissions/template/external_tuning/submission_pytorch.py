# SPDX-License-Identifier: Apache-2.0
"""my_submission: AdamW with warm-up and cosine decay, external tuning (PyTorch).

The harness imports this file and calls the five public functions, with these arguments:
``get_batch_size`` before the training; ``init_optimizer_state`` at the start of a trial; for every
step ``data_selection`` and ``update_params``; before an evaluation ``prepare_for_eval``. The clock
runs during the last three. Helper functions and further files beside this one are welcome.

On several devices every one has a process of its own that runs this file, started by torchrun.

Letters and a number, like SUB-7, name a rule: ``python -m spec show SUB-7`` prints it. The most
important one is VALID-13: apart from the batch size, nothing may depend on which workload it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed

from spec.submission import ForwardPassMode, Workload

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
    workload: Workload,
    model_params: torch.nn.Module,
    model_state: Any,
    hyperparameters: Any,
    rng: Any,
) -> dict[str, Any]:
    """Makes what the training algorithm remembers from one step to the next.

    Args:
      workload: see :class:`spec.submission.Workload` for what may be used; ``step_hint`` is how
        many steps a good training takes.
      model_params: the model, with initial parameters. They must not be changed here (VALID-4).
      model_state: None; in PyTorch the statistics of batch normalisation are in the model.
      hyperparameters: a point of tuning_search_space.json, as a named tuple.
      rng: random seed, for an algorithm that needs one.

    Returns:
      A dictionary. A checkpoint keeps the entries that have ``state_dict`` and
      ``load_state_dict``, as optimizers and schedules have, and nothing else (SUB-20).
    """
    del model_state, rng
    optimizer, scheduler = _optimizer(
        model_params,
        learning_rate=hyperparameters.learning_rate,
        weight_decay=hyperparameters.weight_decay,
        warmup_factor=hyperparameters.warmup_factor,
        step_hint=workload.step_hint,
    )
    return {"optimizer": optimizer, "scheduler": scheduler}


def data_selection(
    workload: Workload,
    input_queue: Iterator[dict[str, Any]],
    optimizer_state: dict[str, Any],
    current_param_container: torch.nn.Module,
    model_state: Any,
    hyperparameters: Any,
    global_step: int,
    rng: Any,
) -> dict[str, Any]:
    """Chooses the batch of the next step: usually the next one of the queue.

    Batches may be repeated, combined or changed in ways that make sense for any workload (VALID-7).

    Returns:
      What ``update_params`` gets as ``batch``: ``inputs``, ``targets`` and, where some examples do
      not count, ``weights``; of these, the part of this process (SUB-19).
    """
    del workload, optimizer_state, current_param_container, model_state, hyperparameters
    del global_step, rng
    return next(input_queue)


def update_params(
    workload: Workload,
    current_param_container: torch.nn.Module,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: dict[str, Any],
    loss_type: Any,
    optimizer_state: dict[str, Any],
    eval_results: list[tuple[int, dict[str, float]]],
    global_step: int,
    rng: Any,
    train_state: Any = None,
) -> tuple[dict[str, Any], torch.nn.Module, Any]:
    """Does one training step.

    Args:
      workload: as above.
      current_param_container: the model.
      current_params_types: the kind of each parameter (weight, bias, ...), by its name; for
        algorithms that treat kinds differently (SUB-3).
      model_state: as above.
      hyperparameters: as above; the same in every step, not to be changed (VALID-5).
      batch: what ``data_selection`` returned.
      loss_type: one of five; the algorithm has to work with all of them (VALID-9).
      optimizer_state: what the step before, or ``init_optimizer_state``, returned.
      eval_results: step and metrics of the evaluations so far.
      global_step: number of steps done, 0 in the first.
      rng: random seed, another one in every step.
      train_state: what the clock shows, and more (SUB-10). The harness passes it to submissions
        that have this parameter; it may be left out.

    Returns:
      Optimizer state, model, model state: three values in this order (SUB-14).
    """
    del current_params_types, hyperparameters, loss_type, eval_results, global_step, train_state
    model, optimizer = current_param_container, optimizer_state["optimizer"]
    optimizer.zero_grad()
    logits, model_state = workload.model_fn(
        model,
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
    (loss["summed"] / _mean_over_processes(loss["n_valid_examples"])).backward()
    optimizer.step()
    optimizer_state["scheduler"].step()
    return optimizer_state, model, model_state


def prepare_for_eval(
    workload: Workload,
    current_param_container: torch.nn.Module,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    loss_type: Any,
    optimizer_state: dict[str, Any],
    eval_results: list[tuple[int, dict[str, float]]],
    global_step: int,
    rng: Any,
) -> tuple[dict[str, Any], torch.nn.Module, Any]:
    """Gives the harness what it is to evaluate; a submission may do without this function (SUB-8).

    The model returned is evaluated, off the clock, and training goes on from it. So an algorithm
    that evaluates an average has to keep the parameters it trains in its optimizer state.

    Returns:
      As ``update_params``; here everything as it is.
    """
    del workload, current_params_types, hyperparameters, loss_type, eval_results, global_step, rng
    return optimizer_state, current_param_container, model_state


def _optimizer(
    model: torch.nn.Module,
    learning_rate: float,
    weight_decay: float,
    warmup_factor: float,
    step_hint: int,
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The update rule and its schedule; ``warmup_factor`` is a fraction of the step hint."""
    warmup_steps = int(warmup_factor * step_hint)

    def fraction_of_peak(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        decayed = min((step - warmup_steps) / (step_hint - warmup_steps), 1.0)
        return (1.0 + math.cos(math.pi * decayed)) / 2.0

    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=learning_rate,
        betas=(BETA1, BETA2),
        eps=EPSILON,
        weight_decay=weight_decay,
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, fraction_of_peak)


def _mean_over_processes(num_examples: torch.Tensor) -> torch.Tensor:
    """The mean number of valid examples of a process.

    ``loss_fn`` sees the examples of one process (SUB-15). DistributedDataParallel averages the
    gradients of the processes; with this number under each sum of losses, the average is the
    gradient of the mean over all examples.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return num_examples
    total = num_examples.detach().clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
