"""The perceptron of the development workload mnist: parameters, initial values, function, twins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.mnist.sizes import PerceptronSizes
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    backend,
    fast_jit,
    flatten,
    golden_json,
    to_numpy,
)

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
SIZES = PerceptronSizes()
NAMES = {
    "Dense_0/kernel": "net.layer1.weight",
    "Dense_0/bias": "net.layer1.bias",
    "Dense_1/kernel": "net.layer2.weight",
    "Dense_1/bias": "net.layer2.bias",
}


def twin(framework: str) -> Any:
    return load_twin("algoperf_ref.workloads.mnist.perceptron_{}", framework)


def initial(framework: str, seed: int = 0) -> Any:
    return (
        twin(framework)
        .build(SIZES, backend(framework))
        .initialise(backend(framework).seed_key(seed))
    )


def values_of(framework: str, params: Any) -> dict[str, np.ndarray]:
    """Parameters by name."""
    named = flatten(params) if framework == "jax" else dict(params.named_parameters())
    return {name: to_numpy(value) for name, value in named.items()}


def transplant(flat: dict[str, Any]) -> dict[str, np.ndarray]:
    """JAX parameters, or their gradients, under PyTorch names and in PyTorch layout."""
    return {NAMES[path]: np.asarray(value).T.copy() for path, value in flat.items()}


def place(framework: str, images: np.ndarray) -> Any:
    """Images ``[batch, 28, 28, 1]`` in the framework's layout."""
    moved = images if framework == "jax" else images.transpose(0, 3, 1, 2)
    return backend(framework).replicate(np.ascontiguousarray(moved))


@pytest.mark.clause("SUB-3", "SUB-5")
@per_framework
def test_names_shapes_types_and_total_are_the_official_ones(framework: str) -> None:
    golden = golden_json(f"params/mnist_{framework}.json")
    new = initial(framework)
    assert new.model_state is None
    flat = (lambda tree: flatten(tree)) if framework == "jax" else dict
    shapes, types = flat(new.shapes), flat(new.types)
    measured = [[n, list(shapes[n].shape_tuple), types[n].name] for n in shapes]
    if framework == "jax":  # The golden file has them sorted.
        measured.sort()
    assert measured == golden["params"]
    assert sum(v.size for v in values_of(framework, new.params).values()) == golden["total"]


@pytest.mark.parametrize(
    ("framework", "expected"),
    [("jax", {"Dense_1"}), ("pytorch", {"net.layer2.weight", "net.layer2.bias"})],
)
def test_the_output_parameters_are_those_of_the_last_layer(
    framework: str, expected: set[str]
) -> None:
    """The official PyTorch names miss the bias, by a typing error (Decisions, 21)."""
    assert twin(framework).output_parameters(SIZES) == expected
    official = set(golden_json(f"params/mnist_{framework}.json")["is_output_top_level_keys"])
    assert expected - official == ({"net.layer2.bias"} if framework == "pytorch" else set())


def test_jax_initial_values_are_those_of_the_official_network() -> None:
    """The same key draws the same numbers."""
    values = values_of("jax", initial("jax").params)
    for path, _, *expected in golden_json("init_stats/mnist_jax.json")["params"]:
        value = values[path]
        measured = [value.mean(dtype=np.float64), value.std(), value.min(), value.max()]
        np.testing.assert_allclose(measured, expected, rtol=2e-5, atol=2e-7, err_msg=path)


def test_pytorch_initial_values_have_the_official_jax_distribution() -> None:
    """Not that of the official PyTorch model, torch's own of standard deviation 0.0206."""
    values = values_of("pytorch", initial("pytorch").params)
    for name, fan_in in (("net.layer1", 784), ("net.layer2", 128)):
        weight, exact = values[f"{name}.weight"], np.sqrt(1 / fan_in)
        assert abs(weight.mean()) < 5 * exact / np.sqrt(weight.size)
        assert abs(weight.std() / exact - 1) < 5 / np.sqrt(2 * weight.size)
        assert np.abs(weight).max() <= 2 * exact / 0.87962566103423978
        np.testing.assert_array_equal(values[f"{name}.bias"], 0.0)
    official = {
        p: std for p, _, _, std, *_ in golden_json("init_stats/mnist_pytorch.json")["params"]
    }
    np.testing.assert_allclose(official["net.layer1.weight"], np.sqrt(1 / 784 / 3), rtol=0.01)
    assert official["net.layer1.bias"] > 0.01


@per_framework
def test_every_initialisation_is_a_new_model_of_its_key_alone(framework: str) -> None:
    """The official PyTorch workload initialises one and the same module anew, without a seed."""
    new = [initial(framework, seed).params for seed in (5, 5, 6)]
    first, same, other = (values_of(framework, params) for params in new)
    assert new[0] is not new[1]
    for name in first:
        np.testing.assert_array_equal(first[name], same[name])
        assert name.endswith("bias") or not np.array_equal(first[name], other[name])


def random_case() -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """JAX parameters by path, images and one-hot labels."""
    random = np.random.RandomState(0)
    shapes = {
        name: random.randn(*v.shape) for name, v in values_of("jax", initial("jax").params).items()
    }
    flat = {name: (0.1 * value).astype(np.float32) for name, value in shapes.items()}
    images = random.randn(4, 28, 28, 1).astype(np.float32)
    return flat, images, np.eye(10, dtype=np.float32)[[3, 0, 9, 3]]


def test_twins_agree_with_the_formula_and_on_loss_and_gradients() -> None:
    """Decision 1. There is no dropout: the rate has no effect."""
    import jax
    import torch

    flat, images, labels = random_case()
    module = initial("pytorch").params
    module.load_state_dict({n: torch.tensor(v) for n, v in transplant(flat).items()})
    params: dict[str, Any] = {"Dense_0": {}, "Dense_1": {}}
    for path, value in flat.items():
        layer, kind = path.split("/")
        params[layer][kind] = value

    def loss(params: Any, framework: str) -> Any:
        logits = (
            twin(framework)
            .build(SIZES, backend(framework))
            .forward(
                params,
                place(framework, images),
                training=True,
                key=backend("jax").seed_key(0),
                dropout_rate=0.7,
            )
        )
        if framework == "jax":
            return -(labels * jax.nn.log_softmax(logits)).sum(-1).mean(), logits
        return -(torch.tensor(labels) * torch.log_softmax(logits, -1)).sum(-1).mean(), logits

    value_and_grad = fast_jit(jax.value_and_grad(lambda p: loss(p, "jax"), has_aux=True))
    (jax_loss, jax_logits), jax_gradients = value_and_grad(params)
    torch_loss, torch_logits = loss(module, "pytorch")
    torch_loss.backward()

    hidden = images.reshape(4, 784) @ flat["Dense_0/kernel"] + flat["Dense_0/bias"]
    expected = 1 / (1 + np.exp(-hidden)) @ flat["Dense_1/kernel"] + flat["Dense_1/bias"]
    for logits in (jax_logits, torch_logits):
        np.testing.assert_allclose(to_numpy(logits), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(torch_loss.item(), jax_loss, rtol=1e-5)
    gradients = transplant(flatten(jax_gradients))
    for name, parameter in module.named_parameters():
        error = np.linalg.norm(parameter.grad.numpy() - gradients[name])
        assert error <= 1e-4 * np.linalg.norm(gradients[name]), name


@per_framework
@pytest.mark.parametrize("shape", [(2, 28, 27, 1), (2, 28, 28, 3), (784,)])
def test_images_of_another_size_are_refused(framework: str, shape: tuple[int, ...]) -> None:
    new = initial(framework)
    model = twin(framework).build(SIZES, backend(framework))
    images = backend(framework).replicate(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="must be a batch of images of 784 numbers, got shape"):
        model.forward(new.params, images, training=False, key=None, dropout_rate=0.0)


def test_sizes_are_the_official_ones_unless_the_row_says_others() -> None:
    assert PerceptronSizes.of(SimpleNamespace(model_config={})) == SIZES
    smaller = SimpleNamespace(model_config={"num_pixels": 64, "hidden_dim": 16, "num_classes": 3})
    assert PerceptronSizes.of(smaller) == PerceptronSizes(64, 16, 3)
