"""The loss of the speech workloads and greedy decoding agree with what their definitions say."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algoperf_ref import frameworks
from algoperf_ref.frameworks.twins import load_twin

FRAMES, LENGTH, CLASSES = 4, 3, 3
per_framework = pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
# float32 values, so that the oracle sees the same numbers.
logits_arrays = hnp.arrays(np.float32, (FRAMES, CLASSES), elements=st.floats(-8, 8, width=32))
label_lists = st.lists(st.integers(1, CLASSES - 1), max_size=LENGTH)


class Case(NamedTuple):
    """One example.

    Attributes:
      logits: ``[FRAMES, CLASSES]``.
      num_frames: of them that are real.
      labels: at most ``LENGTH``.
    """

    logits: np.ndarray
    num_frames: int
    labels: list[int]


cases = st.builds(Case, logits_arrays, st.integers(0, FRAMES), label_lists)


def collapse(path: Any) -> list[int]:
    """What a path of classes says: one of each run, without blanks."""
    return [label for label, _ in itertools.groupby(path) if label != 0]


def oracle(case: Case) -> tuple[float, np.ndarray]:
    """Loss and gradient by the logits, in float64, by trying all paths; infinite without one."""
    logits = case.logits[: case.num_frames].astype(np.float64)
    softmax = np.exp(logits - logits.max(1, keepdims=True)) if case.num_frames else logits
    softmax = softmax / softmax.sum(1, keepdims=True)
    total, visits = 0.0, np.zeros((FRAMES, CLASSES))
    frames = np.arange(case.num_frames)
    for path in itertools.product(range(CLASSES), repeat=case.num_frames):
        if collapse(path) == case.labels:
            probability = softmax[frames, list(path)].prod()
            visits[frames, list(path)] += probability
            total += probability
    if total == 0:
        return np.inf, visits
    gradient = -visits / total
    gradient[: case.num_frames] += softmax
    return -np.log(total), gradient


@functools.cache
def loss_and_gradient(framework: str) -> Callable[..., tuple[Any, Any]]:
    """Losses of the examples and the gradient of their sum by the logits."""
    ctc_loss = load_twin("algoperf_ref.frameworks.{}_ctc", framework).ctc_loss
    if framework == "jax":
        import jax

        def summed(logits: Any, paddings: Any, labels: Any, label_paddings: Any) -> Any:
            result = ctc_loss((labels, label_paddings), (logits, paddings))
            return result["summed"], result["per_example"]

        options = {"xla_backend_optimization_level": 0}
        run = jax.jit(jax.grad(summed, has_aux=True), compiler_options=options)
        return lambda *arrays: run(*arrays)[::-1]
    import torch

    def call(*arrays: np.ndarray) -> tuple[Any, Any]:
        logits, paddings, labels, label_paddings = map(torch.tensor, arrays)
        result = ctc_loss((labels, label_paddings), (logits.requires_grad_(), paddings))
        result["summed"].backward()
        return result["per_example"].detach(), logits.grad

    return call


def run(framework: str, case: Case, more: int = 0, filling: float = 0.0) -> Any:
    """Loss and gradient of one example, padded by ``more`` frames and labels than usual."""
    logits = np.full((1, FRAMES + more, CLASSES), filling, np.float32)
    logits[0, : case.num_frames] = case.logits[: case.num_frames]
    paddings = (np.arange(FRAMES + more) >= case.num_frames)[None].astype(np.float32)
    labels = np.full((1, LENGTH + more), int(filling), np.int32)
    labels[0, : len(case.labels)] = case.labels
    label_paddings = (np.arange(LENGTH + more) >= len(case.labels))[None].astype(np.float32)
    found = loss_and_gradient(framework)(logits, paddings, labels, label_paddings)
    per_example, gradient = (np.asarray(value)[0] for value in found)
    return per_example, gradient


@per_framework
@given(case=cases)
def test_the_loss_is_minus_the_logarithm_of_the_sum_over_all_paths(
    framework: str, case: Case
) -> None:
    expected, expected_gradient = oracle(case)
    found, gradient = run(framework, case)
    if np.isinf(expected):  # No path: a cost of 1e5 instead, and a gradient without surprises.
        assert 1e5 - 3 <= found <= 1e5 + 100
        assert np.abs(gradient).max(initial=0.0) <= 1.01
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(gradient[case.num_frames :], 0.0)


@given(case=cases)
def test_twins_agree(case: Case) -> None:
    """Also without a path, where single precision has steps of 0.008."""
    (one, first), (other, second) = (run(name, case) for name in frameworks.FRAMEWORKS)
    is_costly = one > 1e4
    np.testing.assert_allclose(one, other, rtol=5e-7 if is_costly else 2e-5, atol=1e-5)
    np.testing.assert_allclose(first, second, rtol=0, atol=5e-2 if is_costly else 2e-5)


@per_framework
@given(case=cases, filling=st.sampled_from([0.0, 2.0, -50.0]))
def test_padding_changes_nothing(framework: str, case: Case, filling: float) -> None:
    expected, expected_gradient = run(framework, case)
    found, gradient = run(framework, case, 2, filling)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient[:FRAMES], expected_gradient, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(gradient[case.num_frames :], 0.0)


@functools.cache
def greedy(framework: str) -> Callable[..., Any]:
    """Greedy decoding on numpy arrays."""
    decode = load_twin("algoperf_ref.workloads.librispeech.greedy_{}", framework).greedy
    if framework == "jax":
        import jax

        return jax.jit(decode, compiler_options={"xla_backend_optimization_level": 0})
    import torch

    return lambda *arrays: decode(*map(torch.tensor, arrays))


@per_framework
@given(
    logits=hnp.arrays(np.float32, (3, 6, CLASSES), elements=st.sampled_from([-1.0, 0.0, 2.0])),
    lengths=hnp.arrays(np.int64, 3, elements=st.integers(0, 6)),
)
def test_greedy_decoding_is_that_of_plain_python(
    framework: str, logits: np.ndarray, lengths: np.ndarray
) -> None:
    paddings = (np.arange(6) >= lengths[:, None]).astype(np.float32)
    ids, ends = (np.asarray(value) for value in greedy(framework)(logits, paddings))
    for row, length in enumerate(lengths):
        said = collapse([int(np.argmax(frame)) for frame in logits[row, :length]])
        assert ids[row].tolist() == said + [0] * (6 - len(said))
        assert ends[row].tolist() == [0.0] * len(said) + [1.0] * (6 - len(said))
