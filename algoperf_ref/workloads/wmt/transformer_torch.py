"""The Transformer in PyTorch; twin of ``transformer_jax``. Source: Workload facts (wmt), 2, 3.

Dropout acts on embedded tokens, on attention weights, behind each attention layer, inside each
feed-forward block and behind it, with one rate (DROP-3). Fused projections start at the scale of
separate ones (Decisions, 23).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from algoperf_ref.frameworks import torch_layers
from algoperf_ref.frameworks.torch_attention_layers import XavierDense, xavier_uniform_
from algoperf_ref.frameworks.torch_backend import TorchBackend
from algoperf_ref.frameworks.torch_layers import LayerNorm, TypedLayer
from algoperf_ref.frameworks.torch_model import TorchModel
from algoperf_ref.workloads.wmt.sizes import WmtSizes, position_embedding
from spec.submission import ParameterType

KeysValues = tuple[torch.Tensor, torch.Tensor]


class Embedding(TypedLayer):
    """Table ``[pieces, width]`` of embeddings, normal with deviation 1; also reads tokens out."""

    def __init__(self, num_pieces: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_pieces, width))
        self.parameter_types = {"weight": ParameterType.EMBEDDING}

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the table; see :class:`TypedLayer`."""
        nn.init.normal_(self.weight, generator=generator)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Maps ids to their embeddings."""
        return F.embedding(ids, self.weight)

    def read_out(self, tokens: torch.Tensor) -> torch.Tensor:
        """Maps ``[..., width]`` to logits ``[..., pieces]``, over the root of the width."""
        return F.linear(tokens, self.weight) / self.weight.shape[1] ** 0.5


class PositionalEncoding(nn.Module):
    """Fixed table of positions, buffer ``pe`` ``[1, length, width]``."""

    pe: torch.Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("pe", torch.tensor(position_embedding(length, width))[None])

    def forward(self, positions: torch.Tensor | slice | int) -> torch.Tensor:
        """Returns rows of the table."""
        return self.pe[0, positions]


class Projection(TypedLayer):
    """One or several maps ``[in] -> [out]`` without bias, side by side in one weight.

    Each is Xavier-uniform by itself.
    """

    def __init__(
        self, width: int, out_features: int, weight_type: ParameterType, num_fused: int = 1
    ) -> None:
        super().__init__()
        self._num_fused = num_fused
        self.weight = nn.Parameter(torch.empty(out_features, width))
        self.parameter_types = {"weight": weight_type}

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weight; see :class:`TypedLayer`."""
        out_features, width = self.weight.shape
        xavier_uniform_(self.weight, width + out_features // self._num_fused, generator)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps ``[..., in]`` to ``[..., out]``."""
        return F.linear(inputs, self.weight)


class _Heads(nn.Module):
    """What both attention layers share: mixing values, and the projection of the outputs.

    Args:
      sizes: widths, heads and temperature.
    """

    def __init__(self, sizes: WmtSizes) -> None:
        super().__init__()
        self._num_heads = sizes.num_heads
        self._scale = sizes.query_scale

    def split(self, tokens: torch.Tensor) -> torch.Tensor:
        """Maps ``[rows, tokens, width]`` to ``[rows, heads, tokens, width of a head]``."""
        return tokens.unflatten(-1, (self._num_heads, -1)).transpose(-2, -3)

    def mix(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
        dropout_rate: float,
    ) -> torch.Tensor:
        """Mixes values of all heads.

        Args:
          queries: ``[rows, heads, queries, head]``.
          keys, values: ``[rows, heads, keys, head]``.
          mask: float ``[rows, 1, queries, keys]``, 0 where a query may attend, else the smallest
            number: a query that may attend to nothing attends to all alike.
          dropout_rate: of the weights.

        Returns:
          ``[rows, queries, width]``.
        """
        rate = dropout_rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=rate, scale=self._scale
        )
        return mixed.transpose(-2, -3).flatten(-2)


class SelfAttention(_Heads):
    """Attention of tokens to each other; rows of ``in_proj`` are queries, keys, values."""

    def __init__(self, sizes: WmtSizes) -> None:
        super().__init__(sizes)
        width = sizes.embed_dim
        self.in_proj = Projection(width, 3 * width, ParameterType.ATTENTION_QKV, num_fused=3)
        self.out_proj = Projection(width, width, ParameterType.ATTENTION_OUT)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor, dropout_rate: float
    ) -> torch.Tensor:
        """Maps ``[rows, tokens, width]`` to the same shape; mask as for :meth:`mix`."""
        parts = (self.split(part) for part in self.in_proj(tokens).chunk(3, dim=-1))
        mixed: torch.Tensor = self.out_proj(self.mix(*parts, mask, dropout_rate))
        return mixed

    def next_token(self, tokens: torch.Tensor, index: int, cache: KeysValues) -> torch.Tensor:
        """Attends to the former tokens of the same beam.

        Args:
          tokens: ``[rows * beams, 1, width]``.
          index: their position.
          cache: keys and values ``[rows * beams, heads, length, head]``; those of ``index`` are
            written.

        Returns:
          ``[rows * beams, 1, width]``.
        """
        queries, keys, values = (self.split(part) for part in self.in_proj(tokens).chunk(3, dim=-1))
        for stored, new in zip(cache, (keys, values), strict=True):
            stored[:, :, index] = new[:, :, 0]
        former = [stored[:, :, : index + 1] for stored in cache]
        mask = queries.new_zeros(1, 1, 1, index + 1)
        mixed: torch.Tensor = self.out_proj(self.mix(queries, *former, mask, 0.0))
        return mixed


class CrossAttention(_Heads):
    """Attention of target tokens to the encoder's outputs; rows of ``kv_proj`` are keys, values."""

    def __init__(self, sizes: WmtSizes) -> None:
        super().__init__(sizes)
        width = sizes.embed_dim
        self.q_proj = Projection(width, width, ParameterType.ATTENTION_Q)
        self.kv_proj = Projection(width, 2 * width, ParameterType.ATTENTION_KV, num_fused=2)
        self.out_proj = Projection(width, width, ParameterType.ATTENTION_OUT)

    def keys_values(self, encoded: torch.Tensor) -> KeysValues:
        """Returns keys and values of all heads."""
        keys, values = self.kv_proj(encoded).chunk(2, dim=-1)
        return self.split(keys), self.split(values)

    def forward(
        self, tokens: torch.Tensor, memory: KeysValues, mask: torch.Tensor, dropout_rate: float
    ) -> torch.Tensor:
        """Maps ``[rows, tokens, width]`` to the same shape; mask as for :meth:`mix`."""
        queries = self.split(self.q_proj(tokens))
        mixed: torch.Tensor = self.out_proj(self.mix(queries, *memory, mask, dropout_rate))
        return mixed


class Layer(nn.Module):
    """What the layers of encoder and decoder share: the feed-forward block, and adding.

    Args:
      sizes: widths, activation, gate and place of the layer norms.
    """

    def _make_mlp(self, sizes: WmtSizes) -> None:
        self._is_pre_norm = sizes.pre_ln
        self._activation = torch_layers.activation(sizes.activation)
        self.linear1 = XavierDense(sizes.embed_dim, sizes.mlp_dim)
        self.linear_glu = XavierDense(sizes.embed_dim, sizes.mlp_dim) if sizes.glu else None
        self.linear2 = XavierDense(sizes.mlp_dim, sizes.embed_dim)

    def _mlp(self, tokens: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        hidden = self._activation(self.linear1(tokens))
        if self.linear_glu is not None:
            hidden = hidden * self.linear_glu(tokens)
        outputs: torch.Tensor = self.linear2(self._drop(hidden, dropout_rate))
        return self._drop(outputs, dropout_rate)

    def _drop(self, tokens: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        return torch_layers.dropout(tokens, dropout_rate, self.training)

    def _add(
        self, norm: nn.Module, tokens: torch.Tensor, branch: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        if self._is_pre_norm:
            return tokens + branch(norm(tokens))
        normed: torch.Tensor = norm(tokens + branch(tokens))
        return normed


class EncoderLayer(Layer):
    """Attention of the source tokens to each other, and a feed-forward block."""

    def __init__(self, sizes: WmtSizes) -> None:
        super().__init__()
        self.self_attn = SelfAttention(sizes)
        self._make_mlp(sizes)
        self.norm1 = LayerNorm(sizes.embed_dim)
        self.norm2 = LayerNorm(sizes.embed_dim)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor, dropout_rate: float
    ) -> torch.Tensor:
        """Maps ``[rows, tokens, width]`` to the same shape."""
        tokens = self._add(
            self.norm1,
            tokens,
            lambda x: self._drop(self.self_attn(x, mask, dropout_rate), dropout_rate),
        )
        return self._add(self.norm2, tokens, lambda x: self._mlp(x, dropout_rate))


class DecoderLayer(Layer):
    """Attention to the targets before, to the encoder's outputs, and a feed-forward block."""

    def __init__(self, sizes: WmtSizes) -> None:
        super().__init__()
        self.self_attn = SelfAttention(sizes)
        self.multihead_attn = CrossAttention(sizes)
        self._make_mlp(sizes)
        self.norm1 = LayerNorm(sizes.embed_dim)
        self.norm2 = LayerNorm(sizes.embed_dim)
        self.norm3 = LayerNorm(sizes.embed_dim)

    def forward(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        encoded: torch.Tensor,
        memory_mask: torch.Tensor,
        dropout_rate: float,
    ) -> torch.Tensor:
        """Maps ``[rows, tokens, width]`` to the same shape."""
        rate = dropout_rate
        tokens = self._add(
            self.norm1, tokens, lambda x: self._drop(self.self_attn(x, mask, rate), rate)
        )
        memory = self.multihead_attn.keys_values(encoded)
        tokens = self._add(
            self.norm2,
            tokens,
            lambda x: self._drop(self.multihead_attn(x, memory, memory_mask, rate), rate),
        )
        return self._add(self.norm3, tokens, lambda x: self._mlp(x, rate))

    def next_token(
        self,
        tokens: torch.Tensor,
        index: int,
        cache: KeysValues,
        memory: KeysValues,
        memory_mask: torch.Tensor,
    ) -> torch.Tensor:
        """Decodes one more token of every beam; no dropout.

        Args:
          tokens: ``[rows, beams, width]``.
          index: their position.
          cache: as for :meth:`SelfAttention.next_token`.
          memory: keys and values of the encoder's outputs, ``[rows, heads, inputs, head]`` each.
          memory_mask: float ``[rows, 1, 1, inputs]``.
        """
        shape = tokens.shape

        def attend_to_former(x: torch.Tensor) -> torch.Tensor:
            return self.self_attn.next_token(x.flatten(0, 1)[:, None], index, cache).view(shape)

        tokens = self._add(self.norm1, tokens, attend_to_former)
        # The beams of a row are so many queries to one memory.
        tokens = self._add(
            self.norm2, tokens, lambda x: self.multihead_attn(x, memory, memory_mask, 0.0)
        )
        return self._add(self.norm3, tokens, lambda x: self._mlp(x, 0.0))


class Stack(nn.Module):
    """The layers of the encoder or of the decoder, and a last layer norm if they have none."""

    def __init__(self, sizes: WmtSizes, layer: Callable[[WmtSizes], nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(sizes) for _ in range(sizes.num_layers))
        self.norm = LayerNorm(sizes.embed_dim) if sizes.pre_ln else None

    def forward(self, tokens: torch.Tensor, *others: torch.Tensor | float) -> torch.Tensor:
        """Maps ``[rows, tokens, width]`` to the same shape."""
        for layer in self.layers:
            tokens = layer(tokens, *others)
        return self.last(tokens)

    def last(self, tokens: torch.Tensor) -> torch.Tensor:
        """Applies the last layer norm, if there is one."""
        return tokens if self.norm is None else self.norm(tokens)


class Transformer(nn.Module):
    """Encodes sentences, decodes their translations, and reads tokens out.

    Args:
      sizes: widths, depth and variant.
    """

    def __init__(self, sizes: WmtSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.shared_embedding = Embedding(sizes.vocab_size, sizes.embed_dim)
        self.pos_encoder = PositionalEncoding(sizes.max_len, sizes.embed_dim)
        # The official names have each of the two words twice.
        self.encoder = nn.ModuleDict({"encoder": Stack(sizes, EncoderLayer)})
        self.decoder = nn.ModuleDict({"decoder": Stack(sizes, DecoderLayer)})

    def forward(self, inputs: Mapping[str, torch.Tensor], dropout_rate: float) -> torch.Tensor:
        """Returns the logits of all target tokens, each from the targets before it.

        Args:
          inputs: ``inputs`` and ``targets``, int ``[rows, length]``, 0 where there is nothing; of
            packed rows also ``inputs_position``, ``inputs_segmentation`` and the same of targets.
          dropout_rate: rate of all dropout layers.

        Returns:
          Float ``[rows, length, vocab_size]``.
        """
        sources, targets = inputs["inputs"], inputs["targets"]
        source_parts = inputs.get("inputs_segmentation")
        target_parts = inputs.get("targets_segmentation")
        encoded = self.encode(
            sources, inputs.get("inputs_position"), source_parts, dropout_rate=dropout_rate
        )
        is_target = targets > 0
        may_attend = (
            _both(is_target, is_target)
            & torch.ones(targets.shape[1], targets.shape[1], device=targets.device).tril().bool()
            & _same_part(target_parts, target_parts, targets)
        )
        memory_mask = _both(is_target, sources > 0) & _same_part(
            target_parts, source_parts, targets
        )
        tokens = self._embed(
            F.pad(targets, (1, 0))[:, :-1], inputs.get("targets_position"), dropout_rate
        )
        tokens = self.decoder["decoder"](
            tokens, self._additive(may_attend), encoded, self._additive(memory_mask), dropout_rate
        )
        return self.shared_embedding.read_out(tokens)

    def encode(
        self,
        sources: torch.Tensor,
        positions: torch.Tensor | None = None,
        parts: torch.Tensor | None = None,
        dropout_rate: float = 0.0,
    ) -> torch.Tensor:
        """Returns the encoder's outputs, float ``[rows, length, width]``.

        Args:
          sources: int ``[rows, length]``.
          positions: of packed rows, int ``[rows, length]``.
          parts: number of the sentence in a packed row, int ``[rows, length]``.
          dropout_rate: rate of all dropout layers.
        """
        mask = _both(sources > 0, sources > 0) & _same_part(parts, parts, sources)
        encoded: torch.Tensor = self.encoder["encoder"](
            self._embed(sources, positions, dropout_rate), self._additive(mask), dropout_rate
        )
        return encoded

    def memory(self, sources: torch.Tensor) -> list[KeysValues]:
        """Returns keys and values of the encoder's outputs for every decoder layer."""
        encoded = self.encode(sources)
        return [layer.multihead_attn.keys_values(encoded) for layer in self._decoder_layers()]

    def next_logits(
        self,
        ids: torch.Tensor,
        index: int,
        caches: list[KeysValues],
        memory: list[KeysValues],
        sources: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the logits of the tokens behind ``ids``; the caches get those of ``ids``.

        Args:
          ids: int ``[rows, beams]``.
          index: their position.
          caches: of :meth:`empty_caches`.
          memory: of :meth:`memory`.
          sources: int ``[rows, length]``.

        Returns:
          Logits ``[rows, beams, vocab_size]``.
        """
        tokens = self.shared_embedding(ids) + self.pos_encoder(index)
        mask = self._additive((sources > 0)[:, None])
        for layer, cache, pair in zip(self._decoder_layers(), caches, memory, strict=True):
            tokens = layer.next_token(tokens, index, cache, pair, mask)
        return self.shared_embedding.read_out(self.decoder["decoder"].last(tokens))

    def empty_caches(self, rows: int, length: int) -> list[KeysValues]:
        """Returns for every layer zero keys and values, ``[rows, heads, length, head]``."""
        sizes, table = self.sizes, self.shared_embedding.weight
        shape = (rows, sizes.num_heads, length, sizes.embed_dim // sizes.num_heads)
        return [(table.new_zeros(shape), table.new_zeros(shape)) for _ in range(sizes.num_layers)]

    def _decoder_layers(self) -> nn.ModuleList:
        return self.decoder["decoder"].layers

    def _embed(
        self, ids: torch.Tensor, positions: torch.Tensor | None, dropout_rate: float
    ) -> torch.Tensor:
        places = self.pos_encoder(slice(ids.shape[1]) if positions is None else positions)
        tokens = self.shared_embedding(ids) + places
        return torch_layers.dropout(tokens, dropout_rate, self.training)

    def _additive(self, mask: torch.Tensor) -> torch.Tensor:
        """Float ``[rows, 1, queries, keys]`` of a bool ``[rows, queries, keys]``."""
        dtype = self.shared_embedding.weight.dtype
        smallest = torch.finfo(dtype).min
        return torch.where(mask, 0.0, smallest).to(dtype)[:, None]


def build(sizes: WmtSizes, backend: TorchBackend) -> TorchModel:
    """Returns the model of a workload with these sizes."""
    return TorchModel(lambda: Transformer(sizes), backend)


def output_parameters(sizes: WmtSizes) -> frozenset[str]:
    """Returns the names of the output layer's parameters."""
    return frozenset({"shared_embedding.weight"})


def _both(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Bool ``[rows, queries, keys]``: both are there."""
    return queries[:, :, None] & keys[:, None, :]


def _same_part(
    queries: torch.Tensor | None, keys: torch.Tensor | None, like: torch.Tensor
) -> torch.Tensor:
    """Whether query and key belong to the same sentence of a packed row."""
    if queries is None or keys is None:
        return torch.ones(1, 1, 1, dtype=torch.bool, device=like.device)
    return queries[:, :, None] == keys[:, None, :]
