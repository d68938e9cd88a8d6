"""Small inputs for the tests of the imaging workload's models, loss and metric."""

from __future__ import annotations

from typing import Any

import numpy as np

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.fastmri.sizes import UnetSizes
from conformance_tests.workloads.samples import backend, flatten

VARIANTS = ("fastmri", "fastmri_model_size", "fastmri_tanh", "fastmri_layernorm")
TINY = UnetSizes(num_pool_layers=2, num_channels=4, use_tanh=False, use_layer_norm=False)

GOLDEN_SIZES = {
    "base": UnetSizes(3, 4, use_tanh=False, use_layer_norm=False),
    "base_odd_size": UnetSizes(3, 4, use_tanh=False, use_layer_norm=False),
    "tanh": UnetSizes(2, 4, use_tanh=True, use_layer_norm=False),
    "layernorm": UnetSizes(2, 4, use_tanh=False, use_layer_norm=True),
    "depth4": UnetSizes(4, 2, use_tanh=False, use_layer_norm=False),
}
"""Sizes of the official networks behind the forward vectors ``unet_<case>``."""


def images(*shape: int, seed: int = 0) -> np.ndarray:
    """Random float32 images ``[batch, height, width]``."""
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def torch_name(jax_path: str, sizes: UnetSizes) -> str:
    """The PyTorch name of a JAX parameter. Source: Workload facts (fastmri), 2."""
    depth = sizes.num_pool_layers
    block, *below = jax_path.split("/")
    kind, number = block.split("_")
    if kind == "Conv":
        return f"up_conv.{depth - 1}.1.{'bias' if below[0] == 'bias' else 'weight'}"
    if kind == "TransposeConvBlock":
        return f"up_transpose_conv.{number}.layers.0.weight"
    layer, parameter = below
    layer_kind, layer_number = layer.split("_")
    place = 4 * int(layer_number) + (layer_kind == "LayerNorm")
    suffix = f"conv_layers.{place}.{'bias' if parameter == 'bias' else 'weight'}"
    level = int(number)
    if level < depth:
        return f"down_sample_layers.{level}.{suffix}"
    if level == depth:
        return f"conv.{suffix}"
    up = level - depth - 1
    return f"up_conv.{up}.0.{suffix}" if up == depth - 1 else f"up_conv.{up}.{suffix}"


def transplant(params: dict[str, Any], sizes: UnetSizes) -> dict[str, np.ndarray]:
    """JAX parameters, or their gradients, under PyTorch names and in PyTorch layout."""
    return {
        torch_name(path, sizes): _torch_layout(path, np.asarray(value))
        for path, value in flatten(params).items()
    }


def _torch_layout(path: str, value: np.ndarray) -> np.ndarray:
    if value.ndim != 4:
        return value
    if "ConvTranspose" in path:  # [height, width, in, out], flipped, to [in, out, height, width].
        return value[::-1, ::-1].transpose(2, 3, 0, 1).copy()
    return value.transpose(3, 2, 0, 1)


def twin(framework: str) -> Any:
    """The module of one framework's U-Net."""
    return load_twin("algoperf_ref.workloads.fastmri.unet_{}", framework)


def build(framework: str, sizes: UnetSizes) -> Any:
    """The network of some sizes."""
    return twin(framework).build(sizes, backend(framework))


def random_params(sizes: UnetSizes, seed: int = 0) -> dict[str, Any]:
    """Random JAX parameters, drawn by numpy: nothing is compiled."""
    import jax

    model = build("jax", sizes)
    abstract = jax.eval_shape(lambda key: model.initialise(key).params, jax.random.PRNGKey(0))
    random = np.random.RandomState(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) == 4 else 100
        shift = 1.0 if path[-1].key == "scale" else 0.0
        return (shift + random.randn(*leaf.shape) / np.sqrt(fan_in)).astype(np.float32)

    params: dict[str, Any] = jax.tree_util.tree_map_with_path(draw, abstract)
    return params


def load_weights(framework: str, sizes: UnetSizes, jax_params: dict[str, Any]) -> Any:
    """JAX parameters, as parameters of either framework."""
    if framework == "jax":
        return backend("jax").replicate(jax_params)
    import torch

    module = build("pytorch", sizes).initialise(backend("pytorch").seed_key(0)).params
    state = {name: torch.tensor(value) for name, value in transplant(jax_params, sizes).items()}
    module.load_state_dict(state)
    return module


def place(framework: str, array: np.ndarray) -> Any:
    """A numpy array on the framework's device."""
    return backend(framework).replicate(array)
