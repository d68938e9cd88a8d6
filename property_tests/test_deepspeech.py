"""What holds for DeepSpeech whatever was said, and however it is padded.

The convolutions of the subsampling see two frames of features behind the end: silence, or zeros
where the batch ends. And on which side they are padded depends on whether the number of frames is
even. So padding changes nothing if there were two such frames before, and both convolutions get
even numbers before and after, or odd ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conformance_tests.workloads import deepspeech_samples as samples
from conformance_tests.workloads.deepspeech_samples import CASES
from conformance_tests.workloads.samples import FRAMEWORKS, backend, to_numpy

SAMPLES = 3_200
"""18 frames of features, 9 behind the first convolution; twice as many samples give 38 and 19."""
LONGEST = 2_560
"""16 frames."""
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
lengths_lists = st.lists(st.integers(401, LONGEST), min_size=2, max_size=2)
seeds = st.integers(0, 1000)


@functools.cache
def weights(framework: str, case: str) -> tuple[Any, Any]:
    """Parameters and state of a forward vector."""
    _, params, statistics = samples.golden(case)
    return samples.load_weights(framework, CASES[case], params, statistics)


def logits_of(framework: str, case: str, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logits and paddings of an evaluation pass."""
    return samples.logits_of(framework, CASES[case], weights(framework, case), inputs)


def trained(framework: str, case: str, inputs: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Logits, paddings and new statistics of a training pass without dropout."""
    run = samples.run_pass(framework, CASES[case], True)
    # A PyTorch network changes its own statistics, so it starts from new ones every time.
    _, params, statistics = samples.golden(case)
    params, state = samples.load_weights(framework, CASES[case], params, statistics)
    key = backend(framework).seed_key(0)
    (logits, paddings), state = run(params, state, samples.place(framework, inputs), key, 0.0)
    found = samples.statistics_of(framework, params, state)
    return to_numpy(logits), to_numpy(paddings), found


def padded(inputs: tuple[np.ndarray, np.ndarray], filling: float) -> Any:
    """The same audio with as many samples more, all of them padding."""
    audio, paddings = inputs
    more = np.full_like(audio, filling)
    return np.concatenate([audio, more], 1), np.concatenate([paddings, np.ones_like(paddings)], 1)


@per_framework
@pytest.mark.parametrize("case", ["base", "layernorm_everywhere"])
@given(lengths=lengths_lists, seed=seeds, filling=st.sampled_from([0.0, 1.0, -20_000.0]))
def test_more_padding_changes_nothing_that_was_said(
    framework: str, case: str, lengths: list[int], seed: int, filling: float
) -> None:
    inputs = samples.waves(lengths, SAMPLES, seed)
    expected, paddings = logits_of(framework, case, inputs)
    found, more = logits_of(framework, case, padded(inputs, filling))
    is_real = paddings == 0
    frames = paddings.shape[1]
    np.testing.assert_array_equal(more[:, :frames], paddings)
    assert (more[:, frames:] == 1).all()
    np.testing.assert_allclose(found[:, :frames][is_real], expected[is_real], rtol=0, atol=1e-5)


@per_framework
@given(lengths=lengths_lists, seed=seeds)
def test_more_padding_changes_no_statistic(framework: str, lengths: list[int], seed: int) -> None:
    inputs = samples.waves(lengths, SAMPLES, seed)
    expected, paddings, statistics = trained(framework, "base", inputs)
    found, _, more = trained(framework, "base", padded(inputs, 5.0))
    is_real = paddings == 0
    frames = paddings.shape[1]
    # A statistic of few frames may be the square root of a tiny variance.
    np.testing.assert_allclose(found[:, :frames][is_real], expected[is_real], rtol=0, atol=2e-3)
    assert set(more) == set(statistics)
    for name, value in statistics.items():
        np.testing.assert_allclose(more[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("case", ["base", "tanh"])
@given(lengths=lengths_lists, seed=seeds)
def test_twins_agree(case: str, lengths: list[int], seed: int) -> None:
    inputs = samples.waves(lengths, SAMPLES, seed)
    (one, first), (other, second) = (logits_of(name, case, inputs) for name in FRAMEWORKS)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(one, other, rtol=0, atol=3e-4)


@functools.cache
def lstm(framework: str) -> Callable[..., np.ndarray]:
    """States of the first LSTM of a forward vector."""
    params = samples.golden("base")[1]["BatchRNN_0"]["LSTM_0"]
    return samples.lstm_runner(framework, params)


@per_framework
@given(
    inputs=hnp.arrays(np.float32, (2, 5, 8), elements=st.floats(-4, 4, width=32)),
    lengths=hnp.arrays(np.int32, 2, elements=st.integers(0, 5)),
    other=st.floats(-4, 4, width=32),
)
def test_what_is_behind_the_end_reaches_no_state_before_it(
    framework: str, inputs: np.ndarray, lengths: np.ndarray, other: float
) -> None:
    expected = lstm(framework)(inputs, lengths)
    is_real = np.arange(5) < lengths[:, None]
    changed = np.where(is_real[..., None], inputs, np.float32(other))
    found = lstm(framework)(changed, lengths)
    np.testing.assert_array_equal(found[is_real], expected[is_real])


@per_framework
@given(
    inputs=hnp.arrays(np.float32, (2, 5, 8), elements=st.floats(-4, 4, width=32)),
    lengths=hnp.arrays(np.int32, 2, elements=st.integers(0, 5)),
)
def test_states_are_below_one_and_examples_do_not_meet(
    framework: str, inputs: np.ndarray, lengths: np.ndarray
) -> None:
    found = lstm(framework)(inputs, lengths)
    assert (np.abs(found) < 1).all()
    swapped = lstm(framework)(inputs[::-1].copy(), lengths[::-1].copy())
    np.testing.assert_allclose(swapped[::-1], found, rtol=0, atol=1e-6)
