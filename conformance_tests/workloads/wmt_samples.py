"""Small inputs for the tests of the Transformer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.wmt.sizes import WmtSizes
from conformance_tests.workloads.samples import (
    backend,
    fast_jit,
    flatten,
    golden_arrays,
    nested,
    to_numpy,
)

VARIANTS = ("wmt", "wmt_post_ln", "wmt_attention_temp", "wmt_glu_tanh")
TINY = WmtSizes(24, embed_dim=16, num_heads=4, num_layers=2, mlp_dim=16)
ONE_LAYER = dataclasses.replace(TINY, num_layers=1)
CASES = {
    "base": TINY,
    "post_ln": dataclasses.replace(TINY, pre_ln=False),
    "attention_temp": dataclasses.replace(TINY, attention_temp=4.0),
    "glu_tanh": dataclasses.replace(TINY, activation="tanh", glu=True),
}
"""Sizes of the official networks behind the forward vectors ``wmt_<case>``."""

Arrays = dict[str, np.ndarray]

_ATTENTIONS = {
    "MultiHeadDotProductAttention_0": "self_attn",
    "MultiHeadDotProductAttention_1": "multihead_attn",
}
_FUSED = {
    ("self_attn", "query"): "in_proj",
    ("self_attn", "key"): "in_proj",
    ("self_attn", "value"): "in_proj",
    ("multihead_attn", "query"): "q_proj",
    ("multihead_attn", "key"): "kv_proj",
    ("multihead_attn", "value"): "kv_proj",
}


def torch_name(jax_path: str, *, glu: bool) -> str:
    """The PyTorch name of a JAX parameter. Source: Workload facts (wmt), 2."""
    stack, *parts, leaf = jax_path.split("/")
    kind = "bias" if leaf == "bias" else "weight"
    if not parts:
        return f"{stack}.weight"
    if parts[0].endswith("layernorm"):
        return f"{stack}.{stack}.norm.{kind}"
    layer = f"{stack}.{stack}.layers.{parts[0].rpartition('_')[2]}"
    if parts[1].startswith("LayerNorm"):
        return f"{layer}.norm{int(parts[1][-1]) + 1}.{kind}"
    if parts[1].startswith("MlpBlock"):
        names = ("linear1", "linear_glu", "linear2") if glu else ("linear1", "linear2")
        return f"{layer}.{names[int(parts[2][-1])]}.{kind}"
    attention = _ATTENTIONS[parts[1]]
    return f"{layer}.{attention}.{_FUSED.get((attention, parts[2]), 'out_proj')}.{kind}"


def transplant(params: dict[str, Any], *, glu: bool) -> Arrays:
    """JAX parameters, or their gradients, under PyTorch names and in PyTorch layout."""
    moved: Arrays = {}
    # Fused rows are queries, keys, values; "key" < "query" < "value" in the alphabet.
    order = sorted(flatten(params).items(), key=lambda item: item[0].replace("query", "a"))
    for path, value in order:
        name, array = torch_name(path, glu=glu), _torch_layout(path, np.asarray(value))
        moved[name] = np.concatenate([moved[name], array]) if name in moved else array
    return moved


def _torch_layout(path: str, value: np.ndarray) -> np.ndarray:
    if not path.endswith("kernel"):
        return value
    width = value.shape[0] * value.shape[1] if "/out/" in path else value.shape[0]
    return value.reshape(width, -1).T


def twin(framework: str) -> Any:
    """The module of one framework's Transformer."""
    return load_twin("algoperf_ref.workloads.wmt.transformer_{}", framework)


def decoding(framework: str) -> Any:
    """The module of one framework's decoding."""
    return load_twin("algoperf_ref.workloads.wmt.translating_{}", framework)


def build(framework: str, sizes: WmtSizes) -> Any:
    """The network of some sizes."""
    return twin(framework).build(sizes, backend(framework))


def golden(case: str) -> tuple[Arrays, dict[str, Any]]:
    """All arrays of a forward vector ``wmt_<case>``, and its JAX parameters."""
    arrays = golden_arrays(f"forward/wmt_{case}.npz")
    prefix = "jax/w/"
    flat = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return arrays, nested(flat)


def random_params(sizes: WmtSizes, seed: int = 0) -> dict[str, Any]:
    """Random JAX parameters, drawn by numpy: nothing is compiled."""
    import jax

    model = build("jax", sizes)
    abstract = jax.eval_shape(lambda key: model.initialise(key).params, jax.random.PRNGKey(0))
    random = np.random.RandomState(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        scale = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if name == "kernel" else 0.1
        scale = 1.0 if name == "embedding" else scale
        values = (name == "scale") + scale * random.randn(*leaf.shape)
        return values.astype(np.float32)

    params: dict[str, Any] = jax.tree_util.tree_map_with_path(draw, abstract)
    return params


def load_weights(framework: str, sizes: WmtSizes, jax_params: dict[str, Any]) -> Any:
    """JAX parameters, as parameters of either framework."""
    if framework == "jax":
        return backend("jax").replicate(jax_params)
    import torch

    module = build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    moved = transplant(jax_params, glu=sizes.glu)
    state = {name: torch.tensor(value) for name, value in moved.items()}
    module.load_state_dict(module.state_dict() | state)
    return module


def place(framework: str, batch: Arrays) -> dict[str, Any]:
    """Arrays of a batch on the device."""
    return {name: backend(framework).replicate(array) for name, array in batch.items()}


def sentences(rows: int, length: int, seed: int = 0, vocabulary: int = 24) -> Arrays:
    """Random inputs and targets, of random lengths, that end in 2."""
    random = np.random.RandomState(seed)
    batch = {}
    for name in ("inputs", "targets"):
        ends = random.randint(1, length, rows)[:, None]
        ids = random.randint(3, vocabulary, (rows, length))
        places = np.arange(length)
        batch[name] = np.where(places < ends, ids, 2 * (places == ends)).astype(np.int32)
    return batch


def packed(batch: Arrays, pairs: list[int], gap: int = 0) -> Arrays:
    """Some rows of a batch one behind the other in a single row, with positions and numbers.

    Between two sentences there are ``gap`` places of padding, where the pipeline leaves none.
    """
    row: dict[str, list[int]] = {}
    for name in ("inputs", "targets"):
        for number, pair in enumerate(pairs, start=1):
            ids = [i for i in batch[name][pair].tolist() if i > 0]
            hole = [0] * (gap if number > 1 else 0)
            row.setdefault(name, []).extend(hole + ids)
            row.setdefault(f"{name}_position", []).extend([*hole, *range(len(ids))])
            row.setdefault(f"{name}_segmentation", []).extend(hole + [number] * len(ids))
    return {name: np.array([values], np.int32) for name, values in row.items()}


def token_losses(
    framework: str, sizes: WmtSizes, params: Any, batch: Arrays, label_smoothing: float = 0.0
) -> np.ndarray:
    """Loss of every target of an evaluation pass over a numpy batch, 0 at padding."""
    weights = (batch["targets"] > 0).astype(np.float32)
    placed = place(framework, batch | {"weights": weights})
    mask = placed.pop("weights")
    logits = evaluation_pass(framework, sizes)(params, placed)
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    result = losses.token_cross_entropy(placed["targets"], logits, mask, label_smoothing)
    return to_numpy(result["per_example"])


def search_markov(framework: str, table: np.ndarray, **options: Any) -> Any:
    """Beam search where the logits of the next token are a row of a table."""
    module = load_twin("algoperf_ref.workloads.wmt.beam_search_{}", framework)
    rows: Any = backend(framework).replicate(table)
    if framework == "jax":
        return module.beam_search(lambda ids, _, caches: (rows[ids], caches), {}, **options)
    return module.beam_search(
        lambda ids, _: rows[ids], lambda beams: None, device=rows.device, **options
    )


@functools.cache
def evaluation_pass(framework: str, sizes: WmtSizes) -> Callable[..., Any]:
    """Parameters and a batch -> logits; compiled once for all tests of some sizes."""
    model = build(framework, sizes)

    def forward(params: Any, batch: Any) -> Any:
        return model.forward(params, batch, training=False, key=None, dropout_rate=0.1)

    return fast_jit(forward) if framework == "jax" else forward


def logits_of(framework: str, sizes: WmtSizes, params: Any, batch: Arrays) -> np.ndarray:
    """Logits of an evaluation pass over a numpy batch."""
    return to_numpy(evaluation_pass(framework, sizes)(params, place(framework, batch)))


@functools.cache
def _decoder(framework: str, name: str, sizes: WmtSizes, **options: Any) -> Callable[..., Any]:
    decode = functools.partial(getattr(decoding(framework), name), sizes, **options)
    return fast_jit(decode) if framework == "jax" else decode


def decode(
    framework: str, name: str, sizes: WmtSizes, params: Any, sources: np.ndarray, **options: Any
) -> np.ndarray:
    """Tokens by ``translate`` or ``greedy``; compiled once for all tests of the same shape."""
    placed = backend(framework).replicate(sources)
    return to_numpy(_decoder(framework, name, sizes, **options)(params, placed))
