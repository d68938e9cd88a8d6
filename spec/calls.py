"""When the functions of a submission are called, and what passes between them and the harness."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from spec.clauses import BrokenRule, Source, clause, rule
from spec.data_order import shard_of
from spec.records import FRAMEWORKS
from spec.submission import ForwardPassMode

_RULES = "Rules v0.6"
_CONTRACT = "Harness contract"
_UPDATE = Source(_RULES, "Submission functions: update_params")
_QUEUE = Source(_RULES, "Fixed functions: _build_input_queue")


class Phase(enum.StrEnum):
    """Parts of a run, in the order in which they are first reached."""

    RUN_SETUP = "before any trial"
    TRIAL_SETUP = "before the clock of a trial starts"
    STEP = "a training step"
    PREPARATION = "preparing for an evaluation"
    EVALUATION = "an evaluation"


class CallOutOfPlace(BrokenRule, clause="SUB-12"):
    """A function of a submission was called in a phase in which it is not."""


rule(
    "SUB-13",
    "No code of a submission runs during an evaluation, so data_selection sees training inputs "
    "only.",
    source=(
        Source(_RULES, "Submission functions"),
        Source(_RULES, "Submission functions: data_selection"),
    ),
    implementation="spec.calls.CALLED_IN",
)
CALLED_IN: Mapping[Phase, tuple[str, ...]] = MappingProxyType(
    {
        Phase.RUN_SETUP: ("get_batch_size",),
        Phase.TRIAL_SETUP: ("init_optimizer_state",),
        Phase.STEP: ("data_selection", "update_params"),
        Phase.PREPARATION: ("prepare_for_eval",),
        Phase.EVALUATION: (),
    }
)
"""Phase -> functions that are called in it, in their order."""

TIMED_PHASES: frozenset[Phase] = frozenset({Phase.STEP, Phase.PREPARATION})
"""Phases that are charged to the submission."""


@clause(
    "SUB-12",
    """The batch size is asked for once before training, the optimizer state once before the clock
    of a trial starts; every step selects data once and updates once; every evaluation is preceded
    by one preparation. Steps and preparations are on submission time.""",
    source=(
        Source(_RULES, "Submission functions: get_batch_size"),
        _UPDATE,
        Source(_RULES, "Submission functions: prepare_for_eval"),
        Source(_CONTRACT, "3 and 5"),
    ),
)
def check_call(function: str, phase: Phase) -> None:
    """Raises unless a function of a submission is called in its phase.

    Args:
      function: name of the submission function.
      phase: what the harness is doing.

    Raises:
      CallOutOfPlace: it is called in another phase, or does not exist.
    """
    if function not in CALLED_IN[phase]:
        raise CallOutOfPlace(f"{function} is not called in {phase.value}")


class WrongReturn(BrokenRule, clause="SUB-14"):
    """update_params or prepare_for_eval returned something else than three values."""


@clause(
    "SUB-14",
    """update_params and prepare_for_eval return three values: optimizer state, parameters and model
    state, in this order.""",
    source=(_UPDATE, Source(_CONTRACT, "3")),
    checked_on="submission",
)
def check_update_return(returned: Any) -> None:
    """Raises unless a returned value can be unpacked into the three values.

    Args:
      returned: what the function returned; only its form is looked at.

    Raises:
      WrongReturn: it is no tuple or list of three.
    """
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        form = (
            f"{len(returned)} values"
            if isinstance(returned, tuple | list)
            else type(returned).__name__
        )
        raise WrongReturn(f"expected (optimizer_state, parameters, model_state), got {form}")


class WrongLossKeys(BrokenRule, clause="SUB-15"):
    """The result of a workload's loss_fn has other keys than the three."""


LOSS_KEYS: tuple[str, ...] = ("summed", "n_valid_examples", "per_example")
"""Keys of the result of ``loss_fn``."""


@clause(
    "SUB-15",
    """loss_fn returns the summed loss, the number of valid examples and the loss of each example,
    differentiable, without regularisation, and for the examples that it was given, which in PyTorch
    are those of one device.""",
    source=(Source(_RULES, "Fixed functions: loss_fn"), Source(_CONTRACT, "2.2")),
)
def check_loss_result(result: Mapping[str, Any]) -> None:
    """Raises unless the result of a loss has the three keys.

    Args:
      result: what ``loss_fn`` returned.

    Raises:
      WrongLossKeys: one is missing, or there is another.
    """
    if set(result) != set(LOSS_KEYS):
        raise WrongLossKeys(f"a loss has the keys {', '.join(LOSS_KEYS)}, not {sorted(result)}")


rule(
    "SUB-21",
    "The fixed functions of a workload that submissions call have exactly the documented "
    "parameters; those after update_batch_norm and after the logits may be left out.",
    source=(
        Source(_RULES, "Fixed functions: init_model_fn"),
        Source(_RULES, "Fixed functions: model_fn"),
        Source(_RULES, "Fixed functions: loss_fn"),
        Source(_CONTRACT, "2.1 and 2.2"),
    ),
    implementation="spec.calls.FIXED_SIGNATURES",
    versions=("v0.6",),
)
FIXED_SIGNATURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "init_model_fn": ("rng",),
        "model_fn": (
            "params",
            "augmented_and_preprocessed_input_batch",
            "model_state",
            "mode",
            "rng",
            "update_batch_norm",
            "dropout_rate",
        ),
        "loss_fn": ("label_batch", "logits_batch", "mask_batch", "label_smoothing"),
    }
)
"""Fixed function -> parameter names in order."""

rule(
    "SUB-16",
    "model_fn returns logits, the values before the output activation, and the model state after "
    "the pass.",
    source=Source(_RULES, "Fixed functions: model_fn"),
    implementation="spec.submission.Workload",
)


@clause(
    "SUB-17",
    """A forward pass changes the model state (statistics of batch normalisation) only if it is a
    training pass with update_batch_norm; without it a training pass normalises with the statistics
    of its batch and leaves the running ones alone.""",
    source=(Source(_RULES, "Fixed functions: model_fn"), Source("Decisions", "2")),
)
def may_change_model_state(mode: ForwardPassMode, update_batch_norm: bool) -> bool:
    """Says whether ``model_fn`` may return another model state than it was given.

    Args:
      mode: training or evaluation pass.
      update_batch_norm: the argument of ``model_fn``.

    Returns:
      True if it may.
    """
    return mode is ForwardPassMode.TRAIN and update_batch_norm


rule(
    "SUB-18",
    "Model parameters are 32-bit floating point numbers, in a nested structure that the structure "
    "of the parameter types repeats.",
    source=(_UPDATE, Source(_RULES, "Fixed functions: model_fn"), Source("Decisions", "14")),
    implementation="spec.calls.PARAMETER_DTYPE",
)
PARAMETER_DTYPE = "float32"
"""Name of the data type of all model parameters."""


class UnknownFramework(BrokenRule, clause="SUB-19"):
    """A framework that the benchmark does not have."""


@clause(
    "SUB-19",
    """The first axis of a batch is the whole global batch in JAX, as one array that is sharded over
    the devices, and one process's part of it in PyTorch; v0.6's text still describes an older JAX
    layout with a device axis.""",
    source=(_QUEUE, Source("Decisions", "11"), Source(_CONTRACT, "2.3")),
)
def batch_shape(
    framework: str, global_batch_size: int, num_processes: int, example_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Shape of an array of a training batch.

    Args:
      framework: ``jax`` or ``pytorch``.
      global_batch_size: examples of a step on all devices.
      num_processes: processes that train together, one per device in PyTorch; JAX uses all its
        devices from one process.
      example_shape: shape of one example.

    Returns:
      The shape that one process's submission sees.

    Raises:
      UnknownFramework: the framework is none of the two.
      spec.data_order.UnevenShards: the batch cannot be divided evenly.
    """
    if framework not in FRAMEWORKS:
        raise UnknownFramework(f"framework is {framework!r}, known: {', '.join(FRAMEWORKS)}")
    parts = num_processes if framework == "pytorch" else 1
    return (len(shard_of(global_batch_size, 0, parts)), *example_shape)


@clause(
    "SUB-20",
    """In PyTorch the optimizer state is a dictionary with string keys; a value that keeps state of
    its own has state_dict and load_state_dict, or it is lost at a checkpoint. In JAX it is a pair
    of a tree of arrays and the update function.""",
    source=(
        Source(_RULES, "Submission functions: init_optimizer_state"),
        Source(_CONTRACT, "3 and 6"),
    ),
    checked_on="submission",
)
def check_optimizer_state(state: Any, framework: str) -> list[str]:
    """Says what of an optimizer state a checkpoint could not hold.

    Args:
      state: what ``init_optimizer_state`` returned.
      framework: ``jax`` or ``pytorch``.

    Returns:
      One sentence per problem; empty if there is none. A value of PyTorch counts as stateful if it
      is an instance of a class with attributes, other than plain data.
    """
    if framework == "jax":
        if isinstance(state, tuple) and len(state) == 2:
            return []
        return [f"the optimizer state is a {type(state).__name__}, not a pair"]
    if not isinstance(state, dict):
        return [f"the optimizer state is a {type(state).__name__}, not a dictionary"]
    problems = [f"the key {key!r} is not a string" for key in state if not isinstance(key, str)]
    for key, value in state.items():
        if _keeps_state(value) and not all(
            callable(getattr(value, name, None)) for name in ("state_dict", "load_state_dict")
        ):
            problems.append(f"{key!r} is a {type(value).__name__} without state_dict")
    return problems


def _keeps_state(value: Any) -> bool:
    """Whether a value is more than plain data, arrays and functions, which need no state_dict."""
    plain = (str, bytes, int, float, complex, bool, type(None), list, tuple, dict, set, frozenset)
    if isinstance(value, plain) or inspect.isroutine(value) or isinstance(value, type | partial):
        return False
    is_array = hasattr(value, "dtype") and hasattr(value, "shape")
    return not is_array and bool(getattr(value, "__dict__", None))
