"""Sizes of the graph network, read from a workload's row of the specification."""

from __future__ import annotations

from dataclasses import dataclass

from spec.workloads import WorkloadSpec

NODE_FEATURES = 9
EDGE_FEATURES = 3
"""Integer categories per atom and per bond of ogbg-molpcba. Source: Workload facts (ogbg), 2."""


@dataclass(frozen=True)
class GraphNetworkSizes:
    """What tells one graph network from another.

    Attributes:
      latent_dim: width of the node and edge embeddings.
      hidden_dims: widths of the layers of every multilayer perceptron.
      num_message_passing_steps: how often edges, nodes and globals are updated.
      num_outputs: number of predicted tasks; also the width of the first globals.
      activation_fn_name: ``relu``, ``gelu`` or ``silu``.
    """

    latent_dim: int
    hidden_dims: tuple[int, ...]
    num_message_passing_steps: int
    num_outputs: int
    activation_fn_name: str

    @classmethod
    def of(cls, spec: WorkloadSpec) -> GraphNetworkSizes:
        """Reads the sizes of a workload."""
        config = spec.model_config
        return cls(
            latent_dim=config["latent_dim"],
            hidden_dims=tuple(config["hidden_dims"]),
            num_message_passing_steps=config["num_message_passing_steps"],
            num_outputs=config["num_outputs"],
            activation_fn_name=config["activation_fn_name"],
        )
