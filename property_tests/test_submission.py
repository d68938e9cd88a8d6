"""Laws of the check of submissions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import submission
from spec.clauses import VERSIONS
from spec.submission import (
    KEYWORD_FUNCTIONS,
    OPTIONAL_FUNCTIONS,
    OPTIONAL_PARAMETERS,
    REQUIRED_FUNCTIONS,
    ShapeTuple,
    check_submission,
)

FUNCTIONS = {**REQUIRED_FUNCTIONS, **OPTIONAL_FUNCTIONS}
POSITIONAL = [name for name in REQUIRED_FUNCTIONS if name not in KEYWORD_FUNCTIONS]

shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)
function_names = st.sampled_from(sorted(FUNCTIONS))


def function(parameters: list[str]) -> Any:
    made: dict[str, Any] = {}
    exec(f"def made({', '.join(parameters)}): return locals()", made)
    return made["made"]


def complete(**replaced: Any) -> SimpleNamespace:
    functions = {name: function(list(parameters)) for name, parameters in FUNCTIONS.items()}
    return SimpleNamespace(**{**functions, **replaced})


@pytest.mark.clause("SUB-7", "SUB-8", "SUB-9")
@given(st.data())
def test_a_submission_with_the_documented_functions_in_any_keyword_order_is_fine(
    data: st.DataObject,
) -> None:
    made = complete()
    for name in sorted(KEYWORD_FUNCTIONS):
        optional = data.draw(st.sampled_from([(), OPTIONAL_PARAMETERS.get(name, ())]))
        setattr(made, name, function(data.draw(st.permutations([*FUNCTIONS[name], *optional]))))
    assert check_submission(made) == []


@pytest.mark.clause("SUB-7", "SUB-8")
@given(function_names, st.data())
def test_a_function_that_lacks_a_parameter_is_the_one_problem(
    name: str, data: st.DataObject
) -> None:
    dropped = data.draw(st.sampled_from(FUNCTIONS[name]))
    kept = [parameter for parameter in FUNCTIONS[name] if parameter != dropped]
    [problem] = check_submission(complete(**{name: function(kept)}))
    assert problem.startswith(f"{name} ")
    assert dropped in problem


@pytest.mark.clause("SUB-7")
@given(st.sampled_from(POSITIONAL), st.data())
def test_swapped_positional_parameters_are_found(name: str, data: st.DataObject) -> None:
    order = data.draw(st.permutations(REQUIRED_FUNCTIONS[name]))
    found = check_submission(complete(**{name: function(list(order))}))
    moved = sum(own != official for own, official in zip(order, FUNCTIONS[name], strict=True))
    assert len(found) == moved


@pytest.mark.clause("SUB-7", "SUB-8")
@given(function_names, st.sampled_from(["*args, **kwargs", "{}, extra=1", "{}, *, extra=None"]))
def test_what_can_be_called_as_the_harness_calls_it_is_fine(name: str, form: str) -> None:
    made = function([form.format(", ".join(FUNCTIONS[name]))])
    assert check_submission(complete(**{name: made})) == []
    arguments = dict.fromkeys(FUNCTIONS[name], 0)
    if name in KEYWORD_FUNCTIONS:
        made(**arguments)
    else:
        made(*arguments)


@pytest.mark.clause("SUB-7", "SUB-8")
@given(st.sets(function_names))
def test_exactly_the_missing_required_functions_are_reported(missing: set[str]) -> None:
    made = complete()
    for name in missing:
        delattr(made, name)
    reported = {problem.split()[0] for problem in check_submission(made)}
    assert reported == missing - set(OPTIONAL_FUNCTIONS)


@pytest.mark.clause("SUB-5")
@given(shapes, shapes)
def test_shapes_are_equal_exactly_if_their_tuples_are(
    left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    assert (ShapeTuple(left) == ShapeTuple(right)) == (left == right)
    assert (ShapeTuple(left) != ShapeTuple(right)) == (left != right)
    assert ShapeTuple(left) != left


@pytest.mark.clause("SUB-3", "SUB-4")
@given(st.sampled_from(VERSIONS))
def test_parameter_type_integers_are_dense_and_told_apart(version: str) -> None:
    values = submission.parameter_type_values(version)
    assert sorted(values.values()) == list(range(len(values)))
    shared = values.keys() - {"ATTENTION_BIAS", "ATTENTION_KV"}
    newest = submission.parameter_type_values()
    assert all(values[name] == newest[name] for name in shared)
