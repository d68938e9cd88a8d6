"""Parameters of the Transformer: names, shapes, types, totals, initial values."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads.wmt.sizes import WmtSizes
from conformance_tests.workloads import wmt_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend, flatten, golden_json
from conformance_tests.workloads.wmt_samples import VARIANTS
from spec import workloads
from spec.submission import ParameterType, ShapeTuple

per_variant = pytest.mark.parametrize("name", VARIANTS)
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@functools.cache
def described(name: str, framework: str) -> tuple[dict[str, ShapeTuple], dict[str, ParameterType]]:
    """Shapes and types by path; no full-size array is made."""
    sizes = WmtSizes.of(workloads.get(name))
    if framework == "pytorch":
        import torch

        from algoperf_ref.frameworks import torch_layers

        with torch.device("meta"):
            module = samples.twin("pytorch").Transformer(sizes)
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
def test_types_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    types = {path: kind.name for path, kind in described(name, framework)[1].items()}
    assert types == {path: kind for path, _, kind in golden["params"]}
    assert Counter(types.values()) == golden["type_counts"]


@pytest.mark.parametrize(
    ("framework", "expected"),
    [("jax", {"shared_embedding"}), ("pytorch", {"shared_embedding.weight"})],
)
@per_variant
def test_the_output_parameters_are_the_official_ones(
    name: str, framework: str, expected: set[str]
) -> None:
    sizes = WmtSizes.of(workloads.get(name))
    assert samples.twin(framework).output_parameters(sizes) == expected
    golden = golden_json(f"params/{name}_{framework}.json")
    assert set(golden["is_output_top_level_keys"]) == expected


def test_the_buffer_is_the_official_one() -> None:
    module = samples.build("pytorch", samples.TINY).initialise(backend("pytorch").seed_key(0))
    buffers = dict(module.params.named_buffers())
    official = golden_json("params/wmt_pytorch.json")["buffers"]
    assert list(buffers) == [name for name, _ in official]
    assert official[0][1] == [1, samples.TINY.max_len, 1024]
    assert buffers["pos_encoder.pe"].shape == (1, samples.TINY.max_len, 16)


def first_layers(name: str) -> WmtSizes:
    """The full width, one layer, a part of the vocabulary."""
    sizes = WmtSizes.of(workloads.get(name))
    return dataclasses.replace(sizes, num_layers=1, vocab_size=2_000)


# What the official PyTorch twin draws from the fans of the fused weight (Decisions, 23).
OFFICIAL_FUSED_LIMITS = {"in_proj": np.sqrt(6 / 4096), "kv_proj": np.sqrt(6 / 3072)}


@per_framework
@pytest.mark.parametrize("name", ["wmt", "wmt_glu_tanh"])
def test_initial_values_have_the_official_distribution(name: str, framework: str) -> None:
    """Fused weights of PyTorch start at the scale of separate ones, which is that of JAX."""
    sizes = first_layers(name)
    new = samples.build(framework, sizes).initialise(backend(framework).seed_key(0))
    if framework == "jax":
        values = {path: np.asarray(value) for path, value in flatten(new.params).items()}
    else:
        values = {path: p.detach().numpy() for path, p in new.params.named_parameters()}
    golden = golden_json(f"init_stats/{name}_{framework}.json")["params"]
    official = {path: rest for path, _, *rest in golden}
    for path, value in values.items():
        _, std, low, high = official[path]
        if std == 0:
            np.testing.assert_array_equal(value, low, err_msg=path)
            continue
        fused = next((limit for key, limit in OFFICIAL_FUSED_LIMITS.items() if key in path), None)
        if fused is not None:
            assert abs(high / fused - 1) < 1e-3, path
            std, low, high = (np.sqrt(6 / 2048) / fused * x for x in (std, low, high))
        errors = 5 * np.sqrt(2 / value.size)
        assert abs(value.mean()) < errors * std, path
        assert abs(value.std() / std - 1) < errors, path
        if path.endswith(("kernel", "proj.weight")):
            np.testing.assert_allclose([value.min(), value.max()], [low, high], rtol=5e-3)


def test_every_projection_of_a_fused_weight_starts_at_the_scale_of_a_separate_one() -> None:
    new = samples.build("pytorch", first_layers("wmt")).initialise(backend("pytorch").seed_key(1))
    layer = new.params.decoder["decoder"].layers[0]
    limit = np.sqrt(6 / 2048)
    for fused in (layer.self_attn.in_proj, layer.multihead_attn.kv_proj):
        for part in fused.weight.detach().split(1024):
            assert 0.999 * limit < part.abs().max() <= limit


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
    layers = ("encoder.encoder.layers.0", "encoder.encoder.layers.1")
    assert not torch.equal(*(first[f"{layer}.linear1.weight"] for layer in layers))


@per_variant
def test_sizes_are_read_from_the_specification(name: str) -> None:
    switch: dict[str, dict[str, Any]] = {
        "wmt": {},
        "wmt_post_ln": {"pre_ln": False},
        "wmt_attention_temp": {"attention_temp": 4.0},
        "wmt_glu_tanh": {"activation": "tanh", "glu": True},
    }
    assert WmtSizes.of(workloads.get(name)) == WmtSizes(32_000, **switch[name])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"activation": "gelu"}, "unknown activation 'gelu'"),
        ({"num_heads": 5}, "multiple of num_heads"),
        ({"num_layers": 0}, "positive"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WmtSizes(24, **wrong)
