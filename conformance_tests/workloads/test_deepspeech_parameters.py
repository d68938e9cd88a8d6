"""Parameters of DeepSpeech: names, shapes, types, totals, statistics, initial values."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from algoperf_ref.workloads.librispeech.deepspeech_sizes import DeepspeechSizes
from conformance_tests.workloads import deepspeech_samples as samples
from conformance_tests.workloads.deepspeech_samples import TINY, VARIANTS
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


class Described(NamedTuple):
    """What is known of a network without making its arrays, by path.

    Attributes:
      shapes, types: of the parameters.
      statistics: shapes of the model state in JAX, of the buffers in PyTorch.
    """

    shapes: dict[str, ShapeTuple]
    types: dict[str, ParameterType]
    statistics: dict[str, tuple[int, ...]]


def full_sizes(name: str) -> DeepspeechSizes:
    return DeepspeechSizes.of(workloads.get(name))


@functools.cache
def described(name: str, framework: str) -> Described:
    """Shapes and types of the full size."""
    if framework == "pytorch":
        import torch

        from algoperf_ref.frameworks import torch_layers

        with torch.device("meta"):
            module = samples.twin("pytorch").Deepspeech(full_sizes(name))
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
    state = {} if new.model_state is None else flatten(new.model_state)
    statistics = {path: leaf.shape for path, leaf in state.items()}
    return Described(flatten(new.shapes), flatten(new.types), statistics)


@pytest.mark.clause("SUB-5")
@per_framework
@per_variant
def test_names_shapes_and_totals_are_the_official_ones(name: str, framework: str) -> None:
    """In PyTorch with a second bias of each LSTM, 12,288 parameters more."""
    golden = golden_json(f"params/{name}_{framework}.json")
    shapes = described(name, framework).shapes
    assert {path: list(shape.shape_tuple) for path, shape in shapes.items()} == {
        path: shape for path, shape, _ in golden["params"]
    }
    assert sum(int(np.prod(s.shape_tuple)) for s in shapes.values()) == golden["total"]
    assert len(shapes) == golden["n_tensors"]


@pytest.mark.clause("SUB-3")
@per_framework
@per_variant
def test_types_are_the_official_ones(name: str, framework: str) -> None:
    golden = golden_json(f"params/{name}_{framework}.json")
    types = {path: kind.name for path, kind in described(name, framework).types.items()}
    assert types == {path: kind for path, _, kind in golden["params"]}
    assert Counter(types.values()) == golden["type_counts"]
    assert list(types) == list(described(name, framework).shapes)


@pytest.mark.clause("SUB-3")
@per_variant
def test_the_twins_have_the_same_types(name: str) -> None:
    """Decision 14."""
    types = {samples.torch_name(path): kind for path, kind in described(name, "jax").types.items()}
    for path in [path for path in types if "lstm.bias_ih" in path]:
        types[path.replace("bias_ih", "bias_hh")] = types[path]
    assert described(name, "pytorch").types == types


@per_variant
def test_pytorch_parameters_and_buffers_come_in_the_official_order(name: str) -> None:
    golden = golden_json(f"params/{name}_pytorch.json")
    found = described(name, "pytorch")
    assert list(found.shapes) == [path for path, _, _ in golden["params"]]
    assert [[path, list(shape)] for path, shape in found.statistics.items()] == golden["buffers"]


@per_variant
def test_jax_statistics_are_the_official_ones(name: str) -> None:
    golden = golden_json(f"params/{name}_jax.json")["model_state"]
    found = {path: list(shape) for path, shape in described(name, "jax").statistics.items()}
    assert found == dict(golden)
    assert len(found) == (0 if "norm_and_spec_aug" in name else 18)


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


def test_a_smaller_tier_says_its_sizes_in_its_row() -> None:
    """The prototype of the mini tier had as many parameters."""
    row = workloads.get("librispeech_deepspeech_tanh")
    small = {
        "num_outputs": 51,
        "encoder_dim": 64,
        "num_lstm_layers": 2,
        "num_ffn_layers": 1,
        "subsampling_channels": 32,
        "batch_norm_momentum": 0.9,
        "freq_mask_count": 1,
        "freq_mask_max_bins": 10,
        "time_mask_count": 2,
    }
    sizes = DeepspeechSizes.of(dataclasses.replace(row, model_config={**row.model_config, **small}))
    assert sizes.use_tanh
    assert sizes.batch_norm_momentum == 0.9
    masks = sizes.spec_augment
    assert masks is not None
    assert (masks.freq_mask_count, masks.freq_mask_max_bins, masks.time_mask_count) == (1, 10, 2)
    import torch

    with torch.device("meta"):
        module = samples.twin("pytorch").Deepspeech(sizes)
    assert sum(parameter.numel() for parameter in module.parameters()) == 108_755


@per_variant
def test_sizes_are_read_from_the_specification(name: str) -> None:
    sizes = full_sizes(name)
    switches = (
        sizes.use_tanh,
        sizes.enable_residual_connections,
        sizes.enable_decoder_layer_norm,
        sizes.layernorm_everywhere,
    )
    expected = {
        "librispeech_deepspeech": (False, True, True, False),
        "librispeech_deepspeech_tanh": (True, True, True, False),
        "librispeech_deepspeech_no_resnet": (False, False, True, False),
        "librispeech_deepspeech_norm_and_spec_aug": (False, True, False, True),
    }
    assert switches == expected[name]
    masks = sizes.spec_augment
    assert masks is not None
    more = name.endswith("norm_and_spec_aug")
    assert (masks.freq_mask_count, masks.time_mask_count) == ((4, 15) if more else (2, 10))
    assert (masks.freq_mask_max_bins, masks.time_mask_max_ratio) == (27, 0.05)
    widths = (sizes.num_outputs, sizes.encoder_dim, sizes.subsampling_channels)
    assert widths == (1024, 512, 512)
    assert (sizes.num_lstm_layers, sizes.num_ffn_layers) == (6, 3)
    assert sizes.batch_norm_momentum == 0.999


def test_without_augmentation_there_are_no_masks() -> None:
    row = workloads.get("librispeech_deepspeech")
    config = {**row.model_config, "use_specaug": False}
    assert DeepspeechSizes.of(dataclasses.replace(row, model_config=config)).spec_augment is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_dim": 9}, "encoder_dim must be even, got 9"),
        ({"num_ffn_layers": 0}, "sizes must be positive"),
        ({"num_outputs": 1}, "num_outputs must be at least 2, a blank and a piece; got 1"),
        ({"batch_norm_momentum": 1.5}, "batch_norm_momentum must be in"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


OFFICIAL = "librispeech_deepspeech"
PLACES = [
    "BatchRNN_0/LSTM_0/LSTM/LSTMSequenceEncoder_0/cell/ii/kernel",
    "BatchRNN_0/LSTM_0/LSTM/LSTMSequenceEncoder_1/cell/hg/kernel",
    "BatchRNN_5/LSTM_0/LSTM/LSTMSequenceEncoder_1/cell/ho/bias",
    "BatchRNN_5/BatchNorm_0/scale",
    "FeedForwardModule_2/Dense_0/kernel",
    "LayerNorm_0/scale",
    "Dense_0/kernel",
    "Dense_0/bias",
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
    for path, value in flatten(state).items():
        np.testing.assert_array_equal(value, float(path.endswith("var")), err_msg=path)


@functools.cache
def torch_values() -> dict[str, np.ndarray]:
    """Initial parameters of the full widths with one layer of each kind, and the statistics."""
    sizes = dataclasses.replace(full_sizes(OFFICIAL), num_lstm_layers=1, num_ffn_layers=1)
    module = samples.build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    return {path: value.detach().numpy() for path, value in module.state_dict().items()}


def test_pytorch_initial_values_have_the_official_jax_distribution() -> None:
    golden = golden_json(f"init_stats/{OFFICIAL}_jax.json")["params"]
    for path, _, _, std, low, high in golden:
        name = samples.torch_name(path)
        if name not in torch_values():
            continue  # Of a later layer, like the first one.
        value = torch_values()[name]
        if std == 0:
            np.testing.assert_array_equal(value, low, err_msg=path)
            continue
        # Five standard errors of each of the two samples; a gate is a quarter of a matrix.
        errors = 5 * np.sqrt(4 * 2 / value.size)
        assert abs(value.mean()) < errors * std, path
        assert abs(value.std() / std - 1) < errors, path
        if "hh_l0" not in name:  # A rotation has no limits.
            np.testing.assert_allclose(value.min(), low, rtol=5e-3, err_msg=path)
            np.testing.assert_allclose(value.max(), high, rtol=5e-3, err_msg=path)


@pytest.mark.parametrize("suffix", ["", "_reverse"])
def test_pytorch_lstms_start_as_in_jax_and_not_as_officially(suffix: str) -> None:
    """Officially uniform up to 0.0625, with biases that are not zero (Decisions, 1)."""
    values = {
        name: torch_values()[f"lstms.0.lstm.{name}_l0{suffix}"]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    official = {
        path: std
        for path, _, _, std, *_ in golden_json(f"init_stats/{OFFICIAL}_pytorch.json")["params"]
    }
    for name, value in values.items():
        ours, theirs = value.std(), official[f"lstms.0.lstm.{name}_l0{suffix}"]
        np.testing.assert_allclose(theirs, 0.0625 / np.sqrt(3), rtol=0.05)
        assert abs(ours / theirs - 1) > 0.1, name
    for gate in np.split(values["weight_hh"].astype(np.float64), 4):
        np.testing.assert_allclose(gate @ gate.T, np.eye(256), rtol=0, atol=1e-5)
    first, second = np.split(values["weight_hh"], 4)[:2]
    assert np.abs(first - second).max() > 0.1
    assert not values["bias_ih"].any()
    assert not values["bias_hh"].any()
    cut = 2 * np.sqrt(1 / 512) / 0.87962566103423978
    assert 0.99 * cut < np.abs(values["weight_ih"]).max() <= cut * 1.0001


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
    for name in ("lin.weight", "lstms.1.lstm.weight_hh_l0", "lstms.0.lstm.weight_ih_l0_reverse"):
        assert not torch.equal(first[name], other[name])
