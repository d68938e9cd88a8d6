"""Parameters of the graph network: names, shapes, types, totals, initial values."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads import load
from conformance_tests.workloads.samples import FRAMEWORKS, OGBG, backend, flatten, golden_json
from spec.submission import ParameterType, ShapeTuple


@functools.cache
def described(name: str, framework: str, tier: str = "full") -> Any:
    """A workload whose parameters are known; full-size JAX arrays are not computed."""
    workload = load(name, framework, tier, backend=backend(framework))
    if framework == "jax":
        import jax

        jax.eval_shape(workload.init_model_fn, jax.random.PRNGKey(0))
    else:
        workload.init_model_fn(np.array([0, 0], np.int32))
    return workload


@pytest.mark.clause("SUB-3", "SUB-5")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", OGBG)
def test_names_shapes_types_and_totals_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    workload = described(name, framework)
    shapes, types = flatten(workload.param_shapes), flatten(workload.model_params_types)
    assert {path: list(shape.shape_tuple) for path, shape in shapes.items()} == {
        path: shape for path, shape, _ in golden["params"]
    }
    assert {path: kind.name for path, kind in types.items()} == {
        path: kind for path, _, kind in golden["params"]
    }
    assert sum(int(np.prod(s.shape_tuple)) for s in shapes.values()) == golden["total"]
    assert Counter(kind.name for kind in types.values()) == golden["type_counts"]


@pytest.mark.parametrize("name", OGBG)
def test_pytorch_parameters_come_in_the_official_order(name: str) -> None:
    golden = golden_json(f"params/{name}_pytorch.json")
    workload = described(name, "pytorch")
    assert list(workload.param_shapes) == [path for path, _, _ in golden["params"]]


@pytest.mark.clause("SUB-3")
@pytest.mark.parametrize("tier", ["full", "mini"])
def test_the_type_tree_has_the_structure_of_the_parameter_tree(tier: str) -> None:
    import jax

    workload = load("ogbg", "jax", tier, backend=backend("jax"))
    params, _ = jax.eval_shape(workload.init_model_fn, jax.random.PRNGKey(0))
    structure = jax.tree.structure(params)
    assert jax.tree.structure(workload.model_params_types) == structure
    assert jax.tree.structure(workload.param_shapes) == structure
    assert {type(leaf) for leaf in jax.tree.leaves(workload.param_shapes)} == {ShapeTuple}
    assert {type(leaf) for leaf in jax.tree.leaves(workload.model_params_types)} == {ParameterType}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_mini_network_has_112768_parameters(framework: str) -> None:
    """The size that the mini tier's prototypes were measured with (Workload facts, mini tier)."""
    shapes = flatten(described("ogbg", framework, "mini").param_shapes)
    assert sum(int(np.prod(s.shape_tuple)) for s in shapes.values()) == 112_768


@pytest.mark.parametrize(
    ("name", "framework", "expected"),
    [
        ("ogbg", "jax", {"Dense_15"}),
        ("ogbg_gelu", "jax", {"Dense_15"}),
        ("ogbg_model_size", "jax", {"Dense_18"}),
        ("ogbg", "pytorch", {"decoder.weight", "decoder.bias"}),
        ("ogbg_model_size", "pytorch", {"decoder.weight", "decoder.bias"}),
    ],
)
def test_the_output_parameters_are_those_of_the_decoder(
    name: str, framework: str, expected: set[str]
) -> None:
    workload = described(name, framework)
    assert {key for key in workload.param_shapes if workload.is_output_params(key)} == expected


def test_jax_initial_values_are_those_of_the_official_network() -> None:
    """The same key draws the same numbers, since layer paths and initialisers are the same."""
    workload = load("ogbg", "jax", backend=backend("jax"))
    params, model_state = workload.init_model_fn(backend("jax").seed_key(0))
    assert model_state is None
    values = {path: np.asarray(value) for path, value in flatten(params).items()}
    for path, _, *expected in golden_json("init_stats/ogbg_jax.json")["params"]:
        value = values[path]
        measured = [value.mean(dtype=np.float64), value.std(), value.min(), value.max()]
        np.testing.assert_allclose(measured, expected, rtol=2e-5, atol=2e-7, err_msg=path)


def test_pytorch_initial_values_have_the_official_distribution() -> None:
    workload = load("ogbg", "pytorch", backend=backend("pytorch"))
    module, model_state = workload.init_model_fn(np.array([0, 0], np.int32))
    assert model_state is None
    values = {name: value.detach().numpy() for name, value in module.named_parameters()}
    for name, _, _, std, low, _ in golden_json("init_stats/ogbg_pytorch.json")["params"]:
        value, count = values[name], values[name].size
        if std == 0:
            np.testing.assert_array_equal(value, low, err_msg=name)
            continue
        # Five standard errors; the cut at two sigma bounds the extremes.
        cut = 2 * np.sqrt(1 / value.shape[1]) / 0.87962566103423978
        assert abs(value.mean()) < 5 * std / np.sqrt(count), name
        assert abs(value.std() / std - 1) < 10 / np.sqrt(2 * count), name
        assert 0.9 * cut < -value.min() <= cut, name
        assert 0.9 * cut < value.max() <= cut, name


def test_initial_values_depend_on_the_key_alone() -> None:
    import torch

    workload = load("ogbg", "pytorch", "mini", backend=backend("pytorch"))
    key = np.array([3, 4], np.int32)
    torch.manual_seed(1)
    first = workload.init_model_fn(key)[0].state_dict()
    torch.manual_seed(2)
    expected_draw = torch.rand(3)
    torch.manual_seed(2)
    second = workload.init_model_fn(key)[0].state_dict()
    other = workload.init_model_fn(np.array([3, 5], np.int32))[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["decoder.weight"], other["decoder.weight"])
    assert torch.equal(torch.rand(3), expected_draw), "the global generator was touched"


def test_a_layer_without_declared_types_is_refused() -> None:
    import flax.linen as nn
    import jax
    import torch

    from algoperf_ref.frameworks import jax_layers, torch_layers

    untyped = nn.Dense(2).init(jax.random.PRNGKey(0), np.ones((1, 2)))["params"]
    with pytest.raises(TypeError, match=r"declares no type"):
        jax_layers.parameter_types(untyped)
    with pytest.raises(TypeError, match=r"0\.weight declares no type"):
        torch_layers.parameter_types(torch.nn.Sequential(torch.nn.Linear(2, 2)))
