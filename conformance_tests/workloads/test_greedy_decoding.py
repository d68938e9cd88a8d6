"""Greedy decoding gives the official words, and nothing where nothing was said."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    backend,
    fast_jit,
    golden_arrays,
    to_numpy,
)

GOLDEN = golden_arrays("metrics_librispeech.npz")
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@functools.cache
def decoder(framework: str) -> Any:
    """The function, compiled in JAX."""
    greedy = load_twin("algoperf_ref.workloads.librispeech.greedy_{}", framework).greedy
    return fast_jit(greedy) if framework == "jax" else greedy


def decode(framework: str, logits: np.ndarray, paddings: np.ndarray) -> tuple[Any, Any]:
    """Ids and paddings as numpy."""
    placed = (backend(framework).replicate(array) for array in (logits, paddings))
    ids, ends = map(to_numpy, decoder(framework)(*placed))
    assert ids.dtype == np.int32
    assert ends.dtype == np.float32
    return ids, ends


def path_logits(*paths: list[int], classes: int = 5) -> np.ndarray:
    """Logits whose best classes are those of the paths."""
    return np.eye(classes, dtype=np.float32)[np.array(paths)]


@per_framework
def test_decoding_is_the_official_one(framework: str) -> None:
    ids, paddings = decode(framework, GOLDEN["logits"], GOLDEN["logit_paddings"])
    for official in FRAMEWORKS:
        np.testing.assert_array_equal(ids, GOLDEN[f"{official}_hyp"])
        np.testing.assert_array_equal(paddings, GOLDEN[f"{official}_pad"])


@per_framework
def test_a_first_row_without_words_stays_empty(framework: str) -> None:
    """Officially JAX gives it the first token of the next row that has one."""
    logits = path_logits([0, 0, 0, 0], [3, 0, 3, 2])
    ids, paddings = decode(framework, logits, np.zeros((2, 4), np.float32))
    np.testing.assert_array_equal(ids, [[0, 0, 0, 0], [3, 3, 2, 0]])
    np.testing.assert_array_equal(paddings, [[1, 1, 1, 1], [0, 0, 0, 1]])
    logits = path_logits([4, 4, 4, 4], [1, 1, 1, 2])
    ids, _ = decode(framework, logits, np.array([[1, 1, 1, 1], [0, 0, 0, 1]], np.float32))
    np.testing.assert_array_equal(ids, [[0, 0, 0, 0], [1, 0, 0, 0]])


@per_framework
def test_of_equal_logits_the_first_counts(framework: str) -> None:
    logits = np.array([[[0, 7, 7], [7, 7, 0], [0, 0, 0], [-1, 2, 2]]], np.float32)
    ids, _ = decode(framework, logits, np.zeros((1, 4), np.float32))
    np.testing.assert_array_equal(ids, [[1, 1, 0, 0]])


@per_framework
def test_a_row_may_be_full(framework: str) -> None:
    ids, paddings = decode(framework, path_logits([1, 2, 3, 1]), np.zeros((1, 4), np.float32))
    np.testing.assert_array_equal(ids, [[1, 2, 3, 1]])
    np.testing.assert_array_equal(paddings, np.zeros((1, 4)))
