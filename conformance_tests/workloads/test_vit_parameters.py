"""Parameters of the vision transformer: names, shapes, types, totals, initial values."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads.imagenet.vit_sizes import VitSizes
from conformance_tests.workloads import vit_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend, flatten, golden_json
from conformance_tests.workloads.vit_samples import TINY, VARIANTS
from spec import workloads
from spec.submission import ParameterType, ShapeTuple

per_variant = pytest.mark.parametrize("name", VARIANTS)
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@functools.cache
def described(name: str, framework: str) -> tuple[dict[str, ShapeTuple], dict[str, ParameterType]]:
    """Shapes and types by path; no full-size array is made."""
    sizes = VitSizes.of(workloads.get(name))
    if framework == "pytorch":
        import torch

        from algoperf_ref.frameworks import torch_layers

        with torch.device("meta"):
            module = samples.twin("pytorch").Vit(sizes)
        return torch_layers.parameter_shapes(module), torch_layers.parameter_types(module)
    import jax

    found: list[Any] = []
    model = samples.build("jax", sizes)
    jax.eval_shape(
        lambda key: found.append(model.initialise(key)._replace(params=None)),
        jax.random.PRNGKey(0),
    )
    assert found[0].model_state is None
    return flatten(found[0].shapes), flatten(found[0].types)


@pytest.mark.clause("SUB-5")
@per_framework
@per_variant
def test_names_shapes_and_totals_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    shapes, _ = described(name, framework)
    assert {path: list(shape.shape_tuple) for path, shape in shapes.items()} == {
        path: shape for path, shape, _ in golden["params"]
    }
    assert sum(int(np.prod(s.shape_tuple)) for s in shapes.values()) == golden["total"]
    assert len(shapes) == golden["n_tensors"]


@per_variant
def test_pytorch_parameters_come_in_the_official_order(name: str) -> None:
    golden = golden_json(f"params/{name}_pytorch.json")
    assert list(described(name, "pytorch")[0]) == [path for path, _, _ in golden["params"]]


@pytest.mark.clause("SUB-3")
@per_framework
@per_variant
def test_types_are_the_official_ones_but_for_the_pooling_head_in_pytorch(
    name: str, framework: str
) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    official = {path: kind for path, _, kind in golden["params"]}
    types = {path: kind.name for path, kind in described(name, framework)[1].items()}
    assert list(types) == list(described(name, framework)[0])
    different = {
        path: (official[path], types[path]) for path in types if types[path] != official[path]
    }
    if (name, framework) != ("imagenet_vit_map", "pytorch"):
        assert not different
        assert Counter(types.values()) == golden["type_counts"]
        return
    # The official typing looks for "attn" or "attention" in the names (Decisions, 14 and 21).
    assert different == {
        "map.mha.q_proj.weight": ("WEIGHT", "ATTENTION_Q"),
        "map.mha.kv_proj.weight": ("WEIGHT", "ATTENTION_KV"),
        "map.mha.out_proj.weight": ("WEIGHT", "ATTENTION_OUT"),
        "map.mha.q_proj.bias": ("BIAS", "ATTENTION_BIAS"),
        "map.mha.kv_proj.bias": ("BIAS", "ATTENTION_BIAS"),
        "map.mha.out_proj.bias": ("BIAS", "ATTENTION_BIAS"),
    }


@pytest.mark.clause("SUB-3")
@per_variant
def test_the_twins_have_the_same_types(name: str) -> None:
    """Decision 14; keys and values that share a weight have a type of their own."""
    sizes = VitSizes.of(workloads.get(name))
    expected = {
        samples.torch_name(path, use_glu=sizes.use_glu): kind
        for path, kind in described(name, "jax")[1].items()
    }
    if sizes.use_map:
        expected["map.mha.kv_proj.weight"] = ParameterType.ATTENTION_KV
    assert described(name, "pytorch")[1] == expected


def test_types_of_jax_parameters_have_the_structure_of_the_parameters() -> None:
    import jax

    found: list[Any] = []
    model = samples.build("jax", samples.CASES["map"])
    jax.eval_shape(lambda key: found.append(model.initialise(key)), jax.random.PRNGKey(0))
    params, _, shapes, types = found[0]
    assert jax.tree.structure(params) == jax.tree.structure(types) == jax.tree.structure(shapes)


@pytest.mark.parametrize(
    ("framework", "expected"), [("jax", {"head"}), ("pytorch", {"head.weight", "head.bias"})]
)
@per_variant
def test_the_output_parameters_are_the_official_ones(
    name: str, framework: str, expected: set[str]
) -> None:
    sizes = VitSizes.of(workloads.get(name))
    assert samples.twin(framework).output_parameters(sizes) == expected
    golden = golden_json(f"params/{name}_{framework}.json")
    assert set(golden["is_output_top_level_keys"]) == expected
    assert expected <= {path.split("/")[0] for path in described(name, framework)[0]}


def first_layers(name: str) -> VitSizes:
    """The full width with one encoder block; the first values do not depend on the depth."""
    return dataclasses.replace(VitSizes.of(workloads.get(name)), depth=1)


@pytest.mark.parametrize("name", ["imagenet_vit_map", "imagenet_vit_glu"])
def test_jax_initial_values_are_those_of_the_official_network(name: str) -> None:
    """The same key draws the same numbers, since layer paths and initialisers are the same."""
    new = samples.build("jax", first_layers(name)).initialise(backend("jax").seed_key(0))
    values = {path: np.asarray(value) for path, value in flatten(new.params).items()}
    golden = {path: rest for path, _, *rest in golden_json(f"init_stats/{name}_jax.json")["params"]}
    for path, value in values.items():
        measured = [value.mean(dtype=np.float64), value.std(), value.min(), value.max()]
        # Biases of 1e-6 are compared too.
        atol = 1e-12 if "/bias" in path else 2e-7
        np.testing.assert_allclose(measured, golden[path], rtol=2e-5, atol=atol, err_msg=path)


# Where the official PyTorch twin starts elsewhere than the JAX one: ratios of the deviations.
OTHER_OFFICIAL_SCALES = {
    "map.probe": np.sqrt(385 / 768),
    "map.mha.kv_proj.weight": np.sqrt(768 / 1152),
}


@pytest.mark.parametrize("name", ["imagenet_vit_map", "imagenet_vit_glu"])
def test_pytorch_initial_values_have_the_official_jax_distribution(name: str) -> None:
    """The official twins differ in the pooling head's probe, fused weight and attention biases.

    Decisions, 1 and 23.
    """
    sizes = first_layers(name)
    module = samples.build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    values = {path: value.detach().numpy() for path, value in module.named_parameters()}
    official = {
        path: std
        for path, _, _, std, *_ in golden_json(f"init_stats/{name}_pytorch.json")["params"]
    }
    jax_stats = {
        samples.torch_name(path, use_glu=sizes.use_glu): (mean, std, low, high)
        for path, _, mean, std, low, high in golden_json(f"init_stats/{name}_jax.json")["params"]
    }
    for path, value in values.items():
        _, std, low, high = jax_stats[path]
        if std == 0:
            np.testing.assert_array_equal(value, low, err_msg=path)
            is_other = path.startswith("map.mha.") and path.endswith(".bias")
            assert (official[path] != 0) == is_other, path
            continue
        # Five standard errors of each of the two samples; normal tails are the longest.
        errors = 5 * np.sqrt(2 / value.size)
        assert abs(value.mean()) < errors * std, path
        assert abs(value.std() / std - 1) < errors, path
        if path.endswith(".weight"):
            np.testing.assert_allclose(value.min(), low, rtol=5e-3, err_msg=path)
            np.testing.assert_allclose(value.max(), high, rtol=5e-3, err_msg=path)
        ratio = OTHER_OFFICIAL_SCALES.get(path, 1)
        assert abs(official[path] / std / ratio - 1) < errors, path


def test_keys_and_values_of_the_fused_weight_both_start_at_the_scale_of_separate_ones() -> None:
    module = samples.build("pytorch", first_layers("imagenet_vit_map"))
    mha = module.initialise(backend("pytorch").seed_key(3)).params.map.mha
    limit = np.sqrt(6 / 768)
    for half in mha.kv_proj.weight.detach().numpy().reshape(2, 384, 384):
        assert 0.999 * limit < np.abs(half).max() <= limit
        np.testing.assert_allclose(half.std(), limit / np.sqrt(3), rtol=0.01)


def test_initial_values_depend_on_the_key_alone() -> None:
    import torch

    model, key = samples.build("pytorch", samples.CASES["map"]), np.array([3, 4], np.int32)
    first = model.initialise(key).params.state_dict()
    torch.manual_seed(2)
    expected_draw = torch.rand(3)
    torch.manual_seed(2)
    second = model.initialise(key).params.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.rand(3), expected_draw), "the global generator was touched"
    other = model.initialise(np.array([3, 5], np.int32)).params.state_dict()
    for name in ("map.probe", "map.mha.kv_proj.weight", "conv_patch_extract.weight"):
        assert not torch.equal(first[name], other[name])


def test_the_gate_and_the_pooling_head_go_together_without_a_gate_in_the_head() -> None:
    import torch

    sizes = dataclasses.replace(TINY, use_glu=True, use_map=True)
    with torch.device("meta"):
        names = dict(samples.twin("pytorch").Vit(sizes).named_parameters())
    assert "encoder.net.1.mlp3.glu_linear.weight" in names
    assert not [name for name in names if name.startswith("map.mlp.glu")]


@per_variant
def test_sizes_are_read_from_the_specification(name: str) -> None:
    switch = {
        "imagenet_vit": {},
        "imagenet_vit_glu": {"use_glu": True},
        "imagenet_vit_post_ln": {"use_post_layer_norm": True},
        "imagenet_vit_map": {"use_map": True},
    }
    assert VitSizes.of(workloads.get(name)) == VitSizes(1000, **switch[name])


def test_a_smaller_tier_says_its_sizes_in_the_row() -> None:
    row = workloads.get("imagenet_vit_map")
    small = {"num_classes": 10, "patch_size": 4, "width": 16, "depth": 2, "num_heads": 4}
    config = {**row.model_config, **small, "mlp_dim": 32}
    assert VitSizes.of(dataclasses.replace(row, model_config=config)) == samples.CASES["map"]


def test_the_buffers_are_the_official_ones_none() -> None:
    module = samples.build("pytorch", TINY).initialise(backend("pytorch").seed_key(0)).params
    module(samples.place("pytorch", samples.images(1, 8, 8)), 0.0)
    assert not list(module.named_buffers())
    assert golden_json("params/imagenet_vit_pytorch.json")["buffers"] == []
