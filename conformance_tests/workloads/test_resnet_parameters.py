"""Parameters of the residual networks: names, shapes, types, totals, statistics, initial values."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from algoperf_ref.workloads.cifar.sizes import CifarSizes
from algoperf_ref.workloads.imagenet.resnet_sizes import ResNetSizes
from conformance_tests.workloads import resnet_samples as samples
from conformance_tests.workloads.resnet_samples import NETWORKS, TINY, VARIANTS
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, flatten, golden_json
from spec.submission import ParameterType, ShapeTuple

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_network = pytest.mark.parametrize("name", NETWORKS)


class Described(NamedTuple):
    """Shapes and types by path, and shapes of the statistics or buffers."""

    shapes: dict[str, ShapeTuple]
    types: dict[str, ParameterType]
    statistics: dict[str, tuple[int, ...]]


@functools.cache
def described(name: str, framework: str) -> Described:
    """What a full-size network consists of; no array is computed."""
    sizes = samples.sizes_of(name)
    if framework == "pytorch":
        import torch

        from algoperf_ref.frameworks import torch_layers

        with torch.device("meta"):
            module = samples.twin("pytorch").ResNet(sizes)
        buffers = {path: tuple(buffer.shape) for path, buffer in module.named_buffers()}
        assert set(buffers) <= set(module.state_dict())
        return Described(
            torch_layers.parameter_shapes(module), torch_layers.parameter_types(module), buffers
        )
    import jax

    found: list[Any] = []
    model = samples.build("jax", sizes)

    def initialise(key: Any) -> Any:
        new = model.initialise(key)
        found.append(new._replace(params=None, model_state=None))
        return new.model_state

    state = jax.eval_shape(initialise, jax.random.PRNGKey(0))
    statistics = {path: leaf.shape for path, leaf in flatten(state).items()}
    return Described(flatten(found[0].shapes), flatten(found[0].types), statistics)


@pytest.mark.clause("SUB-5")
@per_framework
@per_network
def test_names_shapes_and_totals_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    shapes = described(name, framework).shapes
    assert {path: list(shape.shape_tuple) for path, shape in shapes.items()} == {
        path: shape for path, shape, _ in golden["params"]
    }
    assert sum(int(np.prod(s.shape_tuple)) for s in shapes.values()) == golden["total"]
    assert len(shapes) == golden["n_tensors"]


@pytest.mark.clause("SUB-3")
@per_framework
@per_network
def test_types_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    types = {path: kind.name for path, kind in described(name, framework).types.items()}
    assert types == {path: kind for path, _, kind in golden["params"]}
    assert Counter(types.values()) == golden["type_counts"]
    assert list(types) == list(described(name, framework).shapes)


@per_network
def test_pytorch_parameters_and_buffers_come_in_the_official_order(name: str) -> None:
    golden = golden_json(f"params/{name}_pytorch.json")
    found = described(name, "pytorch")
    assert list(found.shapes) == [path for path, _, _ in golden["params"]]
    assert [[path, list(shape)] for path, shape in found.statistics.items()] == golden["buffers"]
    assert list(found.statistics) == golden["persistent_buffers"]


@pytest.mark.parametrize("name", VARIANTS)
def test_jax_statistics_are_the_official_ones(name: str) -> None:
    golden = golden_json(f"params/{name}_jax.json")["model_state"]
    found = {path: list(shape) for path, shape in described(name, "jax").statistics.items()}
    assert found == dict(golden)
    assert len(found) == 106
    assert sum(shape[0] for shape in found.values()) == 53_120


def test_jax_statistics_of_the_development_network_are_not_a_copy_of_the_parameters() -> None:
    """As they are officially, by mistake (Decisions, 21); counts by the fact sheet."""
    found = described("cifar", "jax").statistics
    assert len(found) == 40
    assert sum(shape[0] for shape in found.values()) == 9_600
    norms = {p.rsplit("/", 1)[0] for p in described("cifar", "jax").shapes if "BatchNorm" in p}
    assert set(found) == {
        f"batch_stats/{norm}/{kind}" for norm in norms for kind in ("mean", "var")
    }


@pytest.mark.clause("SUB-3")
@per_network
def test_the_twins_have_the_same_types(name: str) -> None:
    """Decision 14."""
    sizes = samples.sizes_of(name)
    jax_types = described(name, "jax").types
    renamed = {samples.torch_name(path, sizes): kind for path, kind in jax_types.items()}
    assert described(name, "pytorch").types == renamed


@per_framework
@per_network
def test_the_output_parameters_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    expected = set(golden["is_output_top_level_keys"])
    assert samples.twin(framework).output_parameters(samples.sizes_of(name)) == expected


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        (
            "imagenet_resnet",
            [
                "Conv_init/kernel",
                "Dense_0/kernel",
                "Dense_0/bias",
                "BottleneckResNetBlock_3/Conv_proj/kernel",
                "BottleneckResNetBlock_3/BatchNorm_proj/scale",
                "BottleneckResNetBlock_9/BatchNorm_1/scale",
                "BottleneckResNetBlock_9/BatchNorm_2/scale",
            ],
        ),
        ("imagenet_resnet_large_bn_init", ["BottleneckResNetBlock_9/BatchNorm_2/scale"]),
        ("cifar", ["Conv_init/kernel", "ResNetBlock_2/Conv_0/kernel", "Dense_0/kernel"]),
    ],
)
def test_jax_initial_values_are_those_of_the_official_network(name: str, paths: list[str]) -> None:
    """The same key draws the same numbers; what is not asked for, JAX does not compute."""
    model = samples.build("jax", samples.sizes_of(name))

    def chosen(key: Any) -> dict[str, Any]:
        flat = flatten(model.initialise(key).params)
        return {path: flat[path] for path in paths}

    values = fast_jit(chosen)(backend("jax").seed_key(0))
    golden = golden_json(f"init_stats/{name}_jax.json")["params"]
    official = {path: numbers for path, _, *numbers in golden}
    for path, array in values.items():
        value = np.asarray(array)
        measured = [value.mean(dtype=np.float64), value.std(), value.min(), value.max()]
        np.testing.assert_allclose(measured, official[path], rtol=2e-5, atol=2e-7, err_msg=path)


def test_jax_statistics_start_at_mean_zero_and_variance_one() -> None:
    model = samples.build("jax", TINY)
    state = fast_jit(lambda key: model.initialise(key).model_state)(backend("jax").seed_key(0))
    for path, value in flatten(state).items():
        np.testing.assert_array_equal(value, float(path.endswith("var")), err_msg=path)


def test_pytorch_initial_values_have_the_official_distribution() -> None:
    """Of the variant, whose last scales are 8; the others differ in nothing else."""
    name = "imagenet_resnet_large_bn_init"
    sizes = samples.sizes_of(name)
    module = samples.build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    values = {path: value.detach().numpy() for path, value in module.named_parameters()}
    for jax_path, shape, _, std, low, _ in golden_json(f"init_stats/{name}_jax.json")["params"]:
        path = samples.torch_name(jax_path, sizes)
        value, count = values[path], values[path].size
        if std == 0:
            np.testing.assert_array_equal(value, low, err_msg=path)
            continue
        # Five standard errors; the cut at two sigma bounds the extremes of convolutions.
        is_output = path == "fc.weight"
        exact = 0.01 if is_output else np.sqrt(1 / np.prod(shape[:-1]))
        cut = 5.5 * exact if is_output else 2 * exact / 0.87962566103423978
        assert abs(value.mean()) < 5 * exact / np.sqrt(count), path
        assert abs(value.std() / exact - 1) < 5 / np.sqrt(2 * count), path
        assert 0.75 * cut < np.abs(value).max() <= cut * 1.0001, path
    for path, buffer in module.named_buffers():
        assert (buffer == float(path.endswith("running_var"))).all(), path


def test_initial_values_of_pytorch_depend_on_the_key_alone() -> None:
    import torch

    model, key = samples.build("pytorch", TINY), np.array([3, 4], np.int32)
    first = model.initialise(key).params.state_dict()
    torch.manual_seed(2)
    expected_draw = torch.rand(3)
    torch.manual_seed(2)
    second = model.initialise(key).params.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.rand(3), expected_draw), "the global generator was touched"
    other = model.initialise(np.array([3, 5], np.int32)).params.state_dict()
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes_are_read_from_the_specification(name: str) -> None:
    expected = {
        "imagenet_resnet": ResNetSizes((3, 4, 6, 3), 64, 1000),
        "imagenet_resnet_silu": ResNetSizes((3, 4, 6, 3), 64, 1000, activation="silu"),
        "imagenet_resnet_gelu": ResNetSizes((3, 4, 6, 3), 64, 1000, activation="gelu"),
        "imagenet_resnet_large_bn_init": ResNetSizes((3, 4, 6, 3), 64, 1000, bn_init_scale=8.0),
    }
    assert samples.sizes_of(name) == expected[name]


def test_sizes_of_a_smaller_tier_are_read_from_its_row() -> None:
    smaller = {"stage_sizes": [1, 1, 1, 1], "num_filters": 8, "num_classes": 10}
    variant = {"use_silu": False, "use_gelu": True, "bn_init_scale": 0.0}
    found = ResNetSizes.of(samples.without_row(**smaller, **variant))
    assert found == ResNetSizes((1, 1, 1, 1), 8, 10, activation="gelu")
    assert found.out_channels == 256
    # The prototype of the mini tier had as many.
    module = samples.twin("pytorch").ResNet(found)
    assert sum(parameter.numel() for parameter in module.parameters()) == 130_962
    assert CifarSizes.of(samples.without_row(**smaller)).num_filters == 8


@pytest.mark.parametrize("reader", [ResNetSizes, CifarSizes])
def test_two_activations_at_once_are_refused(reader: Any) -> None:
    row = samples.without_row(use_silu=True, use_gelu=True, num_classes=2, bn_init_scale=0.0)
    with pytest.raises(ValueError, match="use_silu and use_gelu exclude each other"):
        reader.of(row)
