"""Laws of resampled studies and of leaderboards without one submission."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spec import rulesets
from spec.leaderboard import Plan, leaderboard, ranks
from spec.uncertainty import Bootstrap, bootstrap, leave_one_out, study_picks

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
seeds = st.integers(0, 2**70)
Table = dict[str, dict[str, list[float]]]


def same(one: Bootstrap, other: Bootstrap) -> bool:
    return list(one.scores) == list(other.scores) and all(
        np.array_equal(one.scores[name], other.scores[name]) for name in one.scores
    )


# Bootstrap.


def padded(times: list[float], plan: Plan) -> list[float]:
    missing = 0 if plan.as_published else plan.num_studies - len(times)
    return sorted(times) + [INF] * missing


def resampled(table: Table, plan: Plan, seed: int, number: int, count: int) -> Table:
    """The study times of one resample, put together one study at a time."""
    result: Table = {}
    for name, own in table.items():
        result[name] = {}
        for workload, times in own.items():
            group = padded(times, plan)
            if group:
                picks = study_picks(seed, name, workload, len(group), count)[number]
                result[name][workload] = [group[pick] for pick in picks]
    return result


@given(tables, plans, seeds)
def test_every_resample_is_the_leaderboard_of_the_studies_that_were_drawn(
    table: Table, plan: Plan, seed: int
) -> None:
    drawn = bootstrap(table, plan, num_resamples=4, seed=seed)
    for number in range(4):
        board = leaderboard(resampled(table, plan, seed, number, 4), plan)
        for name, value in board.scores.items():
            # The closed form to the bit: equal scores have to share a rank here and there.
            exact = 1e-12 if plan.as_published else 0.0
            assert abs(float(drawn.scores[name][number]) - value) <= exact


@given(tables, seeds)
def test_conditions_look_at_the_same_studies_as_the_score(table: Table, seed: int) -> None:
    # A study that is late by the condition is too late by the score as well: the same runs.
    late = {n: {w: [2 * t for t in ts] for w, ts in own.items()} for n, own in table.items()}
    both = bootstrap(table, PLAN, condition_times=late, num_resamples=4, seed=seed)
    # All conditions are relative, so that twice the time in every study changes nothing.
    assert same(both, bootstrap(table, PLAN, num_resamples=4, seed=seed))
    missed = {n: {w: [INF for _ in ts] for w, ts in own.items()} for n, own in table.items()}
    none = bootstrap(table, PLAN, condition_times=missed, num_resamples=4, seed=seed)
    assert not any(values.any() for values in none.scores.values())


@given(tables, plans, seeds)
def test_the_seed_decides_everything(table: Table, plan: Plan, seed: int) -> None:
    drawn = bootstrap(table, plan, num_resamples=6, seed=seed)
    assert same(drawn, bootstrap(table, plan, num_resamples=6, seed=seed))
    first = bootstrap(table, plan, num_resamples=2, seed=seed)
    assert all(np.array_equal(first.scores[n], drawn.scores[n][:2]) for n in first.scores)


def test_another_seed_draws_other_studies_and_chunks_do_not_show() -> None:
    picks = study_picks(0, "a", "ogbg", 5, 2500)
    assert np.array_equal(picks, study_picks(0, "a", "ogbg", 5, 5000)[:2500])
    others = [(1, "a", "ogbg"), (0, "b", "ogbg"), (0, "a", "wmt"), (2**64, "a", "ogbg")]
    for seed, name, workload in others:
        assert not np.array_equal(picks, study_picks(seed, name, workload, 5, 2500))
    table = {"a": {"ogbg": [1.0, 2.0, 5.0]}, "b": {"ogbg": [2.0, 3.0, INF]}}
    whole = bootstrap(table, FREE, num_resamples=4500)
    again = bootstrap(table, FREE, num_resamples=4100)
    assert all(np.array_equal(whole.scores[n][:4100], again.scores[n]) for n in table)


@pytest.mark.parametrize("num_studies", [1, 2, 3, 5])
def test_every_study_is_drawn_equally_often(num_studies: int) -> None:
    picks = study_picks(7, "a", "ogbg", num_studies, 20_000)
    assert picks.shape == (20_000, num_studies)
    for place in range(num_studies):
        counts = np.bincount(picks[:, place], minlength=num_studies)
        spread = 5 * math.sqrt(20_000 / num_studies * (1 - 1 / num_studies))
        assert len(counts) == num_studies
        assert np.all(np.abs(counts - 20_000 / num_studies) <= spread)


@given(tables, plans, seeds, st.randoms(use_true_random=False))
def test_no_order_matters(table: Table, plan: Plan, seed: int, rng: random.Random) -> None:
    def mixed(mapping: dict) -> list:
        return rng.sample(list(mapping.items()), len(mapping))

    shuffled = {
        name: {workload: rng.sample(times, len(times)) for workload, times in mixed(own)}
        for name, own in mixed(table)
    }
    drawn = bootstrap(table, plan, num_resamples=4, seed=seed)
    assert same(drawn, bootstrap(shuffled, plan, num_resamples=4, seed=seed))


@given(tables, plans, seeds)
def test_equal_studies_leave_no_doubt(table: Table, plan: Plan, seed: int) -> None:
    # Of one planned study, or of studies with one and the same time, every resample is the same.
    once = replace(plan, num_studies=1)
    single = {n: {w: ts[:1] for w, ts in own.items()} for n, own in table.items()}
    repeated = {
        n: {w: ts[:1] * plan.num_studies for w, ts in own.items()} for n, own in table.items()
    }
    for times, how in ((single, once), (repeated, plan)):
        drawn = bootstrap(times, how, num_resamples=5, seed=seed)
        board = leaderboard(times, how)
        probabilities = drawn.rank_probabilities()
        for name, value in board.scores.items():
            assert drawn.interval(name) == pytest.approx((value, value), abs=1e-12)
            if not plan.as_published:
                assert probabilities[name][board.ranks[name] - 1] == 1


@given(tables, plans, seeds)
def test_probabilities_of_the_ranks_add_up(table: Table, plan: Plan, seed: int) -> None:
    drawn = bootstrap(table, plan, num_resamples=20, seed=seed)
    found = drawn.rank_probabilities()
    counted = {name: Counter[int]() for name in table}
    for number in range(20):
        one = ranks({name: float(values[number]) for name, values in drawn.scores.items()})
        for name, rank in one.items():
            counted[name][rank] += 1
    for name, shares in found.items():
        assert math.fsum(shares) == pytest.approx(1, abs=1e-12)
        assert shares == tuple(counted[name][rank + 1] / 20 for rank in range(len(table)))
    # Somebody is first in every resample; with ties more than one.
    assert math.fsum(shares[0] for shares in found.values()) >= 1 - 1e-12


@given(tables, seeds)
def test_scores_lie_between_the_luckiest_and_the_unluckiest_mix(table: Table, seed: int) -> None:
    drawn = bootstrap(table, FREE, num_resamples=20, seed=seed)

    def extreme(lucky: str, best: int, worst: int) -> float:
        mix = {
            name: {
                workload: [padded(times, FREE)[best if name == lucky else worst]]
                for workload, times in own.items()
            }
            for name, own in table.items()
        }
        return leaderboard(mix, replace(FREE, num_studies=1)).scores[lucky]

    for name, values in drawn.scores.items():
        low, high = extreme(name, -1, 0), extreme(name, 0, -1)
        assert low - 1e-12 <= drawn.board.scores[name] <= high + 1e-12
        assert low - 1e-12 <= values.min()
        assert values.max() <= high + 1e-12


@given(tables, plans, seeds, st.floats(0.01, 0.98))
def test_a_wider_interval_holds_a_narrower_one(
    table: Table, plan: Plan, seed: int, level: float
) -> None:
    drawn = bootstrap(table, plan, num_resamples=20, seed=seed)
    for name, values in drawn.scores.items():
        low, high = drawn.interval(name, level)
        wide_low, wide_high = drawn.interval(name, (1 + level) / 2)
        middle = float(np.median(values))
        assert wide_low <= low + 1e-12
        assert low - 1e-12 <= middle <= high + 1e-12
        assert high - 1e-12 <= wide_high
        assert wide_low >= 0
        assert wide_high <= 1


def exact_scores(table: Table, plan: Plan) -> dict[str, Counter[float]]:
    """How many of all equally likely mixes of studies give a score, rounded."""
    groups = [
        (name, workload, list(product(padded(times, plan), repeat=plan.num_studies)))
        for name, own in table.items()
        for workload, times in own.items()
    ]
    found = {name: Counter[float]() for name in table}
    for mix in product(*(draws for _, _, draws in groups)):
        drawn: Table = {name: {} for name in table}
        for (name, workload, _), times in zip(groups, mix, strict=True):
            drawn[name][workload] = list(times)
        for name, value in leaderboard(drawn, plan).scores.items():
            found[name][round(value, 9)] += 1
    return found


@pytest.mark.parametrize("studies", [2, 3])
def test_scores_come_as_often_as_counting_all_mixes_says(studies: int) -> None:
    plan = Plan(rulesets.V0_5, ("ogbg",), ("ogbg_gelu",) if studies == 2 else (), studies)
    table: Table = {"a": {"ogbg": [2.0, 3.0, 4.0][:studies]}, "b": {"ogbg": [3.0, 9.0]}}
    if studies == 2:
        table["a"]["ogbg_gelu"], table["b"]["ogbg_gelu"] = [1.0, 6.0], [1.0, 1.0]
    drawn = bootstrap(table, plan, num_resamples=20_000)
    for name, counts in exact_scores(table, plan).items():
        total = sum(counts.values())
        values = np.round(drawn.scores[name], 9)
        assert set(values.tolist()) == set(counts)
        for value, count in counts.items():
            share = count / total
            spread = 5 * math.sqrt(share * (1 - share) / 20_000)
            assert abs(float(np.mean(values == value)) - share) <= spread


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_resamples": 0}, "0 resamples"),
        ({"seed": -1}, "seed is -1"),
        ({"condition_times": {"a": {"ogbg": []}}}, "1 studies are scored and 0 judged"),
    ],
)
def test_what_cannot_be_resampled_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap({"a": {"ogbg": [1.0]}}, FREE, **options)
    with pytest.raises(ValueError, match="no submissions"):
        bootstrap({}, FREE)
    with pytest.raises(ValueError, match="level"):
        bootstrap({"a": {"ogbg": [1.0]}}, FREE, num_resamples=1).interval("a", 1.0)


# One submission less.


@given(tables, plans)
def test_without_one_is_the_leaderboard_of_the_others(table: Table, plan: Plan) -> None:
    found = leave_one_out(table, plan)
    whole = leaderboard(table, plan)
    assert [one.removed for one in found] == (list(whole.scores) if len(table) > 1 else [])
    for one in found:
        others = {name: own for name, own in table.items() if name != one.removed}
        assert one.board == leaderboard(others, plan)
        for ahead, behind in one.swaps:
            assert whole.scores[ahead] < whole.scores[behind]
            assert one.board.scores[ahead] > one.board.scores[behind]
            assert one.removed not in (ahead, behind)


@given(tables, plans, st.floats(1, 6), st.sampled_from("abcde"), seeds)
def test_leaving_out_one_that_is_never_fastest_changes_nothing_for_the_others(
    table: Table, plan: Plan, factor: float, leader: str, seed: int
) -> None:
    assume(leader in table)
    # On every workload at least as slow as one other submission, in every study.
    table["dominated"] = {w: [t * factor for t in ts] for w, ts in table[leader].items()}
    whole = leaderboard(table, plan)
    (one,) = [one for one in leave_one_out(table, plan) if one.removed == "dominated"]
    assert one.swaps == ()
    assert {**one.board.scores, "dominated": whole.scores["dominated"]} == whole.scores


@given(tables, plans, seeds)
def test_one_that_reaches_nothing_changes_no_interval(table: Table, plan: Plan, seed: int) -> None:
    drawn = bootstrap(table, plan, num_resamples=8, seed=seed)
    more = bootstrap({**table, "nothing": {}}, plan, num_resamples=8, seed=seed)
    assert not more.scores["nothing"].any()
    assert all(np.array_equal(more.scores[name], drawn.scores[name]) for name in table)


def test_a_swap_of_the_first_two_is_shown() -> None:
    # c is far ahead on wmt only: with it a loses there what keeps it ahead of b.
    plan = Plan(rulesets.V0_6, ("ogbg", "wmt"), (), num_studies=1)
    table = {
        "a": {"ogbg": [12.0], "wmt": [10.0]},
        "b": {"ogbg": [10.0], "wmt": [13.0]},
        "c": {"ogbg": [INF], "wmt": [4.0]},
    }
    # With c: a 0.9333 + 0.5, b 1 + 0.25. Without: a 0.9333 + 1, b 1 + 0.9.
    whole = leaderboard(table, plan)
    assert list(whole.scores) == ["a", "b", "c"]
    found = {one.removed: one.swaps for one in leave_one_out(table, plan)}
    assert found == {"a": (), "b": (), "c": ()}
    table["a"]["ogbg"] = [14.0]
    # With c: a 0.8667 + 0.5 against 1.25; without: 1.8667 against 1.9.
    assert list(leaderboard(table, plan).scores)[:2] == ["a", "b"]
    found = {one.removed: one.swaps for one in leave_one_out(table, plan)}
    assert found == {"a": (), "b": (), "c": (("b", "a"),)}
