"""The recommendation model in flax linen; twin of ``dlrm_torch``.

Source: Workload facts (criteo1tb), 2.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.criteo1tb.sizes import NUM_CATEGORICAL_FEATURES, DlrmSizes
from algoperf_ref.workloads.criteo1tb.table_jax import uniform_in_slices
from spec.submission import ParameterType

_LARGE_TABLE = 2**26
"""Elements above which it pays to optimise the code that draws a table."""


class DlrmSmall(nn.Module):
    """Predicts clicks from dense columns, embedded ids and the products of all pairs of them.

    Attributes:
      sizes: widths and switches.
    """

    sizes: DlrmSizes

    @nn.compact
    def __call__(self, inputs: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Returns logits, float ``[batch, 1]``.

        Args:
          inputs: float32 ``[batch, 39]``: 13 dense columns, then 26 columns of ids.
          training: whether dropout is on.
          dropout_rate: rate behind the last hidden layer.
        """
        sizes = self.sizes
        hidden = inputs[:, : sizes.num_dense_features]
        for number, width in enumerate(sizes.mlp_bottom_dims):
            hidden = jax.nn.relu(_bottom_dense(width, number)(hidden))
            hidden = self._normalise(hidden, number)
        first_top = len(sizes.mlp_bottom_dims)
        embeddings = self._normalise(_look_up(self, inputs), first_top)
        products = _products_of_pairs(jnp.concatenate([hidden[:, None], embeddings], axis=1))
        hidden = jnp.concatenate([hidden, products], axis=1)
        for layer, width in enumerate(sizes.mlp_top_dims[:-1]):
            hidden = jax.nn.relu(_top_dense(width, first_top + layer)(hidden))
            hidden = self._normalise(hidden, first_top + 1 + layer)
            if training and layer == sizes.dropout_layer:
                hidden = jax_layers.dropout(self.make_rng("dropout"), hidden, dropout_rate)
        return _top_dense(sizes.mlp_top_dims[-1], _last_layer(sizes))(hidden)

    def _normalise(self, inputs: jax.Array, number: int) -> jax.Array:
        if not self.sizes.use_layer_norm:
            return inputs
        outputs: jax.Array = jax_layers.layer_norm(f"LayerNorm_{number}")(inputs)
        return outputs


class DlrmResNet(nn.Module):
    """Predicts clicks from dense columns and embedded ids by residual layers.

    Each layer but the first bottom one, the first top one and the last adds to its inputs.

    Attributes:
      sizes: widths.
    """

    sizes: DlrmSizes

    @nn.compact
    def __call__(self, inputs: jax.Array, training: bool, dropout_rate: Any) -> jax.Array:
        """Returns logits, float ``[batch, 1]``; see :class:`DlrmSmall`.

        Dropout stands behind the activation of the last hidden layer, before the addition.
        """
        sizes = self.sizes
        hidden = inputs[:, : sizes.num_dense_features]
        for number, width in enumerate(sizes.mlp_bottom_dims):
            outputs = jax.nn.relu(_bottom_dense(width, number)(hidden))
            hidden = hidden + outputs if number else outputs
        first_top = len(sizes.mlp_bottom_dims)
        embeddings = _look_up(self, inputs).reshape(len(inputs), -1)
        hidden = jnp.concatenate([hidden, embeddings], axis=1)
        for layer, width in enumerate(sizes.mlp_top_dims[:-1]):
            outputs = jax.nn.relu(_top_dense(width, first_top + layer)(hidden))
            if training and layer == sizes.dropout_layer:
                outputs = jax_layers.dropout(self.make_rng("dropout"), outputs, dropout_rate)
            hidden = hidden + outputs if layer else outputs
        return _top_dense(sizes.mlp_top_dims[-1], _last_layer(sizes))(hidden)


def build(sizes: DlrmSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes.

    The official model draws its parameters from the first half of the split key.
    """
    module = DlrmResNet(sizes) if sizes.use_resnet else DlrmSmall(sizes)

    def smallest_inputs() -> jax.Array:
        return jnp.ones((1, sizes.num_columns))

    is_large = sizes.vocab_size * sizes.embed_dim > _LARGE_TABLE
    return JaxModel(
        module, smallest_inputs, backend, parameters_stream=0, has_large_parameters=is_large
    )


def output_parameters(sizes: DlrmSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({f"Dense_{_last_layer(sizes)}"})


def _last_layer(sizes: DlrmSizes) -> int:
    return len(sizes.mlp_bottom_dims) + len(sizes.mlp_top_dims) - 1


def _bottom_dense(features: int, number: int) -> nn.Dense:
    return _dense(features, number, nn.initializers.glorot_uniform())


def _top_dense(features: int, number: int) -> nn.Dense:
    # Glorot's normal distribution, but without flax's cut at two sigma.
    return _dense(features, number, nn.initializers.variance_scaling(1.0, "fan_avg", "normal"))


def _dense(features: int, number: int, kernel_init: nn.initializers.Initializer) -> nn.Dense:
    bias_init = nn.initializers.normal(features**-0.5)
    return nn.Dense(
        features,
        name=f"Dense_{number}",
        kernel_init=jax_layers.typed(kernel_init, ParameterType.WEIGHT),
        bias_init=jax_layers.typed(bias_init, ParameterType.BIAS),
    )


def _look_up(module: DlrmSmall | DlrmResNet, inputs: jax.Array) -> jax.Array:
    """Makes the table and returns the rows of the ids, float ``[batch, 26, embed_dim]``."""
    sizes = module.sizes
    init = jax_layers.typed(uniform_in_slices(sizes.embedding_bound), ParameterType.EMBEDDING)
    table = module.param("embedding_table", init, (sizes.vocab_size, sizes.embed_dim))
    ids = inputs[:, sizes.num_dense_features :].astype(jnp.int32) % sizes.vocab_size
    # The modulo keeps ids in bounds: without the promise every row would be compared again.
    rows: jax.Array = table.at[ids].get(mode="promise_in_bounds")
    return rows


def _products_of_pairs(vectors: jax.Array) -> jax.Array:
    """Returns the upper triangle, row by row, of the dot products of ``[batch, 27, width]``."""
    rows, columns = np.triu_indices(1 + NUM_CATEGORICAL_FEATURES)
    return (vectors @ vectors.mT)[:, rows, columns]
