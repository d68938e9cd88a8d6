"""Small inputs for the tests of DeepSpeech."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.librispeech.deepspeech_sizes import DeepspeechSizes
from conformance_tests.workloads.resnet_samples import below
from conformance_tests.workloads.samples import (
    backend,
    fast_jit,
    flatten,
    golden_arrays,
    to_numpy,
)

VARIANTS = (
    "librispeech_deepspeech",
    "librispeech_deepspeech_tanh",
    "librispeech_deepspeech_no_resnet",
    "librispeech_deepspeech_norm_and_spec_aug",
)
TINY = DeepspeechSizes(
    num_outputs=12,
    encoder_dim=8,
    num_lstm_layers=2,
    num_ffn_layers=2,
    subsampling_channels=8,
    spec_augment=None,
)
CASES = {
    "base": TINY,
    "tanh": dataclasses.replace(TINY, use_tanh=True),
    "no_resnet": dataclasses.replace(TINY, enable_residual_connections=False),
    "layernorm_everywhere": dataclasses.replace(
        TINY, layernorm_everywhere=True, enable_decoder_layer_norm=False
    ),
}
"""Sizes of the official networks behind the forward vectors ``deepspeech_<case>``."""

_TORCH_NAMES = {
    "Subsample_0/Conv2dSubsampling_0": "subsample.conv1",
    "Subsample_0/Conv2dSubsampling_1": "subsample.conv2",
    "Subsample_0/Dense_0": "subsample.lin",
    "LayerNorm_0": "ln",
    "Dense_0": "lin",
}
_GATES = "ifgo"


def twin(framework: str) -> Any:
    """The module of one framework's networks."""
    return load_twin("algoperf_ref.workloads.librispeech.deepspeech_{}", framework)


@functools.cache
def build(framework: str, sizes: DeepspeechSizes) -> Any:
    """The network of some sizes."""
    return twin(framework).build(sizes, backend(framework))


def torch_name(jax_path: str) -> str:
    """PyTorch name of a JAX parameter or statistic; of a gate, that of the joined matrix.

    Of an LSTM's bias it is that of the first of the two. Source: Workload facts
    (librispeech_deepspeech), 2.
    """
    *layers, leaf = jax_path.split("/")
    place = "/".join(layers)
    gate = re.fullmatch(r"BatchRNN_(\d+)/LSTM_0/LSTM/LSTMSequenceEncoder_(\d)/cell/(.).", place)
    if gate:
        layer, direction, source = gate.groups()
        kind = "weight" if leaf == "kernel" else "bias"
        part = "ih" if source == "i" or leaf == "bias" else "hh"
        return f"lstms.{layer}.lstm.{kind}_{part}_l0{'_reverse' if direction == '1' else ''}"
    is_conv, is_layer_norm = "Conv2d" in place, "LayerNorm" in place
    suffix = {"mean": "running_mean", "var": "running_var", "bias": "bias"}.get(leaf)
    if suffix is None:
        suffix = "kernel" if is_conv else "scale" if is_layer_norm else "weight"
    if place in _TORCH_NAMES:
        return f"{_TORCH_NAMES[place]}.{suffix}"
    kind, number, layer = re.fullmatch(r"(\w+)_(\d+)/(\w+)_0", place).groups()
    block = {"BatchRNN": "lstms", "FeedForwardModule": "ffns"}[kind]
    name = {
        "BatchNorm": "bn_normalization_layer",
        "LayerNorm": "normalization_layer",
        "Dense": "lin",
    }[layer]
    return f"{block}.{number}.{name}.{suffix}"


def transplant(
    tree: dict[str, Any], bias_shares: tuple[float, float] = (0.25, 0.75)
) -> dict[str, np.ndarray]:
    """JAX parameters, gradients or statistics under PyTorch names and in PyTorch layout.

    Args:
      tree: the JAX tree.
      bias_shares: what each of an LSTM's two biases gets of the one in JAX; of a gradient each gets
        all of it.
    """
    layouts = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}

    def order(item: tuple[str, Any]) -> tuple[str, int]:
        gate = item[0].split("/")[-2]
        return torch_name(item[0]), _GATES.find(gate[-1]) if len(gate) == 2 else 0

    parts: dict[str, list[np.ndarray]] = {}
    for path, value in sorted(flatten(tree).items(), key=order):
        array = np.asarray(value)
        parts.setdefault(torch_name(path), []).append(array.transpose(layouts[array.ndim]))
    moved = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    for name in [name for name in moved if "lstm.bias_ih" in name]:
        whole = moved[name]
        for part, share in zip(("ih", "hh"), bias_shares, strict=True):
            moved[name.replace("bias_ih", f"bias_{part}")] = np.float32(share) * whole
    return moved


def load_weights(
    framework: str,
    sizes: DeepspeechSizes,
    params: dict[str, Any],
    statistics: dict[str, Any],
    bias_shares: tuple[float, float] = (0.25, 0.75),
) -> tuple[Any, Any]:
    """JAX parameters and statistics, as parameters and model state of either framework."""
    if framework == "jax":
        state = {"batch_stats": statistics} if statistics else None
        return backend("jax").replicate(params), backend("jax").replicate(state)
    import torch

    new = build("pytorch", sizes).initialise(backend("pytorch").seed_key(0))
    moved = transplant(params, bias_shares) | transplant(statistics)
    tensors = {name: torch.tensor(np.ascontiguousarray(value)) for name, value in moved.items()}
    unknown = new.params.load_state_dict(tensors, strict=False)
    assert not unknown.unexpected_keys
    assert all(name.startswith("preprocessor.") for name in unknown.missing_keys)
    return new.params, new.model_state


def statistics_of(framework: str, params: Any, model_state: Any) -> dict[str, np.ndarray]:
    """Running statistics by PyTorch name."""
    if framework == "jax":
        return transplant({} if model_state is None else model_state["batch_stats"])
    buffers = params.named_buffers()
    return {name: value.numpy().copy() for name, value in buffers if "running" in name}


@functools.cache
def golden(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """All arrays of a forward vector, its JAX parameters and its JAX statistics."""
    arrays = golden_arrays(f"forward/deepspeech_{case}.npz")
    return arrays, below(arrays, "jax/w/"), below(arrays, "jax/s/")


def waves(lengths: list[int], samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Audio ``[batch, samples]`` in the range of 16 bits, zero behind each length; paddings."""
    random = np.random.RandomState(seed)
    tone = np.sin(np.arange(samples) * random.uniform(0.05, 1.5, (len(lengths), 1)))
    audio = 3_000 * tone + 300 * random.randn(len(lengths), samples)
    paddings = (np.arange(samples) >= np.array(lengths)[:, None]).astype(np.float32)
    return (audio * (1 - paddings)).astype(np.float32), paddings


def place(framework: str, inputs: tuple[np.ndarray, np.ndarray]) -> Any:
    """Audio and paddings on the device."""
    return tuple(backend(framework).replicate(array) for array in inputs)


@functools.cache
def run_pass(
    framework: str, sizes: DeepspeechSizes, training: bool, update: bool = True
) -> Callable[..., Any]:
    """Parameters, state, inputs, key and rate -> logits and paddings, and the new state."""
    model = build(framework, sizes)

    def forward(params: Any, state: Any, inputs: Any, key: Any, rate: Any) -> Any:
        return model.forward_with_state(
            params,
            state,
            inputs,
            training=training,
            key=key,
            update_batch_norm=update,
            dropout_rate=rate,
        )

    return fast_jit(forward) if framework == "jax" else forward


def logits_of(
    framework: str,
    sizes: DeepspeechSizes,
    weights: tuple[Any, Any],
    inputs: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and paddings of an evaluation pass."""
    key = backend(framework).seed_key(0)
    run = run_pass(framework, sizes, False)
    (logits, paddings), _ = run(*weights, place(framework, inputs), key, 0.1)
    return to_numpy(logits), to_numpy(paddings)


def lstm_runner(framework: str, jax_params: dict[str, Any]) -> Callable[..., np.ndarray]:
    """Inputs and lengths -> states of both directions, for JAX parameters ``{"LSTM": ...}``."""
    layers = load_twin("algoperf_ref.workloads.librispeech.lstm_{}", framework)
    cell = jax_params["LSTM"]["LSTMSequenceEncoder_0"]["cell"]
    features, hidden = cell["ii"]["kernel"].shape
    if framework == "jax":
        run = fast_jit(functools.partial(layers.BiLstm(hidden).apply, {"params": jax_params}))
    else:
        import torch

        run = layers.BiLstm(features, hidden)
        moved = transplant({"BatchRNN_0": {"LSTM_0": jax_params}})
        run.load_state_dict({name.split(".")[-1]: torch.tensor(v) for name, v in moved.items()})
    place_array = backend(framework).replicate
    return lambda *arrays: to_numpy(run(*map(place_array, arrays)))
