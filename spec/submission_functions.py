"""The functions of a submission: their names and parameters, and a check that they fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from spec.clauses import Source, clause, rule

_RULES = "Rules v0.6"
_CONTRACT = "Harness contract"

rule(
    "SUB-7",
    "A submission defines get_batch_size, init_optimizer_state, data_selection and update_params "
    "with exactly the documented parameters; the first three are called by position, update_params "
    "by keyword.",
    source=(Source(_RULES, "Submission functions"), Source(_CONTRACT, "3")),
    implementation="spec.submission_functions.REQUIRED_FUNCTIONS",
)
REQUIRED_FUNCTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "get_batch_size": ("workload_name",),
        "init_optimizer_state": (
            "workload",
            "model_params",
            "model_state",
            "hyperparameters",
            "rng",
        ),
        "data_selection": (
            "workload",
            "input_queue",
            "optimizer_state",
            "current_param_container",
            "model_state",
            "hyperparameters",
            "global_step",
            "rng",
        ),
        "update_params": (
            "workload",
            "current_param_container",
            "current_params_types",
            "model_state",
            "hyperparameters",
            "batch",
            "loss_type",
            "optimizer_state",
            "eval_results",
            "global_step",
            "rng",
        ),
    }
)
"""Function -> parameter names in order; see also :data:`OPTIONAL_PARAMETERS`."""

rule(
    "SUB-8",
    "prepare_for_eval takes the arguments of update_params without the batch, and a submission "
    "without it is evaluated on its current parameters.",
    source=(Source(_RULES, "Submission functions: prepare_for_eval"), Source(_CONTRACT, "3")),
    implementation="spec.submission_functions.OPTIONAL_FUNCTIONS",
)
OPTIONAL_FUNCTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prepare_for_eval": tuple(
            name for name in REQUIRED_FUNCTIONS["update_params"] if name != "batch"
        ),
    }
)
"""Functions that a submission may leave out, as :data:`REQUIRED_FUNCTIONS`."""

rule(
    "SUB-9",
    "update_params is given the state of the run as `train_state` if it has a parameter of that "
    "name.",
    source=(Source(_RULES, "Submission functions: update_params"), Source(_CONTRACT, "3")),
    implementation="spec.submission_functions.OPTIONAL_PARAMETERS",
    versions=("v0.6",),
)
OPTIONAL_PARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"update_params": ("train_state",)}
)
"""Function -> parameters that it may leave out."""

rule(
    "SUB-10",
    "`train_state` tells whether the goals are reached, whether time remains, and what each "
    "account of the clock holds.",
    source=(Source(_CONTRACT, "5"),),
    implementation="spec.submission_functions.TRAIN_STATE_KEYS",
)
TRAIN_STATE_KEYS: tuple[str, ...] = (
    "validation_goal_reached",
    "test_goal_reached",
    "is_time_remaining",
    "last_eval_time",
    "training_complete",
    "accumulated_submission_time",
    "accumulated_eval_time",
    "accumulated_logging_time",
    "last_step_end_time",
)
"""Keys of the read-only mapping ``train_state``."""

KEYWORD_FUNCTIONS: frozenset[str] = frozenset({"update_params", "prepare_for_eval"})
"""Functions that are called with keywords; the others are called by position."""


@clause(
    "SUB-11",
    "The evaluation batch size belongs to the workload: a submission that defines "
    "get_eval_batch_size is not valid.",
    source=Source(_RULES, "Submission functions: get_batch_size"),
)
def check_submission(module: object) -> list[str]:
    """Checks that the harness can call a submission, without running any of it.

    Args:
      module: the imported module, or any object with the functions as attributes.

    Returns:
      One sentence per problem, in the order of the API; empty if there is none.
    """
    problems: list[str] = []
    for name, parameters in (*REQUIRED_FUNCTIONS.items(), *OPTIONAL_FUNCTIONS.items()):
        function = getattr(module, name, None)
        if function is None and name in OPTIONAL_FUNCTIONS:
            continue
        if function is None:
            problems.append(f"{name} is missing: define {name}({', '.join(parameters)})")
        elif not callable(function):
            problems.append(f"{name} is not a function but a {type(function).__name__}")
        else:
            problems.extend(_signature_problems(name, function, parameters))
    if hasattr(module, "get_eval_batch_size"):
        problems.append(
            "get_eval_batch_size is not part of the API: the evaluation batch size is fixed, "
            "remove the function"
        )
    return problems


def _signature_problems(
    name: str, function: Callable[..., Any], parameters: tuple[str, ...]
) -> list[str]:
    expected = f"expected {name}({', '.join(parameters)})"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return [f"{name} has no readable signature; {expected}"]
    if name in KEYWORD_FUNCTIONS:
        return [
            f"{name} {problem}; {expected}"
            for problem in _keyword_problems(
                signature, parameters, OPTIONAL_PARAMETERS.get(name, ())
            )
        ]
    try:
        signature.bind(*parameters)
    except TypeError as error:
        return [f"{name} cannot be called with {len(parameters)} arguments ({error}); {expected}"]
    # Called by position: a known name in the wrong place would receive another argument.
    return [
        f"{name} has parameter {own!r} in the place of {official!r}; {expected}"
        for own, official in zip(signature.parameters, parameters, strict=False)
        if own != official and own in parameters
    ]


def _keyword_problems(
    signature: inspect.Signature, parameters: tuple[str, ...], optional: tuple[str, ...]
) -> list[str]:
    own = signature.parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own)
    by_keyword = {
        parameter.name
        for parameter in own
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    missing = [name for name in parameters if name not in by_keyword and not takes_any]
    unfilled = [
        parameter.name
        for parameter in own
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and (parameter.name not in by_keyword or parameter.name not in (*parameters, *optional))
    ]
    problems = []
    if missing:
        problems.append(f"does not take the keyword {', '.join(missing)}")
    if unfilled:
        problems.append(f"requires {', '.join(unfilled)}, which is not passed")
    return problems
