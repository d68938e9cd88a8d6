"""The Conformer computes the official function, and the twins compute the same one.

The official twins differ on padded frames, which attend to everything in JAX and to the frames that
are not padding in PyTorch; ours are as JAX in both (Decisions, 1). The official PyTorch network has
the exact GELU in its convolution modules, ours the tanh approximation everywhere.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.librispeech.features import SpecAugment
from conformance_tests.workloads import conformer_samples as samples
from conformance_tests.workloads.conformer_samples import CASES, TINY
from conformance_tests.workloads.deepspeech_samples import place
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_case = pytest.mark.parametrize("case", CASES)
TOLERANCE = 3e-4
"""Source: README of the official numbers."""
GELU_DIFFERENCE = 1.2e-3
"""What the exact GELU of the official PyTorch network may make; measured: 8.5e-4."""
# With all layers, and without those that close the blocks; gradients take long to compile.
GRADIENT_CASES = ("base", "no_post_ln")
LABELS = np.array([[3, 3, 7], [11, 1, 0]])
LABEL_PADDINGS = np.array([[0, 0, 0], [0, 0, 1]], np.float32)


class Passes(NamedTuple):
    """What a network made of a forward vector's audio, as numpy arrays by PyTorch name.

    Attributes:
      evaluated, trained: logits of an evaluation pass and of a training pass without dropout.
      paddings: of the logits.
      statistics: running statistics after the training pass.
      gradients: of the training pass, with the loss itself as ``loss``; of ``GRADIENT_CASES`` only.
    """

    evaluated: np.ndarray
    trained: np.ndarray
    paddings: np.ndarray
    statistics: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]


def forward_pass(case: str, framework: str, state: Any, training: bool) -> Any:
    """A function of the parameters: logits and new state on a forward vector's audio."""
    model, key = samples.build(framework, CASES[case]), backend(framework).seed_key(3)
    arrays, _, _ = samples.golden(case)
    inputs = place(framework, (arrays["in/wave"], arrays["in/paddings"]))
    arguments = {"training": training, "update_batch_norm": True, "dropout_rate": 0.0}
    return lambda params: model.forward_with_state(params, state, inputs, key=key, **arguments)


@functools.cache
def passes(case: str, framework: str) -> Passes:
    """Runs a network on a forward vector; JAX compiles all passes at once."""
    params, state = samples.loaded(case, framework)
    ctc_loss = load_twin("algoperf_ref.frameworks.{}_ctc", framework).ctc_loss
    labels = tuple(backend(framework).replicate(array) for array in (LABELS, LABEL_PADDINGS))
    evaluate = forward_pass(case, framework, state, training=False)
    train = forward_pass(case, framework, state, training=True)

    def loss(params: Any) -> tuple[Any, Any]:
        outputs, new_state = train(params)
        result = ctc_loss(labels, outputs)
        return result["summed"] / result["n_valid_examples"], (outputs, new_state)

    gradients: dict[str, np.ndarray] = {}
    if framework == "jax":
        import jax

        has_gradient = case in GRADIENT_CASES
        train_step = jax.value_and_grad(loss, has_aux=True) if has_gradient else train
        compiled = fast_jit(lambda params: (evaluate(params)[0], train_step(params)))
        (evaluated, paddings), result = compiled(params)
        if has_gradient:
            (value, result), tree = result
            gradients = {"loss": np.asarray(value), **samples.transplant(tree)}
        (trained, _), new_state = result
    else:
        (evaluated, paddings), _ = evaluate(params)
        value, ((trained, _), new_state) = loss(params)
        value.backward()
        gradients = {name: p.grad.numpy() for name, p in params.named_parameters()}
        gradients["loss"] = to_numpy(value)
        assert new_state is None
    statistics = samples.statistics_of(framework, params, new_state)
    logits = to_numpy(evaluated), to_numpy(trained), to_numpy(paddings)
    return Passes(*logits, statistics, gradients)


@per_framework
@per_case
def test_logits_are_the_official_ones(case: str, framework: str) -> None:
    arrays, _, _ = samples.golden(case)
    found = passes(case, framework)
    is_real = found.paddings == 0
    assert 0 < is_real.sum() < is_real.size
    for official in FRAMEWORKS:
        np.testing.assert_array_equal(found.paddings, arrays[f"out/{official}/logit_paddings"])
        has_exact_gelu = (case, official) == ("gelu", "pytorch")
        tolerance = GELU_DIFFERENCE if has_exact_gelu else TOLERANCE
        for name, logits in (
            ("logits_eval", found.evaluated),
            ("logits_train_bn_dropout0", found.trained),
        ):
            expected = arrays[f"out/{official}/{name}"]
            difference = np.abs(logits - expected)
            assert difference[is_real].max() <= tolerance, (official, name)
            if official == "jax":  # On padded frames, too.
                assert difference.max() <= tolerance, name
            else:
                assert difference.max() > 0.1, name


@per_framework
@per_case
def test_running_statistics_are_the_official_ones(case: str, framework: str) -> None:
    """They keep their shape, where those of the official JAX network change it."""
    arrays, _, statistics = samples.golden(case)
    found = passes(case, framework).statistics
    assert set(found) == set(samples.transplant(statistics))
    for number in range(TINY.num_encoder_layers):
        for kind in ("mean", "var"):
            value = found[f"conformers.{number}.conv.bn.running_{kind}"]
            expected = arrays[f"out/jax_new_state/ConformerBlock_{number}/{kind}"]
            assert value.shape == (8,)
            assert expected.shape == (1, 1, 8)
            np.testing.assert_allclose(value, expected.ravel(), rtol=1e-5, atol=1e-6)
            other = arrays[f"out/pytorch_new_state/conformers.{number}.running_{kind}"]
            np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-6)


@per_case
def test_twins_agree_on_padded_frames_too(case: str) -> None:
    jax_passes, torch_passes = (passes(case, name) for name in FRAMEWORKS)
    for name in ("evaluated", "trained"):
        expected = getattr(jax_passes, name)
        np.testing.assert_allclose(
            getattr(torch_passes, name), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
        )


@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_twins_agree_on_loss_and_gradients(case: str) -> None:
    """Decision 1: float32, 1e-4 relative."""
    jax_gradients, torch_gradients = (passes(case, name).gradients for name in FRAMEWORKS)
    assert set(torch_gradients) == set(jax_gradients)
    # A bias of keys moves all logits of a query alike, so that its gradient is a rounding error.
    width = TINY.encoder_dim
    keys = slice(width, 2 * width)
    for name, expected in jax_gradients.items():
        found = torch_gradients[name].copy()
        if name.endswith("in_proj.bias"):
            scale = np.abs(expected).max()
            assert max(np.abs(found[keys]).max(), np.abs(expected[keys]).max()) < 1e-4 * scale
            found, expected = np.delete(found, keys), np.delete(expected, keys)
        error = np.linalg.norm(found - expected)
        assert error <= 1e-4 * np.linalg.norm(expected), name


@per_case
def test_the_name_mapping_of_the_twins_is_the_official_one(case: str) -> None:
    arrays, params, statistics = samples.golden(case)
    moved = samples.transplant(params) | samples.transplant(statistics)
    prefix = "pytorch/w/"
    official = {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
    assert set(moved) == set(official)
    for name, value in official.items():
        np.testing.assert_array_equal(moved[name], value, err_msg=name)


@per_framework
def test_the_temperature_is_a_factor_of_what_the_attention_puts_out(framework: str) -> None:
    """And not of its logits: with values of 0 it has no effect."""
    _, params, statistics = samples.golden("base")
    params = copy.deepcopy(params)
    for number in range(TINY.num_encoder_layers):
        module = params[f"ConformerBlock_{number}"]["MultiHeadedSelfAttention_0"]
        for array in module["MultiHeadDotProductAttention_0"]["value"].values():
            array[:] = 0
    arrays, _, _ = samples.golden("base")
    logits = []
    for case in ("base", "attention_temperature"):
        sizes = CASES[case]
        weights = samples.load_weights(framework, sizes, params, statistics)
        inputs = (arrays["in/wave"], arrays["in/paddings"])
        logits.append(samples.logits_of(framework, sizes, weights, inputs)[0])
    np.testing.assert_array_equal(logits[0], logits[1])
    changed = passes("attention_temperature", framework).evaluated
    assert np.abs(changed - logits[0]).max() > 0.01


@per_framework
def test_an_utterance_of_nothing_but_padding_gives_finite_numbers(framework: str) -> None:
    """All logits of its attention are masked; also gradients stay finite."""
    arrays, _, _ = samples.golden("base")
    params, state = samples.loaded("base", framework)
    inputs = place(framework, (arrays["in/wave"], np.ones_like(arrays["in/paddings"])))
    model, key = samples.build(framework, TINY), backend(framework).seed_key(0)

    def total(params: Any) -> Any:
        (logits, _), _ = model.forward_with_state(
            params,
            state,
            inputs,
            training=True,
            key=key,
            update_batch_norm=True,
            dropout_rate=0.0,
        )
        return (logits**2).sum()

    if framework == "jax":
        import jax

        value, tree = fast_jit(jax.value_and_grad(total))(params)
        gradients = samples.transplant(tree)
    else:
        value = total(params)
        value.backward()
        gradients = {name: p.grad.numpy() for name, p in params.named_parameters()}
    assert np.isfinite(to_numpy(value))
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name


@per_framework
def test_masks_are_on_in_training_alone(framework: str) -> None:
    """With other seeds a training pass gives other logits, an evaluation pass the same."""
    sizes = dataclasses.replace(TINY, spec_augment=SpecAugment())
    arrays, params, statistics = samples.golden("base")
    weights = samples.load_weights(framework, sizes, params, statistics)
    inputs = place(framework, (arrays["in/wave"], arrays["in/paddings"]))

    def logits(training: bool, seed: int) -> np.ndarray:
        key = backend(framework).seed_key(seed)
        backend(framework).seed_global_generators(key)
        run = samples.run_pass(framework, sizes, training, False)
        return to_numpy(run(*weights, inputs, key, 0.0)[0][0])

    expected = passes("base", framework).evaluated
    np.testing.assert_allclose(logits(False, 1), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(logits(False, 2), logits(False, 1))
    first = logits(True, 1)
    np.testing.assert_array_equal(logits(True, 1), first)
    assert np.abs(logits(True, 2) - first).max() > 1e-3
    assert np.abs(passes("base", framework).trained - first).max() > 1e-3
