"""Rows that count and rows that hit, by example."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spec.hits import Column, earliest, hits, last_attempts, published_choice, published_hit
from spec.profiles import IllegalTime
from spec.workloads import Direction

NAN, INF = math.nan, math.inf


def column(*values: float) -> Column:
    return np.array(values, dtype=np.float64)


@pytest.mark.clause("SCORE-13")
@pytest.mark.parametrize(
    ("steps", "attempts", "kept"),
    [
        ([1, 2, 3], [0, 0, 0], [True, True, True]),
        ([1, 2, 3, 2, 4], [0, 0, 0, 1, 1], [True, False, False, True, True]),
        ([1, 5, 4, 3, 2], [0, 0, 1, 1, 2], [True, False, False, False, True]),
        ([1, 5, 6], [0, 1, 1], [True, True, True]),
        ([3, 2], [0, 0], [True, True]),  # one attempt is never thinned out
        ([1, NAN, 1], [0, 0, 1], [False, True, True]),
        ([1, 2, 2], [NAN, NAN, 1], [True, False, True]),
        ([2, 1], [NAN, 0], [True, True]),  # both are of the first attempt
        ([], [], []),
    ],
)
def test_only_the_last_attempt_at_every_step_counts(
    steps: list[float], attempts: list[float], kept: list[bool]
) -> None:
    assert last_attempts(column(*steps), column(*attempts)).tolist() == kept


@pytest.mark.clause("SCORE-2")
def test_hits_include_equality_and_exclude_the_budget_and_what_is_not_finite() -> None:
    seconds = column(1, 2, 3, 4, NAN, 10)
    values = column(0.5, 0.6, NAN, INF, 0.7, 0.9)
    found = hits(seconds, values, 0.5, Direction.MAXIMIZE, 10.0)
    assert found.tolist() == [True, True, False, False, False, False]
    assert hits(-seconds, -values, -0.5, Direction.MINIMIZE, INF).tolist() == [
        *(True, True, False, False, False),
        True,
    ]


@pytest.mark.clause("SCORE-2")
def test_the_earliest_row_is_the_first_of_those_with_the_smallest_time() -> None:
    mask = np.array([False, True, True, True, True])
    assert earliest(mask, column(1, 9, 3, 3, NAN)) == 2
    assert earliest(np.zeros(5, dtype=np.bool_), column(1, 9, 3, 3, NAN)) is None
    assert earliest(np.array([True]), column(NAN)) is None


@pytest.mark.clause("SCORE-2", "SCORE-12")
@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_hit_at_a_time_that_is_not_positive_is_an_error(seconds: float) -> None:
    with pytest.raises(IllegalTime, match=r"times are positive.*\[SCORE-12\]"):
        earliest(np.array([True, True]), column(5, seconds))


@pytest.mark.clause("SCORE-14")
def test_published_hits_are_the_first_in_the_file_at_any_time() -> None:
    values = column(NAN, 0.1, 0.6, 0.9)
    assert published_hit(values, 0.6, Direction.MAXIMIZE) == 2
    assert published_hit(values, 0.1, Direction.MINIMIZE) == 1
    assert published_hit(values, 1.0, Direction.MAXIMIZE) is None


@pytest.mark.clause("SCORE-15")
@pytest.mark.parametrize(
    ("rows", "choice"),
    [([7, 3, 5], 1), ([None, 7, 7], 1), ([None, None], None), ([], None), ([0, None], 0)],
)
def test_published_scores_took_the_trial_with_the_fewest_evaluations(
    rows: list[int | None], choice: int | None
) -> None:
    assert published_choice(rows) == choice
