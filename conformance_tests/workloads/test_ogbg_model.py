"""The graph network computes the official function, and the twins compute the same one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from algoperf_ref.data.graphs import ShardLimits, assemble
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.ogbg.sizes import GraphNetworkSizes
from conformance_tests.workloads import samples
from conformance_tests.workloads.samples import FRAMEWORKS
from spec import tiers

CASES = ("relu", "gelu", "silu", "model_size_like")


@functools.cache
def evaluation_pass(framework: str, sizes: GraphNetworkSizes) -> Callable[..., Any]:
    """Parameters and graph -> logits; compiled once for all tests of some sizes."""
    model = samples.build(framework, sizes)

    def forward(params: Any, graph: Any) -> Any:
        return model.forward(params, graph, training=False, key=None, dropout_rate=0.1)

    return samples.fast_jit(forward) if framework == "jax" else forward


def logits_of(framework: str, sizes: GraphNetworkSizes, params: Any, graph: Any) -> np.ndarray:
    placed = samples.backend(framework).place_batch(graph)
    return samples.to_numpy(evaluation_pass(framework, sizes)(params, placed))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_official_ones(case: str, framework: str) -> None:
    arrays, sizes = samples.golden_arrays(f"forward/gnn_{case}.npz"), samples.golden_sizes(case)
    prefix = "jax/w/"
    flat = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    params = samples.load_weights(framework, sizes, samples.nested(flat))
    logits = logits_of(framework, sizes, params, samples.golden_graph(arrays))
    np.testing.assert_allclose(logits, arrays[f"out/{framework}/logits"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_name_mapping_of_the_twins_is_the_official_one(case: str) -> None:
    arrays, sizes = samples.golden_arrays(f"forward/gnn_{case}.npz"), samples.golden_sizes(case)
    flat = {k.removeprefix("jax/w/"): v for k, v in arrays.items() if k.startswith("jax/w/")}
    for name, value in samples.transplant(samples.nested(flat), sizes).items():
        np.testing.assert_array_equal(value, arrays[f"pytorch/w/{name}"], err_msg=name)


def tiny_sizes(activation: str) -> GraphNetworkSizes:
    return GraphNetworkSizes(8, (8, 6), 1, 5, activation)


@pytest.mark.parametrize(
    "sizes",
    [
        GraphNetworkSizes.of(tiers.get("ogbg", "mini")),
        GraphNetworkSizes.of(tiers.get("ogbg_model_size", "mini")),
        tiny_sizes("gelu"),
        tiny_sizes("silu"),
    ],
    ids=["mini", "mini_model_size", "gelu", "silu"],
)
def test_twins_agree_on_logits_loss_and_gradients(sizes: GraphNetworkSizes) -> None:
    """Decision 1: float32, 1e-4 relative."""
    import jax

    batch = samples.batch(num_tasks=sizes.num_outputs)
    key = samples.backend("jax").seed_key(7)
    jax_params = samples.random_params(sizes)
    module = samples.load_weights("pytorch", sizes, jax_params)

    def loss(params: Any, framework: str) -> Any:
        placed = samples.backend(framework).place_batch(batch)
        arguments = {"training": True, "key": key, "dropout_rate": 0.0}
        logits = samples.build(framework, sizes).forward(params, placed["inputs"], **arguments)
        losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
        result = losses.masked_sigmoid_cross_entropy(placed["targets"], logits, placed["weights"])
        return result["summed"] / result["n_valid_examples"], logits

    value_and_grad = samples.fast_jit(jax.value_and_grad(lambda p: loss(p, "jax"), has_aux=True))
    (jax_loss, jax_logits), jax_gradients = value_and_grad(jax_params)
    torch_loss, torch_logits = loss(module, "pytorch")
    torch_loss.backward()

    # Padding rows of constant values amplify rounding; nothing reads them.
    real = batch["weights"].any(axis=1)
    scale = np.abs(jax_logits).max()
    difference = np.abs(np.asarray(jax_logits) - torch_logits.detach().numpy())[real]
    assert difference.max() < 1e-4 * scale
    np.testing.assert_allclose(torch_loss.item(), jax_loss, rtol=1e-5)
    expected = samples.transplant(jax_gradients, sizes)
    for name, parameter in module.named_parameters():
        error = np.linalg.norm(parameter.grad.numpy() - expected[name])
        assert error <= 1e-4 * np.linalg.norm(expected[name]), name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_padding_does_not_change_the_logits_of_real_graphs(framework: str) -> None:
    sizes = tiny_sizes("relu")
    packed = samples.molecules(4, num_tasks=5)
    params = samples.load_weights(framework, sizes, samples.random_params(sizes))
    snug, wide = (
        assemble(packed, [np.arange(4)], ShardLimits(nodes, edges, graphs))
        for nodes, edges, graphs in [(48, 120, 4), (100, 200, 9)]
    )
    expected = logits_of(framework, sizes, params, snug["inputs"])
    logits = logits_of(framework, sizes, params, wide["inputs"])
    assert logits.shape == (10, 5)
    np.testing.assert_allclose(logits[:4], expected[:4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_merged_shards_give_the_logits_of_single_shards(framework: str) -> None:
    sizes, limits = tiny_sizes("relu"), ShardLimits(48, 120, 4)
    packed = samples.molecules(6, num_tasks=5)
    params = samples.load_weights(framework, sizes, samples.random_params(sizes))
    groups = [np.arange(0, 3), np.arange(3, 6)]
    merged = logits_of(framework, sizes, params, assemble(packed, groups, limits)["inputs"])
    for number, group in enumerate(groups):
        single = logits_of(framework, sizes, params, assemble(packed, [group], limits)["inputs"])
        part = merged[number * 5 : number * 5 + 3]
        np.testing.assert_allclose(part, single[:3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_unknown_activation_is_refused(framework: str) -> None:
    layers = load_twin("algoperf_ref.frameworks.{}_layers", framework)
    with pytest.raises(ValueError, match="unknown activation 'tanhh': choose one of relu, gelu"):
        layers.activation("tanhh")
