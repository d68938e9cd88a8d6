"""The submission API: what a training algorithm is given, must define, and hands back.

Importing this module pulls in no framework: arrays are ``Any`` here, and the enumerations, the
shape objects and the protocols are the ones that harness, workloads and submissions share.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from spec.clauses import Source, clause
from spec.submission_functions import (
    KEYWORD_FUNCTIONS,
    OPTIONAL_FUNCTIONS,
    OPTIONAL_PARAMETERS,
    REQUIRED_FUNCTIONS,
    TRAIN_STATE_KEYS,
    check_submission,
)

__all__ = [
    "KEYWORD_FUNCTIONS",
    "OPTIONAL_FUNCTIONS",
    "OPTIONAL_PARAMETERS",
    "REQUIRED_FUNCTIONS",
    "TRAIN_STATE_KEYS",
    "DataSelectionFn",
    "ForwardPassMode",
    "Hyperparameters",
    "InitOptimizerFn",
    "LossType",
    "ModelAuxiliaryState",
    "ModelInitState",
    "OptimizerState",
    "ParameterContainer",
    "ParameterKey",
    "ParameterShapeTree",
    "ParameterType",
    "ParameterTypeTree",
    "PrepareForEvalFn",
    "RandomState",
    "Shape",
    "ShapeTuple",
    "Steps",
    "SubmissionModule",
    "Tensor",
    "Timing",
    "TrainingCompleteError",
    "UpdateParamsFn",
    "UpdateReturn",
    "Workload",
    "check_submission",
    "parameter_type_values",
]

_RULES = "Rules v0.6"
_CONTRACT = "Harness contract"


@clause(
    "SUB-1",
    "Every workload uses one of five losses, told apart by an enumeration whose integers are 0 "
    "softmax cross-entropy, 1 sigmoid cross-entropy, 2 mean squared error, 3 CTC and 4 mean "
    "absolute error.",
    source=(Source(_RULES, "Fixed functions: loss_fn"), Source(_CONTRACT, "1.1")),
)
class LossType(enum.Enum):
    """The loss of a workload; a submission may depend on it."""

    SOFTMAX_CROSS_ENTROPY = 0
    SIGMOID_CROSS_ENTROPY = 1
    MEAN_SQUARED_ERROR = 2
    CTC_LOSS = 3
    MEAN_ABSOLUTE_ERROR = 4


@clause(
    "SUB-2",
    "A forward pass is a training pass (0) or an evaluation pass (1).",
    source=(Source(_RULES, "Fixed functions: model_fn"), Source(_CONTRACT, "1.1")),
)
class ForwardPassMode(enum.Enum):
    """The ``mode`` argument of ``model_fn``."""

    TRAIN = 0
    EVAL = 1


@clause(
    "SUB-3",
    "Every parameter has one of fifteen declared types, which a submission may use to treat kinds "
    "of layers differently.",
    source=(
        Source(_RULES, "Submission functions: update_params"),
        Source(_CONTRACT, "1.1"),
        Source("Decisions", "14"),
    ),
    versions=("v0.6",),
)
class ParameterType(enum.Enum):
    """The type of a parameter, with the integer values of v0.6."""

    WEIGHT = 0
    BIAS = 1
    CONV_WEIGHT = 2
    BATCH_NORM_SCALE = 3
    BATCH_NORM_BIAS = 4
    LAYER_NORM_SCALE = 5
    LAYER_NORM_BIAS = 6
    EMBEDDING = 7
    ATTENTION_Q = 8
    ATTENTION_K = 9
    ATTENTION_V = 10
    ATTENTION_OUT = 11
    ATTENTION_QKV = 12
    ATTENTION_KV = 13
    ATTENTION_BIAS = 14


@clause(
    "SUB-4",
    "Before v0.6 there was no type for fused key-value projections, and the attention bias had "
    "the integer 13.",
    source=Source(_CONTRACT, "1.1"),
    versions=("paper2023", "v0.5"),
)
def parameter_type_values(version: str = "v0.6") -> Mapping[str, int]:
    """The parameter types of a ruleset version.

    Args:
      version: ruleset version, one of :data:`spec.clauses.VERSIONS`.

    Returns:
      Official integer value by type name.
    """
    values = {kind.name: kind.value for kind in ParameterType}
    if version != "v0.6":
        values["ATTENTION_BIAS"] = values.pop("ATTENTION_KV")
    return MappingProxyType(values)


@clause(
    "SUB-5",
    "The shape of a parameter is an object with the attribute `shape_tuple`, compared by it, and "
    "is neither a tuple nor a container that a tree library would open.",
    source=Source(_CONTRACT, "1.1"),
)
class ShapeTuple:
    """Shape of one parameter, a leaf of ``workload.param_shapes``.

    Attributes:
      shape_tuple: the shape, for example ``(9, 256)``.
    """

    __slots__ = ("shape_tuple",)
    __hash__ = None  # type: ignore[assignment]  # The official class defines equality only.

    def __init__(self, shape_tuple: tuple[int, ...]) -> None:
        self.shape_tuple = shape_tuple

    def __repr__(self) -> str:
        return f"ShapeTuple({self.shape_tuple})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShapeTuple):
            return NotImplemented
        return self.shape_tuple == other.shape_tuple


@clause(
    "SUB-6",
    "A submission that has nothing left to do raises TrainingCompleteError from update_params; "
    "no other exception has a meaning to the harness.",
    source=(Source(_CONTRACT, "5, step b"), Source("Decisions", "5")),
)
class TrainingCompleteError(Exception):
    """Raised by a submission that considers its training complete."""


# Aliases for the annotations of submissions. They are evaluated when a submission is imported,
# with either framework or none installed, so arrays and modules are `Any`.
Shape: TypeAlias = tuple[int, ...]
ParameterShapeTree: TypeAlias = dict[str, Any]
ParameterKey: TypeAlias = str
ParameterTypeTree: TypeAlias = dict[str, Any]
RandomState: TypeAlias = Any
OptimizerState: TypeAlias = Any
Hyperparameters: TypeAlias = Any
Timing: TypeAlias = int
Steps: TypeAlias = int
Tensor: TypeAlias = Any
ParameterContainer: TypeAlias = Any
ModelAuxiliaryState: TypeAlias = Any
ModelInitState: TypeAlias = tuple[ParameterContainer, ModelAuxiliaryState]
UpdateReturn: TypeAlias = tuple[OptimizerState, ParameterContainer, ModelAuxiliaryState]
InitOptimizerFn: TypeAlias = Callable[..., OptimizerState]
UpdateParamsFn: TypeAlias = Callable[..., UpdateReturn]
PrepareForEvalFn: TypeAlias = Callable[..., UpdateReturn]
DataSelectionFn: TypeAlias = Callable[..., Any]


class Workload(Protocol):
    """What a submission and the harness may use of a workload (harness contract, section 2).

    A workload is hashable by identity and stays the same object for all trials of a run.
    """

    metrics_logger: Any

    @property
    def step_hint(self) -> int: ...
    @property
    def loss_type(self) -> LossType: ...
    @property
    def param_shapes(self) -> Any: ...
    @property
    def model_params_types(self) -> Any: ...
    @property
    def target_metric_name(self) -> str: ...
    @property
    def validation_target_value(self) -> float: ...
    @property
    def test_target_value(self) -> float: ...
    @property
    def max_allowed_runtime_sec(self) -> float: ...
    @property
    def eval_period_time_sec(self) -> float: ...
    @property
    def num_train_examples(self) -> int: ...
    @property
    def num_eval_train_examples(self) -> int: ...
    @property
    def num_validation_examples(self) -> int: ...
    @property
    def num_test_examples(self) -> int | None: ...
    @property
    def eval_batch_size(self) -> int: ...
    @property
    def train_mean(self) -> Any: ...
    @property
    def train_stddev(self) -> Any: ...

    def init_model_fn(self, rng: RandomState) -> ModelInitState: ...

    def model_fn(
        self,
        params: ParameterContainer,
        augmented_and_preprocessed_input_batch: Any,
        model_state: ModelAuxiliaryState,
        mode: ForwardPassMode,
        rng: RandomState,
        update_batch_norm: bool,
        dropout_rate: Any = ...,
    ) -> tuple[Any, ModelAuxiliaryState]: ...

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]: ...

    def eval_model(
        self,
        global_batch_size: int,
        params: ParameterContainer,
        model_state: ModelAuxiliaryState,
        rng: RandomState,
        data_dir: str,
        imagenet_v2_data_dir: str | None = None,
        global_step: int = 0,
    ) -> dict[str, float]: ...

    def has_reached_validation_target(self, eval_result: Mapping[str, float]) -> bool: ...
    def has_reached_test_target(self, eval_result: Mapping[str, float]) -> bool: ...
    def is_output_params(self, param_key: ParameterKey) -> bool: ...
    def attach_metrics_logger(self, metrics_logger: Any) -> None: ...


class SubmissionModule(Protocol):
    """A module that defines a training algorithm; ``prepare_for_eval`` may be missing."""

    def get_batch_size(self, workload_name: str, /) -> int: ...

    def init_optimizer_state(
        self,
        workload: Workload,
        model_params: ParameterContainer,
        model_state: ModelAuxiliaryState,
        hyperparameters: Hyperparameters,
        rng: RandomState,
        /,
    ) -> OptimizerState: ...

    def data_selection(
        self,
        workload: Workload,
        input_queue: Iterator[dict[str, Any]],
        optimizer_state: OptimizerState,
        current_param_container: ParameterContainer,
        model_state: ModelAuxiliaryState,
        hyperparameters: Hyperparameters,
        global_step: int,
        rng: RandomState,
        /,
    ) -> Any: ...

    update_params: UpdateParamsFn
