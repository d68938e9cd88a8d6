"""Means over the examples of a split."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.workloads.means import weighted_means

values = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20)


@given(values, st.integers(1, 7), st.integers(0, 3))
def test_the_mean_depends_neither_on_the_batches_nor_on_padding(
    numbers: list[float], size: int, padding: int
) -> None:
    batches = []
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        batches.append(
            {
                # What a model computes of padding may be anything.
                "loss": np.array([*part, *[math.nan] * padding], np.float32),
                "weights": np.array([1.0] * len(part) + [0.0] * padding, np.float32),
            }
        )
    expected = math.fsum(numbers) / len(numbers)
    assert math.isclose(weighted_means(batches)["loss"], expected, rel_tol=1e-9, abs_tol=1e-6)


@given(values, st.data())
def test_an_example_counts_by_its_weight(numbers: list[float], data: st.DataObject) -> None:
    weights = data.draw(
        st.lists(
            st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=len(numbers), max_size=len(numbers)
        )
    )
    batch = {"a": np.array(numbers, np.float32), "w": np.array(weights, np.float32)}
    mean = weighted_means([batch], weights="w")["a"]
    if not any(weights):
        assert math.isnan(mean)
        return
    products = [x * w for x, w in zip(numbers, weights, strict=True)]
    assert math.isclose(mean, math.fsum(products) / sum(weights), rel_tol=1e-9, abs_tol=1e-6)


def test_a_mean_of_what_is_not_finite_is_not_finite() -> None:
    batch = {"loss": np.array([1.0, np.nan]), "weights": np.ones(2)}
    assert math.isnan(weighted_means([batch])["loss"])
