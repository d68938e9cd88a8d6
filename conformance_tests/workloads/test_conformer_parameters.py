"""Parameters of the Conformer: names, shapes, types, totals, statistics, initial values."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from algoperf_ref.workloads.librispeech.conformer_sizes import ConformerSizes
from conformance_tests.workloads import conformer_samples as samples
from conformance_tests.workloads.conformer_samples import TINY, VARIANTS
from conformance_tests.workloads.samples import (
    FRAMEWORKS,
    backend,
    fast_jit,
    flatten,
    golden_json,
)
from spec import workloads
from spec.submission import ParameterType, ShapeTuple

per_variant = pytest.mark.parametrize("name", VARIANTS)
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
OFFICIAL = "librispeech_conformer"


class Described(NamedTuple):
    """What is known of a network without making its arrays, by path.

    Attributes:
      shapes, types: of the parameters.
      statistics: shapes of the model state in JAX, of the buffers in PyTorch.
    """

    shapes: dict[str, ShapeTuple]
    types: dict[str, ParameterType]
    statistics: dict[str, tuple[int, ...]]


def full_sizes(name: str) -> ConformerSizes:
    return ConformerSizes.of(workloads.get(name))


@functools.cache
def described(name: str, framework: str) -> Described:
    """Shapes and types of the full size."""
    if framework == "pytorch":
        import torch

        from algoperf_ref.frameworks import torch_layers

        with torch.device("meta"):
            module = samples.twin("pytorch").Conformer(full_sizes(name))
        shapes = torch_layers.parameter_shapes(module)
        buffers = {path: tuple(buffer.shape) for path, buffer in module.named_buffers()}
        assert list(buffers) == [path for path in module.state_dict() if path not in shapes]
        return Described(shapes, torch_layers.parameter_types(module), buffers)
    import jax

    found: list[Any] = []
    model = samples.build("jax", full_sizes(name))
    jax.eval_shape(lambda key: found.append(model.initialise(key)), jax.random.PRNGKey(0))
    new = found[0]
    assert jax.tree.structure(new.params) == jax.tree.structure(new.types)
    statistics = {path: leaf.shape for path, leaf in flatten(new.model_state).items()}
    return Described(flatten(new.shapes), flatten(new.types), statistics)


@pytest.mark.clause("SUB-5")
@per_framework
@per_variant
def test_names_shapes_and_totals_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    shapes = described(name, framework).shapes
    assert {path: list(shape.shape_tuple) for path, shape in shapes.items()} == {
        path: shape for path, shape, _ in golden["params"]
    }
    total = sum(int(np.prod(s.shape_tuple)) for s in shapes.values())
    assert total == golden["total"] == (32_317_696 if "layernorm" in name else 32_321_792)
    assert len(shapes) == golden["n_tensors"]


@pytest.mark.clause("SUB-3")
@per_framework
@per_variant
def test_types_are_the_official_ones_but_for_dense_layers_of_the_convolution_modules(
    name: str, framework: str
) -> None:
    """Officially these 12 count as convolutions, for the sake of their names (Decision 14)."""
    golden = golden_json(f"params/{name}_{framework}.json")
    types = {path: kind.name for path, kind in described(name, framework).types.items()}
    official = {path: kind for path, _, kind in golden["params"]}
    others = {path for path, kind in types.items() if kind != official[path]}
    layers = ("/Dense_", "/kernel") if framework == "jax" else (".conv.lin", ".weight")
    modules = "ConvolutionBlock_0" if framework == "jax" else ".conv."
    assert others == {
        path for path in types if modules in path and all(part in path for part in layers)
    }
    assert len(others) == 12
    assert {(official[path], types[path]) for path in others} == {("CONV_WEIGHT", "WEIGHT")}
    counts = Counter(golden["type_counts"]) + Counter(WEIGHT=12) - Counter(CONV_WEIGHT=12)
    assert Counter(types.values()) == counts
    assert list(types) == list(described(name, framework).shapes)


@pytest.mark.clause("SUB-3")
@per_variant
def test_the_twins_have_the_same_types(name: str) -> None:
    """Decision 14; the joined weight of queries, keys and values has a type of its own."""
    types = {samples.torch_name(path): kind for path, kind in described(name, "jax").types.items()}
    joined = {path for path in types if path.endswith("in_proj.weight")}
    assert len(joined) == 4
    types |= dict.fromkeys(joined, ParameterType.ATTENTION_QKV)
    assert described(name, "pytorch").types == types


@per_variant
def test_pytorch_parameters_and_buffers_come_in_the_official_order(name: str) -> None:
    golden = golden_json(f"params/{name}_pytorch.json")
    found = described(name, "pytorch")
    assert list(found.shapes) == [path for path, _, _ in golden["params"]]
    assert [[path, list(shape)] for path, shape in found.statistics.items()] == golden["buffers"]
    assert len(found.statistics) == 18


@per_variant
def test_jax_statistics_are_the_official_ones(name: str) -> None:
    golden = golden_json(f"params/{name}_jax.json")["model_state"]
    found = {path: list(shape) for path, shape in described(name, "jax").statistics.items()}
    assert found == dict(golden)
    assert len(found) == 8


@pytest.mark.parametrize(
    ("framework", "expected"), [("jax", {"Dense_0"}), ("pytorch", {"lin.weight", "lin.bias"})]
)
@per_variant
def test_the_output_parameters_are_the_official_ones(
    name: str, framework: str, expected: set[str]
) -> None:
    assert samples.twin(framework).output_parameters(full_sizes(name)) == expected
    golden = golden_json(f"params/{name}_{framework}.json")
    assert set(golden["is_output_top_level_keys"]) == expected


@pytest.mark.clause("WORK-5")
@per_variant
def test_sizes_are_read_from_the_specification(name: str) -> None:
    expected: dict[str, dict[str, Any]] = {
        "librispeech_conformer": {},
        "librispeech_conformer_attention_temperature": {"attention_temperature": 1.6},
        "librispeech_conformer_layernorm": {"use_post_layer_norm": False},
        "librispeech_conformer_gelu": {"use_gelu": True},
    }
    sizes = full_sizes(name)
    assert sizes == ConformerSizes(num_outputs=1024, **expected[name])
    assert sizes.activation == ("gelu" if name.endswith("gelu") else "silu")
    assert (sizes.head_dim, sizes.feed_forward_dim) == (64, 2048)


def test_a_smaller_tier_says_its_sizes_in_its_row() -> None:
    row = workloads.get("librispeech_conformer_gelu")
    small = {
        "num_outputs": 51,
        "encoder_dim": 64,
        "num_encoder_layers": 2,
        "num_attention_heads": 4,
        "convolution_kernel_size": 15,
        "subsampling_channels": 32,
        "batch_norm_momentum": 0.9,
        "use_specaug": False,
    }
    config = {**row.model_config, **small}
    sizes = ConformerSizes.of(dataclasses.replace(row, model_config=config))
    assert sizes.use_gelu
    assert sizes.batch_norm_momentum == 0.9
    assert sizes.spec_augment is None
    import torch

    with torch.device("meta"):
        module = samples.twin("pytorch").Conformer(sizes)
    assert module.conformers[0].conv.conv1.weight.shape == (64, 1, 15)
    assert module.subsample.linear.weight.shape == (64, 20 * 32)
    assert len(module.conformers) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"num_attention_heads": 3},
            "encoder_dim must be a multiple of num_attention_heads; got 8 and 3",
        ),
        ({"num_encoder_layers": 0}, "sizes must be positive"),
        ({"num_outputs": 1}, "num_outputs must be at least 2, a blank and a piece; got 1"),
        ({"batch_norm_momentum": 1.0}, "batch_norm_momentum must be in"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


BLOCK = "ConformerBlock_2"
ATTENTION = f"{BLOCK}/MultiHeadedSelfAttention_0/MultiHeadDotProductAttention_0"
PLACES = [
    "Subsample_0/Conv2dSubsampling_0/kernel",
    "Subsample_0/Dense_0/kernel",
    f"{BLOCK}/FeedForwardModule_1/Dense_0/kernel",
    f"{ATTENTION}/query/kernel",
    f"{ATTENTION}/value/bias",
    f"{ATTENTION}/out/kernel",
    f"{ATTENTION}/QueryScaler_0/scale",
    f"{BLOCK}/ConvolutionBlock_0/Conv_0/kernel",
    f"{BLOCK}/ConvolutionBlock_0/Dense_2/kernel",
    f"{BLOCK}/ConvolutionBlock_0/BatchNorm_0/scale",
    "LayerNorm_0/scale",
    "Dense_0/kernel",
]


def test_jax_initial_values_are_those_of_the_official_network() -> None:
    """The same key draws the same numbers; what is not asked for, JAX does not compute."""
    model = samples.build("jax", full_sizes(OFFICIAL))

    def chosen(key: Any) -> dict[str, Any]:
        flat = flatten(model.initialise(key).params)
        return {path: flat[path] for path in PLACES}

    values = fast_jit(chosen)(backend("jax").seed_key(0))
    golden = golden_json(f"init_stats/{OFFICIAL}_jax.json")["params"]
    official = {path: numbers for path, _, *numbers in golden}
    for path, array in values.items():
        value = np.asarray(array)
        measured = [value.mean(dtype=np.float64), value.std(), value.min(), value.max()]
        np.testing.assert_allclose(measured, official[path], rtol=2e-5, atol=2e-7, err_msg=path)


def test_jax_statistics_start_at_mean_zero_and_variance_one() -> None:
    model = samples.build("jax", TINY)
    state = fast_jit(lambda key: model.initialise(key).model_state)(backend("jax").seed_key(0))
    assert set(state) == {"batch_stats"}
    for path, value in flatten(state).items():
        np.testing.assert_array_equal(value, float(path.endswith("var")), err_msg=path)


@functools.cache
def torch_values() -> dict[str, np.ndarray]:
    """Initial parameters of the full widths with one block, and the statistics."""
    sizes = dataclasses.replace(full_sizes(OFFICIAL), num_encoder_layers=1)
    module = samples.build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    return {path: value.detach().numpy() for path, value in module.state_dict().items()}


def test_pytorch_initial_values_have_the_official_jax_distribution() -> None:
    golden = golden_json(f"init_stats/{OFFICIAL}_jax.json")["params"]
    checked = 0
    for path, shape, _, std, low, high in golden:
        name = samples.torch_name(path)
        if name not in torch_values():
            continue  # Of a later block, like the first one.
        value = torch_values()[name]
        if std == 0:
            np.testing.assert_array_equal(value, low, err_msg=path)
            continue
        # Five standard errors of each of the two samples.
        errors = 5 * np.sqrt(2 * 2 / np.prod(shape))
        assert abs(value.mean()) < errors * std, path
        assert abs(value.std() / std - 1) < errors, path
        np.testing.assert_allclose(value.min(), low, rtol=5e-3, err_msg=path)
        np.testing.assert_allclose(value.max(), high, rtol=5e-3, err_msg=path)
        checked += 1
    assert checked == 16


def test_pytorch_queries_keys_and_values_start_at_the_unfused_scale() -> None:
    """Officially at the limits of one matrix of three times the height (Decision 23)."""
    weight = torch_values()["conformers.0.mhsa.self_attention.in_proj.weight"]
    golden = golden_json(f"init_stats/{OFFICIAL}_pytorch.json")["params"]
    official = {path: std for path, _, _, std, *_ in golden}
    fused = official["conformers.0.mhsa.self_attention.in_proj.weight"]
    np.testing.assert_allclose(fused, 0.05413 / np.sqrt(3), rtol=0.01)
    for part in np.split(weight, 3):
        np.testing.assert_allclose(part.std(), 0.07655 / np.sqrt(3), rtol=0.01)
        np.testing.assert_allclose(np.abs(part).max(), 0.07655, rtol=1e-3)


def test_pytorch_statistics_start_at_mean_zero_and_variance_one() -> None:
    found = {name: value for name, value in torch_values().items() if ".bn.running" in name}
    assert len(found) == 2
    for name, value in found.items():
        np.testing.assert_array_equal(value, float(name.endswith("var")), err_msg=name)


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
    for name in ("lin.weight", "conformers.1.conv.conv1.weight", "subsample.conv2.kernel"):
        assert not torch.equal(first[name], other[name])


def test_making_the_pytorch_network_changes_no_switch_of_the_framework() -> None:
    """Officially it turns off cuDNN's search and two kinds of attention kernels."""
    import torch

    def switches() -> tuple[bool, ...]:
        cuda = torch.backends.cuda
        return (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            cuda.flash_sdp_enabled(),
            cuda.mem_efficient_sdp_enabled(),
            cuda.math_sdp_enabled(),
        )

    before = switches()
    samples.build.__wrapped__("pytorch", TINY).initialise(np.array([0, 1], np.int32))
    assert switches() == before
