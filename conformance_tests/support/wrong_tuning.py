"""Wrong rules of tuning; see :mod:`conformance_tests.support.wrong`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance_tests.support.wrong import Registry
from spec import halton, tuning
from spec.cases.runner import Refused
from spec.search_space import FeasiblePoints, Range, Scaling

WRONG_TUNING = Registry()
caught_by = WRONG_TUNING.caught_by


def patch_sequence(
    patch: pytest.MonkeyPatch, *, permuted: bool = True, shifted: bool = True, first: int = 101
) -> None:
    """Changes how the coordinates of a dimension are made."""

    def column(num_points: int, base: int) -> list[float]:
        generator = np.random.RandomState(base)
        digits = np.arange(1, base)
        generator.shuffle(digits)
        shift = generator.random_sample() if shifted else 0.0
        table = [0, *digits.tolist()] if permuted else list(range(base))
        indices = range(first, first + num_points)
        return [(halton._radical_inverse(index, table) + shift) % 1.0 for index in indices]

    patch.setattr(halton, "_shifted_van_der_corput", column)


@caught_by("tuning/halton-1")
def halton_without_the_digit_permutation(patch: pytest.MonkeyPatch) -> None:
    patch_sequence(patch, permuted=False)


@caught_by("tuning/halton-1")
def halton_without_the_shift(patch: pytest.MonkeyPatch) -> None:
    patch_sequence(patch, shifted=False)


@caught_by("tuning/halton-1")
def halton_that_counts_points_from_zero(patch: pytest.MonkeyPatch) -> None:
    patch_sequence(patch, first=100)


@caught_by("tuning/halton-2")
def halton_that_drops_no_point(patch: pytest.MonkeyPatch) -> None:
    patch_sequence(patch, first=1)


@caught_by("tuning/bases-1")
def halton_with_the_last_prime(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(halton, "primes", lambda dims: tuple(halton.odd_primes_below(1000)[-dims:]))


@caught_by("tuning/bases-2")
def halton_with_the_first_primes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(halton, "primes", lambda dims: (2, *halton.odd_primes_below(1000))[:dims])


@caught_by("tuning/study-second-block")
def points_are_repeated_between_studies(patch: pytest.MonkeyPatch) -> None:
    right = tuning.trial_points

    def trial_points(space: Any, *, study: int, num_studies: int, **arguments: Any) -> Any:
        if not 0 <= study < num_studies:
            raise Refused("TUNE-14")
        return right(space, study=0, num_studies=1, **arguments)

    patch.setattr(tuning, "trial_points", trial_points)


@caught_by("tuning/study-first-block")
def points_are_shuffled_before_they_are_dealt(patch: pytest.MonkeyPatch) -> None:
    right = tuning.trial_points

    def trial_points(
        space: Any, *, num_trials: int, seed: int, study: int, num_studies: int
    ) -> Any:
        everything = right(space, num_trials=num_trials * num_studies, seed=seed)
        return everything[num_trials * study : num_trials * (study + 1)]

    patch.setattr(tuning, "trial_points", trial_points)


@caught_by("tuning/study-order")
def trials_keep_the_order_of_the_sequence(patch: pytest.MonkeyPatch) -> None:
    class Unshuffled(np.random.RandomState):
        def shuffle(self, values: Any) -> None:
            assert isinstance(values, list)

    right = tuning.trial_points

    def trial_points(*arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            # The sequence itself shuffles arrays; only the order of the trials is a list.
            original = np.random.RandomState

            def generator(seed: Any) -> Any:
                return Unshuffled(seed) if seed == options["seed"] else original(seed)

            inner.setattr(np.random, "RandomState", generator)
            return right(*arguments, **options)

    patch.setattr(tuning, "trial_points", trial_points)


@caught_by("tuning/list-with-more-trials-than-points")
def a_list_is_repeated_within_a_study(patch: pytest.MonkeyPatch) -> None:
    right = tuning.trial_points

    def trial_points(space: Any, *, num_trials: int, **arguments: Any) -> Any:
        points = right(space, num_trials=num_trials, **arguments)
        return [points[i % len(points)] for i in range(num_trials)] if points else points

    patch.setattr(tuning, "trial_points", trial_points)


@caught_by("tuning/seeds-differ")
def studies_share_their_seeds(patch: pytest.MonkeyPatch) -> None:
    right = tuning.trial_seed
    patch.setattr(tuning, "trial_seed", lambda run, study, trial: right(run, 0, trial))


@caught_by("tuning/seeds-zero")
def zero_is_no_seed(patch: pytest.MonkeyPatch) -> None:
    right = tuning.trial_seed

    def trial_seed(run_seed: int, study: int, trial: int) -> int:
        if not run_seed:
            raise Refused("TUNE-7")
        return right(run_seed, study, trial)

    patch.setattr(tuning, "trial_seed", trial_seed)


def patch_mapping(patch: pytest.MonkeyPatch, wrong: Any) -> None:
    """Changes how coordinates become values, where ``wrong`` gives something else than None."""
    right = tuning.space_point

    def space_point(dimension: Any, u: float) -> Any:
        value = wrong(dimension, u)
        return right(dimension, u) if value is None else value

    patch.setattr(tuning, "space_point", space_point)


@caught_by("tuning/map-log-middle")
def log_ranges_are_linear(patch: pytest.MonkeyPatch) -> None:
    def wrong(dimension: Any, u: float) -> Any:
        if not isinstance(dimension, Range) or dimension.scaling is not Scaling.LOG:
            return None
        return dimension.minimum + u * (dimension.maximum - dimension.minimum)

    patch_mapping(patch, wrong)


@caught_by("tuning/map-not-rounded")
def ranges_between_integers_are_rounded(patch: pytest.MonkeyPatch) -> None:
    def wrong(dimension: Any, u: float) -> Any:
        if not isinstance(dimension, Range) or dimension.scaling is Scaling.LOG:
            return None
        return round(dimension.minimum + u * (dimension.maximum - dimension.minimum))

    patch_mapping(patch, wrong)


@caught_by("tuning/map-feasible-below-the-border")
def feasible_points_are_rounded_to_the_nearest(patch: pytest.MonkeyPatch) -> None:
    def wrong(dimension: Any, u: float) -> Any:
        if not isinstance(dimension, FeasiblePoints):
            return None
        return dimension.points[round(u * (len(dimension.points) - 1))]

    patch_mapping(patch, wrong)


@caught_by("tuning/space-unknown-scaling")
def an_unknown_scaling_is_linear(patch: pytest.MonkeyPatch) -> None:
    right = tuning.validate_search_space

    def validate_search_space(space: Any) -> Any:
        if isinstance(space, dict):
            space = {
                name: {**entry, "scaling": "linear"}
                if entry.get("scaling", "log") not in ("linear", "log")
                else entry
                for name, entry in space.items()
            }
        return right(space)

    patch.setattr(tuning, "validate_search_space", validate_search_space)
