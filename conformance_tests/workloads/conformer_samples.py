"""Small inputs for the tests of the Conformer."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.librispeech.conformer_sizes import ConformerSizes
from conformance_tests.workloads.deepspeech_samples import place
from conformance_tests.workloads.resnet_samples import below
from conformance_tests.workloads.samples import backend, fast_jit, flatten, golden_arrays, to_numpy

VARIANTS = (
    "librispeech_conformer",
    "librispeech_conformer_attention_temperature",
    "librispeech_conformer_layernorm",
    "librispeech_conformer_gelu",
)
TINY = ConformerSizes(
    num_outputs=12,
    encoder_dim=8,
    num_attention_heads=2,
    num_encoder_layers=2,
    feed_forward_expansion_factor=2,
    subsampling_channels=8,
    spec_augment=None,
)
CASES = {
    "base": TINY,
    "attention_temperature": dataclasses.replace(TINY, attention_temperature=1.6),
    "gelu": dataclasses.replace(TINY, use_gelu=True),
    "no_post_ln": dataclasses.replace(TINY, use_post_layer_norm=False),
}
"""Sizes of the official networks behind the forward vectors ``conformer_<case>``."""

_HEADS = "query", "key", "value"
_TORCH_NAMES = {
    "Subsample_0/Conv2dSubsampling_0": "subsample.conv1",
    "Subsample_0/Conv2dSubsampling_1": "subsample.conv2",
    "Subsample_0/Dense_0": "subsample.linear",
    "LayerNorm_0": "ln",
    "Dense_0": "lin",
}
_ATTENTION = "MultiHeadedSelfAttention_0/MultiHeadDotProductAttention_0"
_TORCH_NAMES_OF_A_BLOCK = {
    "MultiHeadedSelfAttention_0/LayerNorm_0": "mhsa.ln",
    **{f"{_ATTENTION}/{name}": "mhsa.self_attention.in_proj" for name in _HEADS},
    f"{_ATTENTION}/out": "mhsa.self_attention.out_proj",
    f"{_ATTENTION}/QueryScaler_0": "mhsa.self_attention.qs",
    "ConvolutionBlock_0/LayerNorm_0": "conv.ln",
    "ConvolutionBlock_0/Conv_0": "conv.conv1",
    "ConvolutionBlock_0/BatchNorm_0": "conv.bn",
    **{f"ConvolutionBlock_0/Dense_{n}": f"conv.lin{n + 1}" for n in range(3)},
    **{f"FeedForwardModule_{n}/LayerNorm_0": f"ff{n + 1}.ln" for n in range(2)},
    **{
        f"FeedForwardModule_{n}/Dense_{m}": f"ff{n + 1}.linear{m + 1}"
        for n in range(2)
        for m in range(2)
    },
    "LayerNorm_0": "ln",
}


def twin(framework: str) -> Any:
    """The module of one framework's networks."""
    return load_twin("algoperf_ref.workloads.librispeech.conformer_{}", framework)


@functools.cache
def build(framework: str, sizes: ConformerSizes) -> Any:
    """The network of some sizes."""
    return twin(framework).build(sizes, backend(framework))


def torch_name(jax_path: str) -> str:
    """PyTorch name of a JAX parameter or statistic; of queries, keys and values the joined one's.

    Source: Workload facts (librispeech_conformer), 2.
    """
    layer, leaf = jax_path.rsplit("/", 1)
    is_subsampling = "Conv2dSubsampling" in layer
    suffix = {"mean": "running_mean", "var": "running_var"}.get(leaf, leaf)
    if leaf == "kernel" and not is_subsampling:
        suffix = "weight"
    block = re.fullmatch(r"ConformerBlock_(\d+)/(.*)", layer)
    if block is None:
        return f"{_TORCH_NAMES[layer]}.{suffix}"
    return f"conformers.{block[1]}.{_TORCH_NAMES_OF_A_BLOCK[block[2]]}.{suffix}"


def transplant(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    """JAX parameters, gradients or statistics under PyTorch names and in PyTorch layout."""

    def order(item: tuple[str, Any]) -> tuple[str, int]:
        layer = item[0].split("/")[-2]
        return torch_name(item[0]), _HEADS.index(layer) if layer in _HEADS else 0

    parts: dict[str, list[np.ndarray]] = {}
    for path, value in sorted(flatten(tree).items(), key=order):
        array = np.asarray(value)
        *_, layer, leaf = path.split("/")
        if layer in _HEADS:
            array = array.reshape(-1) if leaf == "bias" else array.reshape(len(array), -1)
        if layer == "out" and leaf == "kernel":
            array = array.reshape(-1, array.shape[-1])
        axes = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}[array.ndim]
        parts.setdefault(torch_name(path), []).append(array.transpose(axes))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def load_weights(
    framework: str, sizes: ConformerSizes, params: dict[str, Any], statistics: dict[str, Any]
) -> tuple[Any, Any]:
    """JAX parameters and statistics, as parameters and model state of either framework."""
    if framework == "jax":
        return backend("jax").replicate((params, {"batch_stats": statistics}))
    import torch

    new = build("pytorch", sizes).initialise(backend("pytorch").seed_key(0))
    moved = transplant(params) | transplant(statistics)
    tensors = {name: torch.tensor(np.ascontiguousarray(value)) for name, value in moved.items()}
    unknown = new.params.load_state_dict(tensors, strict=False)
    assert not unknown.unexpected_keys
    constant = ("preprocessor.", "paddings_kernel", "inv_timescales", "bn.dim")
    assert all(any(part in name for part in constant) for name in unknown.missing_keys)
    return new.params, new.model_state


def statistics_of(framework: str, params: Any, model_state: Any) -> dict[str, np.ndarray]:
    """Running statistics by PyTorch name."""
    if framework == "jax":
        return transplant(model_state["batch_stats"])
    buffers = params.named_buffers()
    return {name: value.numpy().copy() for name, value in buffers if "running" in name}


@functools.cache
def golden(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """All arrays of a forward vector, its JAX parameters and its JAX statistics."""
    arrays = golden_arrays(f"forward/conformer_{case}.npz")
    return arrays, below(arrays, "jax/w/"), below(arrays, "jax/s/")


def loaded(case: str, framework: str) -> tuple[Any, Any]:
    """A forward vector's parameters and model state; a PyTorch module is a new one."""
    _, params, statistics = golden(case)
    return load_weights(framework, CASES[case], params, statistics)


@functools.cache
def run_pass(
    framework: str, sizes: ConformerSizes, training: bool, update: bool = True
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
    sizes: ConformerSizes,
    weights: tuple[Any, Any],
    inputs: tuple[np.ndarray, np.ndarray],
    training: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and paddings of a pass without dropout that leaves the running statistics alone."""
    key = backend(framework).seed_key(0)
    run = run_pass(framework, sizes, training, False)
    (logits, paddings), _ = run(*weights, place(framework, inputs), key, 0.0)
    return to_numpy(logits), to_numpy(paddings)
