"""Small inputs for the tests of the vision transformer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.imagenet.vit_sizes import VitSizes
from conformance_tests.workloads.samples import backend, fast_jit, flatten, to_numpy

VARIANTS = ("imagenet_vit", "imagenet_vit_glu", "imagenet_vit_post_ln", "imagenet_vit_map")
TINY = VitSizes(num_classes=10, patch_size=4, width=16, depth=2, num_heads=4, mlp_dim=32)
CASES = {
    "base": TINY,
    "glu": dataclasses.replace(TINY, use_glu=True),
    "post_ln": dataclasses.replace(TINY, use_post_layer_norm=True),
    "map": dataclasses.replace(TINY, use_map=True),
}
"""Sizes of the official networks behind the forward vectors ``vit_<case>``."""

_TORCH_NAMES = {
    "MAPHead_0": "map",
    "Transformer": "encoder",
    "encoder_layernorm": "encoder_norm",
    "LayerNorm_0": "layer_norm0",
    "LayerNorm_2": "layer_norm2",
    "MultiHeadDotProductAttention_1": "self_attention1",
    "MlpBlock_3": "mlp3",
    "kernel": "weight",
    "scale": "weight",
}
_TORCH_NAMES_IN_MAP_HEAD = {
    "MultiHeadDotProductAttention_0": "mha",
    "query": "q_proj",
    "key": "kv_proj",
    "value": "kv_proj",
    "out": "out_proj",
    "LayerNorm_0": "layer_norm",
    "MlpBlock_0": "mlp",
}


def images(*shape: int, seed: int = 0) -> np.ndarray:
    """Random float32 images ``[batch, height, width, 3]``."""
    return np.random.RandomState(seed).randn(*shape, 3).astype(np.float32)


def torch_name(jax_path: str, *, use_glu: bool) -> str:
    """The PyTorch name of a JAX parameter. Source: Workload facts (imagenet_vit), 2."""
    parts = jax_path.split("/")
    is_in_map_head = parts[0] == "MAPHead_0"
    dense = ("linear1", "glu_linear", "linear2")
    if not use_glu or is_in_map_head:
        dense = ("linear1", "linear2")
    names = _TORCH_NAMES | (_TORCH_NAMES_IN_MAP_HEAD if is_in_map_head else {})

    def rename(part: str) -> str:
        kind, _, number = part.rpartition("_")
        if kind == "encoderblock":
            return f"net.{number}"
        if kind == "Dense":
            return dense[int(number)]
        return names.get(part, part)

    return ".".join(map(rename, parts))


def transplant(params: dict[str, Any], *, use_glu: bool) -> dict[str, np.ndarray]:
    """JAX parameters, or their gradients, under PyTorch names and in PyTorch layout."""
    moved: dict[str, np.ndarray] = {}
    for path, value in sorted(flatten(params).items()):  # Keys come before values.
        name, array = torch_name(path, use_glu=use_glu), _torch_layout(path, np.asarray(value))
        moved[name] = np.concatenate([moved[name], array]) if name in moved else array
    return moved


def _torch_layout(path: str, value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if path.endswith("kernel"):
        rows = value.shape[0] if "/out/" not in path else value.shape[0] * value.shape[1]
        return value.reshape(rows, -1).T
    return value if path.endswith("probe") else value.reshape(-1)


def twin(framework: str) -> Any:
    """The module of one framework's vision transformer."""
    return load_twin("algoperf_ref.workloads.imagenet.vit_{}", framework)


def build(framework: str, sizes: VitSizes) -> Any:
    """The network of some sizes."""
    return twin(framework).build(sizes, backend(framework))


def random_params(sizes: VitSizes, seed: int = 0) -> dict[str, Any]:
    """Random JAX parameters, drawn by numpy: nothing is compiled."""
    import jax

    model = build("jax", sizes)
    abstract = jax.eval_shape(lambda key: model.initialise(key).params, jax.random.PRNGKey(0))
    random = np.random.RandomState(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        scale = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if name == "kernel" else 0.1
        values = (name == "scale") + scale * random.randn(*leaf.shape)
        return values.astype(np.float32)

    params: dict[str, Any] = jax.tree_util.tree_map_with_path(draw, abstract)
    return params


def load_weights(framework: str, sizes: VitSizes, jax_params: dict[str, Any]) -> Any:
    """JAX parameters, as parameters of either framework."""
    if framework == "jax":
        return backend("jax").replicate(jax_params)
    import torch

    module = build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    moved = transplant(jax_params, use_glu=sizes.use_glu)
    module.load_state_dict({name: torch.tensor(value) for name, value in moved.items()})
    return module


def place(framework: str, array: np.ndarray) -> Any:
    """Images ``[batch, height, width, channels]`` on the device, in the framework's layout."""
    if framework == "pytorch" and array.ndim == 4:
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    return backend(framework).replicate(array)


@functools.cache
def evaluation_pass(framework: str, sizes: VitSizes) -> Callable[..., Any]:
    """Parameters and images -> logits; compiled once for all tests of some sizes."""
    model = build(framework, sizes)

    def forward(params: Any, images: Any) -> Any:
        return model.forward(params, images, training=False, key=None, dropout_rate=0.1)

    return fast_jit(forward) if framework == "jax" else forward


def logits_of(framework: str, sizes: VitSizes, params: Any, images: np.ndarray) -> np.ndarray:
    """Logits of an evaluation pass over images ``[batch, height, width, 3]``."""
    placed = place(framework, images)
    return to_numpy(evaluation_pass(framework, sizes)(params, placed))
