"""What submissions may do, row by row; the clauses that rows belong to are in ``permissions``."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

ANYWHERE = "submission"
"""Subject of a row that holds for the whole submission and not for one of its functions."""


class Check(enum.StrEnum):
    """How one finds out whether a submission keeps to a row."""

    STATIC = "static"
    DYNAMIC = "dynamic"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Permission:
    """One use that the rules allow or disallow.

    Attributes:
      name: unique key of the row.
      clause: id of the clause that it belongs to.
      subject: the submission function it is about, or :data:`ANYWHERE`.
      allowed: whether the use is allowed.
      statement: the use.
      check: how it is checked.
    """

    name: str
    clause: str
    subject: str
    allowed: bool
    statement: str
    check: Check


def _rows(
    clause: str, subject: str, allowed: bool, check: Check, **statements: str
) -> Iterable[Permission]:
    return (
        Permission(name, clause, subject, allowed, statement, check)
        for name, statement in statements.items()
    )


PERMISSIONS: tuple[Permission, ...] = (
    *_rows(
        "VALID-3",
        "get_batch_size",
        True,
        Check.STATIC,
        batch_size_by_workload="another batch size for each workload name",
    ),
    *_rows(
        "VALID-3",
        "get_batch_size",
        True,
        Check.REVIEW,
        batch_size_tried_out="the largest batch size that fits into memory, found beforehand",
    ),
    *_rows(
        "VALID-4",
        "init_optimizer_state",
        True,
        Check.DYNAMIC,
        optimizer_state="buffers, schedules and whatever else the update rule keeps",
    ),
    *_rows(
        "VALID-4",
        "init_optimizer_state",
        False,
        Check.DYNAMIC,
        initial_parameters="giving the model other initial parameters than init_model_fn does",
    ),
    *_rows(
        "VALID-5",
        "update_params",
        True,
        Check.DYNAMIC,
        own_forward_passes="calling model_fn and loss_fn any number of times, or not at all",
        stored_outputs="keeping model outputs in the optimizer state to use them again",
        restart_model="calling init_model_fn again, for example when training has failed",
        elapsed_time="reading the elapsed time and the past evaluations",
        target_metric="reading the target of the workload",
        regularisation="adding a regulariser to the loss",
        per_example_losses="using the losses of single examples or their sum",
        synchronise_losses="summing the losses of the devices",
        dropout_tuning="changing the rate of the dropout that a model has, also during training",
        step_hint="using the step hint for schedules, or ignoring it",
        split_steps="dividing the work of a step between two steps",
    ),
    *_rows(
        "VALID-5",
        "update_params",
        True,
        Check.STATIC,
        loss_type="another treatment of each loss type",
    ),
    *_rows(
        "VALID-5",
        "update_params",
        True,
        Check.REVIEW,
        line_search="line searches and other ways to adapt a hyperparameter by what is observed",
    ),
    *_rows(
        "VALID-5",
        "update_params",
        False,
        Check.REVIEW,
        hyperparameters_by_workload="changing the given hyperparameters depending on the workload",
    ),
    *_rows(
        "VALID-5",
        "update_params",
        False,
        Check.DYNAMIC,
        more_dropout="adding dropout to a model, which changes the model",
    ),
    *_rows(
        "VALID-6",
        "prepare_for_eval",
        True,
        Check.DYNAMIC,
        swap_parameters="evaluating other parameters than the trained ones, such as their average",
        swap_model_state="changing the model state",
        swap_optimizer_state="changing the optimizer state",
        own_evaluations="evaluations of its own, on submission time",
    ),
    *_rows(
        "VALID-7",
        "data_selection",
        True,
        Check.DYNAMIC,
        own_batches="building batches of its own from the examples of the training data",
        echoing="using examples several times",
        biased_sampling="choosing examples by their losses or in an order of growing difficulty",
    ),
    *_rows(
        "VALID-7",
        "data_selection",
        True,
        Check.REVIEW,
        generic_changes="any change of the inputs that can be made on every workload",
    ),
    *_rows(
        "VALID-7",
        "data_selection",
        False,
        Check.REVIEW,
        special_changes="a change of the inputs that fits single workloads",
    ),
    *_rows(
        "VALID-8",
        ANYWHERE,
        True,
        Check.DYNAMIC,
        parallelism="data or model parallelism within the API",
        device_information="asking the framework about the devices",
    ),
    *_rows(
        "VALID-9",
        ANYWHERE,
        True,
        Check.REVIEW,
        one_good_setting="one hard-coded setting that works well on all workloads together",
    ),
    *_rows(
        "VALID-9",
        ANYWHERE,
        False,
        Check.REVIEW,
        needs_an_engineer="logic that a new workload needs a person to extend",
    ),
    *_rows(
        "VALID-9",
        ANYWHERE,
        False,
        Check.DYNAMIC,
        some_losses="failing with one of the loss types",
    ),
    *_rows(
        "VALID-10",
        ANYWHERE,
        True,
        Check.REVIEW,
        memory_by_shape="a routine that needs less memory where shapes are large",
        approximation_by_shape="approximating large matrices, by their shape",
        depth_by_order="other training of deeper layers, found by the order of the parameters",
        rule_by_layer_type="other update rules or statistics for each type of layer",
    ),
    *_rows(
        "VALID-10",
        ANYWHERE,
        False,
        Check.REVIEW,
        shape_fingerprint="recognising a workload by its shapes to use what is known for it",
    ),
    *_rows(
        "VALID-11",
        ANYWHERE,
        True,
        Check.REVIEW,
        automatic_hyperparameters="automatic procedures such as learning rate range tests",
        inner_loop_tuning="tuning within the run, on submission time",
        learned_update_rule="an update rule that was learned beforehand",
        learned_list="in self-tuning, trying out a learned list of hyperparameters",
        tuned_choice="leaving the choice of update rule or schedule to external tuning",
        schedule_from_curvature="adapting the learning rate by general quantities like curvature",
    ),
    *_rows(
        "VALID-11",
        ANYWHERE,
        True,
        Check.DYNAMIC,
        batch_size_during_training="another batch size in the course of training",
    ),
    *_rows(
        "VALID-12",
        ANYWHERE,
        False,
        Check.REVIEW,
        stored_parameters="looking up trained model parameters",
        stored_hyperparameters="looking up the best hyperparameters of each workload",
    ),
    *_rows(
        "VALID-13",
        ANYWHERE,
        False,
        Check.STATIC,
        rule_by_workload="an update rule that is selected by workload, model or data set",
        schedule_by_workload="a learning rate schedule for some of the workloads only",
    ),
    *_rows(
        "VALID-13",
        ANYWHERE,
        False,
        Check.REVIEW,
        learned_detector="a learned detector that ends in behaviour for single workloads",
    ),
    *_rows(
        "VALID-14",
        ANYWHERE,
        True,
        Check.STATIC,
        public_api="public functions of JAX and PyTorch, used skilfully",
        overlapping_transfers="streams that overlap transfers of data with other computations",
        packages_for_ideas="packages that support new algorithmic or mathematical ideas",
    ),
    *_rows(
        "VALID-14",
        ANYWHERE,
        False,
        Check.STATIC,
        own_kernels="faster kernels, written or generated, or other versions of kernel libraries",
        framework_overhead="skipping internal work of a framework",
        compiler_changes="new compiler optimisations, such as more or less fusion",
    ),
    *_rows(
        "VALID-15",
        ANYWHERE,
        False,
        Check.DYNAMIC,
        background_work="threads or streams that compute during untimed evaluations",
    ),
)
"""The rows, by clause."""
