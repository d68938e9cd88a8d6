"""The graph network in PyTorch; twin of ``gnn_jax``. Source: Workload facts (ogbg), 2."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from algoperf_ref.data.graphs import GraphsTuple
from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.ogbg.sizes import EDGE_FEATURES, NODE_FEATURES, GraphNetworkSizes
from spec.submission import ParameterType


class Perceptron(nn.Module):
    """For each width: dense layer, layer norm, activation, dropout; also after the last one.

    Args:
      in_features: width of the inputs.
      sizes: widths of the layers and the activation.
    """

    def __init__(self, in_features: int, sizes: GraphNetworkSizes) -> None:
        super().__init__()
        self._activation = torch_layers.activation(sizes.activation_fn_name)
        self._depth = len(sizes.hidden_dims)
        for layer, width in enumerate(sizes.hidden_dims):
            self.add_module(f"dense_{layer}", torch_layers.Dense(in_features, width))
            self.add_module(f"norm_{layer}", torch_layers.LayerNorm(width))
            in_features = width

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[rows, in_features]`` to ``[rows, last width]``."""
        for layer in range(self._depth):
            dense, norm = getattr(self, f"dense_{layer}"), getattr(self, f"norm_{layer}")
            inputs = self._activation(norm(dense(inputs)))
            inputs = torch_layers.dropout(inputs, dropout_rate, self.training)
        return inputs


class Structure(NamedTuple):
    """Which node and graph everything belongs to, int64.

    Attributes:
      senders: node that each edge starts from, ``[edges]``.
      receivers: node that each edge points to, ``[edges]``.
      edge_graph: graph of each edge, ``[edges]``.
      node_graph: graph of each node, ``[nodes]``.
    """

    senders: torch.Tensor
    receivers: torch.Tensor
    edge_graph: torch.Tensor
    node_graph: torch.Tensor


class MessagePassingStep(nn.Module):
    """One update of edges, then nodes, then globals.

    Args:
      node_dim: width of nodes and edges before the step.
      context_dim: width of the globals before the step.
      sizes: sizes of the network.
    """

    def __init__(self, node_dim: int, context_dim: int, sizes: GraphNetworkSizes) -> None:
        super().__init__()
        hidden = sizes.hidden_dims[-1]
        self.update_edge_fn = Perceptron(3 * node_dim + context_dim, sizes)
        self.update_node_fn = Perceptron(node_dim + 2 * hidden + context_dim, sizes)
        self.update_global_fn = Perceptron(2 * hidden + context_dim, sizes)

    def forward(
        self,
        edges: torch.Tensor,
        nodes: torch.Tensor,
        context: torch.Tensor,
        structure: Structure,
        dropout_rate: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the new edges, nodes and globals."""
        senders, receivers, edge_graph, node_graph = structure
        ends = [nodes.index_select(0, senders), nodes.index_select(0, receivers)]
        inputs = torch.cat([edges, *ends, context.index_select(0, edge_graph)], -1)
        edges = self.update_edge_fn(inputs, dropout_rate)
        sums = [_sum_by(edges, senders, len(nodes)), _sum_by(edges, receivers, len(nodes))]
        inputs = torch.cat([nodes, *sums, context.index_select(0, node_graph)], -1)
        nodes = self.update_node_fn(inputs, dropout_rate)
        sums = [_sum_by(nodes, node_graph, len(context)), _sum_by(edges, edge_graph, len(context))]
        context = self.update_global_fn(torch.cat([*sums, context], -1), dropout_rate)
        return edges, nodes, context


class GraphNetwork(nn.Module):
    """Predicts the tasks of every graph of a padded batch.

    Args:
      sizes: widths, depth and activation.
    """

    def __init__(self, sizes: GraphNetworkSizes) -> None:
        super().__init__()
        self._sizes = sizes
        latent, hidden = sizes.latent_dim, sizes.hidden_dims[-1]
        embedding = ParameterType.EMBEDDING
        self.node_embedder = torch_layers.Dense(NODE_FEATURES, latent, embedding)
        self.edge_embedder = torch_layers.Dense(EDGE_FEATURES, latent, embedding)
        self.graph_network = nn.ModuleList(
            MessagePassingStep(hidden, hidden, sizes)
            if step
            else MessagePassingStep(latent, sizes.num_outputs, sizes)
            for step in range(sizes.num_message_passing_steps)
        )
        self.decoder = torch_layers.Dense(hidden, sizes.num_outputs)

    def forward(self, graph: GraphsTuple, dropout_rate: float) -> torch.Tensor:
        """Returns logits, float ``[graphs, tasks]``.

        Args:
          graph: padded graphs; the counts of ``n_node`` and ``n_edge`` add up to all nodes and
            edges. ``globals`` is not read.
          dropout_rate: rate behind the activation of every layer of every perceptron.
        """
        structure = Structure(
            senders=graph.senders.long(),
            receivers=graph.receivers.long(),
            edge_graph=_graph_of_each(graph.n_edge, len(graph.edges)),
            node_graph=_graph_of_each(graph.n_node, len(graph.nodes)),
        )
        nodes, edges = self.node_embedder(graph.nodes), self.edge_embedder(graph.edges)
        context = nodes.new_zeros(len(graph.n_node), self._sizes.num_outputs)
        for step in self.graph_network:
            edges, nodes, context = step(edges, nodes, context, structure, dropout_rate)
        logits: torch.Tensor = self.decoder(context)
        return logits


def build(sizes: GraphNetworkSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: GraphNetwork(sizes), backend)


def output_parameters(sizes: GraphNetworkSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters."""
    return frozenset({"decoder.weight", "decoder.bias"})


def _graph_of_each(counts: torch.Tensor, total: int) -> torch.Tensor:
    """Returns the number of the graph that each node or edge belongs to, int64 ``[total]``."""
    numbers = torch.arange(len(counts), device=counts.device)
    return torch.repeat_interleave(numbers, counts, output_size=total)


def _sum_by(values: torch.Tensor, segment: torch.Tensor, count: int) -> torch.Tensor:
    """Returns the sums of the rows of each segment, ``[count, width]``."""
    return values.new_zeros(count, values.shape[1]).index_add(0, segment, values)
