"""The schema of hyperparameter search spaces, with errors that name the field and the mend."""

from __future__ import annotations

import difflib
import keyword
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from spec.clauses import BrokenRule, Source, clause

_RANGE_KEYS = ("min", "max", "scaling")
_KNOWN_KEYS = ("feasible_points", *_RANGE_KEYS)


class SearchSpaceError(BrokenRule):
    """A search space is out of schema; the base of the errors below, which name the field."""


class NotASearchSpace(SearchSpaceError, clause="TUNE-8"):
    """Neither an object of hyperparameters nor a list of points, or an empty one."""


class IllegalName(SearchSpaceError, clause="TUNE-9"):
    """A name that a hyperparameter cannot have."""


class IllegalDimension(SearchSpaceError, clause="TUNE-10"):
    """A hyperparameter that is neither a set of feasible points nor a range."""


class IllegalRange(SearchSpaceError, clause="TUNE-11"):
    """A range whose bounds or scaling make no sense."""


class IllegalValue(SearchSpaceError, clause="TUNE-12"):
    """A value that a hyperparameter cannot have."""


class UnequalPoints(SearchSpaceError, clause="TUNE-13"):
    """A list whose points do not have the same hyperparameters."""


class Scaling(StrEnum):
    """How a range is searched."""

    LINEAR = "linear"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class FeasiblePoints:
    """A hyperparameter with finitely many values.

    Attributes:
      points: the values, at least one.
    """

    points: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A hyperparameter searched between two bounds.

    Attributes:
      minimum: lower bound.
      maximum: upper bound, larger than ``minimum``.
      scaling: uniform in the value or in its logarithm (then both bounds are positive).
    """

    minimum: float
    maximum: float
    scaling: Scaling


Dimension: TypeAlias = FeasiblePoints | Range


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A search space that has passed :func:`validate_search_space`.

    Attributes:
      names: hyperparameter names in the order of the file.
      dimensions: one per name; empty if the space is a list of points.
      points: the points if the space is a list, else None.
    """

    names: tuple[str, ...]
    dimensions: tuple[Dimension, ...] = ()
    points: tuple[Mapping[str, Any], ...] | None = None

    def to_json(self) -> dict[str, Any] | list[dict[str, Any]]:
        """Returns what :func:`validate_search_space` reads back as an equal space."""
        if self.points is not None:
            return [dict(point) for point in self.points]
        return {
            name: {"feasible_points": list(dimension.points)}
            if isinstance(dimension, FeasiblePoints)
            else {
                "min": dimension.minimum,
                "max": dimension.maximum,
                "scaling": dimension.scaling.value,
            }
            for name, dimension in zip(self.names, self.dimensions, strict=True)
        }


@clause(
    "TUNE-8",
    """A search space is a mapping from names to feasible points or to a range with a linear or log
    scale, or a non-empty list of points with equal names; anything else is an error that names
    the field, never a silent default.""",
    source=(Source("Harness contract", "4"), Source("Decisions", "8")),
)
def validate_search_space(space: object) -> SearchSpace:
    """Checks the parsed JSON of a search space.

    Args:
      space: what ``json.load`` returned.

    Returns:
      The checked space.

    Raises:
      SearchSpaceError: the space is out of schema.
    """
    if isinstance(space, Mapping):
        if not space:
            raise NotASearchSpace("the search space names no hyperparameter; add at least one")
        names = tuple(_name(name, "the search space") for name in space)
        return SearchSpace(names, tuple(_dimension(name, space[name]) for name in names))
    if isinstance(space, Sequence) and not isinstance(space, (str, bytes)):
        return _list_space(space)
    raise NotASearchSpace(
        f"the search space is a {type(space).__name__}; it must be an object of"
        " hyperparameters or a list of points"
    )


@clause(
    "TUNE-13",
    """All points of a list are objects with the same hyperparameters.""",
    source=(Source("Harness contract", "4"), Source("Decisions", "8")),
)
def _list_space(space: Sequence[object]) -> SearchSpace:
    if not space:
        raise NotASearchSpace("the list of points is empty; give at least one point")
    points: list[Mapping[str, Any]] = []
    names: tuple[str, ...] = ()
    for index, point in enumerate(space):
        where = f"point {index}"
        if not isinstance(point, Mapping):
            raise UnequalPoints(
                f"{where} is a {type(point).__name__}; every point must be an object of values"
            )
        own = tuple(_name(name, where) for name in point)
        if index == 0:
            names = own
        elif set(own) != set(names):
            missing, extra = sorted(set(names) - set(own)), sorted(set(own) - set(names))
            parts = [f"lacks {missing}"] if missing else []
            parts += [f"adds {extra}"] if extra else []
            raise UnequalPoints(
                f"{where} {' and '.join(parts)} compared with point 0;"
                " all points must have the same hyperparameters"
            )
        points.append({name: _value(point[name], f"{where}: {name!r}") for name in names})
    return SearchSpace(names, points=tuple(points))


@clause(
    "TUNE-9",
    """The name of a hyperparameter is an identifier that is no keyword and does not start with an
    underscore, because submissions read it as an attribute.""",
    source=(Source("Harness contract", "4"), Source("Decisions", "8")),
)
def _name(name: object, where: str) -> str:
    # Submissions read hyperparameters as attributes of a named tuple, whose field names these are.
    if not isinstance(name, str):
        raise IllegalName(f"{where}: the name {name!r} is not a string")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise IllegalName(
            f"{where}: {name!r} cannot be a hyperparameter's name; use letters, digits and"
            " underscores, start with a letter, and avoid Python's keywords"
        )
    return name


@clause(
    "TUNE-10",
    """A hyperparameter has either feasible points, at least one, or all of min, max and scaling,
    and nothing else.""",
    source=(Source("Harness contract", "4"), Source("Decisions", "8")),
)
def _dimension(name: str, entry: object) -> Dimension:
    if not isinstance(entry, Mapping):
        raise IllegalDimension(
            f"{name!r} is a {type(entry).__name__}; it must be an object with 'feasible_points'"
            " or with 'min', 'max' and 'scaling'"
        )
    for key in entry:
        if key not in _KNOWN_KEYS:
            near = difflib.get_close_matches(str(key), _KNOWN_KEYS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {list(_KNOWN_KEYS)}"
            raise IllegalDimension(f"{name!r} has the unknown key {key!r}{hint}")
    if "feasible_points" in entry:
        also = [key for key in _RANGE_KEYS if key in entry]
        if also:
            raise IllegalDimension(
                f"{name!r} has both 'feasible_points' and {also[0]!r}; keep one kind"
            )
        return _feasible_points(name, entry["feasible_points"])
    for key in _RANGE_KEYS:
        if key not in entry:
            raise IllegalDimension(
                f"{name!r} lacks {key!r}; give 'min', 'max' and 'scaling', or 'feasible_points'"
            )
    return _range(name, entry["min"], entry["max"], entry["scaling"])


def _feasible_points(name: str, points: object) -> FeasiblePoints:
    where = f"{name!r}: 'feasible_points'"
    if not isinstance(points, Sequence) or isinstance(points, (str, bytes)):
        raise IllegalDimension(f"{where} is a {type(points).__name__}; it must be a list")
    if not points:
        raise IllegalDimension(f"{where} is empty; give at least one value")
    return FeasiblePoints(tuple(_value(p, f"{where}[{i}]") for i, p in enumerate(points)))


@clause(
    "TUNE-11",
    """The bounds of a range are finite numbers, the lower below the upper and on a log scale
    positive; the scaling is linear or log, and no other word means linear.""",
    source=(Source("Harness contract", "4"), Source("Decisions", "8")),
)
def _range(name: str, minimum: object, maximum: object, scaling: object) -> Range:
    low, high = _bound(minimum, f"{name!r}: 'min'"), _bound(maximum, f"{name!r}: 'max'")
    if not isinstance(scaling, str) or scaling not in [s.value for s in Scaling]:
        raise IllegalRange(f"{name!r}: 'scaling' is {scaling!r}; it must be 'linear' or 'log'")
    if low >= high:
        raise IllegalRange(f"{name!r}: 'min' {low} is not below 'max' {high}")
    if scaling == Scaling.LOG.value and low <= 0:
        raise IllegalRange(f"{name!r}: 'min' is {low}; with 'scaling' 'log' it must be positive")
    width = high / low if scaling == Scaling.LOG.value else high - low
    if not math.isfinite(width):
        raise IllegalRange(f"{name!r}: 'min' {low} and 'max' {high} are too far apart")
    return Range(low, high, Scaling(scaling))


def _bound(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise IllegalRange(f"{where} is {value!r}; it must be a number")
    try:
        bound = float(value)
    except OverflowError:
        bound = math.inf
    if not math.isfinite(bound):
        raise IllegalRange(f"{where} is {bound}; it must be a finite number")
    return bound


@clause(
    "TUNE-12",
    """The value of a hyperparameter is a finite number, a string, true, false, null or a list of
    these.""",
    source=(Source("Harness contract", "4"), Source("Decisions", "8")),
)
def _value(value: object, where: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise IllegalValue(f"{where} is {value}; it must be a finite number")
    if isinstance(value, (list, tuple)):
        return [_value(element, f"{where}[{i}]") for i, element in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise IllegalValue(
        f"{where} is a {type(value).__name__}; a value must be a number, a string, true, false,"
        " null or a list of these"
    )
