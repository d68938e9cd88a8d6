"""Mean average precision agrees with a slow and independent definition for every input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref.workloads.ogbg.metrics import average_precision, mean_average_precision

# Few distinct values, so that ties are common; moderate, so that no probability saturates.
scores = st.integers(-8, 8).map(lambda value: value / 2)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 4))


@st.composite
def columns(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(1, 15))
    positive = draw(hnp.arrays(np.bool_, size))
    assume(positive.any())
    return positive, draw(hnp.arrays(np.float64, size, elements=scores))


@st.composite
def splits(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = draw(shapes)
    weights = draw(hnp.arrays(np.bool_, shape)).astype(np.float32)
    labels = draw(hnp.arrays(np.bool_, shape)) * weights  # 0 where unknown, as in a batch.
    return labels, draw(hnp.arrays(np.float32, shape, elements=scores)), weights


def slow_average_precision(positive: np.ndarray, values: np.ndarray) -> float:
    """Mean over the positives of the precision among all that score at least as high."""
    precisions = []
    for own in values[positive]:
        above = [is_positive for is_positive, v in zip(positive, values, strict=True) if v >= own]
        precisions.append(sum(above) / len(above))
    return sum(precisions) / len(precisions)


@given(columns())
def test_average_precision_is_the_mean_precision_at_the_positives(
    column: tuple[np.ndarray, np.ndarray],
) -> None:
    positive, values = column
    assert average_precision(positive, values) == pytest.approx(
        slow_average_precision(positive, values), abs=1e-12
    )


@given(splits())
def test_the_mean_is_over_tasks_with_a_positive_and_another_graph(
    split: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, logits, weights = split
    expected = []
    for task in range(labels.shape[1]):
        valid = weights[:, task] == 1
        if (labels[:, task] == 1).any() and (labels[:, task] == 0).any():
            positive = labels[valid, task] == 1
            expected.append(slow_average_precision(positive, logits[valid, task]))
    measured = mean_average_precision(labels, logits, weights)
    if expected:
        assert measured == pytest.approx(np.mean(expected), abs=1e-9)
    else:
        assert np.isnan(measured)


@given(splits(), st.sampled_from([0.25, 0.5, 1.5]), st.sampled_from([-1.0, 0.0, 2.0]))
def test_the_mean_depends_on_the_ranking_only(
    split: tuple[np.ndarray, np.ndarray, np.ndarray], scale: float, shift: float
) -> None:
    labels, logits, weights = split
    moved = (logits * scale + shift).astype(np.float32)
    np.testing.assert_equal(
        mean_average_precision(labels, moved, weights),
        mean_average_precision(labels, logits, weights),
    )


@given(splits(), st.randoms(use_true_random=False))
def test_the_order_of_the_graphs_does_not_matter(
    split: tuple[np.ndarray, np.ndarray, np.ndarray], random: object
) -> None:
    order = list(range(len(split[0])))
    random.shuffle(order)  # type: ignore[attr-defined]
    permuted = mean_average_precision(*(array[order] for array in split))
    np.testing.assert_allclose(permuted, mean_average_precision(*split), atol=1e-12)


@given(splits())
def test_a_nan_among_valid_logits_is_never_hidden(
    split: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, logits, weights = split
    assume(weights.any())
    row, task = np.argwhere(weights)[0]
    logits = logits.copy()
    logits[row, task] = np.nan
    assert np.isnan(mean_average_precision(labels, logits, weights))
