"""Laws of scoring: order does not matter, faster never hurts, ratios know no unit of time."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.rulesets import V0_6, Split, Tuning
from spec.scoring import (
    NUM_GRID_POINTS,
    R_MAX,
    all_ratios,
    benchmark_scores,
    first_hit,
    grid_score,
    performance_ratios,
    profile,
    ruleset_study_time,
    score,
    study_time,
    within_r_max,
    workload_time,
)
from spec.workloads import Direction

INF = math.inf
finite_times = st.floats(min_value=1e-3, max_value=1e6)
times = finite_times | st.just(INF)
metrics = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 0.5, 1.0])
rows_of_trials = st.lists(st.tuples(finite_times, metrics), max_size=15)
targets = st.sampled_from([0.0, 0.5, 1.0])
directions = st.sampled_from(list(Direction))
budgets = times
ratio_lists = st.lists(
    st.floats(min_value=1.0, max_value=8.0) | st.sampled_from([1.0, 4.0, INF]),
    min_size=1,
    max_size=10,
)
powers_of_two = st.integers(-8, 8).map(lambda exponent: 2.0**exponent)
WORKLOADS = ("w1", "w2", "w3")
tables = st.dictionaries(
    st.sampled_from(["alpha", "beta", "gamma", "delta"]),
    st.dictionaries(st.sampled_from(WORKLOADS), times),
    min_size=1,
)
Table = dict[str, dict[str, float]]


# A trial.


def _slow_first_hit(
    rows: Sequence[tuple[float, float]], target: float, direction: Direction, budget: float
) -> float:
    best = INF
    for seconds, value in rows:
        if value != value or abs(value) == INF or seconds >= budget:
            continue
        signed = value - target if direction is Direction.MINIMIZE else target - value
        if signed <= 0 and seconds < best:
            best = seconds
    return best


@pytest.mark.clause("SCORE-2")
@given(rows_of_trials, targets, directions, budgets, st.randoms(use_true_random=False))
def test_the_first_hit_agrees_with_a_plain_search_in_any_order(
    rows: list[tuple[float, float]],
    target: float,
    direction: Direction,
    budget: float,
    rng: random.Random,
) -> None:
    expected = _slow_first_hit(rows, target, direction, budget)
    assert first_hit(rows, target, direction, budget) == expected
    rng.shuffle(rows)
    assert first_hit(rows, target, direction, budget) == expected


@pytest.mark.clause("SCORE-2")
@given(rows_of_trials, targets, directions, budgets, budgets)
def test_a_larger_budget_never_loses_a_hit_and_never_finds_one_beyond_it(
    rows: list[tuple[float, float]], target: float, direction: Direction, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    hit = first_hit(rows, target, direction, large)
    assert hit <= first_hit(rows, target, direction, small)
    assert hit < large or hit == INF


# Studies and workloads.


@pytest.mark.clause("SCORE-3")
@given(st.lists(times, max_size=6), times, st.randoms(use_true_random=False))
def test_one_more_trial_never_slows_a_study_down(
    trials: list[float], extra: float, rng: random.Random
) -> None:
    assert study_time([*trials, extra]) == min(study_time(trials), extra)
    shuffled = list(trials)
    rng.shuffle(shuffled)
    assert study_time(shuffled) == study_time(trials)
    assert study_time([*trials, INF]) == study_time(trials)


@pytest.mark.clause("SCORE-4")
@given(st.lists(st.tuples(times, times), max_size=6), st.randoms(use_true_random=False))
def test_selection_and_score_may_use_different_times_in_any_order(
    trials: list[tuple[float, float]], rng: random.Random
) -> None:
    earliest = min((selected for selected, _ in trials), default=INF)
    expected = min((s for selected, s in trials if selected == earliest < INF), default=INF)
    for _ in range(2):
        assert study_time([t[0] for t in trials], [t[1] for t in trials]) == expected
        rng.shuffle(trials)


@pytest.mark.clause("SCORE-1", "SCORE-3")
@given(st.lists(st.tuples(times, times), max_size=5))
def test_the_current_rules_look_at_validation_only(trials: list[tuple[float, float]]) -> None:
    by_split = [{Split.VALIDATION: v, Split.TEST: t} for v, t in trials]
    assert ruleset_study_time(V0_6, Tuning.EXTERNAL, by_split) == min(
        (v for v, _ in trials), default=INF
    )


@pytest.mark.clause("SCORE-5")
@given(st.lists(times, max_size=7), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_workload_time_is_the_median_with_missing_studies_infinite(
    studies: list[float], missing: int, rng: random.Random
) -> None:
    planned = max(1, len(studies) + missing)
    padded = studies + [INF] * (planned - len(studies))
    expected = statistics.median(padded)
    assert workload_time(studies, planned) == pytest.approx(expected, rel=1e-15)
    rng.shuffle(studies)
    assert workload_time(studies, planned) == pytest.approx(expected, rel=1e-15)
    # More than half of the planned studies have to succeed; an even number: more than half.
    solved = sum(seconds < INF for seconds in studies)
    assert (workload_time(studies, planned) < INF) == (2 * solved > planned)


@pytest.mark.clause("SCORE-5")
@given(st.lists(times, min_size=1, max_size=7), st.data(), powers_of_two)
def test_a_faster_study_never_slows_a_workload_down(
    studies: list[float], data: st.DataObject, factor: float
) -> None:
    planned = len(studies)
    before = workload_time(studies, planned)
    index = data.draw(st.integers(0, planned - 1))
    faster = [s / 2 if i == index else s for i, s in enumerate(studies)]
    assert workload_time(faster, planned) <= before
    assert workload_time([s * factor for s in studies], planned) == before * factor


# Ratios.


# Two of the times are the smallest possible and exactly four times it.
columns = st.dictionaries(st.text(max_size=3), times | st.sampled_from([1e-3, 4e-3]), max_size=6)


@pytest.mark.clause("SCORE-6", "SCORE-7")
@given(columns, powers_of_two)
def test_ratios_know_no_unit_of_time(column: dict[str, float], factor: float) -> None:
    scaled = {name: seconds * factor for name, seconds in column.items()}
    assert performance_ratios(scaled) == performance_ratios(column)
    assert within_r_max(scaled) == {n: s * factor for n, s in within_r_max(column).items()}


@pytest.mark.clause("SCORE-7")
@given(columns)
def test_ratios_start_at_one_and_keep_the_order(column: dict[str, float]) -> None:
    ratios = performance_ratios(column)
    assert list(ratios) == list(column)
    solved = [name for name, seconds in column.items() if seconds < INF]
    assert {name for name, ratio in ratios.items() if ratio < INF} == set(solved)
    if solved:
        assert min(ratios.values()) == 1.0
    by_time = sorted(column, key=column.__getitem__)
    assert [ratios[name] for name in by_time] == sorted(ratios.values())


@pytest.mark.clause("SCORE-6")
@given(columns)
def test_removing_slow_submissions_changes_no_other_time_and_is_done_once(
    column: dict[str, float],
) -> None:
    kept = within_r_max(column)
    assert within_r_max(kept) == kept
    best = min(column.values(), default=INF)
    for name, seconds in column.items():
        assert kept[name] == (INF if seconds > 4 * best else seconds)


# Profiles and scores.


@pytest.mark.clause("SCORE-8")
@given(ratio_lists, st.lists(st.floats(1.0, 10.0), max_size=12))
def test_a_profile_counts_and_never_falls(ratios: list[float], taus: list[float]) -> None:
    taus.sort()
    shares = profile(ratios, taus)
    assert shares == [sum(ratio <= tau for ratio in ratios) / len(ratios) for tau in taus]
    assert shares == sorted(shares)


@pytest.mark.clause("SCORE-9")
@given(ratio_lists, st.sampled_from([1.5, 2.0, R_MAX, 10.0]))
def test_the_closed_form_is_the_integral_of_the_step_function(
    ratios: list[float], r_max: float
) -> None:
    ends = sorted({Fraction(1), Fraction(r_max), *(Fraction(r) for r in ratios if r < r_max)})
    area = sum(
        (right - left) * sum(ratio <= left for ratio in ratios) / len(ratios)
        for left, right in pairwise(ends)
    )
    assert score(ratios, r_max) == pytest.approx(float(area / (Fraction(r_max) - 1)), abs=1e-12)


@pytest.mark.clause("SCORE-10")
@given(ratio_lists)
def test_the_grid_differs_by_at_most_a_sixth_of_its_spacing(ratios: list[float]) -> None:
    spacing = (R_MAX - 1) / (NUM_GRID_POINTS - 1)
    assert abs(grid_score(ratios) - score(ratios)) <= spacing / 6 + 1e-12
    assert abs(grid_score(ratios, num_points=10_001) - score(ratios)) <= 5.1e-5


@pytest.mark.clause("SCORE-10")
@given(st.floats(min_value=1.001, max_value=4.0))
def test_a_ratio_earns_what_the_next_grid_point_says(ratio: float) -> None:
    spacing = 3 / 99
    grid = [1 + spacing * index for index in range(100)]
    above = min(point for point in grid if point >= ratio - 1e-12)
    if min(abs(point - ratio) for point in grid) > 1e-9:
        assert grid_score([ratio]) == pytest.approx((4 - above + spacing / 2) / 3, abs=1e-9)


@pytest.mark.clause("SCORE-9", "SCORE-10")
@given(ratio_lists, st.randoms(use_true_random=False))
def test_scores_lie_between_0_and_1_and_ignore_the_order_of_workloads(
    ratios: list[float], rng: random.Random
) -> None:
    exact, grid = score(ratios), grid_score(ratios)
    assert 0.0 <= exact <= 1.0
    assert -1e-12 <= grid <= 1.0 + 1e-12
    assert score([1.0] * len(ratios)) == 1.0
    rng.shuffle(ratios)
    assert score(ratios) == exact
    assert grid_score(ratios) == grid


# Sets of submissions.


@pytest.mark.clause("SCORE-11")
@given(tables, st.dictionaries(st.sampled_from(WORKLOADS), powers_of_two))
def test_a_machine_that_is_faster_on_one_workload_changes_no_score(
    table: Table, factors: dict[str, float]
) -> None:
    other = {
        name: {w: seconds * factors.get(w, 1.0) for w, seconds in own.items()}
        for name, own in table.items()
    }
    assert benchmark_scores(other, WORKLOADS) == benchmark_scores(table, WORKLOADS)


@pytest.mark.clause("SCORE-11")
@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_submissions_and_workloads_changes_no_score(
    table: Table, rng: random.Random
) -> None:
    order = list(table)
    workloads = list(WORKLOADS)
    rng.shuffle(order)
    rng.shuffle(workloads)
    shuffled = {name: table[name] for name in order}
    assert benchmark_scores(shuffled, workloads) == benchmark_scores(table, WORKLOADS)


@pytest.mark.clause("SCORE-11")
@given(tables)
def test_a_workload_left_out_is_a_workload_not_reached(table: Table) -> None:
    explicit = {name: {w: own.get(w, INF) for w in WORKLOADS} for name, own in table.items()}
    assert all_ratios(explicit, WORKLOADS) == all_ratios(table, WORKLOADS)


@pytest.mark.clause("SCORE-6", "SCORE-9", "SCORE-11")
@given(tables)
def test_removing_slow_submissions_is_contained_in_the_upper_limit_of_the_integral(
    table: Table,
) -> None:
    unlimited = {
        name: [
            performance_ratios({n: own.get(w, INF) for n, own in table.items()})[name]
            for w in WORKLOADS
        ]
        for name in table
    }
    assert benchmark_scores(table, WORKLOADS) == {
        name: pytest.approx(score(ratios), abs=1e-12) for name, ratios in unlimited.items()
    }


@pytest.mark.clause("SCORE-11")
@given(tables, st.data(), st.sampled_from([0.5, 0.9]))
def test_who_gets_faster_never_loses_and_the_others_never_gain(
    table: Table, data: st.DataObject, factor: float
) -> None:
    name = data.draw(st.sampled_from(sorted(table)))
    faster = {
        n: {w: s * factor for w, s in own.items()} if n == name else own for n, own in table.items()
    }
    before, after = benchmark_scores(table, WORKLOADS), benchmark_scores(faster, WORKLOADS)
    assert after[name] >= before[name] - 1e-12
    assert all(after[n] <= before[n] + 1e-12 for n in table if n != name)


@pytest.mark.clause("SCORE-11")
@given(tables)
def test_alone_a_submission_scores_the_share_of_workloads_that_it_solved(table: Table) -> None:
    for name, own in table.items():
        solved = sum(seconds < INF for seconds in own.values())
        assert benchmark_scores({name: own}, WORKLOADS) == {name: solved / len(WORKLOADS)}
