"""Residual networks compute the official function, and the twins compute the same one.

The official twins disagree in two places, and ours follow the JAX side in both frameworks
(Decisions, 1): convolutions of stride 2 on even sizes are padded below and to the right only, and
the running variance is the biased one. So both frameworks are compared with the official JAX
numbers, and on odd sizes PyTorch with its own too.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from conformance_tests.workloads import resnet_samples as samples
from conformance_tests.workloads.resnet_samples import GOLDEN_SIZES, TINY, TINY_CIFAR
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy

LABELS = np.array([5, 0, 6])
MASK = np.array([1, 0.5, 1], np.float32)
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_case = pytest.mark.parametrize("case", GOLDEN_SIZES)
# With the basic block, the bottleneck, even and odd sizes; JAX takes long to compile gradients.
GRADIENT_CASES = ("basic_relu_even_size", "bottleneck_gelu")


class Passes(NamedTuple):
    """What a network made of a forward vector's images, as numpy arrays by PyTorch name.

    Attributes:
      evaluated, trained: logits of an evaluation pass and of a training pass.
      statistics: running statistics after the training pass.
      gradients: of the training pass, with the loss itself as ``loss``; only for
        ``GRADIENT_CASES``.
    """

    evaluated: np.ndarray
    trained: np.ndarray
    statistics: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]


def forward_pass(case: str, framework: str, state: Any, training: bool, update: bool) -> Any:
    """A function of the parameters: logits and new state on a forward vector's images."""
    model, key = samples.build(framework, GOLDEN_SIZES[case]), backend(framework).seed_key(3)
    arrays, _, _ = samples.golden(case)
    images = samples.place_images(framework, arrays["in/x_nhwc"])
    arguments = {"training": training, "update_batch_norm": update, "dropout_rate": 0.0}
    return lambda params: model.forward_with_state(params, state, images, key=key, **arguments)


def loaded(case: str, framework: str) -> tuple[Any, Any]:
    """A forward vector's parameters and model state."""
    _, params, statistics = samples.golden(case)
    return samples.load_weights(framework, GOLDEN_SIZES[case], params, statistics)


@functools.cache
def passes(case: str, framework: str) -> Passes:
    """Runs a network on a forward vector; JAX compiles all passes at once."""
    params, state = loaded(case, framework)
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    labels, mask = (backend(framework).replicate(array) for array in (LABELS, MASK))
    evaluate = forward_pass(case, framework, state, training=False, update=False)
    train = forward_pass(case, framework, state, training=True, update=True)

    def loss(params: Any) -> tuple[Any, Any]:
        logits, new_state = train(params)
        result = losses.softmax_cross_entropy(labels, logits, mask, label_smoothing=0.1)
        return result["summed"] / result["n_valid_examples"], (logits, new_state)

    gradients: dict[str, np.ndarray] = {}
    if framework == "jax":
        import jax

        has_gradient = case in GRADIENT_CASES
        train_step = jax.value_and_grad(loss, has_aux=True) if has_gradient else train
        compiled = fast_jit(lambda params: (evaluate(params)[0], train_step(params)))
        evaluated, result = compiled(params)
        if has_gradient:
            (value, result), tree = result
            gradients = {"loss": np.asarray(value), **samples.transplant(tree, GOLDEN_SIZES[case])}
        trained, new_state = result
    else:
        evaluated, _ = evaluate(params)
        value, (trained, new_state) = loss(params)
        value.backward()
        gradients = {name: p.grad.numpy() for name, p in params.named_parameters()}
        gradients["loss"] = to_numpy(value)
        assert new_state is None
    statistics = samples.statistics_of(framework, params, new_state, GOLDEN_SIZES[case])
    return Passes(to_numpy(evaluated), to_numpy(trained), statistics, gradients)


@per_framework
@per_case
def test_evaluation_and_training_passes_are_the_official_ones_of_jax(
    case: str, framework: str
) -> None:
    arrays, _, _ = samples.golden(case)
    found = passes(case, framework)
    tolerance = {"rtol": 0, "atol": 2e-5}
    np.testing.assert_allclose(found.evaluated, arrays["out/jax/logits_eval"], **tolerance)
    np.testing.assert_allclose(found.trained, arrays["out/jax/logits_train_bn"], **tolerance)


@pytest.mark.parametrize("case", [case for case in GOLDEN_SIZES if "even_size" not in case])
def test_on_odd_sizes_pytorch_is_the_official_one_of_pytorch_too(case: str) -> None:
    arrays, _, _ = samples.golden(case)
    found = passes(case, "pytorch")
    params, state = loaded(case, "pytorch")
    frozen, _ = forward_pass(case, "pytorch", state, training=True, update=False)(params)
    for name, logits in [
        ("logits_eval", found.evaluated),
        ("logits_train_bn", found.trained),
        ("logits_train_update_batch_norm_false", to_numpy(frozen)),
    ]:
        expected = arrays[f"out/pytorch/{name}"]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5, err_msg=name)


@per_framework
@per_case
def test_running_statistics_are_the_official_ones_of_jax(case: str, framework: str) -> None:
    arrays, _, _ = samples.golden(case)
    official = samples.below(arrays, "out/jax_new_state/")
    expected = samples.transplant(official, GOLDEN_SIZES[case])
    found = passes(case, framework).statistics
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-6, err_msg=name)


@per_framework
def test_without_update_a_training_pass_takes_batch_statistics_and_keeps_the_running_ones(
    framework: str,
) -> None:
    """Decision 2; the official JAX twin would take the running ones."""
    case = "basic_relu_even_size"
    arrays, _, _ = samples.golden(case)
    params, state = loaded(case, framework)
    frozen = forward_pass(case, framework, state, training=True, update=False)
    logits, new_state = fast_jit(frozen)(params) if framework == "jax" else frozen(params)
    expected = arrays["out/jax/logits_train_bn"]
    np.testing.assert_allclose(to_numpy(logits), expected, rtol=0, atol=2e-5)
    before = samples.transplant(samples.golden(case)[2], GOLDEN_SIZES[case])
    after = samples.statistics_of(framework, params, new_state, GOLDEN_SIZES[case])
    assert set(after) == set(before)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.mark.parametrize("case", GRADIENT_CASES)
def test_twins_agree_on_loss_and_gradients(case: str) -> None:
    """Decision 1: float32, 1e-4 relative."""
    jax_gradients, torch_gradients = (passes(case, name).gradients for name in FRAMEWORKS)
    assert set(torch_gradients) == set(jax_gradients)
    for name, expected in jax_gradients.items():
        error = np.linalg.norm(torch_gradients[name] - expected)
        assert error <= 1e-4 * np.linalg.norm(expected), name


@per_case
def test_the_name_mapping_of_the_twins_is_the_official_one(case: str) -> None:
    arrays, params, statistics = samples.golden(case)
    sizes = GOLDEN_SIZES[case]
    moved = samples.transplant(params, sizes) | samples.transplant(statistics, sizes)
    for name, value in moved.items():
        np.testing.assert_array_equal(value, arrays[f"pytorch/w/{name}"], err_msg=name)
    assert len(moved) == sum(name.startswith("pytorch/w/") for name in arrays)


def test_twins_of_the_development_network_agree() -> None:
    """A stem of 3 x 3 without pooling, which no official vector has."""
    sizes, random = TINY_CIFAR, np.random.RandomState(0)
    inputs = random.randn(2, 12, 14, 3).astype(np.float32)
    params, statistics = random_variables(sizes)
    found = {}
    for framework in FRAMEWORKS:
        loaded, state = samples.load_weights(framework, sizes, params, statistics)
        model = samples.build(framework, sizes)
        images = samples.place_images(framework, inputs)
        arguments = {"key": backend(framework).seed_key(0), "dropout_rate": 0.0}

        def both(loaded: Any, model=model, state=state, images=images, arguments=arguments) -> Any:
            evaluated, _ = model.forward_with_state(
                loaded, state, images, training=False, update_batch_norm=False, **arguments
            )
            trained, new_state = model.forward_with_state(
                loaded, state, images, training=True, update_batch_norm=True, **arguments
            )
            return evaluated, trained, new_state

        run = fast_jit(both) if framework == "jax" else both
        evaluated, trained, new_state = run(loaded)
        after = samples.statistics_of(framework, loaded, new_state, sizes)
        found[framework] = {"eval": to_numpy(evaluated), "train": to_numpy(trained), **after}
    assert found["jax"]["eval"].shape == (2, sizes.num_classes)
    for name, expected in found["jax"].items():
        np.testing.assert_allclose(found["pytorch"][name], expected, atol=1e-5, err_msg=name)


def random_variables(sizes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Random JAX parameters and statistics, drawn by numpy: nothing is compiled."""
    import jax

    model, random = samples.build("jax", sizes), np.random.RandomState(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        scale = 0.1 if len(leaf.shape) == 1 else 1 / np.sqrt(np.prod(leaf.shape[:-1]))
        shift = 1.0 if path[-1].key in ("scale", "var") else 0.0
        return (shift + scale * random.randn(*leaf.shape)).astype(np.float32)

    new = jax.eval_shape(lambda key: model.initialise(key)[:2], jax.random.PRNGKey(0))
    params, state = jax.tree_util.tree_map_with_path(draw, new)
    return params, state["batch_stats"]


def test_evaluation_leaves_the_pytorch_statistics_alone() -> None:
    module = samples.build("pytorch", TINY).initialise(backend("pytorch").seed_key(0)).params
    before = {name: value.clone() for name, value in module.named_buffers()}
    images = samples.place_images("pytorch", np.ones((1, 9, 9, 3), np.float32))
    arguments = {"key": None, "update_batch_norm": True, "dropout_rate": 0.0}
    model = samples.build("pytorch", TINY)
    logits, _ = model.forward_with_state(module, None, images, training=False, **arguments)
    assert not logits.requires_grad
    assert all(value.equal(before[name]) for name, value in module.named_buffers())


def test_pytorch_parameters_and_gradients_stay_contiguous() -> None:
    """The layout that is quick on a CPU is the network's own business."""
    module = samples.build("pytorch", TINY).initialise(backend("pytorch").seed_key(0)).params
    images = samples.place_images("pytorch", np.random.RandomState(0).randn(2, 9, 9, 3) + 0.0)
    module.train()
    logits = module(images.float(), 0.0)
    logits.sum().backward()
    assert logits.is_contiguous()
    for name, parameter in module.named_parameters():
        assert parameter.is_contiguous(), name
        assert parameter.grad.is_contiguous(), name


@per_framework
@pytest.mark.parametrize(
    ("shape", "training", "message"),
    [
        ((2, 9, 9, 1), False, "images must have 3 channels, got 1"),
        ((1, 8, 5, 3), True, "one image of 8 x 5 pixels is too small: after 3 halvings"),
    ],
)
def test_images_that_the_network_can_do_nothing_with_are_refused(
    framework: str, shape: tuple[int, ...], training: bool, message: str
) -> None:
    params, state = samples.load_weights(framework, TINY, *random_variables(TINY))
    images = samples.place_images(framework, np.zeros(shape, np.float32))
    arguments = {"training": training, "update_batch_norm": training, "dropout_rate": 0.0}
    with pytest.raises(ValueError, match=message):
        samples.build(framework, TINY).forward_with_state(
            params, state, images, key=backend(framework).seed_key(0), **arguments
        )


@per_framework
def test_inputs_of_another_rank_are_refused(framework: str) -> None:
    params, state = samples.load_weights(framework, TINY, *random_variables(TINY))
    images = backend(framework).replicate(np.zeros((9, 9, 3), np.float32))
    arguments = {"training": False, "update_batch_norm": False, "dropout_rate": 0.0}
    with pytest.raises(ValueError, match=r"inputs must be \[batch, .*got \(9, 9, 3\)"):
        samples.build(framework, TINY).forward_with_state(
            params, state, images, key=None, **arguments
        )


@per_framework
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [4, 7])
def test_convolutions_pad_as_the_rule_of_jax_says(
    framework: str, size: int, stride: int, length: int
) -> None:
    """Output i sees pixels from ``i * stride - before``; of an odd sum, the end gets more."""
    out = -(-length // stride)
    before = max((out - 1) * stride + size - length, 0) // 2
    images = np.zeros((1, length, length, 1), np.float32)
    images[0, :, :, 0] = np.arange(1, length + 1)[:, None]
    padded = np.zeros(length + 2 * size + stride)
    padded[before : before + length] = np.arange(1, length + 1)
    # The kernel adds up its rows and takes one column: where that is outside, the sum is 0.
    expected = np.array([padded[i * stride : i * stride + size].sum() for i in range(out)])
    kernel = np.zeros((size, size, 1, 1), np.float32)
    kernel[:, before] = 1.0
    if framework == "jax":
        from algoperf_ref.frameworks.jax_conv_layers import conv

        layer = conv(1, (size, size), "conv", use_bias=False, stride=stride)
        result = to_numpy(layer.apply({"params": {"kernel": kernel}}, images))[0, :, :, 0]
    else:
        import torch

        from algoperf_ref.frameworks.torch_conv_layers import Conv

        layer = Conv(1, 1, size, use_bias=False, stride=stride)
        layer.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1))
        result = to_numpy(layer(torch.tensor(images.transpose(0, 3, 1, 2))))[0, 0]
    np.testing.assert_allclose(result, np.tile(expected[:, None], (1, out)))
