"""The recommendation model in PyTorch; twin of ``dlrm_jax``.

Source: Workload facts (criteo1tb), 2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.criteo1tb.sizes import NUM_EMBEDDING_CHUNKS, DlrmSizes
from spec.submission import ParameterType


class BottomDense(torch_layers.Dense):
    """Affine map: Glorot-uniform weight, bias from a normal distribution."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draws weight and bias; see ``TypedLayer``."""
        nn.init.xavier_uniform_(self.weight, generator=generator)
        nn.init.normal_(self.bias, std=len(self.bias) ** -0.5, generator=generator)


class TopDense(torch_layers.Dense):
    """Affine map: Glorot-normal weight, bias from a normal distribution."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draws weight and bias; see ``TypedLayer``."""
        nn.init.xavier_normal_(self.weight, generator=generator)
        nn.init.normal_(self.bias, std=len(self.bias) ** -0.5, generator=generator)


class Dropout(nn.Module):
    """The place of dropout in a perceptron."""

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Drops elements while training."""
        return torch_layers.dropout(inputs, dropout_rate, self.training)


class Perceptron(nn.Sequential):
    """Layers one after another; the rate of dropout is an argument of the call."""

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[batch, in]`` to ``[batch, out]``."""
        for layer in self:
            takes_rate = isinstance(layer, (Dropout, Branch))
            inputs = layer(inputs, dropout_rate) if takes_rate else layer(inputs)
        return inputs


class Branch(nn.Module):
    """Layers of the residual model.

    Args:
      module: the layers.
      is_residual: adds the inputs to the outputs.
    """

    def __init__(self, module: Perceptron, is_residual: bool) -> None:
        super().__init__()
        self.module = module
        self._is_residual = is_residual

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Maps ``[batch, in]`` to ``[batch, out]``."""
        outputs: torch.Tensor = self.module(inputs, dropout_rate)
        return inputs + outputs if self._is_residual else outputs


class Recommender(torch_layers.TypedLayer):
    """What both models share: the inputs and the table of embeddings, cut into chunks.

    Args:
      sizes: widths and switches.
    """

    def __init__(self, sizes: DlrmSizes) -> None:
        super().__init__()
        self._sizes = sizes
        self._chunk_rows = sizes.vocab_size // NUM_EMBEDDING_CHUNKS
        names = [f"embedding_chunk_{number}" for number in range(NUM_EMBEDDING_CHUNKS)]
        for name in names:
            chunk = torch.empty(self._chunk_rows, sizes.embed_dim)
            self.register_parameter(name, nn.Parameter(chunk))
        self.parameter_types = dict.fromkeys(names, ParameterType.EMBEDDING)

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the table in place; see ``TypedLayer``."""
        for name in self.parameter_types:
            bound = self._sizes.embedding_bound
            nn.init.uniform_(getattr(self, name), 0.0, bound, generator=generator)

    def _dense_columns(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, : self._sizes.num_dense_features]

    def _look_up(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns the rows of the ids, float ``[batch, 26, embed_dim]``.

        Each chunk is asked for its own rows. The official model puts the chunks together first,
        which at full size copies 2 GB in every pass and again in the gradient.
        """
        columns = inputs[:, self._sizes.num_dense_features :]
        ids = columns.reshape(-1).to(torch.int32).remainder(self._sizes.vocab_size)
        chunk_of_id = ids.div(self._chunk_rows, rounding_mode="floor")
        row_of_id = ids - chunk_of_id * self._chunk_rows
        places = [(chunk_of_id == n).nonzero().squeeze(1) for n in range(NUM_EMBEDDING_CHUNKS)]
        parts = [
            # Also with no ids: then the chunk's gradient is zero, and it is not missing.
            F.embedding(row_of_id[place], getattr(self, name))
            for place, name in zip(places, self.parameter_types, strict=True)
        ]
        rows = parts[0].new_empty(len(ids), self._sizes.embed_dim)
        rows = rows.index_copy_(0, torch.cat(places), torch.cat(parts))
        return rows.view(len(columns), -1, self._sizes.embed_dim)


class DlrmSmall(Recommender):
    """Predicts clicks from dense columns, embedded ids and the products of all pairs of them."""

    def __init__(self, sizes: DlrmSizes) -> None:
        super().__init__(sizes)
        bottom: list[nn.Module] = []
        for wide, width in pairwise((sizes.num_dense_features, *sizes.mlp_bottom_dims)):
            bottom += [BottomDense(wide, width), *_after_dense(width, sizes)]
        top: list[nn.Module] = []
        widths = (sizes.top_features, *sizes.mlp_top_dims)
        for wide, width in pairwise(widths[:-1]):
            top += [TopDense(wide, width), *_after_dense(width, sizes)]
        top += [Dropout(), TopDense(*widths[-2:])]
        self.bot_mlp = Perceptron(*bottom)
        self.top_mlp = Perceptron(*top)
        if sizes.use_layer_norm:
            self.embed_ln = torch_layers.LayerNorm(sizes.embed_dim)

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Returns logits, float ``[batch, 1]``.

        Args:
          inputs: float32 ``[batch, 39]``: 13 dense columns, then 26 columns of ids.
          dropout_rate: rate behind the last hidden layer.
        """
        hidden = self.bot_mlp(self._dense_columns(inputs), 0.0)
        embeddings = self._look_up(inputs)
        if self._sizes.use_layer_norm:
            embeddings = self.embed_ln(embeddings)
        products = _products_of_pairs(torch.cat([hidden.unsqueeze(1), embeddings], dim=1))
        logits: torch.Tensor = self.top_mlp(torch.cat([hidden, products], dim=1), dropout_rate)
        return logits


class DlrmResNet(Recommender):
    """Predicts clicks from dense columns and embedded ids by residual layers.

    Each layer but the first bottom one, the first top one and the last adds to its inputs.
    """

    def __init__(self, sizes: DlrmSizes) -> None:
        super().__init__(sizes)
        bottom = pairwise((sizes.num_dense_features, *sizes.mlp_bottom_dims))
        self.bot_mlp = Perceptron(
            *(
                Branch(Perceptron(BottomDense(*dims), nn.ReLU(inplace=True)), layer > 0)
                for layer, dims in enumerate(bottom)
            )
        )
        top: list[Branch] = []
        widths = (sizes.top_features, *sizes.mlp_top_dims)
        for layer, dims in enumerate(pairwise(widths[:-1])):
            drop = [Dropout()] if layer == sizes.dropout_layer else []
            layers = Perceptron(TopDense(*dims), nn.ReLU(inplace=True), *drop)
            top.append(Branch(layers, layer > 0))
        top.append(Branch(Perceptron(TopDense(*widths[-2:])), False))
        self.top_mlp = Perceptron(*top)

    def forward(self, inputs: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """Returns logits, float ``[batch, 1]``; see :class:`DlrmSmall`.

        Dropout stands behind the activation of the last hidden layer, before the addition.
        """
        hidden = self.bot_mlp(self._dense_columns(inputs), 0.0)
        embeddings = self._look_up(inputs).flatten(1)
        logits: torch.Tensor = self.top_mlp(torch.cat([hidden, embeddings], dim=1), dropout_rate)
        return logits


def create_module(sizes: DlrmSizes) -> Recommender:
    """Returns a module whose parameters are not initialised.

    Under ``torch.device("meta")`` it takes no memory: the full table has 2 GB.
    """
    return DlrmResNet(sizes) if sizes.use_resnet else DlrmSmall(sizes)


def build(sizes: DlrmSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: create_module(sizes), backend)


def output_parameters(sizes: DlrmSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters.

    The official implementation asks for ``top_mlp.4``, which is a hidden layer or none (Decisions,
    21).
    """
    hidden = len(sizes.mlp_top_dims) - 1
    if sizes.use_resnet:
        name = f"{hidden}.module.0"
    else:
        name = str(hidden * (3 if sizes.use_layer_norm else 2) + 1)
    return frozenset({f"top_mlp.{name}.weight", f"top_mlp.{name}.bias"})


def _after_dense(width: int, sizes: DlrmSizes) -> list[nn.Module]:
    norm = [torch_layers.LayerNorm(width)] if sizes.use_layer_norm else []
    return [nn.ReLU(inplace=True), *norm]


def _products_of_pairs(vectors: torch.Tensor) -> torch.Tensor:
    """Returns the upper triangle, row by row, of the dot products of ``[batch, 27, width]``."""
    count = vectors.shape[1]
    rows, columns = torch.triu_indices(count, count, device=vectors.device)
    products = torch.bmm(vectors, vectors.mT).flatten(1)
    return products.index_select(1, rows * count + columns)
