"""Laws of target setting: order does not matter, better runs never make worse targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spec import schedules, variant_testing
from spec import target_setting as ts
from spec.target_budget import steps_within
from spec.workloads import Direction

INF = math.inf
finite = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(-100.0, 100.0)
values = finite | st.sampled_from([math.nan, INF, -INF])
directions = st.sampled_from(list(Direction))
reruns = st.lists(st.builds(ts.Rerun, finite, finite), min_size=1, max_size=21)
any_reruns = st.lists(st.builds(ts.Rerun, values, values), min_size=1, max_size=21)
trials = st.dictionaries(st.sampled_from(ts.ALGORITHMS), st.lists(values, max_size=6))
OTHER = {Direction.MINIMIZE: Direction.MAXIMIZE, Direction.MAXIMIZE: Direction.MINIMIZE}


def _outcome(call: Callable[[], object]) -> object:
    """The result, or the class of the error."""
    try:
        return call()
    except ts.TargetSettingError as error:
        return type(error)


def _slow_targets(runs: list[ts.Rerun], direction: Direction) -> ts.Targets | None:
    """Sorts the runs from best to worst and counts to the middle; None if there is no target."""
    sign = 1 if direction is Direction.MINIMIZE else -1
    keys = sorted((sign * r.validation if math.isfinite(r.validation) else INF) for r in runs)
    low, high = keys[(len(keys) - 1) // 2], keys[len(keys) // 2]
    if high == INF:
        return None
    middle = (low + high) / 2
    reached = [
        r.test for r in runs if math.isfinite(r.validation) and sign * r.validation <= middle
    ]
    if not all(math.isfinite(test) for test in reached):
        return None
    return ts.Targets(sign * middle, sign * max(sign * test for test in reached), len(reached))


@pytest.mark.clause("TGT-5", "TGT-6")
@given(any_reruns, directions)
def test_targets_agree_with_sorting_and_counting(
    runs: list[ts.Rerun], direction: Direction
) -> None:
    expected = _slow_targets(runs, direction)
    outcome = _outcome(lambda: ts.targets(runs, direction))
    if expected is None:
        assert outcome in (ts.NoValidationTarget, ts.NoTestTarget)
    else:
        assert outcome == expected


@pytest.mark.clause("TGT-5", "TGT-6")
@given(any_reruns, directions, st.randoms(use_true_random=False))
def test_the_order_of_the_reruns_does_not_matter(runs, direction, rng) -> None:
    shuffled = list(runs)
    rng.shuffle(shuffled)
    assert _outcome(lambda: ts.targets(shuffled, direction)) == _outcome(
        lambda: ts.targets(runs, direction)
    )


@pytest.mark.clause("TGT-5", "TGT-6")
@given(reruns, directions)
def test_negated_values_give_negated_targets_in_the_other_direction(runs, direction) -> None:
    there = ts.targets(runs, direction)
    negated = [ts.Rerun(-run.validation, -run.test) for run in runs]
    back = ts.targets(negated, OTHER[direction])
    assert (back.validation, back.test) == (-there.validation, -there.test)
    assert back.num_reached == there.num_reached


@pytest.mark.clause("TGT-5", "TGT-6")
@given(reruns, directions)
def test_at_least_half_of_the_reruns_reach_the_target_and_the_test_target_with_it(
    runs, direction
) -> None:
    targets = ts.targets(runs, direction)
    assert 2 * targets.num_reached >= len(runs)
    sign = 1 if direction is Direction.MINIMIZE else -1
    good = [run for run in runs if sign * run.validation <= sign * targets.validation]
    assert len(good) == targets.num_reached
    assert all(sign * run.test <= sign * targets.test for run in good)
    assert targets.test in [run.test for run in good]


@pytest.mark.clause("TGT-5")
@given(reruns, directions, st.data())
def test_a_better_rerun_never_makes_an_easier_validation_target(runs, direction, data) -> None:
    index = data.draw(st.integers(0, len(runs) - 1))
    gain = data.draw(st.floats(0.0, 10.0))
    sign = 1 if direction is Direction.MINIMIZE else -1
    better = list(runs)
    better[index] = ts.Rerun(runs[index].validation - sign * gain, runs[index].test)
    before, after = (ts.targets(r, direction).validation for r in (runs, better))
    assert sign * after <= sign * before


@pytest.mark.clause("TGT-6")
@given(reruns, directions, st.data())
def test_a_better_test_value_never_makes_an_easier_test_target(runs, direction, data) -> None:
    index = data.draw(st.integers(0, len(runs) - 1))
    gain = data.draw(st.floats(0.0, 10.0))
    sign = 1 if direction is Direction.MINIMIZE else -1
    better = list(runs)
    better[index] = ts.Rerun(runs[index].validation, runs[index].test - sign * gain)
    before, after = (ts.targets(r, direction) for r in (runs, better))
    assert after.validation == before.validation
    assert sign * after.test <= sign * before.test


@pytest.mark.clause("TGT-5")
@given(reruns, directions)
def test_running_everything_twice_changes_no_target(runs, direction) -> None:
    once, twice = ts.targets(runs, direction), ts.targets(runs * 2, direction)
    assert (twice.validation, twice.test) == (once.validation, once.test)


@pytest.mark.clause("TGT-5", "TGT-6")
@given(st.lists(finite, min_size=1, max_size=9), finite, directions)
def test_equal_reruns_are_their_own_targets(copies, validation, direction) -> None:
    runs = [ts.Rerun(validation, validation)] * len(copies)
    assert ts.targets(runs, direction) == ts.Targets(validation, validation, len(runs))


# The configuration.


@pytest.mark.clause("TGT-4", "TGT-7")
@given(trials, directions)
def test_the_chosen_trial_is_the_first_that_nothing_beats(trials, direction) -> None:
    sign = 1 if direction is Direction.MINIMIZE else -1
    ordered = [
        (sign * value, rank, index, algorithm)
        for rank, algorithm in enumerate(ts.ALGORITHMS)
        for index, value in enumerate(trials.get(algorithm, []))
        if math.isfinite(value)
    ]
    outcome = _outcome(lambda: ts.best_configuration(trials, direction))
    if not ordered:
        assert outcome is ts.NoBestTrial
        return
    value, _, index, algorithm = min(ordered)
    assert outcome == ts.Choice(algorithm, index, sign * value)


@pytest.mark.clause("TGT-7")
@given(trials, directions, st.randoms(use_true_random=False))
def test_the_order_in_which_algorithms_are_given_does_not_matter(trials, direction, rng) -> None:
    names = list(trials)
    rng.shuffle(names)
    assert _outcome(lambda: ts.best_configuration(trials, direction)) == _outcome(
        lambda: ts.best_configuration({name: trials[name] for name in names}, direction)
    )


@pytest.mark.clause("TGT-8")
@given(st.dictionaries(st.sampled_from(ts.ALGORITHMS), values), finite, directions)
def test_how_good_nadamw_is_does_not_decide_which_other_algorithm_is_tuned(
    best, value, direction
) -> None:
    changed = {**best, "nadamw": value}
    outcome = _outcome(lambda: ts.variant_algorithms(changed, direction))
    assert outcome == _outcome(lambda: ts.variant_algorithms(best, direction))
    if isinstance(outcome, tuple):
        assert outcome[0] == "nadamw" != outcome[1]


# Budgets.


@pytest.mark.clause("TGT-9")
@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e3))
def test_a_step_budget_is_the_most_steps_that_fit(runtime, step) -> None:
    steps = steps_within(runtime, step)
    assert steps * Fraction(step) <= Fraction(runtime) < (steps + 1) * Fraction(step)


@pytest.mark.clause("TGT-10")
@given(st.integers(1, 10**7))
def test_four_thirds_rounded_down_and_three_quarters_rounded_up_are_inverse(steps) -> None:
    assert math.ceil((4 * steps // 3) * Fraction(ts.RUNTIME_FACTOR)) == steps


@pytest.mark.clause("TGT-3")
@given(st.integers(1, 10**7))
def test_a_run_is_three_quarters_of_its_hint_rounded_down(hint) -> None:
    assert ts.target_setting_steps(hint) == 3 * hint // 4


# Schedules.

lengths = st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
rates = st.floats(1e-6, 10.0)
parts = st.floats(0.0, 1.0)


@pytest.mark.clause("TGT-12", "TGT-13")
@given(lengths, rates, parts, parts)
def test_schedules_rise_to_the_peak_and_then_fall(length, rate, end, part) -> None:
    num_steps, warmup = length
    for curve in (
        [schedules.warmup_cosine_decay(t, rate, num_steps, warmup) for t in range(num_steps + 5)],
        [
            schedules.warmup_linear_decay_constant(t, rate, num_steps, warmup, end, part)
            for t in range(num_steps + 5)
        ],
    ):
        rising, falling = curve[: warmup + 1], curve[warmup:]
        assert rising == sorted(rising)
        assert falling == sorted(falling, reverse=True)
        assert curve[warmup] == max(curve) == pytest.approx(rate)
        assert curve[0] == 0.0 or warmup == 0


@pytest.mark.clause("TGT-12")
@given(lengths, rates)
def test_the_cosine_is_symmetric_about_its_middle_and_ends_at_zero(length, rate) -> None:
    num_steps, warmup = length
    assume(warmup < num_steps)
    decay = num_steps - warmup
    for t in range(decay + 1):
        there = schedules.warmup_cosine_decay(warmup + t, rate, num_steps, warmup)
        mirrored = schedules.warmup_cosine_decay(num_steps - t, rate, num_steps, warmup)
        assert there + mirrored == pytest.approx(rate)
    assert schedules.warmup_cosine_decay(num_steps, rate, num_steps, warmup) == pytest.approx(0.0)


@pytest.mark.clause("TGT-13")
@given(lengths, rates, parts, parts)
def test_the_linear_decay_reaches_its_end_after_its_part_of_the_steps(
    length, rate, end, part
) -> None:
    num_steps, warmup = length
    decay = int((num_steps - warmup) * part)
    for t in (max(decay, 1), decay + 1, 10 * num_steps + 1):
        value = schedules.warmup_linear_decay_constant(
            warmup + t, rate, num_steps, warmup, end, part
        )
        assert value == pytest.approx(rate * end, abs=1e-12)


# Variants.

settings = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(values, min_size=n, max_size=n)] * 2)
)


@pytest.mark.clause("HELD-11")
@given(settings, directions)
def test_ranks_agree_with_sorting(lists, direction) -> None:
    base, variant = lists
    sign = 1 if direction is Direction.MINIMIZE else -1

    def keys(values: list[float]) -> list[float]:
        return [sign * value if math.isfinite(value) else INF for value in values]

    outcome = _outcome(lambda: variant_testing.transfer(base, variant, direction))
    if min(keys(base)) == INF or min(keys(variant)) == INF:
        assert outcome is ts.NoBestTrial
        return
    best_base, best_variant = (k.index(min(k)) for k in (keys(base), keys(variant)))
    expected = variant_testing.Transfer(
        sorted(keys(variant)).index(keys(variant)[best_base]),
        sorted(keys(base)).index(keys(base)[best_variant]),
    )
    assert outcome == expected


@pytest.mark.clause("HELD-11")
@given(settings, directions)
def test_swapping_base_and_variant_swaps_the_ranks(lists, direction) -> None:
    base, variant = lists
    there = _outcome(lambda: variant_testing.transfer(base, variant, direction))
    back = _outcome(lambda: variant_testing.transfer(variant, base, direction))
    if isinstance(there, variant_testing.Transfer):
        assert isinstance(back, variant_testing.Transfer)
        assert back.base_to_variant == there.variant_to_base
        assert back.distinctness == there.distinctness
        assert 0 <= there.distinctness < len(base)
    else:
        assert back is there


@pytest.mark.clause("HELD-12")
@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.floats(0.0, 0.5), directions)
def test_a_workload_is_trainable_by_its_own_value_and_tolerance_only_helps(
    base, variant, tolerance, direction
) -> None:
    assert variant_testing.is_trainable(base, base, direction, 0.0)
    if variant_testing.is_trainable(base, variant, direction, tolerance):
        assert variant_testing.is_trainable(base, variant, direction, tolerance + 0.1)
