"""Small inputs for the tests of the graph workload."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from algoperf_ref import frameworks
from algoperf_ref.data.graphs import GraphBatch, GraphsTuple, PackedGraphs, ShardLimits, assemble
from algoperf_ref.frameworks.base import Backend
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.ogbg.sizes import GraphNetworkSizes
from algoperf_ref.workloads.ogbg.synthetic import random_graphs

GOLDEN = Path(__file__).parents[1] / "golden"
FRAMEWORKS = frameworks.FRAMEWORKS
OGBG = ("ogbg", "ogbg_gelu", "ogbg_silu", "ogbg_model_size")


@functools.cache
def backend(framework: str) -> Backend:
    """The framework's backend, set up once."""
    if framework == "pytorch":
        import torch

        torch.set_num_threads(1)  # Arrays are tiny here, and waiting threads slow a busy machine.
    return frameworks.create(framework)


def golden_json(name: str) -> Any:
    """A golden file."""
    return json.loads((GOLDEN / name).read_text())


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden file."""
    with np.load(GOLDEN / name) as arrays:
        return dict(arrays)


def molecules(count: int, seed: int = 0, num_tasks: int = 128) -> PackedGraphs:
    """Random graphs of 3 to 12 nodes; half of the labels are unknown."""
    return random_graphs(count, num_tasks, seed)


def batch(count: int = 5, seed: int = 0, num_tasks: int = 128) -> GraphBatch:
    """A padded numpy batch of ``count`` random graphs."""
    limits = ShardLimits(nodes=12 * count, edges=30 * count, graphs=count + 1)
    return assemble(molecules(count, seed, num_tasks), [np.arange(count)], limits)


def golden_sizes(case: str) -> GraphNetworkSizes:
    """Sizes of the official networks behind the forward vectors ``gnn_<case>``."""
    is_deep = case == "model_size_like"
    return GraphNetworkSizes(
        latent_dim=6 if is_deep else 8,
        hidden_dims=(8, 8) if is_deep else (8,),
        num_message_passing_steps=2,
        num_outputs=5,
        activation_fn_name="relu" if is_deep else case,
    )


def golden_graph(arrays: dict[str, np.ndarray]) -> GraphsTuple:
    """The graph of a forward vector."""
    names = {name: arrays[f"in/{name}"] for name in GraphsTuple._fields if name != "globals"}
    return GraphsTuple(globals={}, **names)


def nested(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    """``{"a/b": x}`` as ``{"a": {"b": x}}``."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), parents, tree)[name] = value
    return tree


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": x}}`` as ``{"a/b": x}``."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        below = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{name}/") if below else {f"{prefix}{name}": value}
    return flat


def torch_name(jax_path: str, sizes: GraphNetworkSizes) -> str:
    """The PyTorch name of a JAX parameter. Source: Workload facts (ogbg), 2."""
    layer, kind = jax_path.split("/")
    suffix = "bias" if kind == "bias" else "weight"
    if layer.endswith("_embedding"):
        return f"{layer.removesuffix('ing')}er.{suffix}"
    module, number = layer.split("_")
    per_role = len(sizes.hidden_dims)
    if int(number) == sizes.num_message_passing_steps * 3 * per_role:
        return f"decoder.{suffix}"
    place, position = divmod(int(number), per_role)
    step, role = divmod(place, 3)
    short = {"Dense": "dense", "LayerNorm": "norm"}[module]
    name = ("edge", "node", "global")[role]
    return f"graph_network.{step}.update_{name}_fn.{short}_{position}.{suffix}"


def transplant(params: dict[str, Any], sizes: GraphNetworkSizes) -> dict[str, np.ndarray]:
    """JAX parameters, or their gradients, under PyTorch names and in PyTorch layout."""
    return {
        torch_name(path, sizes): np.asarray(value).T
        if path.endswith("kernel")
        else np.asarray(value)
        for path, value in flatten(params).items()
    }


def build(framework: str, sizes: GraphNetworkSizes) -> Any:
    """The network of some sizes."""
    module = load_twin("algoperf_ref.workloads.ogbg.gnn_{}", framework)
    return module.build(sizes, backend(framework))


def random_params(sizes: GraphNetworkSizes, seed: int = 0) -> dict[str, Any]:
    """Random JAX parameters, drawn by numpy: nothing is compiled."""
    import jax

    model = build("jax", sizes)
    abstract = jax.eval_shape(lambda key: model.initialise(key).params, jax.random.PRNGKey(0))
    random = np.random.RandomState(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        fan_in = leaf.shape[0] if len(leaf.shape) == 2 else 100
        shift = 1.0 if path[-1].key == "scale" else 0.0
        return (shift + random.randn(*leaf.shape) / np.sqrt(fan_in)).astype(np.float32)

    params: dict[str, Any] = jax.tree_util.tree_map_with_path(draw, abstract)
    return params


def load_weights(framework: str, sizes: GraphNetworkSizes, jax_params: dict[str, Any]) -> Any:
    """JAX parameters, as parameters of either framework."""
    if framework == "jax":
        return backend("jax").replicate(jax_params)
    import torch

    module = build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    state = {name: torch.tensor(value) for name, value in transplant(jax_params, sizes).items()}
    module.load_state_dict(state)
    return module


def fast_jit(function: Callable[..., Any], **keywords: Any) -> Callable[..., Any]:
    """``jax.jit`` with little optimisation: tests run a function once or twice."""
    import jax

    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **keywords)


def to_numpy(value: Any) -> np.ndarray:
    """An array of either framework as numpy."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
