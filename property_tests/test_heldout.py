"""Laws of held-out workloads: the draw is fair, and the conditions only take credit away."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import credit, heldout, workloads
from spec.credit import credited_times, unmet_conditions
from spec.profiles import within_r_max
from spec.rulesets import PAPER_2023, RULESETS, V0_5, V0_6, Condition, HeldOut
from spec.tuning import MAX_SEED

INF = math.inf
BASES = ("ogbg", "wmt", "fastmri")
VARIANTS = tuple(v for base in BASES for v in heldout.variants(base))
HELD_OUT_VERSIONS = ("paper2023", "v0.5")

# Few distinct values, so that ties and exact multiples of four come up.
times = st.sampled_from([1.0, 2.0, 4.0, 8.0, 16.0, INF]) | st.floats(min_value=0.1, max_value=100.0)
tables = st.dictionaries(
    st.sampled_from(["alpha", "beta", "gamma", "delta"]),
    st.dictionaries(st.sampled_from(BASES + VARIANTS), times),
    min_size=1,
)
held_out_sets = st.lists(st.sampled_from(VARIANTS), unique=True, max_size=4)
versions = st.sampled_from(HELD_OUT_VERSIONS)
seeds = st.integers(0, MAX_SEED)
Table = dict[str, dict[str, float]]


# The draw.


@pytest.mark.clause("HELD-3", "HELD-4")
@given(st.sampled_from(list(RULESETS)), seeds)
def test_a_draw_has_one_of_every_pool_and_depends_on_the_seed_only(version: str, seed: int) -> None:
    drawn = heldout.draw(version, seed)
    heldout.check_draw(version, drawn)
    assert drawn == heldout.draw(version, seed)
    assert len(drawn) == len(heldout.pools(version))
    assert all(
        name in pool for name, pool in zip(drawn, heldout.pools(version).values(), strict=True)
    )


def _chi_square(counts: Sequence[int]) -> float:
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


# Quantiles of the chi-square distribution that a fair draw exceeds once in a million times, by
# degrees of freedom.
BOUND = {2: 27.63, 5: 35.89, 8: 42.70, 17: 60.13, 35: 89.95}


@pytest.mark.clause("HELD-3")
@pytest.mark.parametrize("version", HELD_OUT_VERSIONS)
def test_over_the_first_seeds_every_variant_of_a_pool_comes_up_equally_often(version: str) -> None:
    draws = [heldout.draw(version, seed) for seed in range(1_800)]
    for column, pool in enumerate(heldout.pools(version).values()):
        counts = Counter(drawn[column] for drawn in draws)
        assert set(counts) == set(pool)
        assert _chi_square([counts[name] for name in pool]) < BOUND[len(pool) - 1]


@pytest.mark.clause("HELD-3")
@pytest.mark.parametrize("version", HELD_OUT_VERSIONS)
def test_over_the_first_seeds_two_pools_are_drawn_independently(version: str) -> None:
    draws = [heldout.draw(version, seed) for seed in range(1_800)]
    pools = list(heldout.pools(version).values())
    for first, second in itertools.combinations(range(len(pools)), 2):
        counts = Counter((drawn[first], drawn[second]) for drawn in draws)
        cells = list(itertools.product(pools[first], pools[second]))
        assert _chi_square([counts[cell] for cell in cells]) < BOUND[len(cells) - 1]


@pytest.mark.clause("HELD-4")
@given(versions, seeds, st.data())
def test_leaving_one_out_or_adding_one_is_never_a_draw(
    version: str, seed: int, data: st.DataObject
) -> None:
    drawn = list(heldout.draw(version, seed))
    shuffled = data.draw(st.permutations(drawn))
    heldout.check_draw(version, shuffled)
    with pytest.raises(heldout.WrongDraw):
        heldout.check_draw(version, shuffled[1:])
    extra = data.draw(st.sampled_from(workloads.names("variant")))
    with pytest.raises(heldout.WrongDraw):
        heldout.check_draw(version, [*shuffled, extra])


@pytest.mark.clause("HELD-1", "HELD-2")
@given(st.sampled_from(workloads.names("variant")), versions)
def test_every_variant_is_in_exactly_one_pool(name: str, version: str) -> None:
    assert sum(name in pool for pool in heldout.pools(version).values()) == 1
    assert name in heldout.variants(heldout.base_of(name))


# The conditions.


def _slow_credit(table: Table, base: str, held_out: Sequence[str]) -> dict[str, float]:
    """The published steps, one after the other, on a copy of the times."""
    t = {(s, w): table[s].get(w, INF) for s in table for w in (base, *VARIANTS)}
    failed = set()
    for h in held_out:
        if not h.startswith(base):
            continue
        for s in table:
            if t[s, base] == INF:
                t[s, h] = INF
        fastest = min(t[s, h] for s in table)
        failed |= {s for s in table if t[s, h] == INF or t[s, h] > 4 * fastest}
    fastest = min(t[s, base] for s in table)
    failed |= {s for s in table if t[s, base] > 4 * fastest}
    return {s: INF if s in failed else t[s, base] for s in table}


@pytest.mark.clause("HELD-6", "HELD-8", "HELD-9", "HELD-10")
@given(tables, held_out_sets, st.sampled_from([PAPER_2023, V0_5]))
def test_credit_agrees_with_the_steps_done_one_by_one(table, held_out, ruleset) -> None:
    credited = credited_times(table, BASES, held_out, ruleset)
    for base in BASES:
        assert {s: own[base] for s, own in credited.items()} == _slow_credit(table, base, held_out)


@pytest.mark.clause("HELD-10")
@given(tables, held_out_sets)
def test_a_credited_time_is_the_time_itself_or_none(table: Table, held_out: list[str]) -> None:
    credited = credited_times(table, BASES, held_out, V0_5)
    for submission, own in table.items():
        for base in BASES:
            assert credited[submission][base] in (own.get(base, INF), INF)
            unmet = unmet_conditions(table, base, held_out, V0_5)[submission]
            assert (credited[submission][base] == INF) == bool(unmet)


@pytest.mark.clause("HELD-6", "HELD-10")
@given(tables, held_out_sets, st.sampled_from(VARIANTS))
def test_one_more_held_out_workload_only_takes_credit_away(
    table: Table, held_out: list[str], more: str
) -> None:
    fewer = credited_times(table, BASES, held_out, V0_5)
    credited = credited_times(table, BASES, [*held_out, more], V0_5)
    for submission, own in credited.items():
        for base in BASES:
            if base != heldout.base_of(more):
                assert own[base] == fewer[submission][base]
            assert own[base] in (fewer[submission][base], INF)


@pytest.mark.clause("HELD-6")
@given(tables)
def test_without_held_out_workloads_only_the_factor_of_four_is_left(table: Table) -> None:
    for ruleset in RULESETS.values():
        credited = credited_times(table, BASES, [], ruleset)
        for base in BASES:
            column = {s: own.get(base, INF) for s, own in table.items()}
            assert {s: own[base] for s, own in credited.items()} == within_r_max(column)


@pytest.mark.clause("HELD-8")
@given(tables, held_out_sets)
def test_who_reaches_no_base_target_changes_nothing_for_the_others(
    table: Table, held_out: list[str]
) -> None:
    idle = dict.fromkeys(VARIANTS, 0.01)
    credited = credited_times({**table, "idle": idle}, BASES, held_out, V0_5)
    assert credited.pop("idle") == dict.fromkeys(BASES, INF)
    assert credited == credited_times(table, BASES, held_out, V0_5)


@pytest.mark.clause("HELD-10")
@given(tables, held_out_sets, st.randoms(use_true_random=False))
def test_the_order_of_submissions_and_held_out_workloads_does_not_matter(
    table: Table, held_out: list[str], rng
) -> None:
    credited = credited_times(table, BASES, held_out, V0_5)
    names, shuffled = list(table), list(held_out)
    rng.shuffle(names)
    rng.shuffle(shuffled)
    again = credited_times({name: table[name] for name in names}, BASES, shuffled, V0_5)
    assert again == credited
    assert list(again) == names


@pytest.mark.clause("HELD-10")
@given(tables, held_out_sets, st.integers(-6, 6))
def test_credit_knows_no_unit_of_time(table: Table, held_out: list[str], exponent: int) -> None:
    unit = 2.0**exponent
    scaled = {s: {w: t * unit for w, t in own.items()} for s, own in table.items()}
    expected = credited_times(table, BASES, held_out, V0_5)
    credited = credited_times(scaled, BASES, held_out, V0_5)
    assert credited == {s: {w: t * unit for w, t in own.items()} for s, own in expected.items()}


@pytest.mark.clause("HELD-6")
@given(tables, st.sampled_from(VARIANTS), st.data())
def test_being_faster_on_the_held_out_workload_never_costs_one_s_own_credit(
    table: Table, variant: str, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(table)))
    seconds = table[name].get(variant, INF)
    faster = data.draw(st.floats(min_value=0.05, max_value=min(seconds, 100.0)))
    quick = {**table, name: {**table[name], variant: faster}}
    base = heldout.base_of(variant)
    before = credited_times(table, BASES, [variant], V0_5)[name][base]
    after = credited_times(quick, BASES, [variant], V0_5)[name][base]
    assert after <= before


@pytest.mark.clause("HELD-6")
@given(tables, held_out_sets)
def test_an_unmet_target_is_never_near_the_fastest(table: Table, held_out: list[str]) -> None:
    for base in BASES:
        for unmet in unmet_conditions(table, base, held_out, V0_5).values():
            if Condition.BASE_REACHED in unmet:
                assert Condition.BASE_NEAR_FASTEST in unmet
            if Condition.HELD_OUT_REACHED in unmet:
                assert Condition.HELD_OUT_NEAR_FASTEST in unmet
            assert list(unmet) == [c for c in Condition if c in unmet]


@pytest.mark.clause("HELD-7")
@given(tables, tables, held_out_sets)
def test_the_score_s_time_decides_nothing_where_the_conditions_have_their_own(
    scored: Table, judged: Table, held_out: list[str]
) -> None:
    credited = credited_times(scored, BASES, held_out, PAPER_2023, condition_times=judged)
    own = {s: judged.get(s, {}) for s in scored}
    by_judged = credited_times(own, BASES, held_out, PAPER_2023)
    for submission, times_of in scored.items():
        for base in BASES:
            kept = by_judged[submission][base] < INF
            assert credited[submission][base] == (times_of.get(base, INF) if kept else INF)


@pytest.mark.clause("HELD-4", "HELD-6")
@given(tables, st.lists(st.sampled_from(VARIANTS), min_size=1))
def test_v0_6_never_takes_a_held_out_workload(table: Table, held_out: list[str]) -> None:
    assert V0_6.held_out is HeldOut.NONE
    with pytest.raises(heldout.WrongDraw):
        credit.credited_times(table, BASES, held_out, V0_6)
