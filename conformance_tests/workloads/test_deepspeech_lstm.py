"""The bidirectional LSTM of DeepSpeech is the written formula, and knows where an example ends."""

from __future__ import annotations

import numpy as np
import pytest

from conformance_tests.workloads import deepspeech_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, nested

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def plain_lstm(frames: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """States ``[frames, hidden]`` by the written formula, in float64."""
    hidden = cell = np.zeros(weights["hi/bias"].shape)
    states = []
    for frame in frames.astype(np.float64):
        into, forget, new, out = (
            frame @ weights[f"i{gate}/kernel"]
            + hidden @ weights[f"h{gate}/kernel"]
            + weights[f"h{gate}/bias"]
            for gate in "ifgo"
        )
        cell = _sigmoid(forget) * cell + _sigmoid(into) * np.tanh(new)
        hidden = _sigmoid(out) * np.tanh(cell)
        states.append(hidden)
    return np.array(states).reshape(len(frames), -1)


@per_framework
def test_the_lstm_is_the_textbook_formula_and_goes_on_behind_the_end(framework: str) -> None:
    """Backward from the last frame of each example, then from that of the batch down."""
    random = np.random.RandomState(0)
    cells = [
        {
            f"{source}{gate}/{leaf}": random.randn(*shape).astype(np.float32)
            for gate in "ifgo"
            for source, leaf, shape in (
                ("i", "kernel", (4, 3)),
                ("h", "kernel", (3, 3)),
                ("h", "bias", (3,)),
            )
        }
        for _ in range(2)
    ]
    params = {
        "LSTM": {
            f"LSTMSequenceEncoder_{number}": {"cell": nested(cell)}
            for number, cell in enumerate(cells)
        }
    }
    inputs, lengths = random.randn(4, 6, 4).astype(np.float32), np.array([6, 4, 1, 0], np.int32)
    found = samples.lstm_runner(framework, params)(inputs, lengths)
    assert found.shape == (4, 6, 6)
    for frames, length, states in zip(inputs, lengths, found, strict=True):
        np.testing.assert_allclose(states[:, :3], plain_lstm(frames, cells[0]), atol=1e-5)
        order = [*range(length - 1, -1, -1), *range(5, length - 1, -1)]
        expected = np.empty((6, 3))
        expected[order] = plain_lstm(frames[order], cells[1])
        np.testing.assert_allclose(states[:, 3:], expected, atol=1e-5)
