"""Search spaces, quasi-random points, studies and seeds by example and against golden values."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spec.halton import odd_primes_below, primes
from spec.search_space import FeasiblePoints, Range, Scaling, SearchSpace
from spec.tuning import (
    MAX_SEED,
    SearchSpaceError,
    TuningError,
    halton_points,
    quasi_random_points,
    space_point,
    trial_points,
    trial_seed,
    validate_search_space,
)

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "halton.json").read_text()
)
SPACES: dict[str, Any] = {**GOLDEN["spaces"], "list": GOLDEN["list_space"]}
LOG_SPACE: dict[str, Any] = {"lr": {"min": 1e-4, "max": 1e-2, "scaling": "log"}}
LIST_OF_7: list[dict[str, Any]] = GOLDEN["list_space"]
# Our own derivation: recorded when it was written, so that stored run seeds keep their meaning.
SEEDS_OF_RUN_0 = [1963132413, 1881253516, 3048723208]
SEED_OF_LAST_RUN = 3463768527


# The sequence.


@pytest.mark.clause("TUNE-1")
def test_the_bases_are_the_golden_primes() -> None:
    assert odd_primes_below(100) == GOLDEN["generate_primes_100"]
    assert odd_primes_below(1000)[-12:] == GOLDEN["last_primes_under_1000"]
    for num_dims, expected in GOLDEN["primes_used_for_num_dims"].items():
        assert list(primes(int(num_dims))) == expected


@pytest.mark.clause("TUNE-1")
def test_the_prime_limit_grows_when_the_dimensions_use_up_the_primes() -> None:
    below_1000 = odd_primes_below(1000)
    assert primes(len(below_1000) - 1) == tuple(below_1000[:-1])
    below_2000 = odd_primes_below(2000)
    for num_dims in (len(below_1000), len(below_1000) + 1):
        assert primes(num_dims) == tuple(below_2000[-num_dims - 1 : -1])
    # 3001 is a prime: a step a little larger than 1000 would show here.
    assert primes(len(below_2000)) == tuple(odd_primes_below(3000)[-len(below_2000) - 1 : -1])


@pytest.mark.clause("TUNE-2")
@pytest.mark.parametrize("num_dims", list(GOLDEN["raw_unshuffled"]))
def test_the_raw_points_are_the_golden_ones_digit_for_digit(num_dims: str) -> None:
    expected = [tuple(point) for point in GOLDEN["raw_unshuffled"][num_dims]]
    assert halton_points(len(expected), int(num_dims)) == expected


@pytest.mark.clause("TUNE-2")
def test_no_points_and_no_dimensions() -> None:
    assert halton_points(0, 3) == []
    with pytest.raises(ValueError, match="cannot be negative"):
        halton_points(-1, 3)
    with pytest.raises(ValueError, match="at least 1 dimension"):
        halton_points(1, 0)


# Points of a space.


@pytest.mark.clause("TUNE-3", "TUNE-4", "TUNE-5", "TUNE-6")
@pytest.mark.parametrize(
    "case",
    GOLDEN["cases"],
    ids=lambda case: f"{case['space']}-{case['num_trials']}-{case['np_random_seed']}",
)
def test_the_trials_of_a_run_are_the_golden_ones_digit_for_digit(case: dict[str, Any]) -> None:
    points = trial_points(
        SPACES[case["space"]], num_trials=case["num_trials"], seed=case["np_random_seed"]
    )
    assert len(points) == case["n_returned"]
    assert [list(point) for point in points] == [case["fields"]] * len(points)
    assert [list(point.values()) for point in points] == case["points"]


@pytest.mark.clause("TUNE-3")
@pytest.mark.parametrize(
    ("dimension", "u", "value"),
    [
        (Range(2.0, 4.0, Scaling.LINEAR), 0.0, 2.0),
        (Range(2.0, 4.0, Scaling.LINEAR), 0.5, 3.0),
        (Range(1.0, 100.0, Scaling.LOG), 0.0, 1.0),
        (Range(1.0, 100.0, Scaling.LOG), 0.5, 10.0),
        (FeasiblePoints(("a", "b", "c")), 0.0, "a"),
        (FeasiblePoints(("a", "b", "c")), 1 / 3, "b"),
        (FeasiblePoints(("a", "b", "c")), math.nextafter(1.0, 0.0), "c"),
    ],
)
def test_a_coordinate_is_mapped_by_its_scale(
    dimension: Range | FeasiblePoints, u: float, value: float | str
) -> None:
    assert space_point(dimension, u) == pytest.approx(value)


@pytest.mark.clause("TUNE-4")
def test_points_come_in_sequence_order_and_a_list_in_its_own() -> None:
    raw = halton_points(3, 1)
    space = {"b": {"min": 0.0, "max": 1.0, "scaling": "linear"}}
    assert [point["b"] for point in quasi_random_points(space, 3)] == [u for (u,) in raw]
    assert quasi_random_points(LIST_OF_7, 3) == LIST_OF_7[:3]
    assert quasi_random_points(LIST_OF_7, 9) == LIST_OF_7
    with pytest.raises(TuningError, match="cannot be negative"):
        quasi_random_points(space, -1)


# Studies.


def _deal(space: object, num_trials: int, num_studies: int, seed: int = 3) -> list[list[Any]]:
    return [
        trial_points(
            space,  # type: ignore[arg-type]
            num_trials=num_trials,
            seed=seed,
            study=study,
            num_studies=num_studies,
        )
        for study in range(num_studies)
    ]


@pytest.mark.clause("TUNE-5")
def test_fifteen_points_are_dealt_to_three_studies_of_five_without_replacement() -> None:
    studies = _deal(LOG_SPACE, num_trials=5, num_studies=3)
    values = [point["lr"] for study in studies for point in study]
    assert len(set(values)) == 15
    assert set(values) == {point["lr"] for point in quasi_random_points(LOG_SPACE, 15)}
    for index, study in enumerate(studies):
        block = quasi_random_points(LOG_SPACE, 15)[5 * index : 5 * index + 5]
        assert sorted(p["lr"] for p in study) == sorted(p["lr"] for p in block)


@pytest.mark.clause("TUNE-5")
def test_the_first_study_is_the_run_with_one_study() -> None:
    assert _deal(LOG_SPACE, 5, 3)[0] == _deal(LOG_SPACE, 5, 1)[0]


@pytest.mark.clause("TUNE-5")
def test_the_seed_changes_the_order_of_trials_and_not_their_set() -> None:
    orders = [[p["lr"] for p in _deal(LOG_SPACE, 5, 3, seed)[1]] for seed in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    assert len({tuple(sorted(order)) for order in orders}) == 1


@pytest.mark.clause("TUNE-6")
def test_a_list_of_five_serves_every_study_of_five_in_its_order() -> None:
    assert _deal(LIST_OF_7[:5], num_trials=5, num_studies=3) == [LIST_OF_7[:5]] * 3


@pytest.mark.clause("TUNE-6")
def test_a_list_that_is_long_enough_is_dealt_without_replacement() -> None:
    assert _deal(LIST_OF_7, num_trials=2, num_studies=3) == [
        LIST_OF_7[0:2],
        LIST_OF_7[2:4],
        LIST_OF_7[4:6],
    ]


@pytest.mark.clause("TUNE-6")
def test_a_list_between_the_two_starts_again_and_repeats_no_point_within_a_study() -> None:
    studies = _deal(LIST_OF_7, num_trials=5, num_studies=3)
    rates = [[point["learning_rate"] for point in study] for study in studies]
    assert rates == [
        [0.001, 0.002, 0.003, 0.004, 0.005],
        [0.006, 0.007, 0.001, 0.002, 0.003],
        [0.004, 0.005, 0.006, 0.007, 0.001],
    ]
    assert set(Counter(rate for study in rates for rate in study).values()) == {2, 3}


@pytest.mark.clause("TUNE-6")
def test_a_list_shorter_than_the_trials_gives_fewer_trials() -> None:
    assert _deal(LIST_OF_7[:2], num_trials=5, num_studies=2) == [LIST_OF_7[:2]] * 2


@pytest.mark.clause("TUNE-6")
def test_points_handed_out_are_copies() -> None:
    space = validate_search_space(LIST_OF_7)
    trial_points(space, num_trials=1, seed=0)[0]["learning_rate"] = 99.0
    assert trial_points(space, num_trials=1, seed=0)[0]["learning_rate"] == 0.001


@pytest.mark.clause("TUNE-5")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_trials": 0, "seed": 0}, "number of trials is 0"),
        ({"num_trials": 5, "seed": 0, "study": 3, "num_studies": 3}, "study 3 does not exist"),
        ({"num_trials": 5, "seed": 0, "study": 4, "num_studies": 3}, "study 4 does not exist"),
        ({"num_trials": 5, "seed": 0, "study": 1}, "study 1 does not exist; there are 1"),
        ({"num_trials": 5, "seed": 0, "study": -1}, "study -1 does not exist"),
        ({"num_trials": 5, "seed": -1}, "seed is -1"),
        ({"num_trials": 5, "seed": MAX_SEED + 1}, "seed is 4294967296"),
    ],
)
def test_numbers_out_of_range_are_errors(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(TuningError, match=message):
        trial_points(LOG_SPACE, **arguments)  # type: ignore[arg-type]


# Seeds.


@pytest.mark.clause("TUNE-7")
def test_trial_seeds_are_fixed_for_ever() -> None:
    assert [trial_seed(0, 0, trial) for trial in range(1, 4)] == SEEDS_OF_RUN_0
    assert trial_seed(MAX_SEED, 2, 5) == SEED_OF_LAST_RUN


@pytest.mark.clause("TUNE-7")
def test_all_trials_of_a_run_have_different_seeds_and_so_have_neighbouring_runs() -> None:
    runs = [{trial_seed(run, s, t) for s in range(5) for t in range(1, 21)} for run in range(20)]
    assert [len(seeds) for seeds in runs] == [100] * 20
    assert len(set.union(*runs)) == 2000
    assert all(0 <= seed <= MAX_SEED for seeds in runs for seed in seeds)


@pytest.mark.clause("TUNE-7")
@pytest.mark.parametrize(
    "arguments", [(-1, 0, 0), (2**32, 0, 0), (0, -1, 0), (0, 0, 2**16), (0, 2**16 + 1, 0)]
)
def test_a_seed_or_an_index_out_of_range_is_an_error(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(TuningError, match="lies between"):
        trial_seed(*arguments)


# The schema.


@pytest.mark.clause("TUNE-8")
def test_all_golden_spaces_are_valid() -> None:
    for space in SPACES.values():
        checked = validate_search_space(space)
        assert checked.names == tuple(space if isinstance(space, dict) else space[0])


@pytest.mark.clause("TUNE-8")
def test_a_valid_space_keeps_order_kinds_and_values() -> None:
    space = validate_search_space(
        {
            "b": {"feasible_points": [0.1, "adam", True, None, [1, 2]]},
            "a": {"min": 1, "max": 2.5, "scaling": "linear"},
        }
    )
    assert space.names == ("b", "a")
    assert space.dimensions == (
        FeasiblePoints((0.1, "adam", True, None, [1, 2])),
        Range(1.0, 2.5, Scaling.LINEAR),
    )
    assert space.points is None


@pytest.mark.clause("TUNE-8")
def test_a_list_may_hold_one_point_without_hyperparameters() -> None:
    assert trial_points([{}], num_trials=5, seed=0) == [{}]


@pytest.mark.clause("TUNE-8")
def test_points_of_a_list_take_the_order_of_names_of_the_first() -> None:
    points = trial_points([{"a": 1, "b": 2}, {"b": 4, "a": 3}], num_trials=2, seed=0)
    assert [list(point.items()) for point in points] == [
        [("a", 1), ("b", 2)],
        [("a", 3), ("b", 4)],
    ]


def _range(**changes: object) -> dict[str, object]:
    entry: dict[str, object] = {"min": 0.1, "max": 1.0, "scaling": "log"}
    entry.update(changes)
    return {"lr": {key: value for key, value in entry.items() if value is not ...}}


@pytest.mark.clause("TUNE-8")
@pytest.mark.parametrize(
    ("space", "message"),
    [
        ((1, 2), "point 0 is a int; every point must be an object"),
        (None, "is a NoneType; it must be an object of hyperparameters or a list"),
        ("lr", "is a str"),
        (3.0, "is a float"),
        ({}, "names no hyperparameter"),
        ([], "list of points is empty"),
        ([[0.1]], "point 0 is a list"),
        ([{"a": 1}, {"b": 1}], r"point 1 lacks \['a'\] and adds \['b'\]"),
        ([{"a": 1}, {}], r"point 1 lacks \['a'\] compared with point 0"),
        ([{"a": 1}, {"a": math.nan}], "point 1: 'a' is nan; it must be a finite number"),
        ([{"a": 1}, {"a": {"min": 1}}], "point 1: 'a' is a dict"),
        ([{"a": [1.0, math.inf]}], r"point 0: 'a'\[1\] is inf"),
        ({"learning-rate": {}}, "'learning-rate' cannot be a hyperparameter's name"),
        ({"lambda": {}}, "'lambda' cannot be a hyperparameter's name"),
        ({"_beta": {}}, "'_beta' cannot be a hyperparameter's name"),
        ({"": {}}, "'' cannot be a hyperparameter's name"),
        ({1: {}}, "the name 1 is not a string"),
        ([{"1st": 0}], "point 0: '1st' cannot be a hyperparameter's name"),
        ({"lr": 0.1}, "'lr' is a float; it must be an object"),
        ({"lr": {}}, "'lr' lacks 'min'"),
        (_range(scaling=...), "'lr' lacks 'scaling'"),
        (_range(max=...), "'lr' lacks 'max'"),
        (_range(scaling="logarithmic"), "'lr': 'scaling' is 'logarithmic'; it must be 'linear' or"),
        (_range(scaling="LOG"), "'lr': 'scaling' is 'LOG'"),
        (_range(scaling=None), "'lr': 'scaling' is None"),
        (_range(scaling=["log"]), "'lr': 'scaling' is"),
        (_range(min=1.0), "'lr': 'min' 1.0 is not below 'max' 1.0"),
        (_range(min=2), "'lr': 'min' 2.0 is not below 'max' 1.0"),
        (_range(min=0.0), "'lr': 'min' is 0.0; with 'scaling' 'log' it must be positive"),
        (_range(min=-1.0), "'lr': 'min' is -1.0; with 'scaling' 'log'"),
        (_range(min=math.nan), "'lr': 'min' is nan; it must be a finite number"),
        (_range(max=math.inf), "'lr': 'max' is inf; it must be a finite number"),
        (_range(max=10**400), "'lr': 'max' is inf"),
        (_range(min="0.1"), "'lr': 'min' is '0.1'; it must be a number"),
        (_range(min=True), "'lr': 'min' is True; it must be a number"),
        (_range(min=1e-300, max=1e300), "'lr': 'min' 1e-300 and 'max' 1e.300 are too far apart"),
        (_range(min=-1e308, max=1e308, scaling="linear"), "are too far apart"),
        ({"lr": {"min": 0, "max": 1, "scale": "log"}}, "unknown key 'scale'; did you mean 'scal"),
        ({"lr": {"distribution": "log"}}, "unknown key 'distribution'; known are"),
        (_range(feasible_points=[1]), "'lr' has both 'feasible_points' and 'min'"),
        ({"lr": {"feasible_points": []}}, "'lr': 'feasible_points' is empty"),
        ({"lr": {"feasible_points": 0.1}}, "'lr': 'feasible_points' is a float"),
        ({"lr": {"feasible_points": "ab"}}, "'lr': 'feasible_points' is a str"),
        ({"lr": {"feasible_points": [1, math.nan]}}, r"'lr': 'feasible_points'\[1\] is nan"),
        ({"lr": {"feasible_points": [{}]}}, r"'lr': 'feasible_points'\[0\] is a dict"),
    ],
)
def test_a_space_out_of_schema_is_an_error_that_names_the_field(
    space: object, message: str
) -> None:
    with pytest.raises(SearchSpaceError, match=message):
        validate_search_space(space)


@pytest.mark.clause("TUNE-11")
def test_the_width_of_a_linear_range_is_the_difference_of_its_bounds() -> None:
    space = {"lr": {"min": 1e200, "max": 2e200, "scaling": "linear"}}
    assert validate_search_space(space).dimensions == (Range(1e200, 2e200, Scaling.LINEAR),)


@pytest.mark.clause("TUNE-10")
def test_a_space_with_a_name_without_a_dimension_is_neither_written_nor_searched() -> None:
    space = SearchSpace(("lr", "beta"), (FeasiblePoints((0.1,)),))
    for use in (SearchSpace.to_json, lambda space: quasi_random_points(space, 1)):
        with pytest.raises(ValueError, match="shorter"):
            use(space)


@pytest.mark.clause("TUNE-2")
@pytest.mark.parametrize("space", [LOG_SPACE, LIST_OF_7])
def test_a_negative_number_of_points_is_an_error_for_lists_too(space: Any) -> None:
    with pytest.raises(TuningError, match="the number of points is -1"):
        quasi_random_points(space, -1)
