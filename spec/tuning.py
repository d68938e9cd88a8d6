"""Hyperparameter tuning: search spaces, their points, and who gets which point and seed.

A search space is the content of a submission's ``tuning_search_space.json``:

* a mapping from hyperparameter names to ``{"feasible_points": [...]}`` or to
  ``{"min": a, "max": b, "scaling": "linear"|"log"}``; points come from the quasi-random sequence;
* or a list of points, each a mapping from names to values.

How points are dealt. A run has ``num_studies`` studies of ``num_trials`` trials. Study ``k`` gets
the ``k``-th block of ``num_trials`` consecutive points, so that 15 points make 3 studies of 5
trials without a point being used twice; each block is itself evenly spread, and the first study
gets exactly the points of a run with one study. A list is dealt in the same way and starts again
when it is used up: within a study no point occurs twice, and over the studies all points occur
equally often (give or take one). A list of five points thus serves every study of five trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spec.clauses import Source, clause
from spec.halton import NegativeNumberOfPoints, TuningError, halton_points
from spec.search_space import (
    Dimension,
    FeasiblePoints,
    Scaling,
    SearchSpace,
    SearchSpaceError,
    validate_search_space,
)

__all__ = [
    "MAX_SEED",
    "SearchSpace",
    "SearchSpaceError",
    "TuningError",
    "halton_points",
    "quasi_random_points",
    "space_point",
    "trial_points",
    "trial_seed",
    "validate_search_space",
]

MAX_SEED = 2**32 - 1
_BITS_PER_INDEX = 16


class NoTrials(TuningError, clause="TUNE-14"):
    """A study without a trial."""


class NoSuchStudy(TuningError, clause="TUNE-14"):
    """A study that the run does not have."""


class IllegalIndex(TuningError, clause="TUNE-15"):
    """An index of a study or a trial beyond those that have a seed."""


class IllegalRunSeed(TuningError, clause="TUNE-7"):
    """A seed of a run that is negative or too large."""


@clause(
    "TUNE-3",
    """A coordinate u in [0, 1) becomes min + u (max - min) on a linear scale,
    min exp(u ln(max / min)) on a log scale, and the element floor(u n) of n feasible points;
    nothing is rounded.""",
    source=Source("Harness contract", "4"),
)
def space_point(dimension: Dimension, u: float) -> Any:
    """Maps a quasi-random coordinate to a hyperparameter value.

    Args:
      dimension: feasible points or a range.
      u: coordinate in [0, 1).

    Returns:
      The value: an element of the feasible points, or a float in the range.
    """
    if isinstance(dimension, FeasiblePoints):
        last = len(dimension.points) - 1
        return dimension.points[min(math.floor(u * len(dimension.points)), last)]
    low, high = dimension.minimum, dimension.maximum
    if dimension.scaling is Scaling.LINEAR:
        return low + u * (high - low)
    return low * math.exp(u * math.log(high / low))


@clause(
    "TUNE-4",
    """The points of a search space are those of the quasi-random sequence, hyperparameter i of the
    file on dimension i; asking for more points only adds to them.""",
    source=(Source("Harness contract", "4"), Source("Decisions", "8")),
)
def quasi_random_points(
    space: SearchSpace | Mapping[str, Any] | Sequence[Any], num_points: int
) -> list[dict[str, Any]]:
    """Returns the points of a space in sequence order, or those of a list in its order.

    Args:
      space: a search space, or the parsed JSON of one.
      num_points: number of points; a list gives at most its length.

    Returns:
      One mapping from hyperparameter names to values per point.

    Raises:
      SearchSpaceError: the space is out of schema.
      TuningError: ``num_points`` is negative.
    """
    checked = _checked(space)
    if num_points < 0:
        raise NegativeNumberOfPoints(f"the number of points is {num_points}; it cannot be negative")
    if checked.points is not None:
        return [dict(point) for point in checked.points[:num_points]]
    return [
        {
            name: space_point(dimension, u)
            for name, dimension, u in zip(checked.names, checked.dimensions, raw, strict=True)
        }
        for raw in halton_points(num_points, len(checked.names))
    ]


@clause(
    "TUNE-5",
    """The quasi-random points of a run are dealt to its studies in consecutive blocks without
    replacement; the order of the trials within a study is shuffled by a generator that is
    seeded with the run's seed and serves the studies in turn.""",
    source=(
        Source("Rules v0.6", "External Tuning Ruleset"),
        Source("Dahl et al. 2023", "4.4.1"),
        Source("Decisions", "8"),
    ),
)
@clause(
    "TUNE-6",
    """A list of points is used in its order, the smaller of its length and the number of trials in
    each study; a study has no point twice, and further studies go on where the one before ended,
    from the start again when the list is used up.""",
    source=(Source("Dahl et al. 2023", "4.4.1"), Source("Harness contract", "4")),
)
@clause(
    "TUNE-14",
    "A run has at least one study, counted from 0, and a study has at least one trial.",
    source=(Source("Rules v0.6", "External Tuning Ruleset"), Source("Decisions", "8")),
)
def trial_points(
    space: SearchSpace | Mapping[str, Any] | Sequence[Any],
    *,
    num_trials: int,
    seed: int,
    study: int = 0,
    num_studies: int = 1,
) -> list[dict[str, Any]]:
    """Returns the hyperparameters of the trials of one study, in trial order.

    A study's points do not depend on ``num_studies``, so a study can be run by itself.

    Args:
      space: a search space, or the parsed JSON of one.
      num_trials: trials per study, at least 1.
      seed: the run's seed, 0 to 2**32 - 1; decides the order only.
      study: index of the study, from 0.
      num_studies: number of studies of the run.

    Returns:
      ``num_trials`` points, or as many as a shorter list has.

    Raises:
      SearchSpaceError: the space is out of schema.
      TuningError: a number or an index is out of range.
    """
    checked = _checked(space)
    if num_trials < 1:
        raise NoTrials(f"the number of trials is {num_trials}; a study has at least 1")
    if not 0 <= study < num_studies:
        raise NoSuchStudy(f"study {study} does not exist; there are {num_studies}, from 0")
    _check_seed(seed)
    if checked.points is not None:
        length = len(checked.points)
        in_study = min(num_trials, length)
        first = study * in_study
        return [dict(checked.points[(first + i) % length]) for i in range(in_study)]
    points = quasi_random_points(checked, num_trials * (study + 1))
    generator = np.random.RandomState(seed)
    dealt: list[dict[str, Any]] = []
    for first in range(0, len(points), num_trials):
        # The shuffle is that of the official package, which applies it to a list of points.
        order = list(range(first, first + num_trials))
        generator.shuffle(order)
        dealt = [points[i] for i in order]
    return dealt


@clause(
    "TUNE-7",
    """Every trial has a seed of its own, derived from the one recorded seed of the run; the
    seeds of a run are all different, and 0 is a legal seed.""",
    source=Source("Decisions", "7"),
)
@clause(
    "TUNE-15",
    "Studies and trials are counted below 65536, so that each has a seed of its own.",
    source=Source("Decisions", "7"),
)
def trial_seed(run_seed: int, study: int, trial: int) -> int:
    """Derives the seed of a trial.

    For a given run the map from (study, trial) to seeds is one-to-one: the pair is written
    into 32 bits, a hash of the run's seed is added modulo 2**32, and the sum goes
    through a bijection of the 32-bit integers.

    Args:
      run_seed: 0 to 2**32 - 1.
      study: index of the study, 0 to 65535.
      trial: index or number of the trial, 0 to 65535.

    Returns:
      An integer from 0 to 2**32 - 1.

    Raises:
      TuningError: an argument is out of range.
    """
    _check_seed(run_seed)
    for name, index in (("study", study), ("trial", trial)):
        if not 0 <= index < 2**_BITS_PER_INDEX:
            raise IllegalIndex(f"{name} is {index}; it lies between 0 and {2**_BITS_PER_INDEX - 1}")
    base = int(np.random.SeedSequence(run_seed).generate_state(1, np.uint32)[0])
    return _mix32((base + (study << _BITS_PER_INDEX) + trial) & MAX_SEED)


def _mix32(value: int) -> int:
    # The finaliser of MurmurHash3 (public domain, A. Appleby): shifts and odd factors only,
    # each of which can be undone.
    value ^= value >> 16
    value = (value * 0x85EBCA6B) & MAX_SEED
    value ^= value >> 13
    value = (value * 0xC2B2AE35) & MAX_SEED
    return value ^ (value >> 16)


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise IllegalRunSeed(f"the seed is {seed}; it lies between 0 and {MAX_SEED}")


def _checked(space: SearchSpace | Mapping[str, Any] | Sequence[Any]) -> SearchSpace:
    return space if isinstance(space, SearchSpace) else validate_search_space(space)
