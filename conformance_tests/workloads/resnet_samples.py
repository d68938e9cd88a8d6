"""Small inputs for the tests of the residual networks and of batch norm."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.cifar.sizes import CifarSizes
from algoperf_ref.workloads.imagenet.resnet_sizes import ResNetSizes
from conformance_tests.workloads.samples import backend, flatten, golden_arrays, nested
from spec import workloads
from spec.workloads import WorkloadSpec

VARIANTS = (
    "imagenet_resnet",
    "imagenet_resnet_silu",
    "imagenet_resnet_gelu",
    "imagenet_resnet_large_bn_init",
)
NETWORKS = (*VARIANTS, "cifar")

GOLDEN_SIZES = {
    "bottleneck_relu": ResNetSizes((1, 2, 1), 4, 7),
    "bottleneck_silu": ResNetSizes((1, 1), 4, 7, activation="silu"),
    "bottleneck_gelu": ResNetSizes((1, 1), 4, 7, activation="gelu"),
    "basic_relu": ResNetSizes((2, 1, 1), 4, 7, is_bottleneck=False),
    "bottleneck_relu_even_size": ResNetSizes((1, 1, 1), 4, 7),
    "basic_relu_even_size": ResNetSizes((1, 1), 4, 7, is_bottleneck=False),
}
"""Sizes of the official networks behind the forward vectors ``resnet_<case>``."""

TINY = ResNetSizes((1, 1), 2, 3)
TINY_CIFAR = ResNetSizes((1, 1), 2, 3, is_bottleneck=False, has_small_stem=True)


def without_row(**config: Any) -> WorkloadSpec:
    """Stands for a row with nothing but a model configuration."""
    return cast(WorkloadSpec, SimpleNamespace(model_config=config))


def sizes_of(name: str) -> ResNetSizes:
    """Full sizes of a network."""
    if name == "cifar":
        return CifarSizes.of(without_row())
    return ResNetSizes.of(workloads.get(name))


def twin(framework: str) -> Any:
    """The module of one framework's networks."""
    return load_twin("algoperf_ref.workloads.imagenet.resnet_{}", framework)


@functools.cache
def build(framework: str, sizes: ResNetSizes) -> Any:
    """The network of some sizes."""
    return twin(framework).build(sizes, backend(framework))


def torch_name(jax_path: str, sizes: ResNetSizes) -> str:
    """PyTorch name of a JAX parameter or statistic. Source: Workload facts (imagenet_resnet), 2."""
    *block, layer, leaf = jax_path.split("/")
    kind, number = layer.split("_")
    suffix = {"mean": "running_mean", "var": "running_var", "bias": "bias"}.get(leaf, "weight")
    if kind == "Dense":
        return f"fc.{suffix}"
    short = {"Conv": "conv", "BatchNorm": "bn"}[kind]
    if not block:
        return f"{short}1.{suffix}"
    position = int(block[0].split("_")[1])
    stage = sizes.blocks[position].stage
    place = f"layer{stage + 1}.{position - sum(sizes.stage_sizes[:stage])}"
    if number == "proj":
        return f"{place}.downsample.{short}.{suffix}"
    return f"{place}.{short}{int(number) + 1}.{suffix}"


def transplant(tree: dict[str, Any], sizes: ResNetSizes) -> dict[str, np.ndarray]:
    """JAX parameters, gradients or statistics under PyTorch names and in PyTorch layout."""
    layouts = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
    values = {path: np.asarray(value) for path, value in flatten(tree).items()}
    return {torch_name(p, sizes): v.transpose(layouts[v.ndim]) for p, v in values.items()}


def load_weights(
    framework: str, sizes: ResNetSizes, params: dict[str, Any], statistics: dict[str, Any]
) -> tuple[Any, Any]:
    """JAX parameters and statistics, as parameters and model state of either framework."""
    if framework == "jax":
        return backend("jax").replicate((params, {"batch_stats": statistics}))
    import torch

    new = build("pytorch", sizes).initialise(backend("pytorch").seed_key(0))
    state = transplant(params, sizes) | transplant(statistics, sizes)
    tensors = {name: torch.tensor(np.ascontiguousarray(value)) for name, value in state.items()}
    unknown = new.params.load_state_dict(tensors, strict=False)
    assert not unknown.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in unknown.missing_keys)
    return new.params, new.model_state


def place_images(framework: str, images: np.ndarray) -> Any:
    """Images ``[batch, height, width, 3]`` on the device, in the framework's order of axes."""
    moved = images if framework == "jax" else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return backend(framework).replicate(moved)


def statistics_of(framework: str, params: Any, model_state: Any, sizes: ResNetSizes) -> Any:
    """Running statistics by PyTorch name."""
    if framework == "jax":
        return transplant(model_state["batch_stats"], sizes)
    buffers = params.named_buffers()
    return {n: value.numpy().copy() for n, value in buffers if "running" in n}


def golden(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """All arrays of a forward vector, its JAX parameters and its JAX statistics."""
    arrays = golden_arrays(f"forward/resnet_{case}.npz")
    return arrays, below(arrays, "jax/w/"), below(arrays, "jax/s/")


def below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, Any]:
    """The tree of all arrays whose name begins with ``prefix``."""
    return nested({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
