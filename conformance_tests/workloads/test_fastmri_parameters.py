"""Parameters of the U-Net: names, shapes, types, totals, initial values."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads.fastmri.sizes import UnetSizes
from conformance_tests.workloads import fastmri_samples as samples
from conformance_tests.workloads.fastmri_samples import VARIANTS
from conformance_tests.workloads.samples import FRAMEWORKS, backend, flatten, golden_json
from spec import workloads
from spec.submission import ParameterType, ShapeTuple


@functools.cache
def described(name: str, framework: str) -> tuple[dict[str, ShapeTuple], dict[str, ParameterType]]:
    """Shapes and types by path; full-size JAX arrays are not computed."""
    sizes = UnetSizes.of(workloads.get(name))
    if framework == "pytorch":
        new = samples.build("pytorch", sizes).initialise(backend("pytorch").seed_key(0))
        return new.shapes, new.types
    import jax

    found: list[Any] = []
    model = samples.build("jax", sizes)
    jax.eval_shape(
        lambda key: found.append(model.initialise(key)._replace(params=None, model_state=None)),
        jax.random.PRNGKey(0),
    )
    return flatten(found[0].shapes), flatten(found[0].types)


@pytest.mark.clause("SUB-5")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_names_shapes_and_totals_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    shapes, _ = described(name, framework)
    assert {path: list(shape.shape_tuple) for path, shape in shapes.items()} == {
        path: shape for path, shape, _ in golden["params"]
    }
    assert sum(int(np.prod(s.shape_tuple)) for s in shapes.values()) == golden["total"]
    assert len(shapes) == golden["n_tensors"]


@pytest.mark.parametrize("name", VARIANTS)
def test_pytorch_parameters_come_in_the_official_order(name: str) -> None:
    golden = golden_json(f"params/{name}_pytorch.json")
    assert list(described(name, "pytorch")[0]) == [path for path, _, _ in golden["params"]]


@pytest.mark.clause("SUB-3")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_types_are_the_official_ones_but_for_the_layer_norms_in_pytorch(
    name: str, framework: str
) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    official = {path: kind for path, _, kind in golden["params"]}
    types = {path: kind.name for path, kind in described(name, framework)[1].items()}
    assert list(types) == list(described(name, framework)[0])
    different = {path for path in types if types[path] != official[path]}
    if (name, framework) != ("fastmri_layernorm", "pytorch"):
        assert not different
        assert Counter(types.values()) == golden["type_counts"]
    else:
        # The official typing takes every name with "conv" in it for a convolution (Decisions, 21).
        assert different == {p for p in types if ".conv_layers.1." in p or ".conv_layers.5." in p}
        assert {official[path] for path in different} == {"CONV_WEIGHT", "BIAS"}


@pytest.mark.clause("SUB-3")
@pytest.mark.parametrize("name", VARIANTS)
def test_the_twins_have_the_same_types(name: str) -> None:
    """Decision 14."""
    sizes = UnetSizes.of(workloads.get(name))
    jax_types = described(name, "jax")[1]
    renamed = {samples.torch_name(path, sizes): kind for path, kind in jax_types.items()}
    assert described(name, "pytorch")[1] == renamed


@pytest.mark.parametrize(
    ("name", "framework", "expected"),
    [(name, "jax", {"Conv_0"}) for name in VARIANTS]
    + [
        (name, "pytorch", {f"up_conv.{last}.1.weight", f"up_conv.{last}.1.bias"})
        for name, last in zip(VARIANTS, (3, 2, 3, 3), strict=True)
    ],
)
def test_the_output_parameters_are_those_of_the_last_layer(
    name: str, framework: str, expected: set[str]
) -> None:
    """Also of the smaller network, where the official PyTorch names match nothing."""
    sizes = UnetSizes.of(workloads.get(name))
    assert samples.twin(framework).output_parameters(sizes) == expected
    paths = described(name, framework)[0]
    assert expected <= {path.split("/")[0] for path in paths}


def test_jax_initial_values_are_those_of_the_official_network() -> None:
    """The same key draws the same numbers, since layer paths and initialisers are the same."""
    sizes = UnetSizes.of(workloads.get("fastmri"))
    new = samples.build("jax", sizes).initialise(backend("jax").seed_key(0))
    assert new.model_state is None
    values = {path: np.asarray(value) for path, value in flatten(new.params).items()}
    for path, _, *expected in golden_json("init_stats/fastmri_jax.json")["params"]:
        value = values[path]
        measured = [value.mean(dtype=np.float64), value.std(), value.min(), value.max()]
        np.testing.assert_allclose(measured, expected, rtol=2e-5, atol=2e-7, err_msg=path)


@pytest.mark.parametrize("name", ["fastmri", "fastmri_layernorm"])
def test_pytorch_initial_values_have_the_official_jax_distribution(name: str) -> None:
    """The official twins differ in transposed convolutions, by sqrt(2); ours has the JAX scale.

    Decisions, 1 and 23.
    """
    sizes = UnetSizes.of(workloads.get(name))
    module = samples.build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    values = {path: value.detach().numpy() for path, value in module.named_parameters()}
    official = {
        path: std
        for path, _, _, std, *_ in golden_json(f"init_stats/{name}_pytorch.json")["params"]
    }
    for jax_path, shape, _, std, low, _ in golden_json(f"init_stats/{name}_jax.json")["params"]:
        path = samples.torch_name(jax_path, sizes)
        value, count = values[path], values[path].size
        if std == 0:
            np.testing.assert_array_equal(value, low, err_msg=path)
            continue
        # Five standard errors; the cut at two sigma bounds the extremes.
        exact = np.sqrt(1 / np.prod(shape[:-1]))
        cut = 2 * exact / 0.87962566103423978
        assert abs(value.mean()) < 5 * exact / np.sqrt(count), path
        assert abs(value.std() / exact - 1) < 5 / np.sqrt(2 * count), path
        assert np.abs(value).max() <= cut, path
        assert count < 200 or np.abs(value).max() > 0.95 * cut, path
        if count > 1000:  # Enough elements to tell the official twins' scales apart.
            ratio = np.sqrt(2) if "ConvTranspose" in jax_path else 1
            np.testing.assert_allclose(official[path] / std, ratio, rtol=0.05, err_msg=path)


def test_jax_layer_norms_start_at_scale_one_and_bias_zero() -> None:
    sizes = dataclasses.replace(samples.TINY, use_layer_norm=True)
    params = flatten(samples.build("jax", sizes).initialise(backend("jax").seed_key(0)).params)
    norms = {path: np.asarray(value) for path, value in params.items() if "LayerNorm" in path}
    assert len(norms) == 20
    for path, value in norms.items():
        np.testing.assert_array_equal(value, float(path.endswith("scale")), err_msg=path)


def test_initial_values_depend_on_the_key_alone() -> None:
    import torch

    model, key = samples.build("pytorch", samples.TINY), np.array([3, 4], np.int32)
    first = model.initialise(key).params.state_dict()
    torch.manual_seed(2)
    expected_draw = torch.rand(3)
    torch.manual_seed(2)
    second = model.initialise(key).params.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.rand(3), expected_draw), "the global generator was touched"
    other = model.initialise(np.array([3, 5], np.int32)).params.state_dict()
    assert not torch.equal(first["up_conv.1.1.weight"], other["up_conv.1.1.weight"])


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes_are_read_from_the_specification(name: str) -> None:
    expected = {
        "fastmri": UnetSizes(4, 32, use_tanh=False, use_layer_norm=False),
        "fastmri_model_size": UnetSizes(3, 64, use_tanh=False, use_layer_norm=False),
        "fastmri_tanh": UnetSizes(4, 32, use_tanh=True, use_layer_norm=False),
        "fastmri_layernorm": UnetSizes(4, 32, use_tanh=False, use_layer_norm=True),
    }
    assert UnetSizes.of(workloads.get(name)) == expected[name]
