"""Small inputs for the tests of the recommendation model."""

from __future__ import annotations

from typing import Any

import numpy as np

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.criteo1tb.sizes import NUM_EMBEDDING_CHUNKS, DlrmSizes
from conformance_tests.workloads.samples import backend, flatten

CRITEO = ("criteo1tb", "criteo1tb_layernorm", "criteo1tb_resnet", "criteo1tb_embed_init")

GOLDEN_SIZES = {
    "base": DlrmSizes(64, 13, 128, (16, 24, 128), (12, 10, 8, 1)),
    "layernorm": DlrmSizes(64, 13, 128, (16, 24, 128), (12, 10, 8, 1), use_layer_norm=True),
    "resnet": DlrmSizes(64, 13, 8, (16,) * 3, (16, 16, 16, 16, 1), use_resnet=True),
}
"""Sizes of the official networks behind the forward vectors ``dlrm_<case>``."""

SMALL_SIZES = {
    "base": DlrmSizes(1000, 13, 8, (16, 12, 8), (20, 16, 12, 10, 1)),
    "layernorm": DlrmSizes(1000, 13, 8, (16, 12, 8), (20, 16, 12, 10, 1), use_layer_norm=True),
    "resnet": DlrmSizes(1000, 13, 8, (16,) * 3, (12, 12, 12, 12, 1), use_resnet=True),
}
"""As deep as the full models."""


def twin(framework: str) -> Any:
    """The model's module of one framework."""
    return load_twin("algoperf_ref.workloads.criteo1tb.dlrm_{}", framework)


def build(framework: str, sizes: DlrmSizes) -> Any:
    """The model of some sizes."""
    return twin(framework).build(sizes, backend(framework))


def inputs(count: int, seed: int = 0) -> np.ndarray:
    """Random rows as the pipeline makes them; most ids are above any small vocabulary."""
    random = np.random.RandomState(seed)
    dense = np.log1p(random.randint(0, 50, (count, 13)))
    ids = random.randint(0, 39_000_000, (count, 26))
    return np.concatenate([dense, ids], axis=1).astype(np.float32)


def labels(count: int, seed: int = 0) -> np.ndarray:
    """Random clicks, float32 ``[count]``."""
    return np.random.RandomState(seed).randint(0, 2, count).astype(np.float32)


def abstract_params(sizes: DlrmSizes) -> Any:
    """The JAX model as it would be initialised; nothing is computed or allocated."""
    import jax

    described: list[Any] = []

    def initialise(key: Any) -> Any:
        described.append(build("jax", sizes).initialise(key))
        return described[0].params

    params = jax.eval_shape(initialise, jax.random.PRNGKey(0))
    return described[0]._replace(params=params)


def random_params(sizes: DlrmSizes, seed: int = 0) -> dict[str, Any]:
    """Random JAX parameters, drawn by numpy: nothing is compiled."""
    import jax

    random = np.random.RandomState(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        is_kernel = path[-1].key == "kernel"
        scale = np.sqrt(2 / leaf.shape[0]) if is_kernel else 0.3
        shift = 1.0 if path[-1].key == "scale" else 0.0
        return (shift + scale * random.randn(*leaf.shape)).astype(np.float32)

    params: dict[str, Any] = jax.tree_util.tree_map_with_path(draw, abstract_params(sizes).params)
    return params


def torch_names(sizes: DlrmSizes) -> dict[str, str]:
    """The PyTorch layer of each numbered JAX layer. Source: Workload facts (criteo1tb), 2d."""
    per_layer = 3 if sizes.use_layer_norm else 2
    bottom, top = len(sizes.mlp_bottom_dims), len(sizes.mlp_top_dims)
    names = {}
    for mlp, first, count in (("bot_mlp", 0, bottom), ("top_mlp", bottom, top)):
        for layer in range(count):
            # The last top layer stands behind the place of dropout.
            is_last = mlp == "top_mlp" and layer == top - 1
            place = per_layer * layer + is_last
            number = f"{layer}.module.0" if sizes.use_resnet else str(place)
            names[f"Dense_{first + layer}"] = f"{mlp}.{number}"
            if sizes.use_layer_norm and not is_last:
                norm = first + layer + (mlp == "top_mlp")
                names[f"LayerNorm_{norm}"] = f"{mlp}.{place + 2}"
    if sizes.use_layer_norm:
        names[f"LayerNorm_{bottom}"] = "embed_ln"
    return names


def transplant(params: dict[str, Any], sizes: DlrmSizes) -> dict[str, np.ndarray]:
    """JAX parameters, or their gradients, under PyTorch names and in PyTorch layout."""
    chunks = np.split(np.asarray(params["embedding_table"]), NUM_EMBEDDING_CHUNKS)
    state = {f"embedding_chunk_{number}": chunk for number, chunk in enumerate(chunks)}
    names = torch_names(sizes)
    for path, value in flatten(params).items():
        if path == "embedding_table":
            continue
        layer, kind = path.split("/")
        array = np.asarray(value)
        suffix = "bias" if kind == "bias" else "weight"
        state[f"{names[layer]}.{suffix}"] = array.T if kind == "kernel" else array
    return state


def load_weights(framework: str, sizes: DlrmSizes, jax_params: dict[str, Any]) -> Any:
    """JAX parameters, as parameters of either framework."""
    if framework == "jax":
        return backend("jax").replicate(jax_params)
    import torch

    module = twin("pytorch").create_module(sizes)
    state = {name: torch.tensor(value) for name, value in transplant(jax_params, sizes).items()}
    module.load_state_dict(state)
    return module
