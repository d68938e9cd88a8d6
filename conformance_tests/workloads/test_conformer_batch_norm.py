"""Masked batch norm: what it normalises with, its running statistics, and those of many devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import conformer_samples as samples
from conformance_tests.workloads.conformer_samples import TINY
from conformance_tests.workloads.deepspeech_samples import place, waves
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
CHANNELS, MOMENTUM = 3, 0.75
SCALE, BIAS = np.array([0.5, -1.0, 0.0]), np.array([0.5, 0.0, -3.0])
OLD_MEAN, OLD_VARIANCE = np.array([1.0, -2.0, 0.0]), np.array([4.0, 0.25, 1.0])
PADDINGS = (np.arange(5) >= np.array([[5], [3], [0], [1]])).astype(np.float32)


def values(seed: int = 0) -> np.ndarray:
    """Random values ``[4, 5, channels]``, not around 0, with others in the padding."""
    random = np.random.RandomState(seed)
    inputs = 2.0 + 3.0 * random.randn(*PADDINGS.shape, CHANNELS)
    return np.where(PADDINGS[..., None], 1e3, inputs).astype(np.float32)


def torch_layer() -> Any:
    """The layer with parameters and statistics that are not the initial ones."""
    import torch

    layers = load_twin("algoperf_ref.workloads.librispeech.layers_{}", "pytorch")
    layer = layers.BatchNorm(CHANNELS, momentum=MOMENTUM)
    state = {
        "weight": SCALE,
        "bias": BIAS,
        "running_mean": OLD_MEAN,
        "running_var": OLD_VARIANCE,
    }
    layer.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return layer


def run(
    framework: str, inputs: np.ndarray, paddings: np.ndarray, training: bool
) -> dict[str, np.ndarray]:
    """Outputs and statistics after a pass of the layer."""
    if framework == "pytorch":
        import torch

        layer = torch_layer().train(training)
        outputs = layer(torch.tensor(inputs), torch.tensor(paddings))
        found = [outputs, layer.running_mean, layer.running_var]
    else:
        layers = load_twin("algoperf_ref.workloads.librispeech.layers_{}", "jax")
        floats = [array.astype(np.float32) for array in (SCALE, BIAS, OLD_MEAN, OLD_VARIANCE)]
        variables = {
            "params": dict(zip(("scale", "bias"), floats[:2], strict=True)),
            "batch_stats": dict(zip(("mean", "var"), floats[2:], strict=True)),
        }
        module = layers.BatchNorm(momentum=MOMENTUM)
        apply = fast_jit(lambda *a: module.apply(*a, training, mutable=["batch_stats"]))
        outputs, updated = apply(variables, inputs, paddings)
        statistics = updated["batch_stats"] if training else variables["batch_stats"]
        found = [outputs, statistics["mean"], statistics["var"]]
    return dict(zip(("outputs", "mean", "var"), map(to_numpy, found), strict=True))


@per_framework
def test_a_training_pass_is_the_written_formula(framework: str) -> None:
    """Source: Workload facts (librispeech_conformer), 2. Padding counts for nothing."""
    inputs, is_real = values(), PADDINGS == 0
    real = inputs[is_real].astype(np.float64)
    assert len(real) == 9
    found = run(framework, inputs, PADDINGS, training=True)
    expected = (real - real.mean(0)) / np.sqrt(real.var(0) + 1e-3) * (1 + SCALE) + BIAS
    np.testing.assert_allclose(found["outputs"][is_real], expected, rtol=0, atol=1e-5)
    assert not found["outputs"][~is_real].any()
    new_mean = 0.75 * OLD_MEAN + 0.25 * real.mean(0)
    np.testing.assert_allclose(found["mean"], new_mean, rtol=0, atol=1e-6)
    # The biased variance.
    new_variance = 0.75 * OLD_VARIANCE + 0.25 * real.var(0)
    np.testing.assert_allclose(found["var"], new_variance, rtol=1e-6, atol=1e-6)
    assert found["mean"].shape == found["var"].shape == (CHANNELS,)


@per_framework
def test_an_evaluation_pass_takes_the_running_statistics(framework: str) -> None:
    inputs, is_real = values(), PADDINGS == 0
    found = run(framework, inputs, PADDINGS, training=False)
    expected = (inputs - OLD_MEAN) / np.sqrt(OLD_VARIANCE + 1e-3) * (1 + SCALE) + BIAS
    np.testing.assert_allclose(found["outputs"][is_real], expected[is_real], rtol=0, atol=1e-5)
    assert not found["outputs"][~is_real].any()
    np.testing.assert_array_equal(found["mean"], OLD_MEAN.astype(np.float32))
    np.testing.assert_array_equal(found["var"], OLD_VARIANCE.astype(np.float32))


@per_framework
def test_a_batch_of_nothing_but_padding_counts_as_one_frame_of_zeros(framework: str) -> None:
    """Officially JAX alone has a count of at least 1; PyTorch divides by zero."""
    found = run(framework, values(), np.ones_like(PADDINGS), training=True)
    assert not found["outputs"].any()
    np.testing.assert_allclose(found["mean"], 0.75 * OLD_MEAN, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["var"], 0.75 * OLD_VARIANCE, rtol=0, atol=1e-6)


@pytest.mark.clause("SUB-17")
@per_framework
def test_without_update_a_training_pass_takes_batch_statistics_and_keeps_the_running_ones(
    framework: str,
) -> None:
    """Decision 2; officially JAX ignores the request."""
    inputs = place(framework, waves([3_200, 2_000], 3_200))
    key = backend(framework).seed_key(0)
    logits, statistics = [], []
    for update in (True, False):
        params, state = samples.loaded("base", framework)
        one_pass = samples.run_pass(framework, TINY, True, update)
        (outputs, _), state = one_pass(params, state, inputs, key, 0.0)
        logits.append(to_numpy(outputs))
        statistics.append(samples.statistics_of(framework, params, state))
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=2e-5)
    updated, kept = statistics
    before = samples.transplant(samples.golden("base")[2])
    assert set(kept) == set(updated) == set(before)
    for name, value in before.items():
        np.testing.assert_array_equal(kept[name], value, err_msg=name)
        assert not np.array_equal(updated[name], value)


@pytest.mark.clause("SUB-17")
@per_framework
def test_an_evaluation_pass_takes_and_keeps_the_running_statistics_whatever_is_asked(
    framework: str,
) -> None:
    """Officially a request to update turns a JAX evaluation into a training pass."""
    inputs = place(framework, waves([3_200, 2_000], 3_200))
    key = backend(framework).seed_key(0)
    params, state = samples.loaded("base", framework)
    logits = []
    for update in (True, False):
        one_pass = samples.run_pass(framework, TINY, False, update)
        (outputs, _), new_state = one_pass(params, state, inputs, key, 0.5)
        logits.append(to_numpy(outputs))
        found = samples.statistics_of(framework, params, new_state)
        for name, value in samples.transplant(samples.golden("base")[2]).items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
    np.testing.assert_array_equal(logits[0], logits[1])


ROWS = waves([3_200, 700, 2_000, 1_500], 3_200)
"""Four utterances; the first two have more frames than the others."""


def whole(framework: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits and new statistics of one training pass over all rows."""
    params, state = samples.loaded("base", framework)
    one_pass, key = samples.run_pass(framework, TINY, True), backend(framework).seed_key(0)
    (logits, _), state = one_pass(params, state, place(framework, ROWS), key, 0.0)
    return to_numpy(logits), samples.statistics_of(framework, params, state)


# A program of its own, since the number of devices is settled before JAX is imported.
ON_TWO_DEVICES = """
import json
import jax
from algoperf_ref.frameworks import jax_sharding
from conformance_tests.workloads import conformer_samples as samples
from conformance_tests.workloads import test_conformer_batch_norm as tests
params, state = samples.loaded("base", "jax")
inputs = jax_sharding.shard_along_batch_dim(tests.ROWS)
assert len(inputs[0].addressable_shards) == 2
key = jax_sharding.replicate(jax.random.PRNGKey(0))
(logits, _), state = samples.run_pass("jax", samples.TINY, True)(params, state, inputs, key, 0.0)
statistics = samples.statistics_of("jax", params, state)
print(json.dumps([logits.tolist(), {name: array.tolist() for name, array in statistics.items()}]))
"""


@pytest.mark.clause("DATA-8")
def test_jax_statistics_are_those_of_all_devices() -> None:
    flag = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "XLA_FLAGS": flag},
    )
    logits, statistics = json.loads(done.stdout)
    expected_logits, expected = whole("jax")
    np.testing.assert_allclose(logits, expected_logits, rtol=0, atol=2e-5)
    assert set(statistics) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(statistics[name], value, rtol=0, atol=1e-6, err_msg=name)


RANKS = 2


def _layer_pass(rows: slice) -> dict[str, np.ndarray]:
    """A training pass of the layer: gradients of a weighted sum over some rows."""
    import torch

    layer = torch_layer().train()
    inputs = torch.tensor(values()[rows], requires_grad=True)
    factors = torch.tensor(values(1)[rows])
    (layer(inputs, torch.tensor(PADDINGS[rows])) * factors).sum().backward()
    return {
        "inputs_gradient": to_numpy(inputs.grad),
        "scale_gradient": to_numpy(layer.weight.grad),
        "bias_gradient": to_numpy(layer.bias.grad),
        "mean": to_numpy(layer.running_mean),
        "variance": to_numpy(layer.running_var),
    }


def _rank(rank: int, directory: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    store = dist.FileStore(f"{directory}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    params, state = samples.loaded("base", "pytorch")
    audio = tuple(torch.tensor(array[2 * rank : 2 * rank + 2]) for array in ROWS)
    (logits, _), _ = samples.run_pass("pytorch", TINY, True)(params, state, audio, None, 0.0)
    statistics = samples.statistics_of("pytorch", params, state)
    layer = _layer_pass(slice(2 * rank, 2 * rank + 2))
    np.savez(f"{directory}/{rank}.npz", logits=to_numpy(logits), **statistics, **layer)
    dist.destroy_process_group()


@pytest.mark.clause("DATA-8")
def test_pytorch_statistics_are_those_of_all_processes(tmp_path: Path) -> None:
    """Officially each process has its own. The processes have unequal numbers of real frames."""
    import torch.multiprocessing as mp

    mp.spawn(_rank, args=(str(tmp_path),), nprocs=RANKS)
    ranks = []
    for rank in range(RANKS):
        with np.load(tmp_path / f"{rank}.npz") as arrays:
            ranks.append(dict(arrays))
    logits, statistics = whole("pytorch")
    joined = np.concatenate([rank["logits"] for rank in ranks])
    np.testing.assert_allclose(joined, logits, rtol=0, atol=2e-5)
    layer = _layer_pass(slice(None))
    joined = np.concatenate([rank["inputs_gradient"] for rank in ranks])
    np.testing.assert_allclose(joined, layer.pop("inputs_gradient"), rtol=1e-4, atol=1e-4)
    for name in ("scale_gradient", "bias_gradient"):
        total = sum(rank[name] for rank in ranks)
        np.testing.assert_allclose(total, layer.pop(name), rtol=1e-4, atol=1e-3, err_msg=name)
    for name, value in {**statistics, **layer}.items():
        for rank in ranks:
            np.testing.assert_allclose(rank[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@per_framework
def test_parameters_and_statistics_start_at_the_identity(framework: str) -> None:
    """The scale is one more than its parameter."""
    layers = load_twin("algoperf_ref.workloads.librispeech.layers_{}", framework)
    if framework == "pytorch":
        import torch

        layer = torch_layer()
        layer.initialise(torch.Generator())
        found = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        norm = layers.LayerNorm(CHANNELS)
        norm.initialise(torch.Generator())
        found += [norm.scale, norm.bias]
    else:
        import jax

        key, inputs = jax.random.PRNGKey(0), values()
        module = layers.BatchNorm(momentum=MOMENTUM)
        variables = module.init(key, inputs, PADDINGS, training=False)
        params, statistics = variables["params"], variables["batch_stats"]
        found = [params["scale"].value, params["bias"].value, *statistics.values()]
        params = layers.LayerNorm().init(key, inputs)["params"]
        found += [params["scale"].value, params["bias"].value]
    for value, expected in zip(found, [0, 0, 0, 1, 0, 0], strict=True):
        np.testing.assert_array_equal(to_numpy(value), np.full(CHANNELS, expected))


@per_framework
def test_layer_norm_is_the_written_formula(framework: str) -> None:
    """Source: Workload facts (librispeech_conformer), 2."""
    layers = load_twin("algoperf_ref.workloads.librispeech.layers_{}", framework)
    inputs = values()
    if framework == "pytorch":
        import torch

        layer = layers.LayerNorm(CHANNELS)
        layer.load_state_dict({"scale": torch.tensor(SCALE), "bias": torch.tensor(BIAS)})
        found = to_numpy(layer(torch.tensor(inputs)))
    else:
        params = {"scale": SCALE.astype(np.float32), "bias": BIAS.astype(np.float32)}
        found = np.asarray(layers.LayerNorm().apply({"params": params}, inputs))
    wide = inputs.astype(np.float64)
    mean, variance = wide.mean(-1, keepdims=True), wide.var(-1, keepdims=True)
    expected = (wide - mean) / np.sqrt(variance + 1e-6) * (1 + SCALE) + BIAS
    is_real = PADDINGS == 0  # Where it is not, all values of a frame are equal.
    np.testing.assert_allclose(found[is_real], expected[is_real], rtol=0, atol=1e-4)
