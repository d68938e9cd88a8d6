"""The loss of the speech workloads against the official numbers, and what it refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
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

GOLDEN = golden_arrays("losses_librispeech.npz")
WORKLOADS = ("librispeech_conformer", "librispeech_deepspeech")
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_workload = pytest.mark.parametrize("workload", WORKLOADS)


def ctc_loss(framework: str) -> Callable[..., dict[str, Any]]:
    """The loss as a function of five arrays."""
    ctc = load_twin("algoperf_ref.frameworks.{}_ctc", framework)

    def call(labels: Any, label_paddings: Any, logits: Any, paddings: Any, mask: Any = None) -> Any:
        return ctc.ctc_loss((labels, label_paddings), (logits, paddings), mask)

    return call


@functools.cache
def compiled(framework: str) -> Callable[..., dict[str, Any]]:
    """The same, compiled in JAX."""
    call = ctc_loss(framework)
    return fast_jit(call) if framework == "jax" else call


@functools.cache
def jax_gradient() -> Callable[..., Any]:
    """Value and gradient by the logits of the summed loss."""
    import jax

    return fast_jit(jax.value_and_grad(lambda *a: ctc_loss("jax")(*a)["summed"], argnums=2))


def loss(framework: str, *arrays: np.ndarray) -> dict[str, Any]:
    """The loss of labels, their paddings, logits, their paddings and perhaps a mask."""
    return compiled(framework)(*(backend(framework).replicate(array) for array in arrays))


def gradient(framework: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """The summed loss and its gradient with respect to the logits."""
    if framework == "jax":
        return [np.asarray(array) for array in jax_gradient()(*arrays)]
    import torch

    tensors = [torch.tensor(array) for array in arrays]
    logits = tensors[2].requires_grad_()
    value = ctc_loss("pytorch")(*tensors)["summed"]
    value.backward()
    return [to_numpy(value), to_numpy(logits.grad)]


def golden_inputs(workload: str, edge: str = "") -> list[np.ndarray]:
    """Labels, their paddings, logits and their paddings of the official cases."""
    names = (f"{edge}targets", f"{edge}target_paddings", "logits", f"{edge}logit_paddings")
    return [GOLDEN[f"{workload}/in/{name}"] for name in names]


@pytest.mark.clause("SUB-15")
@per_framework
@per_workload
def test_the_loss_is_the_official_one(workload: str, framework: str) -> None:
    result = loss(framework, *golden_inputs(workload))
    assert set(result) == {"summed", "n_valid_examples", "per_example"}
    for name, value in result.items():
        expected = GOLDEN[f"{workload}/{framework}/nomask/ls0.0/{name}"]
        assert tuple(value.shape) == expected.shape
        assert to_numpy(value).dtype == np.float32
        np.testing.assert_allclose(to_numpy(value), expected, rtol=2e-5, atol=1e-5)
        # Official labels are float32; integers are the same.
    labels, *others = golden_inputs(workload)
    for kind in (np.int32, np.int64):
        again = loss(framework, labels.astype(kind), *others)
        np.testing.assert_array_equal(to_numpy(again["summed"]), to_numpy(result["summed"]))


@per_framework
@per_workload
@pytest.mark.parametrize("mask", ["mask01", "mask_frac"])
def test_a_mask_is_one_of_examples_and_tokens_are_counted(
    workload: str, mask: str, framework: str
) -> None:
    """The official JAX loss fails here, and PyTorch's counts examples."""
    labels, label_paddings, logits, logit_paddings = golden_inputs(workload)
    weights = GOLDEN[f"{workload}/in/{mask}"]
    result = loss(framework, labels, label_paddings, logits, logit_paddings, weights)
    case = f"{workload}/pytorch/{mask.replace('_', '')}/ls0.0"
    for name in ("summed", "per_example"):
        expected = GOLDEN[f"{case}/{name}"]
        np.testing.assert_allclose(to_numpy(result[name]), expected, rtol=2e-5, atol=1e-5)
    count = (weights * (1 - label_paddings).sum(1)).sum()
    np.testing.assert_allclose(to_numpy(result["n_valid_examples"]), count, rtol=1e-6)
    if mask == "mask01":
        boolean = weights.astype(bool)
        again = loss(framework, labels, label_paddings, logits, logit_paddings, boolean)
        for name, value in again.items():
            np.testing.assert_array_equal(to_numpy(value), to_numpy(result[name]))


@per_framework
@per_workload
def test_labels_without_an_alignment_have_the_finite_loss_of_jax(
    workload: str, framework: str
) -> None:
    """PyTorch's own is infinite. One case has no labels and no frames at all."""
    result = loss(framework, *golden_inputs(workload, "edge_"))
    for name, value in result.items():
        expected = GOLDEN[f"{workload}/jax/edge_zero_len_and_infeasible/ls0.0/{name}"]
        # Single precision has steps of 0.008 there.
        np.testing.assert_allclose(to_numpy(value), expected, rtol=5e-7, atol=1e-5)


@per_framework
@per_workload
def test_without_any_label_one_counts_as_valid(workload: str, framework: str) -> None:
    labels, paddings, *logits = golden_inputs(workload)
    result = loss(framework, labels, np.ones_like(paddings), *logits)
    for name, value in result.items():
        expected = GOLDEN[f"{workload}/{framework}/edge_all_targets_padded/ls0.0/{name}"]
        np.testing.assert_allclose(to_numpy(value), expected, rtol=2e-5, atol=1e-5)


@per_framework
@pytest.mark.parametrize(
    ("path", "labels", "num_frames", "expected"),
    [([0, 3, 3, 0, 3, 4], [3, 3, 2], 6, 5.178704), ([5, 5, 5, 2, 0, 0], [5, 2], 4, 0.112214)],
)
def test_reference_values(
    framework: str, path: list[int], labels: list[int], num_frames: int, expected: float
) -> None:
    """Logits 5 on a path, else 0. Source: Workload facts (librispeech_data), 5."""
    logits = 5 * np.eye(6, dtype=np.float32)[path][None]
    paddings = (np.arange(6) >= num_frames)[None].astype(np.float32)
    labels_array = np.array([labels])
    arrays = (labels_array, np.zeros(labels_array.shape, np.float32), logits, paddings)
    assert to_numpy(loss(framework, *arrays)["per_example"])[0] == pytest.approx(expected, abs=2e-6)


@per_workload
@pytest.mark.parametrize(("edge", "tolerance"), [("", 1e-5), ("edge_", 2e-2)])
def test_twins_agree_on_gradients(workload: str, edge: str, tolerance: float) -> None:
    """Without an alignment too, within the precision that the cost leaves JAX."""
    arrays = golden_inputs(workload, edge)
    (_, expected), (_, found) = (gradient(framework, *arrays) for framework in FRAMEWORKS)
    assert np.isfinite(found).all()
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(found[arrays[3] == 1], 0.0)


@per_framework
def test_padding_may_hold_anything_and_has_no_gradient(framework: str) -> None:
    random = np.random.RandomState(3)
    logits = random.randn(3, 5, 4).astype(np.float32)
    labels = np.array([[1, 2], [3, 0], [0, 0]], np.float32)
    label_paddings = np.array([[0, 0], [0, 1], [0, 0]], np.float32)
    logit_paddings = np.zeros((3, 5), np.float32)
    mask = np.array([1.0, 1.0, 0.0], np.float32)
    clean = gradient(framework, labels, label_paddings, logits, logit_paddings, mask)
    logits[2], labels[2], labels[1, 1] = np.nan, -7, 1000
    dirty = gradient(framework, labels, label_paddings, logits, logit_paddings, mask)
    for one, other in zip(clean, dirty, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(dirty[1][2], 0.0)


@per_framework
@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_an_error_or_not_a_number(framework: str, label: int) -> None:
    labels = np.array([[1, 2], [1, label]])
    arrays = (labels, np.zeros((2, 2)), np.zeros((2, 5, 4), np.float32), np.zeros((2, 5)))
    if framework == "jax":
        per_example = to_numpy(loss("jax", *arrays)["per_example"])
        np.testing.assert_array_equal(np.isnan(per_example), [False, True])
        return
    message = rf"labels must be classes from 0 to 3, got \[1, {label}\]"
    with pytest.raises(ValueError, match=message):
        loss("pytorch", *arrays)


@per_framework
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3), (2, 3), (2, 5), (2, 5)), r"labels must be \[examples, length\], .*\(2, 5\)"),
        (((2, 3), (2, 3), (2, 5, 4), (2, 4)), r"paddings \(2, 4\)"),
        (((2, 3), (2, 4), (2, 5, 4), (2, 5)), r"paddings \(2, 4\)"),
        (((3, 3), (3, 3), (2, 5, 4), (2, 5)), r"labels \(3, 3\)"),
        (((2,), (2,), (2, 5, 4), (2, 5)), r"labels \(2,\)"),
        (((2, 3), (2, 3), (2, 5, 4), (2, 5), (2, 3)), r"mask must have shape \[examples\], \(2,\)"),
    ],
)
def test_other_shapes_are_refused(
    framework: str, shapes: tuple[tuple[int, ...], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        loss(framework, *(np.ones(shape, np.float32) for shape in shapes))


RANKS = 2


def _rank(rank: int, directory: str) -> None:
    import torch
    import torch.distributed as dist

    from algoperf_ref.frameworks.torch_ctc import ctc_loss

    torch.set_num_threads(1)
    store = dist.FileStore(f"{directory}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    arrays = [*golden_inputs(WORKLOADS[0]), GOLDEN[f"{WORKLOADS[0]}/in/mask01"]]
    labels, label_paddings, logits, logit_paddings, mask = (
        torch.tensor(array[rank::RANKS]) for array in arrays
    )
    found = ctc_loss((labels, label_paddings), (logits, logit_paddings), mask)
    totals = torch.stack([found["summed"], found["n_valid_examples"]])
    dist.all_reduce(totals)
    np.save(f"{directory}/{rank}.npy", totals.numpy())
    dist.destroy_process_group()


@pytest.mark.clause("SUB-15")
def test_sums_and_counts_of_two_processes_add_up_to_those_of_one(tmp_path: Path) -> None:
    import torch.multiprocessing as mp

    arrays = [*golden_inputs(WORKLOADS[0]), GOLDEN[f"{WORKLOADS[0]}/in/mask01"]]
    mp.spawn(_rank, args=(str(tmp_path),), nprocs=RANKS)
    for framework in FRAMEWORKS:
        whole = loss(framework, *arrays)
        expected = [float(whole[name]) for name in ("summed", "n_valid_examples")]
        assert expected[1] == 8 + 5 + 1
        for rank in range(RANKS):
            np.testing.assert_allclose(np.load(tmp_path / f"{rank}.npy"), expected, rtol=1e-6)
