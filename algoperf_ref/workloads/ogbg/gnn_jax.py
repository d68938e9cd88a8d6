"""The graph network in flax linen; twin of ``gnn_torch``. Source: Workload facts (ogbg), 2."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.data.graphs import GraphsTuple
from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.ogbg.sizes import EDGE_FEATURES, NODE_FEATURES, GraphNetworkSizes
from spec.submission import ParameterType

_ROLES = ("edge", "node", "global")
"""What a message-passing step updates, in this order."""


class GraphNetwork(nn.Module):
    """Predicts the tasks of every graph of a padded batch.

    All sizes come from the shapes of the inputs, so the module can be compiled. The layers of all
    perceptrons are numbered through: ``Dense_n`` and ``LayerNorm_n`` stand at the top of the tree.

    Attributes:
      sizes: widths, depth and activation.
    """

    sizes: GraphNetworkSizes

    @nn.compact
    def __call__(self, graph: GraphsTuple, training: bool, dropout_rate: Any) -> jax.Array:
        """Returns logits, float ``[graphs, tasks]``.

        Args:
          graph: padded graphs; the counts of ``n_node`` and ``n_edge`` add up to all nodes and
            edges. ``globals`` is not read.
          training: whether dropout is on.
          dropout_rate: rate behind the activation of every layer of every perceptron.
        """
        sizes = self.sizes
        num_nodes, num_graphs = graph.nodes.shape[0], graph.n_node.shape[0]
        node_graph = _graph_of_each(graph.n_node, num_nodes)
        edge_graph = _graph_of_each(graph.n_edge, graph.edges.shape[0])

        def sum_by(values: jax.Array, segment: jax.Array, count: int) -> jax.Array:
            return jax.ops.segment_sum(values, segment, num_segments=count)

        def perceptron(step: int, role: str, parts: list[jax.Array]) -> jax.Array:
            return self._perceptron(step, role, jnp.concatenate(parts, -1), training, dropout_rate)

        embedding = ParameterType.EMBEDDING
        nodes = jax_layers.dense(sizes.latent_dim, "node_embedding", embedding)(graph.nodes)
        edges = jax_layers.dense(sizes.latent_dim, "edge_embedding", embedding)(graph.edges)
        context = jnp.zeros((num_graphs, sizes.num_outputs), nodes.dtype)
        for step in range(sizes.num_message_passing_steps):
            edges = perceptron(
                step,
                "edge",
                [edges, nodes[graph.senders], nodes[graph.receivers], context[edge_graph]],
            )
            sent = sum_by(edges, graph.senders, num_nodes)
            received = sum_by(edges, graph.receivers, num_nodes)
            nodes = perceptron(step, "node", [nodes, sent, received, context[node_graph]])
            all_nodes = sum_by(nodes, node_graph, num_graphs)
            all_edges = sum_by(edges, edge_graph, num_graphs)
            context = perceptron(step, "global", [all_nodes, all_edges, context])
        return jax_layers.dense(sizes.num_outputs, decoder_name(sizes))(context)

    def _perceptron(
        self, step: int, role: str, inputs: jax.Array, training: bool, dropout_rate: Any
    ) -> jax.Array:
        activation = jax_layers.activation(self.sizes.activation_fn_name)
        for layer, width in enumerate(self.sizes.hidden_dims):
            number = _layer_number(self.sizes, step, role, layer)
            inputs = jax_layers.dense(width, f"Dense_{number}")(inputs)
            inputs = activation(jax_layers.layer_norm(f"LayerNorm_{number}")(inputs))
            if training:
                inputs = jax_layers.dropout(self.make_rng("dropout"), inputs, dropout_rate)
        return inputs


def build(sizes: GraphNetworkSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""
    return JaxModel(GraphNetwork(sizes), _smallest_graph, backend)


def decoder_name(sizes: GraphNetworkSizes) -> str:
    """Returns the key of the output layer: the number after the last layer of the perceptrons."""
    return f"Dense_{_layer_number(sizes, sizes.num_message_passing_steps, _ROLES[0], 0)}"


def output_parameters(sizes: GraphNetworkSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree.

    The official implementation asks for ``Dense_17``, which is another layer or none (Decisions,
    21).
    """
    return frozenset({decoder_name(sizes)})


def _layer_number(sizes: GraphNetworkSizes, step: int, role: str, layer: int) -> int:
    return (step * len(_ROLES) + _ROLES.index(role)) * len(sizes.hidden_dims) + layer


def _graph_of_each(counts: jax.Array, total: int) -> jax.Array:
    """Returns the number of the graph that each node or edge belongs to, int ``[total]``."""
    return jnp.repeat(jnp.arange(counts.shape[0]), counts, total_repeat_length=total)


def _smallest_graph() -> GraphsTuple:
    """Returns one graph of one node with one edge to itself."""
    return GraphsTuple(
        nodes=jnp.ones((1, NODE_FEATURES)),
        edges=jnp.ones((1, EDGE_FEATURES)),
        receivers=jnp.zeros(1, jnp.int32),
        senders=jnp.zeros(1, jnp.int32),
        globals={},
        n_node=jnp.ones(1, jnp.int32),
        n_edge=jnp.ones(1, jnp.int32),
    )
