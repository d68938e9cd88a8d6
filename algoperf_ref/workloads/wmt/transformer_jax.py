"""The Transformer in flax linen; twin of ``transformer_torch``. Source: Workload facts (wmt), 2, 3.

Dropout acts on embedded tokens, on attention weights, behind each attention layer, inside each
feed-forward block and behind it, with one rate (DROP-3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks import jax_layers
from algoperf_ref.frameworks.jax_attention_layers import xavier_dense
from algoperf_ref.frameworks.jax_backend import JaxBackend
from algoperf_ref.frameworks.jax_layers import typed
from algoperf_ref.frameworks.jax_model import JaxModel
from algoperf_ref.workloads.wmt.sizes import WmtSizes, position_embedding
from spec.submission import ParameterType

_TABLE = "shared_embedding"


class Dropping(NamedTuple):
    """Whether, and at which rate, elements are dropped."""

    training: bool
    rate: Any

    def __call__(self, module: nn.Module, inputs: jax.Array) -> jax.Array:
        """Drops out with a key of the module's own stream."""
        if not self.training:
            return inputs
        return jax_layers.dropout(module.make_rng("dropout"), inputs, self.rate)


KEEP_ALL = Dropping(training=False, rate=0.0)


class Attention(nn.Module):
    """Dot-product attention of several heads, without biases.

    Each kernel is Xavier-uniform as a matrix ``[width, width]``.

    Attributes:
      sizes: widths, heads and temperature.
    """

    sizes: WmtSizes

    def setup(self) -> None:
        """Makes the four projections."""
        heads = (self.sizes.num_heads, self.sizes.embed_dim // self.sizes.num_heads)
        self.query = _projection(heads, ParameterType.ATTENTION_Q)
        self.key = _projection(heads, ParameterType.ATTENTION_K)
        self.value = _projection(heads, ParameterType.ATTENTION_V)
        self.out = _projection((self.sizes.embed_dim,), ParameterType.ATTENTION_OUT, axis=(-2, -1))

    def __call__(
        self, inputs: jax.Array, others: jax.Array, mask: jax.Array, drop: Dropping
    ) -> jax.Array:
        """Mixes ``others`` as ``inputs`` ask for.

        Args:
          inputs: float ``[rows, queries, width]``.
          others: float ``[rows, keys, width]``.
          mask: bool ``[rows, queries, keys]``, True where a query may attend.
          drop: dropout of the attention weights and of the outputs.

        Returns:
          Float ``[rows, queries, width]``. A query that may attend to nothing attends to all.
        """
        keys, values = self.keys_values(others)
        outputs: jax.Array = drop(self, self.attend(inputs, keys, values, mask, drop))
        return outputs

    def keys_values(self, others: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns keys and values, ``[rows, keys, heads, width of a head]``."""
        return self.key(others), self.value(others)

    def attend(
        self,
        inputs: jax.Array,
        keys: jax.Array,
        values: jax.Array,
        mask: jax.Array,
        drop: Dropping = KEEP_ALL,
    ) -> jax.Array:
        """Mixes values by the keys; shapes as in :meth:`__call__` and :meth:`keys_values`."""
        queries = self.query(inputs) * self.sizes.query_scale
        logits = jnp.einsum("...qhd,...khd->...hqk", queries, keys)
        logits = jnp.where(mask[..., None, :, :], logits, jnp.finfo(logits.dtype).min)
        weights = drop(self, jax.nn.softmax(logits))
        mixed: jax.Array = self.out(jnp.einsum("...hqk,...khd->...qhd", weights, values))
        return mixed


class MlpBlock(nn.Module):
    """Feed-forward block: dense, activation, perhaps a gate, dropout, dense, dropout.

    Attributes:
      sizes: widths, activation and gate.
    """

    sizes: WmtSizes

    @nn.compact
    def __call__(self, tokens: jax.Array, drop: Dropping) -> jax.Array:
        """Maps ``[rows, tokens, width]`` to the same shape."""
        sizes = self.sizes
        hidden = jax_layers.activation(sizes.activation)(
            xavier_dense(sizes.mlp_dim, "Dense_0")(tokens)
        )
        if sizes.glu:
            hidden = hidden * xavier_dense(sizes.mlp_dim, "Dense_1")(tokens)
        out = xavier_dense(sizes.embed_dim, "Dense_2" if sizes.glu else "Dense_1")
        outputs: jax.Array = drop(self, out(drop(self, hidden)))
        return outputs


class Layer(nn.Module):
    """A layer of the encoder or, with attention to its outputs, of the decoder.

    Attributes:
      sizes: widths and place of the layer norms.
      is_decoder: whether it has the second attention.
    """

    sizes: WmtSizes
    is_decoder: bool = False

    def setup(self) -> None:
        """Makes the branches and a layer norm for each."""
        count = 3 if self.is_decoder else 2
        self.norms = [jax_layers.layer_norm(f"LayerNorm_{i}") for i in range(count)]
        self.self_attention = Attention(self.sizes, name="MultiHeadDotProductAttention_0")
        if self.is_decoder:
            self.cross_attention = Attention(self.sizes, name="MultiHeadDotProductAttention_1")
        self.mlp = MlpBlock(self.sizes, name="MlpBlock_0")

    def __call__(
        self,
        tokens: jax.Array,
        mask: jax.Array,
        drop: Dropping,
        memory: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
    ) -> jax.Array:
        """Maps ``[rows, tokens, width]`` to the same shape; masks as for :class:`Attention`."""
        tokens = self._add(0, tokens, lambda x: self.self_attention(x, x, mask, drop))
        if self.is_decoder:
            tokens = self._add(
                1, tokens, lambda x: self.cross_attention(x, memory, memory_mask, drop)
            )
        return self._add(-1, tokens, lambda x: self.mlp(x, drop))

    def next_token(
        self, tokens: jax.Array, index: jax.Array, cache: Any, memory: Any, memory_mask: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Decodes one more token of every beam.

        Args:
          tokens: float ``[rows, beams, width]``.
          index: int scalar, position of the tokens.
          cache: keys and values of all positions, ``[rows, beams, length, heads, head]`` each.
          memory: keys and values of the encoder's outputs, ``[rows, inputs, heads, head]`` each.
          memory_mask: bool ``[rows, 1, inputs]``.

        Returns:
          The tokens, and the cache with theirs.
        """
        updated = cache

        def attend_to_former(x: jax.Array) -> jax.Array:
            nonlocal updated
            new = self.self_attention.keys_values(x[:, :, None])
            updated = jax.tree.map(
                lambda all_, one: jax.lax.dynamic_update_slice_in_dim(all_, one, index, axis=2),
                cache,
                new,
            )
            mask = jnp.arange(cache[0].shape[2]) <= index
            mixed: jax.Array = self.self_attention.attend(x[:, :, None], *updated, mask[None])
            return mixed[:, :, 0]

        tokens = self._add(0, tokens, attend_to_former)
        # The beams of a row are so many queries to one memory.
        tokens = self._add(
            1, tokens, lambda x: self.cross_attention.attend(x, *memory, memory_mask)
        )
        return self._add(-1, tokens, lambda x: self.mlp(x, KEEP_ALL)), updated

    def _add(self, number: int, tokens: jax.Array, branch: Any) -> jax.Array:
        norm = self.norms[number]
        if self.sizes.pre_ln:
            added: jax.Array = tokens + branch(norm(tokens))
            return added
        normed: jax.Array = norm(tokens + branch(tokens))
        return normed


class Stack(nn.Module):
    """The layers of the encoder or of the decoder, and a last layer norm if they have none.

    Attributes:
      sizes: everything about the layers.
      is_decoder: which of the two it is.
    """

    sizes: WmtSizes
    is_decoder: bool = False

    def setup(self) -> None:
        """Makes the layers."""
        prefix = "encoderdecoder" if self.is_decoder else "encoder"
        self.layers = [
            Layer(self.sizes, self.is_decoder, name=f"{prefix}block_{i}")
            for i in range(self.sizes.num_layers)
        ]
        if self.sizes.pre_ln:
            self.norm = jax_layers.layer_norm(f"{prefix}_layernorm")

    def __call__(self, tokens: jax.Array, *masks_and_memory: Any) -> jax.Array:
        """Maps ``[rows, tokens, width]`` to the same shape; arguments as for :class:`Layer`."""
        for layer in self.layers:
            tokens = layer(tokens, *masks_and_memory)
        return self.last(tokens)

    def last(self, tokens: jax.Array) -> jax.Array:
        """Applies the last layer norm, if there is one."""
        return self.norm(tokens) if self.sizes.pre_ln else tokens


class Transformer(nn.Module):
    """Encodes sentences, decodes their translations, and reads tokens out.

    Attributes:
      sizes: widths, depth and variant.
    """

    sizes: WmtSizes

    def setup(self) -> None:
        """Makes the shared table and the two stacks."""
        self.shared_embedding = nn.Embed(
            self.sizes.vocab_size,
            self.sizes.embed_dim,
            embedding_init=typed(nn.initializers.normal(stddev=1.0), ParameterType.EMBEDDING),
        )
        self.encoder = Stack(self.sizes)
        self.decoder = Stack(self.sizes, is_decoder=True)

    def __call__(
        self, inputs: Mapping[str, jax.Array], training: bool, dropout_rate: Any
    ) -> jax.Array:
        """Returns the logits of all target tokens, each from the targets before it.

        Args:
          inputs: ``inputs`` and ``targets``, int ``[rows, length]``, 0 where there is nothing; of
            packed rows also ``inputs_position``, ``inputs_segmentation`` and the same of targets.
          training: whether dropout is on.
          dropout_rate: rate of all dropout layers.

        Returns:
          Float ``[rows, length, vocab_size]``.
        """
        drop = Dropping(training, dropout_rate)
        sources, targets = inputs["inputs"], inputs["targets"]
        source_parts = inputs.get("inputs_segmentation")
        target_parts = inputs.get("targets_segmentation")
        memory = self.encode(sources, inputs.get("inputs_position"), source_parts, drop)
        is_target = targets > 0
        length = targets.shape[1]
        mask = (
            _both(is_target, is_target)
            & jnp.tri(length, dtype=bool)
            & _same_part(target_parts, target_parts)
        )
        memory_mask = _both(is_target, sources > 0) & _same_part(target_parts, source_parts)
        shifted = jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1]
        tokens = self._embed(shifted, inputs.get("targets_position"), drop)
        return self._read_out(self.decoder(tokens, mask, drop, memory, memory_mask))

    def encode(
        self,
        sources: jax.Array,
        positions: jax.Array | None = None,
        parts: jax.Array | None = None,
        drop: Dropping = KEEP_ALL,
    ) -> jax.Array:
        """Returns the encoder's outputs, float ``[rows, length, width]``.

        Args:
          sources: int ``[rows, length]``.
          positions: of packed rows, int ``[rows, length]``.
          parts: number of the sentence in a packed row, int ``[rows, length]``.
          drop: dropout.
        """
        mask = _both(sources > 0, sources > 0) & _same_part(parts, parts)
        return self.encoder(self._embed(sources, positions, drop), mask, drop)

    def memory(self, sources: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        """Returns keys and values of the encoder's outputs for every decoder layer."""
        encoded = self.encode(sources)
        return [layer.cross_attention.keys_values(encoded) for layer in self.decoder.layers]

    def next_logits(
        self, ids: jax.Array, index: jax.Array, caches: Any, memory: Any, sources: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Returns the logits of the tokens behind ``ids``, and the caches with those of ``ids``.

        Args:
          ids: int ``[rows, beams]``.
          index: int scalar, their position.
          caches: of :func:`empty_caches`.
          memory: of :meth:`memory`.
          sources: int ``[rows, length]``.

        Returns:
          Logits ``[rows, beams, vocab_size]`` and the new caches.
        """
        table = jnp.asarray(position_embedding(self.sizes.max_len, self.sizes.embed_dim))
        tokens = self.shared_embedding(ids) + table[index]
        mask = (sources > 0)[:, None]
        updated = []
        for layer, cache, pair in zip(self.decoder.layers, caches, memory, strict=True):
            tokens, new = layer.next_token(tokens, index, cache, pair, mask)
            updated.append(new)
        return self._read_out(self.decoder.last(tokens)), updated

    def _embed(self, ids: jax.Array, positions: jax.Array | None, drop: Dropping) -> jax.Array:
        table = jnp.asarray(position_embedding(self.sizes.max_len, self.sizes.embed_dim))
        places = table[: ids.shape[1]] if positions is None else table[positions]
        return drop(self, self.shared_embedding(ids) + places)

    def _read_out(self, tokens: jax.Array) -> jax.Array:
        logits: jax.Array = self.shared_embedding.attend(tokens)
        return logits / jnp.sqrt(jnp.asarray(self.sizes.embed_dim, logits.dtype))


def empty_caches(sizes: WmtSizes, rows: int, beams: int, length: int) -> list[Any]:
    """Returns for every layer zero keys and values, ``[rows, beams, length, heads, head]``."""
    head = sizes.embed_dim // sizes.num_heads
    zeros = jnp.zeros((rows, beams, length, sizes.num_heads, head))
    return [(zeros, zeros)] * sizes.num_layers


def build(sizes: WmtSizes, backend: JaxBackend) -> JaxModel:
    """Returns the model of a workload with these sizes."""

    def one_token() -> dict[str, jax.Array]:
        ids = jnp.ones((1, 1), jnp.int32)
        return {"inputs": ids, "targets": ids}

    return JaxModel(Transformer(sizes), one_token, backend, parameters_stream=0)


def output_parameters(sizes: WmtSizes) -> frozenset[str]:
    """Returns the keys of the output layer in the parameter tree."""
    return frozenset({_TABLE})


def _both(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """Bool ``[rows, queries, keys]``: both are there."""
    return queries[:, :, None] & keys[:, None, :]


def _same_part(queries: jax.Array | None, keys: jax.Array | None) -> jax.Array | bool:
    """Whether query and key belong to the same sentence of a packed row."""
    if queries is None or keys is None:
        return True
    return queries[:, :, None] == keys[:, None, :]


def _projection(
    features: tuple[int, ...], kernel_type: ParameterType, axis: tuple[int, ...] = (-1,)
) -> nn.DenseGeneral:
    """Maps the axes ``axis`` to the axes ``features``."""
    return nn.DenseGeneral(
        features,
        axis=axis,
        use_bias=False,
        kernel_init=typed(nn.initializers.xavier_uniform(), kernel_type),
    )
