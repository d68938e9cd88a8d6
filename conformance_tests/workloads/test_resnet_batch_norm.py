"""Batch norm: what it normalises with, and what goes into its running statistics."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads.samples import FRAMEWORKS, fast_jit, to_numpy

CHANNELS = 3
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_shape = pytest.mark.parametrize("shape", [(6,), (4, 5), (2, 3, 4)], ids=["2", "3", "4"])


def values(*shape: int, seed: int = 0) -> np.ndarray:
    """Random values ``[..., channels]``, not around 0."""
    random = np.random.RandomState(seed)
    return (2.0 + 3.0 * random.randn(*shape, CHANNELS)).astype(np.float32)


def torch_layer(**keywords: Any) -> Any:
    """The layer with scale, bias and statistics that are not the initial ones."""
    import torch

    layers = load_twin("algoperf_ref.frameworks.{}_norm_layers", "pytorch")
    layer = layers.BatchNorm(CHANNELS, **keywords)
    state = {
        "weight": [1.0, 2.0, -1.0],
        "bias": [0.5, 0.0, -3.0],
        "running_mean": [1.0, -2.0, 0.0],
        "running_var": [4.0, 0.25, 1.0],
    }
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    layer.load_state_dict({**tensors, "num_batches_tracked": torch.tensor(5)})
    return layer


def run(framework: str, inputs: np.ndarray, training: bool) -> dict[str, np.ndarray]:
    """Outputs and statistics after a pass of the layer of :func:`torch_layer`."""
    import torch

    layer = torch_layer().train(training)
    if framework == "pytorch":
        outputs = layer(torch.tensor(inputs).movedim(-1, 1)).movedim(1, -1)
        found = [outputs, layer.running_mean, layer.running_var]
    else:
        layers = load_twin("algoperf_ref.frameworks.{}_norm_layers", "jax")
        state = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
        variables = {
            "params": {"scale": state["weight"], "bias": state["bias"]},
            "batch_stats": {"mean": state["running_mean"], "var": state["running_var"]},
        }
        module = layers.batch_norm("norm", training=training)
        apply = fast_jit(lambda v, x: module.apply(v, x, mutable=["batch_stats"]))
        outputs, updated = apply(variables, inputs)
        statistics = updated["batch_stats"] if training else variables["batch_stats"]
        found = [outputs, statistics["mean"], statistics["var"]]
    return dict(zip(("outputs", "mean", "var"), map(to_numpy, found), strict=True))


@per_framework
@per_shape
def test_a_training_pass_is_the_written_formula(framework: str, shape: tuple[int, ...]) -> None:
    inputs = values(*shape)
    axes = tuple(range(inputs.ndim - 1))
    mean, var = inputs.astype(np.float64).mean(axes), inputs.astype(np.float64).var(axes)
    found = run(framework, inputs, training=True)
    expected = (inputs - mean) / np.sqrt(var + 1e-5) * [1.0, 2.0, -1.0] + [0.5, 0.0, -3.0]
    np.testing.assert_allclose(found["outputs"], expected, rtol=0, atol=1e-5)
    new_mean = 0.9 * np.array([1.0, -2.0, 0.0]) + 0.1 * mean
    np.testing.assert_allclose(found["mean"], new_mean, rtol=0, atol=1e-6)
    # The biased variance: torch's own layer would take 1 / (n - 1).
    new_var = 0.9 * np.array([4.0, 0.25, 1.0]) + 0.1 * var
    np.testing.assert_allclose(found["var"], new_var, rtol=1e-6, atol=1e-6)


@per_framework
@per_shape
def test_an_evaluation_pass_takes_the_running_statistics(
    framework: str, shape: tuple[int, ...]
) -> None:
    inputs = values(*shape)
    found = run(framework, inputs, training=False)
    normalised = (inputs - [1.0, -2.0, 0.0]) / np.sqrt(np.array([4.0, 0.25, 1.0]) + 1e-5)
    expected = normalised * [1.0, 2.0, -1.0] + [0.5, 0.0, -3.0]
    np.testing.assert_allclose(found["outputs"], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found["mean"], [1.0, -2.0, 0.0])
    np.testing.assert_array_equal(found["var"], [4.0, 0.25, 1.0])


def test_pytorch_differs_from_its_own_layer_in_the_running_variance_alone() -> None:
    import torch

    ours = torch_layer().train()
    theirs = torch.nn.BatchNorm2d(CHANNELS, eps=1e-5, momentum=0.1).train()
    theirs.load_state_dict(ours.state_dict())
    old = ours.running_var.clone()
    inputs = torch.tensor(values(2, 4, 5)).movedim(-1, 1)
    first, second = (copy.deepcopy(inputs).requires_grad_() for _ in range(2))
    outputs, expected = ours(first), theirs(second)
    assert outputs.equal(expected)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    assert first.grad.equal(second.grad)
    assert ours.weight.grad.equal(theirs.weight.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 6
    count = 2 * 4 * 5
    unbiased = (theirs.running_var - 0.9 * old) / 0.1
    torch.testing.assert_close(ours.running_var, 0.9 * old + 0.1 * unbiased * (count - 1) / count)


def test_pytorch_without_update_leaves_every_buffer_alone() -> None:
    import torch

    from algoperf_ref.frameworks.torch_layers import set_statistics_updates

    layer = torch_layer().train()
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    inputs = torch.tensor(values(2, 4, 5)).movedim(-1, 1)
    set_statistics_updates(layer, False)
    frozen = layer(inputs)
    assert all(buffer.equal(before[name]) for name, buffer in layer.named_buffers())
    set_statistics_updates(layer, True)
    assert layer(inputs).equal(frozen), "it normalises with the statistics of the batch"
    assert not any(buffer.equal(before[name]) for name, buffer in layer.named_buffers())


def test_pytorch_allows_several_training_passes_before_the_gradient() -> None:
    """The backward pass needs nothing that a later pass changes; torch's own layer may fail."""
    import torch

    layer = torch_layer().train()
    batches = [torch.tensor(values(2, 4, 5, seed=seed)).movedim(-1, 1) for seed in range(3)]
    sum(layer(batch).square().sum() for batch in batches).backward()
    assert layer.weight.grad.isfinite().all()


def test_pytorch_refuses_a_training_batch_of_one_value() -> None:
    import torch

    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch_layer().train()(torch.zeros(1, CHANNELS, 1, 1))


@per_framework
def test_the_layer_starts_at_the_scale_it_is_given(framework: str) -> None:
    layers = load_twin("algoperf_ref.frameworks.{}_norm_layers", framework)
    for keywords, expected in [({}, 1.0), ({"initial_scale": 8.0}, 8.0)]:
        if framework == "pytorch":
            import torch

            layer = torch_layer(**keywords)
            layer.initialise(torch.Generator())
            assert (layer.running_mean == 0).all()
            assert (layer.running_var == 1).all()
            assert layer.num_batches_tracked == 0
            scale, bias = layer.weight, layer.bias
        else:
            import jax

            module = layers.batch_norm("norm", training=False, **keywords)
            variables = module.init(jax.random.PRNGKey(0), np.zeros((1, CHANNELS), np.float32))
            scale, bias = (variables["params"][name].value for name in ("scale", "bias"))
        np.testing.assert_array_equal(to_numpy(scale), expected)
        np.testing.assert_array_equal(to_numpy(bias), 0.0)
