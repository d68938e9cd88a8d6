"""Parameters of the recommendation model: names, shapes, types, totals, initial values.

The full tables are described and never made.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.workloads.criteo1tb.sizes import DlrmSizes
from conformance_tests.workloads import criteo_samples
from conformance_tests.workloads.criteo_samples import CRITEO, SMALL_SIZES
from conformance_tests.workloads.samples import FRAMEWORKS, backend, flatten, golden_json
from spec import workloads
from spec.submission import ParameterType, ShapeTuple

CHUNKS = [f"embedding_chunk_{number}" for number in range(4)]
MISTYPED_LAYER_NORMS = [
    f"{name}.{kind}"
    for name in [f"bot_mlp.{n}" for n in (2, 5, 8)] + [f"top_mlp.{n}" for n in (2, 5, 8, 11)]
    for kind in ("weight", "bias")
]


def full_sizes(name: str) -> DlrmSizes:
    return DlrmSizes.of(workloads.get(name))


@functools.cache
def described(name: str, framework: str) -> tuple[dict[str, ShapeTuple], dict[str, ParameterType]]:
    """Shapes and types of the full model by path."""
    sizes = full_sizes(name)
    if framework == "jax":
        model = criteo_samples.abstract_params(sizes)
        return flatten(model.shapes), flatten(model.types)
    import torch

    with torch.device("meta"):
        module = criteo_samples.twin("pytorch").create_module(sizes)
    return torch_layers.parameter_shapes(module), torch_layers.parameter_types(module)


@pytest.mark.clause("SUB-5")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", CRITEO)
def test_names_shapes_and_totals_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    shapes, types = described(name, framework)
    assert {path: list(shape.shape_tuple) for path, shape in shapes.items()} == {
        path: shape for path, shape, _ in golden["params"]
    }
    assert set(types) == set(shapes)
    assert sum(int(np.prod(s.shape_tuple)) for s in shapes.values()) == golden["total"]
    assert len(shapes) == golden["n_tensors"]


@pytest.mark.parametrize("name", CRITEO)
def test_pytorch_parameters_come_in_the_official_order(name: str) -> None:
    golden = golden_json(f"params/{name}_pytorch.json")
    shapes, _ = described(name, "pytorch")
    assert list(shapes) == [path for path, _, _ in golden["params"]]


def test_pytorch_models_have_no_buffers() -> None:
    for sizes in SMALL_SIZES.values():
        module = criteo_samples.twin("pytorch").create_module(sizes)
        assert not list(module.named_buffers())


@pytest.mark.clause("SUB-3")
@pytest.mark.parametrize("name", CRITEO)
def test_jax_types_are_the_official_ones(name: str) -> None:
    golden = golden_json(f"params/{name}_jax.json")
    _, types = described(name, "jax")
    assert {path: kind.name for path, kind in types.items()} == {
        path: kind for path, _, kind in golden["params"]
    }


@pytest.mark.clause("SUB-3")
@pytest.mark.parametrize("name", CRITEO)
def test_pytorch_types_are_the_official_ones_but_for_named_mistakes(name: str) -> None:
    """Decisions 14 and 21: a chunk of the table is an embedding, a layer norm is one everywhere.

    The official types are guessed from names, and these names have no "norm" or "embed.weight".
    """
    corrected = dict.fromkeys(CHUNKS, ("WEIGHT", "EMBEDDING"))
    if name == "criteo1tb_layernorm":
        for path in MISTYPED_LAYER_NORMS:
            official, true = ("BIAS", "BIAS") if path.endswith("bias") else ("WEIGHT", "SCALE")
            corrected[path] = (official, f"LAYER_NORM_{true}")
    golden = golden_json(f"params/{name}_pytorch.json")
    _, types = described(name, "pytorch")
    for path, _, official in golden["params"]:
        expected_official, true = corrected.get(path, (official, official))
        assert official == expected_official, path
        assert types[path].name == true, path


@pytest.mark.clause("SUB-3")
@pytest.mark.parametrize("name", CRITEO)
def test_the_twins_agree_on_types(name: str) -> None:
    """Each JAX parameter has the type of its PyTorch counterpart; the table has four of these."""
    (_, jax_types), (_, torch_types) = described(name, "jax"), described(name, "pytorch")
    names = criteo_samples.torch_names(full_sizes(name))
    expected = dict.fromkeys(CHUNKS, jax_types["embedding_table"])
    for path, kind in jax_types.items():
        if path != "embedding_table":
            layer, leaf = path.split("/")
            expected[f"{names[layer]}.{'bias' if leaf == 'bias' else 'weight'}"] = kind
    assert torch_types == expected
    assert Counter(jax_types.values())[ParameterType.EMBEDDING] == 1


@pytest.mark.clause("SUB-3")
def test_the_type_tree_has_the_structure_of_the_parameter_tree() -> None:
    import jax

    model = criteo_samples.abstract_params(full_sizes("criteo1tb_layernorm"))
    structure = jax.tree.structure(model.params)
    assert jax.tree.structure(model.types) == structure
    assert jax.tree.structure(model.shapes) == structure
    assert {type(leaf) for leaf in jax.tree.leaves(model.shapes)} == {ShapeTuple}
    assert {type(leaf) for leaf in jax.tree.leaves(model.types)} == {ParameterType}


@pytest.mark.parametrize("name", CRITEO)
def test_the_output_parameters_are_those_of_the_last_layer(name: str) -> None:
    """The official PyTorch keys name a hidden layer or none (Decisions, 21)."""
    layer = {"criteo1tb_layernorm": "13", "criteo1tb_resnet": "4.module.0"}.get(name, "9")
    sizes = full_sizes(name)
    expected = {f"top_mlp.{layer}.weight", f"top_mlp.{layer}.bias"}
    assert criteo_samples.twin("pytorch").output_parameters(sizes) == expected
    shapes, _ = described(name, "pytorch")
    assert shapes[f"top_mlp.{layer}.weight"].shape_tuple == (1, 256)
    assert criteo_samples.twin("jax").output_parameters(sizes) == {"Dense_7"}
    assert described(name, "jax")[0]["Dense_7/kernel"].shape_tuple == (256, 1)


def initial(name: str, framework: str) -> dict[str, np.ndarray]:
    """First values by path, with the vocabulary of the official statistics."""
    sizes = replace(full_sizes(name), vocab_size=65_536)
    new = criteo_samples.build(framework, sizes).initialise(backend(framework).seed_key(0))
    assert new.model_state is None
    if framework == "jax":
        return {path: np.asarray(value) for path, value in flatten(new.params).items()}
    return {path: value.detach().numpy() for path, value in new.params.named_parameters()}


@pytest.mark.parametrize("name", CRITEO)
def test_jax_initial_values_are_those_of_the_official_model(name: str) -> None:
    """The same key draws the same numbers, since layer paths and initialisers are the same."""
    values = initial(name, "jax")
    for path, _, *expected in golden_json(f"init_stats/{name}_jax.json")["params"]:
        value = values[path]
        measured = [value.mean(dtype=np.float64), value.std(), value.min(), value.max()]
        np.testing.assert_allclose(measured, expected, rtol=2e-5, atol=2e-7, err_msg=path)


@pytest.mark.parametrize("shape", [(64, 8), (2, 32, 8), (63, 8), (4, 8)])
def test_a_table_drawn_in_slices_is_the_table_drawn_at_once(shape: tuple[int, ...]) -> None:
    import flax.linen as nn
    import jax

    from algoperf_ref.workloads.criteo1tb.table_jax import uniform_in_slices

    key = backend("jax").seed_key(5)
    expected = nn.initializers.uniform(0.7)(key, shape)
    for some_key in (key, jax.random.wrap_key_data(key)):
        table = uniform_in_slices(0.7, slice_size=128)(some_key, shape)
        np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("name", CRITEO)
def test_pytorch_initial_values_have_the_official_distribution(name: str) -> None:
    """Each tensor beside its documented distribution, and the official draw beside it too."""
    values = initial(name, "pytorch")
    for path, shape, *official in golden_json(f"init_stats/{name}_pytorch.json")["params"]:
        value, (official_mean, official_std, low, high) = values[path], official
        assert list(value.shape) == shape
        if value.size == 1:
            continue  # The logit's bias: one draw.
        if official_std == 0:
            np.testing.assert_array_equal(value, low, err_msg=path)
            continue
        count = value.size
        # Each is one draw of the same distribution: six standard errors of their difference.
        error = official_std * np.sqrt(2 / count)
        assert abs(value.mean(dtype=np.float64) - official_mean) < 6 * error + 1e-7, path
        assert abs(value.std(dtype=np.float64) - official_std) < 6 * error, path
        if path in CHUNKS or (path.startswith("bot_mlp") and path.endswith("weight")):
            # Uniform: both reach nearly to the same bounds.
            np.testing.assert_allclose([value.min(), value.max()], [low, high], atol=0.02 * high)


@pytest.mark.parametrize("case", SMALL_SIZES)
def test_pytorch_initial_values_depend_on_the_key_alone(case: str) -> None:
    import torch

    model = criteo_samples.build("pytorch", SMALL_SIZES[case])
    first = model.initialise(np.array([3, 4], np.int32)).params.state_dict()
    torch.manual_seed(2)
    expected_draw = torch.rand(3)
    torch.manual_seed(2)
    second = model.initialise(np.array([3, 4], np.int32)).params.state_dict()
    other = model.initialise(np.array([3, 5], np.int32)).params.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding_chunk_3"], other["embedding_chunk_3"])
    assert torch.equal(torch.rand(3), expected_draw), "the global generator was touched"
