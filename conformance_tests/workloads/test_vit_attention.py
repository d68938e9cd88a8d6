"""Attention of the vision transformer: the formula, and what does not depend on tokens' places."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance_tests.workloads import vit_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, fast_jit, to_numpy
from conformance_tests.workloads.vit_samples import CASES, TINY, logits_of

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@per_framework
def test_attention_is_the_textbook_formula(framework: str) -> None:
    random = np.random.RandomState(0)
    queries, others = random.randn(2, 3, 16), random.randn(2, 5, 16)
    jax_params = samples.random_params(CASES["map"])["MAPHead_0"]
    weights = jax_params["MultiHeadDotProductAttention_0"]
    q, k, v = (
        np.einsum("btc,chd->bhtd", inputs, weights[role]["kernel"])
        + weights[role]["bias"][None, :, None]
        for inputs, role in ((queries, "query"), (others, "key"), (others, "value"))
    )
    exponentials = np.exp(np.einsum("bhqd,bhkd->bhqk", q, k) / np.sqrt(4))
    mixed = exponentials @ v / exponentials.sum(-1, keepdims=True)
    out = weights["out"]
    expected = np.einsum("bhqd,hdc->bqc", mixed, out["kernel"]) + out["bias"]
    placed = [samples.place(framework, array.astype(np.float32)) for array in (queries, others)]
    if framework == "jax":
        from algoperf_ref.frameworks.jax_attention_layers import MultiHeadAttention

        results = [fast_jit(MultiHeadAttention(4).apply)({"params": weights}, *placed)]
    else:
        import torch

        from algoperf_ref.frameworks import torch_attention_layers as layers

        moved = samples.transplant({"MAPHead_0": jax_params}, use_glu=False)
        fused = {
            n.removeprefix("map.mha."): torch.tensor(v) for n, v in moved.items() if "mha" in n
        }
        separate = {}
        for kind in ("weight", "bias"):
            separate[f"query.{kind}"] = fused[f"q_proj.{kind}"]
            separate[f"key.{kind}"], separate[f"value.{kind}"] = fused[f"kv_proj.{kind}"].chunk(2)
            separate[f"out.{kind}"] = fused[f"out_proj.{kind}"]
        one, other = layers.FusedMultiHeadAttention(16, 4), layers.MultiHeadAttention(16, 4)
        one.load_state_dict(fused)
        other.load_state_dict(separate)
        results = [one(*placed), other(*placed)]
    for result in results:
        np.testing.assert_allclose(to_numpy(result), expected, rtol=0, atol=1e-5)


@functools.cache
def without_positions(framework: str, case: str) -> Callable[[np.ndarray], np.ndarray]:
    """Images of 16 x 20 pixels -> logits of a network that does not know where a token is."""
    sizes = CASES[case]
    params = samples.load_weights(framework, sizes, samples.random_params(sizes))
    model = samples.build(framework, sizes)

    def forward(images: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            zeros = np.zeros((20, sizes.width), np.float32)
            patch.setattr(samples.twin(framework), "position_embedding", lambda *_: zeros)
            return model.forward(params, images, training=False, key=None, dropout_rate=0.0)

    run = fast_jit(forward) if framework == "jax" else forward
    return lambda images: to_numpy(run(samples.place(framework, images)))


def permute_patches(images: np.ndarray, order: list[int]) -> np.ndarray:
    """Images ``[batch, 16, 20, 3]`` with their patches of 4 x 4 pixels in another order."""
    patches = images.reshape(-1, 4, 4, 5, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 20, 4, 4, 3)
    moved = patches[:, order].reshape(-1, 4, 5, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(moved.reshape(images.shape))


@per_framework
@pytest.mark.parametrize("case", ["base", "post_ln", "map"])
@given(order=st.permutations(range(20)))
@settings(max_examples=10, deadline=None)
def test_only_the_position_embedding_tells_patches_apart(
    framework: str, case: str, order: list[int]
) -> None:
    images = samples.images(2, 16, 20)
    run = without_positions(framework, case)
    np.testing.assert_allclose(run(permute_patches(images, order)), run(images), rtol=0, atol=1e-5)


@per_framework
def test_the_position_embedding_does_tell_patches_apart(framework: str) -> None:
    params = samples.load_weights(framework, TINY, samples.random_params(TINY))
    images = samples.images(2, 16, 20)
    turned = permute_patches(images, list(range(20))[::-1])
    logits = [logits_of(framework, TINY, params, x) for x in (images, turned)]
    assert np.abs(logits[0] - logits[1]).max() > 1e-2


@per_framework
def test_attention_pooling_is_a_mean_over_tokens_with_weights(framework: str) -> None:
    """Order and repetition of the whole set of tokens do not matter; single tokens do."""
    sizes = CASES["map"]
    jax_params = samples.random_params(sizes)
    if framework == "jax":
        head = samples.twin("jax").MapHead(sizes)
        pool = fast_jit(lambda x: head.apply({"params": jax_params["MAPHead_0"]}, x))
    else:
        pool = samples.load_weights("pytorch", sizes, jax_params).map
    tokens = np.random.RandomState(3).randn(2, 6, 16).astype(np.float32)

    def pooled(tokens: np.ndarray) -> np.ndarray:
        return to_numpy(pool(samples.place(framework, tokens)))

    expected = pooled(tokens)
    assert expected.shape == (2, 16)
    for same in (tokens[:, ::-1].copy(), np.concatenate([tokens, tokens], 1)):
        np.testing.assert_allclose(pooled(same), expected, rtol=0, atol=1e-5)
    assert np.abs(pooled(tokens[:, :5]) - expected).max() > 1e-3
