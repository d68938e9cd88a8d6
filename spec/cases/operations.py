"""The operations of the test vectors, answered by the executable rules.

Each function here is one operation of :mod:`spec.cases`: ``timing.accounts`` is
:func:`timing_accounts`. It takes what a case gives, as plain numbers, strings, lists and
dictionaries, and returns the result as a dictionary; ``README.md`` says what arguments and results
mean. Another implementation is an object with functions of the same names
(:func:`spec.cases.runner.check`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spec import evaluation, halton, rulesets, timing, tuning
from spec.cases import operations_scoring, operations_targets
from spec.cases.operations_scoring import *  # noqa: F403  # one namespace for all operations
from spec.cases.operations_targets import *  # noqa: F403
from spec.cases.script import accounts, evaluation_run
from spec.workloads import Direction

__all__ = [
    *operations_scoring.__all__,
    *operations_targets.__all__,
    "evaluation_budget",
    "evaluation_due",
    "evaluation_run",
    "evaluation_target",
    "evaluation_time_remains",
    "timing_accounts",
    "timing_slowest",
    "tuning_bases",
    "tuning_halton",
    "tuning_map",
    "tuning_points",
    "tuning_seed",
    "tuning_seeds",
    "tuning_space",
    "tuning_study",
]

Result = dict[str, Any]
Times = Mapping[str, float]

_EVENTS: Mapping[str, timing.Event] = {
    "step_ended": timing.Event.STEP_ENDED,
    "prepared": timing.Event.PREPARED,
    "evaluated": timing.Event.EVALUATED,
    "logged": timing.Event.LOGGED,
}


# Timing.


def timing_slowest(*, readings: Sequence[float]) -> Result:
    """Gives the reading that counts for a run of several processes."""
    return {"reading": timing.slowest_reading(readings)}


def timing_accounts(*, start: Times, events: Sequence[tuple[str, float]]) -> Result:
    """Feeds a clock with readings."""
    carried = {name: seconds for name, seconds in start.items() if name != "reading"}
    clock = timing.Clock.start(start["reading"], **carried)
    for name, reading in events:
        clock = clock.advance(_EVENTS[name], reading)
    return accounts(clock)


# Evaluation; `evaluation_run` has a module of its own.


def evaluation_due(
    *,
    eval_period_seconds: float,
    seconds_since_last_evaluation: float | None,
    training_complete: bool = False,
) -> Result:
    """Says between two steps whether an evaluation is due."""
    due = evaluation.is_due(
        seconds_since_last_evaluation=seconds_since_last_evaluation,
        eval_period_seconds=eval_period_seconds,
        training_complete=training_complete,
    )
    return {"due": due}


def evaluation_time_remains(*, budget_seconds: float, submission_seconds: float) -> Result:
    """Compares a submission time with the budget."""
    return {"time_remains": evaluation.time_remains(submission_seconds, budget_seconds)}


def evaluation_target(*, target: float, direction: str, value: float) -> Result:
    """Compares a metric with its target."""
    return {"reached": evaluation.target_reached(value, target, Direction(direction))}


def evaluation_budget(*, version: str, tuning: str, max_runtime_seconds: float) -> Result:
    """Gives the budget of a run under a version of the rules."""
    return {"budget_seconds": rulesets.get(version).budget_seconds(max_runtime_seconds, tuning)}


# Tuning.


def tuning_bases(*, num_dims: int) -> Result:
    """Gives the bases of the quasi-random sequence."""
    bases = list(halton.primes(num_dims))
    return {"bases": bases, "smallest": min(bases), "largest": max(bases)}


def tuning_halton(*, num_dims: int, num_points: int) -> Result:
    """Gives raw quasi-random points in sequence order."""
    return {"points": [list(point) for point in tuning.halton_points(num_points, num_dims)]}


def tuning_map(*, dimension: Mapping[str, Any], u: float) -> Result:
    """Maps a coordinate to the value of a hyperparameter."""
    [checked] = tuning.validate_search_space({"x": dict(dimension)}).dimensions
    return {"value": tuning.space_point(checked, u)}


def tuning_points(*, space: Any, num_points: int) -> Result:
    """Gives the points of a search space in sequence order."""
    return {"points": tuning.quasi_random_points(space, num_points)}


def tuning_study(
    *, space: Any, num_trials: int, num_studies: int, run_seed: int, study: int
) -> Result:
    """Gives the points of the trials of one study."""
    points = tuning.trial_points(
        space, num_trials=num_trials, seed=run_seed, study=study, num_studies=num_studies
    )
    return {"points": points}


def tuning_seeds(*, run_seed: int, num_studies: int, num_trials: int) -> Result:
    """Counts the seeds of a run's trials, which are numbered from 1, and the different ones."""
    seeds = [
        tuning.trial_seed(run_seed, study, trial)
        for study in range(num_studies)
        for trial in range(1, num_trials + 1)
    ]
    return {"count": len(seeds), "distinct": len(set(seeds))}


def tuning_seed(*, run_seed: int, study: int, trial: int) -> Result:
    """Says whether the seed of a trial is an unsigned integer of 32 bits."""
    return {"in_range": 0 <= tuning.trial_seed(run_seed, study, trial) <= tuning.MAX_SEED}


def tuning_space(*, space: Any) -> Result:
    """Checks a search space."""
    return {"names": list(tuning.validate_search_space(space).names)}
