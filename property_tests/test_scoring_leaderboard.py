"""Laws of whole leaderboards, of hits in columns and of speedups, and an independent oracle."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import rulesets, workloads
from spec.hits import earliest, hits, last_attempts, published_choice, published_hit
from spec.leaderboard import Plan, leaderboard
from spec.profiles import grid_score, profile, score
from spec.scoring import first_hit
from spec.speedup import speedup
from spec.workloads import Direction

INF = math.inf
BASES = ("criteo1tb", "ogbg", "wmt")
HELD_OUT = ("ogbg_gelu", "wmt_glu_tanh", "wmt_post_ln")
NAMES = (*BASES, *HELD_OUT)
PLAN = Plan(rulesets.V0_5, BASES, HELD_OUT, num_studies=3)
FREE = replace(PLAN, held_out=())

# Few different times, so that ties, factors of exactly four and lost credit are common.
some_times = st.sampled_from([1.0, 2.0, 3.0, 4.0, 7.0, 8.0, 12.0, 100.0, INF]) | st.floats(0.5, 50)
own_times = st.dictionaries(st.sampled_from(NAMES), st.lists(some_times, max_size=3))
tables = st.dictionaries(st.sampled_from("abcde"), own_times, min_size=1)
plans = st.sampled_from(
    [PLAN, FREE, replace(PLAN, as_published=True), replace(FREE, num_studies=4)]
)
Table = dict[str, dict[str, list[float]]]


# An oracle, written differently: one pass per submission and workload over plain numbers.


def oracle(table: Table, bases: tuple[str, ...], held_out: tuple[str, ...], planned: int) -> dict:
    def median(name: str, workload: str) -> float:
        known = table[name].get(workload, [])
        full = sorted([*known, *[INF] * planned])[:planned]
        middle = [full[i] for i in range(planned) if abs(2 * i - (planned - 1)) <= 1]
        return sum(middle) / len(middle)

    scores = dict.fromkeys(table, 0.0)
    for base in bases:
        trained = [name for name in table if median(name, base) != INF]
        variants = [v for v in held_out if workloads.base_name(v) == base]
        keeps = []
        for name in trained:
            ok = all(median(name, base) <= 4 * median(other, base) for other in table)
            for variant in variants:
                own = median(name, variant)
                ok = ok and own < INF
                ok = ok and not any(own > 4 * median(other, variant) for other in trained)
            if ok:
                keeps.append(name)
        for name in keeps:
            ratio = max(median(name, base) / median(other, base) for other in keeps)
            if ratio < 4:
                scores[name] += (4 - ratio) / 3 / len(bases)
    return scores


def random_table(rng: random.Random, planned: int) -> Table:
    def time() -> float:
        kind = rng.random()
        if kind < 0.2:
            return INF
        if kind < 0.5:
            return float(rng.choice([1, 2, 4, 8, 16]))
        return rng.uniform(1, 20)

    return {
        f"s{number}": {
            workload: [
                time() for _ in range(rng.randint(0 if rng.random() < 0.2 else planned, planned))
            ]
            for workload in NAMES
            if rng.random() < 0.9
        }
        for number in range(rng.randint(1, 6))
    }


@pytest.mark.clause("SCORE-5", "SCORE-7", "SCORE-9", "SCORE-20", "HELD-8", "HELD-9", "HELD-10")
def test_ten_thousand_random_leaderboards_agree_with_an_independent_oracle() -> None:
    rng = random.Random(20260901)
    with_credit = 0
    for _ in range(10_000):
        planned = rng.choice([1, 2, 3, 5])
        table = random_table(rng, planned)
        held_out = HELD_OUT if rng.random() < 0.6 else ()
        plan = Plan(rulesets.V0_5, BASES, held_out, planned)
        board = leaderboard(table, plan)
        expected = oracle(table, BASES, held_out, planned)
        assert set(board.scores) == set(expected)
        for name, value in expected.items():
            assert abs(board.scores[name] - value) < 1e-12, (table, name)
        with_credit += any(expected.values())
    assert with_credit > 5_000


# Leaderboards.


def shuffled(table: Table, rng: random.Random) -> Table:
    def mixed(mapping: dict) -> list:
        return rng.sample(list(mapping.items()), len(mapping))

    return {
        name: {workload: rng.sample(times, len(times)) for workload, times in mixed(own)}
        for name, own in mixed(table)
    }


@pytest.mark.clause("SCORE-18", "SCORE-20")
@given(tables, plans, st.randoms(use_true_random=False))
def test_the_order_of_submissions_workloads_and_studies_changes_nothing(
    table: Table, plan: Plan, rng: random.Random
) -> None:
    board = leaderboard(table, plan)
    other = leaderboard(shuffled(table, rng), plan)
    assert other == board
    assert list(other.scores) == list(board.scores)
    assert list(board.scores.values()) == sorted(board.scores.values(), reverse=True)


@pytest.mark.clause("SCORE-9", "SCORE-20")
@given(tables, plans, st.data())
def test_scores_lie_in_0_to_1_and_1_is_being_fastest_everywhere(
    table: Table, plan: Plan, data: st.DataObject
) -> None:
    for value in leaderboard(table, plan).scores.values():
        assert -1e-12 <= value <= 1 + 1e-12
    best = {workload: [0.25] * plan.num_studies for workload in NAMES}
    name = data.draw(st.sampled_from(sorted(table)))
    board = leaderboard({**table, name: best}, plan)
    assert board.scores[name] == pytest.approx(1.0, abs=1e-12)
    assert board.ranks[name] == 1


@pytest.mark.clause("SCORE-7", "SCORE-20")
@given(tables, plans, st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0.125, 2.0, 64.0])))
def test_a_faster_machine_for_one_workload_changes_no_score(
    table: Table, plan: Plan, factors: dict[str, float]
) -> None:
    other = {
        name: {w: [t * factors.get(w, 1.0) for t in times] for w, times in own.items()}
        for name, own in table.items()
    }
    assert leaderboard(other, plan).scores == leaderboard(table, plan).scores


@pytest.mark.clause("SCORE-5", "SCORE-20")
@given(tables, plans, st.data())
def test_a_smaller_time_never_lowers_the_own_score(
    table: Table, plan: Plan, data: st.DataObject
) -> None:
    places = [
        (name, workload, index)
        for name, own in table.items()
        for workload, times in own.items()
        for index in range(len(times))
    ]
    if not places:
        return
    name, workload, index = data.draw(st.sampled_from(places))
    times = list(table[name][workload])
    times[index] = data.draw(st.floats(0.25, 60).filter(lambda new: new <= times[index]))
    faster = {**table, name: {**table[name], workload: times}}
    before, after = leaderboard(table, plan), leaderboard(faster, plan)
    assert after.scores[name] >= before.scores[name] - 1e-12


@pytest.mark.clause("SCORE-20")
@given(tables, plans, st.data())
def test_a_dominated_submission_changes_no_other_score(
    table: Table, plan: Plan, data: st.DataObject
) -> None:
    model = table[data.draw(st.sampled_from(sorted(table)))]
    factor = data.draw(st.sampled_from([1.0, 1.5, 3.0]))
    dominated = {w: [t * factor for t in times] for w, times in model.items()}
    before = leaderboard(table, plan)
    after = leaderboard({**table, "new": dominated}, plan)
    for name, value in before.scores.items():
        assert after.scores[name] == pytest.approx(value, abs=1e-12)


@pytest.mark.clause("HELD-10", "SCORE-20")
@given(tables)
def test_held_out_conditions_only_take_credit_away(table: Table) -> None:
    strict, free = leaderboard(table, PLAN), leaderboard(table, FREE)
    for name in table:
        for base in BASES:
            kept, without = strict.credited[name][base], free.credited[name][base]
            assert kept in (without, INF)
        assert set(free.unmet[name]) <= set(strict.unmet[name])
    # Alone there is nobody to gain from the loss of others: the score itself cannot rise.
    for name, own in table.items():
        alone = {name: own}
        assert leaderboard(alone, PLAN).scores[name] <= leaderboard(alone, FREE).scores[name]


@pytest.mark.clause("SCORE-6", "SCORE-9", "HELD-9")
@given(st.sampled_from([0.5, 1.0, 3.0, 1e5]))
def test_exactly_four_times_is_in_and_contributes_nothing(fastest: float) -> None:
    plan = replace(FREE, workloads=("ogbg",), num_studies=1)
    limit = 4 * fastest
    for slow, credited in ((limit, limit), (math.nextafter(limit, INF), INF)):
        board = leaderboard({"a": {"ogbg": [fastest]}, "b": {"ogbg": [slow]}}, plan)
        assert board.credited["b"]["ogbg"] == credited
        assert board.scores == {"a": 1.0, "b": 0.0}


@pytest.mark.clause("SCORE-8", "SCORE-9")
@given(tables, plans)
def test_the_steps_of_a_profile_are_a_right_continuous_step_function(
    table: Table, plan: Plan
) -> None:
    board = leaderboard(table, plan)
    for name in table:
        steps = board.steps(name)
        taus, shares = [tau for tau, _ in steps], [share for _, share in steps]
        own = [board.ratios[name][workload] for workload in plan.workloads]
        assert (taus[0], taus[-1]) == (1.0, 4.0)
        assert taus == sorted(set(taus))
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)
        for (left, share), (right, _) in pairwise(steps):
            # The step holds at its tau and up to, not including, the next one.
            assert profile(own, [left, math.nextafter(right, 0)]) == [share, share]
        area = sum((right - left) * share for (left, share), (right, _) in pairwise(steps))
        assert score(own) == pytest.approx(area / 3, abs=1e-12)


@pytest.mark.clause("SCORE-10")
@given(st.lists(st.floats(1.0, 5.0) | st.just(INF), min_size=1, max_size=8))
def test_the_grid_converges_to_the_integral(ratios: list[float]) -> None:
    for num_points in (10, 100, 1_000, 10_000):
        width = 3 / (num_points - 1)
        assert abs(grid_score(ratios, num_points=num_points) - score(ratios)) <= width / 6 + 1e-12


# Hits in columns.


rows = st.lists(
    st.tuples(
        st.sampled_from([1.0, 2.0, 3.0, math.nan]) | st.floats(0.5, 200),
        st.sampled_from([0.4, 0.5, 0.6, math.nan, INF, -INF]),
    ),
    max_size=12,
)


@pytest.mark.clause("SCORE-2", "SCORE-14")
@given(rows, st.sampled_from(list(Direction)), st.sampled_from([2.0, 100.0, INF]))
def test_columns_and_single_rows_hit_at_the_same_time(
    trial: list[tuple[float, float]], direction: Direction, budget: float
) -> None:
    seconds = np.array([row[0] for row in trial], dtype=np.float64)
    values = np.array([row[1] for row in trial], dtype=np.float64)
    row = earliest(hits(seconds, values, 0.5, direction, budget), seconds)
    assert (INF if row is None else seconds[row]) == first_hit(trial, 0.5, direction, budget)
    # As published: the first in the file, so with sorted times it is the same without a budget.
    known = sorted(pair for pair in trial if not math.isnan(pair[0]))
    times = [seconds for seconds, _ in known]
    found = published_hit(np.array([v for _, v in known], dtype=np.float64), 0.5, direction)
    assert (INF if found is None else times[found]) == first_hit(known, 0.5, direction, INF)


@pytest.mark.clause("SCORE-13")
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5, unique=True), max_size=4))
def test_what_is_kept_of_a_resumed_run_is_one_run(attempts: list[list[int]]) -> None:
    flat = [(step, number) for number, steps in enumerate(attempts) for step in sorted(steps)]
    steps = np.array([step for step, _ in flat], dtype=np.float64)
    numbers = np.array([number for _, number in flat], dtype=np.float64)
    keep = last_attempts(steps, numbers)
    kept = steps[keep].tolist()
    assert kept == sorted(set(kept))
    expected = [all(step < min(later) for later in attempts[number + 1 :]) for step, number in flat]
    assert keep.tolist() == expected
    if attempts:
        assert keep[numbers == len(attempts) - 1].all()


@pytest.mark.clause("SCORE-15")
@given(st.lists(st.none() | st.integers(0, 5), max_size=6))
def test_the_published_choice_is_the_first_of_the_smallest(found: list[int | None]) -> None:
    chosen = published_choice(found)
    reached = [row for row in found if row is not None]
    assert chosen == (found.index(min(reached)) if reached else None)


# Speedups.


budgets = st.dictionaries(st.sampled_from(NAMES), st.floats(1, 1e5), min_size=1)
medians = st.dictionaries(st.sampled_from(NAMES), st.floats(0.01, 1e6) | st.just(INF))


@pytest.mark.clause("SCORE-16", "SCORE-17")
@given(medians, medians, medians, budgets)
def test_speedups_are_a_ratio_of_geometric_means(
    one: dict[str, float], two: dict[str, float], three: dict[str, float], limits: dict[str, float]
) -> None:
    there, back = speedup(one, two, limits), speedup(two, one, limits)
    assert there.factor * back.factor == pytest.approx(1)
    assert there.inverse == pytest.approx(back.factor)
    assert (there.num_replaced, there.num_replaced_reference) == (
        back.num_replaced_reference,
        back.num_replaced,
    )
    chained = there.factor * speedup(two, three, limits).factor
    assert chained == pytest.approx(speedup(one, three, limits).factor)
    assert speedup(one, one, limits).factor == pytest.approx(1)
    finite = [
        limit + 1 if one.get(name, INF) == INF else one[name] for name, limit in limits.items()
    ]
    unit = speedup(one, dict.fromkeys(limits, 1.0), limits)
    assert unit.factor == pytest.approx(math.prod(finite) ** (-1 / len(finite)))
