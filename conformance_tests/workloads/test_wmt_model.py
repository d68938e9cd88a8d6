"""The Transformer computes the official function, and the twins compute the same one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.wmt.sizes import WmtSizes, position_embedding
from conformance_tests.workloads import wmt_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, golden_arrays
from conformance_tests.workloads.wmt_samples import CASES, TINY, golden, logits_of

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_case = pytest.mark.parametrize("case", CASES)


def golden_batch(arrays: samples.Arrays, *, packed: bool) -> samples.Arrays:
    """The batch of a forward vector."""
    names = {
        name.removeprefix("in/"): array.astype(np.int32)
        for name, array in arrays.items()
        if name.startswith("in/")
    }
    return {
        name.removeprefix("packed_"): array
        for name, array in names.items()
        if name.startswith("packed_") == packed
    }


@pytest.mark.parametrize("packed", [False, True])
@per_framework
@per_case
def test_logits_are_the_official_ones(case: str, framework: str, packed: bool) -> None:
    arrays, jax_params = golden(case)
    params = samples.load_weights(framework, CASES[case], jax_params)
    logits = logits_of(framework, CASES[case], params, golden_batch(arrays, packed=packed))
    expected = arrays[f"out/{framework}/{'packed_' if packed else ''}logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5)


@per_case
def test_the_name_mapping_of_the_twins_is_the_official_one(case: str) -> None:
    arrays, jax_params = golden(case)
    moved = samples.transplant(jax_params, glu=CASES[case].glu)
    for name, value in moved.items():
        np.testing.assert_array_equal(value, arrays[f"pytorch/w/{name}"], err_msg=name)


def test_numbers_of_the_position_embedding() -> None:
    """Source: Workload facts (wmt), 2."""
    table = position_embedding(256, 1024)
    assert table.shape == (256, 1024)
    assert table.dtype == np.float32
    first = table[1, [0, 1, 511, 512, 513, 1023]]
    expected = [0.841471, 0.831686, 1.0e-4, 0.540302, 0.555246, 1.0]
    np.testing.assert_allclose(first, expected, rtol=0, atol=2e-6)
    last = table[255, [0, 511, 512]]
    np.testing.assert_allclose(last, [-0.506392, 0.025497, -0.862304], rtol=0, atol=2e-6)


def test_the_position_embedding_is_the_official_one() -> None:
    """That of JAX to the last bits; the official PyTorch one is computed in float32."""
    arrays = golden_arrays("forward/wmt_positional.npz")
    table = position_embedding(256, 16)[None]
    np.testing.assert_allclose(table, arrays["jax/pe_256x16"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(table, arrays["pytorch/pe_256x16"], rtol=0, atol=2e-5)
    module = samples.build("pytorch", TINY).initialise(backend("pytorch").seed_key(0)).params
    np.testing.assert_array_equal(module.pos_encoder.pe.numpy(), table)


def with_a_row_of_padding(batch: samples.Arrays) -> samples.Arrays:
    """The batch and one more row that holds nothing: its tokens may attend to nothing."""
    return {name: np.concatenate([array, 0 * array[:1]]) for name, array in batch.items()}


@per_case
def test_twins_agree_on_logits_loss_and_gradients(case: str) -> None:
    """Decision 1: float32, 1e-4 relative; rows of several sentences, and one of padding."""
    import jax

    sizes = CASES[case]
    batch = with_a_row_of_padding(golden_batch(golden(case)[0], packed=True))
    weights = (batch["targets"] > 0).astype(np.float32)
    jax_params = samples.random_params(sizes)
    module = samples.load_weights("pytorch", sizes, jax_params)
    key = backend("jax").seed_key(7)

    def loss(params: Any, framework: str) -> Any:
        losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
        placed = samples.place(framework, batch | {"weights": weights})
        weight = placed.pop("weights")
        arguments = {"training": True, "key": key, "dropout_rate": 0.0}
        logits = samples.build(framework, sizes).forward(params, placed, **arguments)
        result = losses.token_cross_entropy(placed["targets"], logits, weight, 0.1)
        return result["summed"] / result["n_valid_examples"], logits

    value_and_grad = fast_jit(jax.value_and_grad(lambda p: loss(p, "jax"), has_aux=True))
    (jax_loss, jax_logits), jax_gradients = value_and_grad(jax_params)
    torch_loss, torch_logits = loss(module, "pytorch")
    torch_loss.backward()

    difference = np.abs(np.asarray(jax_logits) - torch_logits.detach().numpy())
    assert difference.max() < 1e-4 * np.abs(jax_logits).max()
    np.testing.assert_allclose(torch_loss.item(), jax_loss, rtol=1e-5)
    expected = samples.transplant(jax_gradients, glu=sizes.glu)
    for name, parameter in module.named_parameters():
        error = np.linalg.norm(parameter.grad.numpy() - expected[name])
        assert error <= 1e-4 * np.linalg.norm(expected[name]), name


@per_framework
def test_the_first_token_of_a_packed_sentence_follows_the_end_of_the_one_before(
    framework: str,
) -> None:
    """The shift does not know of sentences: as the official code (Decisions, 22)."""
    params = samples.load_weights(framework, TINY, samples.random_params(TINY))
    batch = samples.sentences(3, 7, seed=2)
    together = logits_of(framework, TINY, params, samples.packed(batch, [0, 1]))[0]
    alone = logits_of(framework, TINY, params, batch)
    count = int((batch["targets"][0] > 0).sum())
    np.testing.assert_allclose(together[:count], alone[0, :count], rtol=0, atol=1e-5)
    second = together[count:]
    assert not np.allclose(second[0], alone[1, 0], atol=1e-3)


@per_framework
def test_a_row_of_padding_is_finite_and_changes_no_other_row(framework: str) -> None:
    params = samples.load_weights(framework, TINY, samples.random_params(TINY))
    batch = samples.sentences(2, 6)
    expected = logits_of(framework, TINY, params, batch)
    logits = logits_of(framework, TINY, params, with_a_row_of_padding(batch))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits[:2], expected, rtol=0, atol=1e-5)


def test_sizes_have_a_scale_of_the_queries() -> None:
    assert WmtSizes(8, attention_temp=4.0).query_scale == 0.5
