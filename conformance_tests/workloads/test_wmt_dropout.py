"""Dropout of the Transformer: its places, and a rate that is an argument of every call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import wmt_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy
from conformance_tests.workloads.wmt_samples import CASES, TINY, VARIANTS
from spec import workloads

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_case = pytest.mark.parametrize("case", CASES)
ROWS, LENGTH = 4, 6


class Runner:
    """A tiny network with parameters and sentences; logits as numpy. JAX rates are traced."""

    def __init__(self, framework: str, case: str = "base", rows: int = ROWS) -> None:
        sizes = CASES[case]
        self.framework, self.backend = framework, backend(framework)
        self.model = samples.build(framework, sizes)
        self.jax_params = samples.random_params(sizes)
        self.params = samples.load_weights(framework, sizes, self.jax_params)
        self.batch = samples.place(framework, samples.sentences(rows, LENGTH))
        self._compiled = self.run
        if framework == "jax":
            self._compiled = fast_jit(self.run, static_argnums=0)

    def run(self, training: bool, key: Any, rate: Any) -> Any:
        return self.model.forward(
            self.params, self.batch, training=training, key=key, dropout_rate=rate
        )

    def logits(self, training: bool, seed: int, rate: float) -> np.ndarray:
        key = self.backend.seed_key(seed)
        self.backend.seed_global_generators(key)
        return to_numpy(self._compiled(training, key, rate))


@pytest.fixture(scope="module", params=FRAMEWORKS)
def runner(request: pytest.FixtureRequest) -> Runner:
    return Runner(request.param)


@pytest.mark.clause("DROP-5")
def test_dropout_is_off_in_evaluation_and_at_rate_zero(runner: Runner) -> None:
    expected = runner.logits(False, 0, 0.5)
    np.testing.assert_array_equal(runner.logits(False, 1, 0.0), expected)
    np.testing.assert_allclose(runner.logits(True, 2, 0.0), expected, rtol=0, atol=1e-5)


@pytest.mark.clause("DROP-5")
def test_a_rate_changes_the_training_pass_reproducibly(runner: Runner) -> None:
    first = runner.logits(True, 2, 0.3)
    np.testing.assert_array_equal(runner.logits(True, 2, 0.3), first)
    assert not np.allclose(runner.logits(True, 3, 0.3), first)
    assert not np.allclose(runner.logits(True, 2, 0.6), first)


@pytest.mark.clause("DROP-1")
@pytest.mark.parametrize("name", VARIANTS)
def test_the_default_rate_is_the_documented_one(name: str) -> None:
    assert workloads.get(name).dropout_rate == 0.1


@pytest.mark.clause("DROP-5")
def test_rate_one_leaves_only_what_follows_the_last_norm(runner: Runner) -> None:
    """All tokens are then the bias of that norm, read out by the table."""
    bias = runner.jax_params["decoder"]["encoderdecoder_layernorm"]["bias"]
    expected = runner.jax_params["shared_embedding"]["embedding"] @ bias / np.sqrt(TINY.embed_dim)
    logits = runner.logits(True, 0, 1.0)
    np.testing.assert_allclose(logits, np.broadcast_to(expected, logits.shape), rtol=0, atol=1e-5)


def record(runner: Runner, monkeypatch: pytest.MonkeyPatch, rate: float, **replaced: Any) -> Any:
    """Logits of a training pass, inputs and outputs of every call of dropout, in order.

    And the rates of PyTorch's attention, which drops out weights itself; with ``by_identity`` none
    of the calls has an effect.
    """
    framework = runner.framework
    layers = load_twin("algoperf_ref.frameworks.{}_layers", framework)
    original = layers.dropout
    calls: list[tuple[Any, Any]] = []
    attention_rates: list[float] = []
    by_identity = replaced.get("by_identity", False)

    def note(*arguments: Any) -> Any:
        inputs = arguments[1] if framework == "jax" else arguments[0]
        outputs = inputs if by_identity else original(*arguments)
        calls.append((inputs, outputs))
        return outputs

    monkeypatch.setattr(layers, "dropout", note)
    if framework == "pytorch":
        import torch.nn.functional as F

        attend = F.scaled_dot_product_attention

        def note_attention(*arguments: Any, dropout_p: float = 0.0, **keywords: Any) -> Any:
            attention_rates.append(dropout_p)
            return attend(*arguments, dropout_p=0.0 if by_identity else dropout_p, **keywords)

        monkeypatch.setattr(F, "scaled_dot_product_attention", note_attention)

    def run(key: Any) -> Any:
        calls.clear()
        return runner.run(True, key, rate), list(calls)

    key = runner.backend.seed_key(4)
    runner.backend.seed_global_generators(key)
    logits, noted = (fast_jit(run) if framework == "jax" else run)(key)
    return to_numpy(logits), [tuple(map(to_numpy, pair)) for pair in noted], attention_rates


@pytest.mark.clause("DROP-3")
@per_framework
@per_case
def test_the_places_are_the_documented_ones(
    framework: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embeddings, attention weights, attention outputs, inside and behind feed-forward blocks.

    With these places switched off a training pass is an evaluation pass, so there are no others.
    The official JAX model drops out no attention weights (Decisions, 1).
    """
    runner = Runner(framework, case)
    expected = runner.logits(False, 0, 0.0)
    logits, calls, attention_rates = record(runner, monkeypatch, 0.9, by_identity=True)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    sizes = CASES[case]
    tokens = (ROWS, LENGTH, sizes.embed_dim)
    weights = (ROWS, sizes.num_heads, LENGTH, LENGTH)
    attention = [weights, tokens] if framework == "jax" else [tokens]
    feed_forward = [(ROWS, LENGTH, sizes.mlp_dim), tokens]
    encoder = [tokens] + sizes.num_layers * (attention + feed_forward)
    decoder = [tokens] + sizes.num_layers * (2 * attention + feed_forward)
    assert [inputs.shape for inputs, _ in calls] == encoder + decoder
    of_torch = [] if framework == "jax" else 3 * sizes.num_layers * [0.9]
    assert attention_rates == of_torch


@pytest.mark.clause("DROP-5")
@per_framework
def test_every_place_drops_at_the_rate_with_a_mask_of_its_own_and_keeps_the_mean(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 0.3
    _, calls, _ = record(Runner(framework, rows=24), monkeypatch, rate)
    masks: list[tuple[np.ndarray, np.ndarray]] = []
    for inputs, outputs in calls:
        is_there = inputs != 0
        factors = outputs[is_there] / inputs[is_there]
        is_zero = factors == 0
        np.testing.assert_allclose(factors[~is_zero], 1 / (1 - rate), rtol=1e-5)
        # Five standard errors; so the mean factor is one within five as well.
        assert abs(is_zero.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / is_zero.size)
        for is_other_there, other in masks:
            if other.shape == outputs.shape:  # Equal with probability 0.58, not always.
                are_equal = ((outputs == 0) == other)[is_there & is_other_there]
                assert abs(are_equal.mean() - 0.58) < 0.1
        masks.append((is_there, outputs == 0))
    assert len(masks) == (22 if framework == "jax" else 16)


@pytest.mark.clause("DROP-3")
@per_framework
def test_attention_weights_drop_out_one_by_one(framework: str) -> None:
    """Of equal weights and values that are a unit matrix, the outputs are the dropped weights."""
    keys, rate = 16, 0.3
    queries = np.zeros((1, 1, 400, keys), np.float32)
    weights = dropped_weights(framework, queries, rate)
    is_zero = weights == 0
    assert abs(is_zero.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / is_zero.size)
    np.testing.assert_allclose(weights[~is_zero], 1 / keys / (1 - rate), rtol=1e-5)
    # Neither whole rows nor whole columns.
    assert not is_zero.all(-1).any()
    assert is_zero.mean(-2).max() < 0.5


def dropped_weights(framework: str, queries: np.ndarray, rate: float) -> np.ndarray:
    """Attention of one head, width ``[1, 1, queries, 16]``, to a unit matrix."""
    sizes = samples.WmtSizes(4, embed_dim=16, num_heads=1)
    unit = np.eye(16, dtype=np.float32)
    module = samples.twin(framework)
    if framework == "pytorch":
        import torch

        torch.manual_seed(0)
        attention = module.SelfAttention(sizes).train()
        values = torch.tensor(unit)[None, None]
        mask = torch.zeros(1, 1, 1, 16)
        return to_numpy(attention.mix(torch.tensor(queries), values, values, mask, rate))[0]
    import jax
    import jax.numpy as jnp

    kernels = {
        "query": {"kernel": unit[:, None]},
        "key": {"kernel": unit[:, None]},
        "value": {"kernel": unit[:, None]},
        "out": {"kernel": unit[None]},
    }
    outputs = module.Attention(sizes).apply(
        {"params": kernels},
        jnp.asarray(queries[0]),
        unit[None, :, None],
        unit[None, :, None],
        jnp.ones((1, queries.shape[2], 16), bool),
        module.Dropping(True, rate),
        rngs={"dropout": jax.random.PRNGKey(0)},
        method="attend",
    )
    return np.asarray(outputs)[0]


def test_pytorch_switches_between_training_and_evaluation_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The official model stays in evaluation mode after an evaluation."""
    runner = Runner("pytorch")
    samples.decoding("pytorch").greedy(TINY, runner.params, runner.batch["inputs"])
    assert not runner.params.training
    assert runner.run(True, None, 0.0).requires_grad
    assert runner.params.training
    assert not runner.run(False, None, 0.0).requires_grad
    assert not runner.params.training
