"""Beam search and greedy decoding: the official tokens, in both frameworks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from conformance_tests.workloads import wmt_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, fast_jit, golden_json, to_numpy
from conformance_tests.workloads.wmt_samples import CASES, ONE_LAYER, TINY, golden

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
MARKOV = golden_json("forward/wmt_beam_search_markov.json")


@per_framework
@pytest.mark.parametrize("number", range(len(MARKOV["cases"])))
def test_all_beams_and_scores_of_a_markov_chain_are_the_official_ones(
    number: int, framework: str
) -> None:
    """Those of JAX: the official PyTorch search writes a token to all later places too."""
    case = MARKOV["cases"][number]
    table = (2 * np.random.RandomState(MARKOV["seed"]).randn(7, 7)).astype(np.float32)
    beams = samples.search_markov(
        framework,
        table,
        rows=case["batch"],
        beam_size=case["beam_size"],
        length=case["max_decode_len"],
        alpha=case["alpha"],
    )
    np.testing.assert_array_equal(to_numpy(beams.sequences), case["jax_seqs"])
    np.testing.assert_allclose(to_numpy(beams.scores), case["jax_scores"], rtol=0, atol=1e-6)


@per_framework
@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize("case", ["decode_a", "decode_b", "decode_c"])
def test_translations_are_the_official_ones(case: str, beam_size: int, framework: str) -> None:
    arrays, jax_params = golden(case)
    params = samples.load_weights(framework, TINY, jax_params)
    sources = arrays["in/inputs"].astype(np.int32)
    options = {"beam_size": beam_size, "max_decode_len": 16}
    tokens = samples.decode(framework, "translate", TINY, params, sources, **options)
    np.testing.assert_array_equal(tokens, arrays[f"out/jax/tokens_beam{beam_size}"])


def by_full_passes(framework: str, case: str, params: Any, sources: np.ndarray) -> np.ndarray:
    """Greedy translations without caches: every token by a teacher-forced pass."""
    targets = np.ones((len(sources), 9), np.int32)
    tokens = np.zeros((len(sources), 8), np.int32)
    for place in range(8):
        # What is decoded is masked nowhere, so all targets must be there.
        batch = {"inputs": sources, "targets": targets}
        logits = samples.logits_of(framework, CASES[case], params, batch)
        tokens[:, place] = logits[:, place].argmax(-1)
        targets[:, place] = np.maximum(tokens[:, place], 1)
    return tokens


@per_framework
@pytest.mark.parametrize("case", CASES)
def test_decoding_with_caches_is_decoding_without(case: str, framework: str) -> None:
    """Until the end of each sentence or its first piece 0, which a mask would hide."""
    sizes = CASES[case]
    jax_params = samples.random_params(sizes, seed=3)
    # Else a token's own embedding outweighs everything, and it is repeated for ever.
    jax_params["shared_embedding"]["embedding"] *= 0.1
    for number in range(sizes.num_layers):
        jax_params["decoder"][f"encoderdecoderblock_{number}"]["LayerNorm_2"]["bias"] *= 20
    params = samples.load_weights(framework, sizes, jax_params)
    sources = samples.sentences(5, 7, seed=1)["inputs"]
    expected = by_full_passes(framework, case, params, sources)
    tokens = samples.decode(framework, "greedy", sizes, params, sources, max_decode_len=9)
    is_stop = (expected == 2) | (expected == 0)
    is_compared = np.cumsum(is_stop, axis=1) - is_stop == 0
    assert is_compared.sum() > 20
    np.testing.assert_array_equal(tokens[is_compared], expected[is_compared])
    has_ended = np.cumsum(tokens == 2, axis=1) > 0
    assert not tokens[:, 1:][has_ended[:, :-1]].any()


@per_framework
def test_beams_of_a_row_do_not_depend_on_the_other_rows(framework: str) -> None:
    params = samples.load_weights(framework, TINY, samples.random_params(TINY))
    sources = samples.sentences(4, 7, seed=5)["inputs"]

    def translate(sources: np.ndarray) -> np.ndarray:
        return samples.decode(framework, "translate", TINY, params, sources, max_decode_len=10)

    # The search of all rows goes on as long as any row's does.
    alone = [translate(sources[row : row + 1])[0] for row in range(len(sources))]
    np.testing.assert_array_equal(translate(sources), alone)


def test_translating_is_traced_once_for_a_shape() -> None:
    import jax

    params = samples.random_params(TINY)
    traces = []

    @jax.jit
    def translate(params: Any, sources: Any) -> Any:
        traces.append(sources.shape)
        return samples.decoding("jax").translate(TINY, params, sources, max_decode_len=6)

    for seed in range(3):
        translate(params, samples.sentences(2, 7, seed=seed)["inputs"])
    assert traces == [(2, 7)]


# A program of its own, since the number of devices is settled before JAX is imported.
ON_FOUR_DEVICES = """
import json, re
import jax
from algoperf_ref.frameworks import jax_sharding
from conformance_tests.workloads import wmt_samples as samples
params = jax_sharding.replicate(samples.random_params(samples.ONE_LAYER))
ids = samples.sentences(8, 7, seed=1)["inputs"]
batch = jax_sharding.shard_along_batch_dim(ids)
results = {}
for name in ("translate", "greedy"):
    decode = getattr(samples.decoding("jax"), name)
    run = samples.fast_jit(lambda p, x: decode(samples.ONE_LAYER, p, x, max_decode_len=10))
    compiled = run.lower(params, batch).compile()
    tokens = compiled(params, batch)
    pattern = r"\\b(?:all-gather|all-reduce|all-to-all|collective-permute)\\b.*"
    results[name] = {
        "sent": re.findall(pattern, compiled.as_text()),
        "rows": [list(shard.data.shape) for shard in tokens.addressable_shards],
        "tokens": tokens.tolist(),
    }
results["greedy"]["uneven"] = run(params, jax_sharding.replicate(ids[:5])).tolist()
print(json.dumps(results))
"""


def test_every_device_translates_its_own_rows_alone() -> None:
    """The tokens are those of one device, and no device waits for another or sends it anything."""
    flag = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "XLA_FLAGS": flag},
    )
    results = json.loads(done.stdout)
    params = samples.random_params(ONE_LAYER)
    sources = samples.sentences(8, 7, seed=1)["inputs"]
    for name, result in results.items():
        decode = getattr(samples.decoding("jax"), name)
        run = fast_jit(lambda p, x, decode=decode: decode(ONE_LAYER, p, x, max_decode_len=10))
        expected = run(params, sources)
        np.testing.assert_array_equal(result["tokens"], expected)
        assert result["rows"] == [[2, 9]] * 4
        assert result["sent"] == []
    np.testing.assert_array_equal(results["greedy"]["uneven"], expected[:5])


def test_a_wrapped_module_is_unwrapped() -> None:
    import torch

    module = samples.load_weights("pytorch", TINY, samples.random_params(TINY))
    sources = torch.tensor(samples.sentences(2, 5)["inputs"])
    greedy = samples.decoding("pytorch").greedy
    expected = greedy(TINY, module, sources, max_decode_len=6)
    wrapped = torch.nn.DataParallel(module)
    assert torch.equal(greedy(TINY, wrapped, sources, max_decode_len=6), expected)
    with pytest.raises(TypeError, match="holds no Transformer"):
        greedy(TINY, torch.nn.Linear(1, 1), sources)
