"""Bidirectional LSTM in flax linen; twin of ``lstm_torch``. Source: Workload facts
(librispeech_deepspeech), 2.

The tree of parameters is that of the official module, with a matrix for each gate. They are put
together before use, so that a layer takes one product with all its inputs, and one small product
for each frame and direction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from algoperf_ref.frameworks.jax_layers import typed
from spec.submission import ParameterType

_GATES = "ifgo"
"""Input, forget, cell and output gate: the order of the columns of joined matrices."""


class Weights(NamedTuple):
    """The parameters of one direction, the gates side by side.

    Attributes:
      inputs: ``[features, 4 * hidden]``.
      recurrent: ``[hidden, 4 * hidden]``.
      bias: ``[4 * hidden]``.
    """

    inputs: jax.Array
    recurrent: jax.Array
    bias: jax.Array


class Gate(nn.Module):
    """The parameters of one gate from the inputs, or from the hidden state and then with a bias.

    Attributes:
      shape: of the kernel.
      is_recurrent: whether the kernel starts orthogonal and there is a bias; else it starts
        LeCun-normal.
    """

    shape: tuple[int, int]
    is_recurrent: bool

    @nn.compact
    def __call__(self) -> tuple[jax.Array, ...]:
        """Returns the kernel and the bias, if there is one."""
        kind = nn.initializers.orthogonal if self.is_recurrent else nn.initializers.lecun_normal
        kernel_init = typed(kind(), ParameterType.WEIGHT)
        kernel = self.param("kernel", kernel_init, self.shape, jnp.float32)
        if not self.is_recurrent:
            return (kernel,)
        bias_init = typed(nn.initializers.zeros_init(), ParameterType.BIAS)
        return kernel, self.param("bias", bias_init, self.shape[1:], jnp.float32)


class Cell(nn.Module):
    """The parameters of one direction.

    Attributes:
      hidden: width of the state.
    """

    hidden: int

    @nn.compact
    def __call__(self, features: int) -> Weights:
        """Returns them for inputs of a width."""
        hidden = self.hidden
        from_inputs = [Gate((features, hidden), False, name=f"i{gate}")() for gate in _GATES]
        from_state = [Gate((hidden, hidden), True, name=f"h{gate}")() for gate in _GATES]
        return Weights(
            jnp.concatenate([kernel for (kernel,) in from_inputs], 1),
            jnp.concatenate([kernel for kernel, _ in from_state], 1),
            jnp.concatenate([bias for _, bias in from_state]),
        )


class SequenceEncoder(nn.Module):
    """A place in the tree of parameters: the cell of one direction.

    Attributes:
      hidden: width of the state.
    """

    hidden: int

    @nn.compact
    def __call__(self, features: int) -> Weights:
        """Returns the cell's parameters for inputs of a width."""
        return Cell(self.hidden, name="cell")(features)


class Lstm(nn.Module):
    """Both directions.

    Attributes:
      hidden: width of the state of each direction.
    """

    hidden: int

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array) -> jax.Array:
        """See :class:`BiLstm`."""
        weights = [
            SequenceEncoder(self.hidden, name=f"LSTMSequenceEncoder_{direction}")(inputs.shape[-1])
            for direction in range(2)
        ]
        return bidirectional(inputs, lengths, weights)


class BiLstm(nn.Module):
    """Two LSTMs, one in each direction, with zero initial states.

    Attributes:
      hidden: width of the state of each direction.
    """

    hidden: int

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array) -> jax.Array:
        """Returns the states, float ``[batch, frames, 2 * hidden]``: forward, then backward.

        The backward LSTM starts at the last frame of an example. Both go on over the frames behind
        it (Decisions, 1): forward in their order, backward from the last one down.

        Args:
          inputs: float ``[batch, frames, features]``.
          lengths: int ``[batch]``, frames of each example.
        """
        return Lstm(self.hidden, name="LSTM")(inputs, lengths)


def bidirectional(inputs: jax.Array, lengths: jax.Array, weights: list[Weights]) -> jax.Array:
    """The states of :class:`BiLstm` for given parameters of the two directions."""
    frames = inputs.shape[1]
    # Its own inverse: frames of an example in reverse order, then those behind it, too.
    order = (lengths[:, None] - 1 - jnp.arange(frames)) % frames

    def reverse(values: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values, order[..., None], 1)

    forward, backward = weights
    # Frames first, as the loop takes them.
    from_inputs = tuple(
        jnp.swapaxes(values @ one.inputs + one.bias, 0, 1)
        for values, one in ((inputs, forward), (reverse(inputs), backward))
    )
    start = jnp.zeros((inputs.shape[0], forward.recurrent.shape[0]), inputs.dtype)

    def step(states: Any, gates: Any) -> Any:
        # One loop for both directions, since an accelerator mostly waits for the next frame.
        states = tuple(
            _step(state, own, one.recurrent)
            for state, own, one in zip(states, gates, weights, strict=True)
        )
        return states, tuple(hidden for hidden, _ in states)

    _, outputs = jax.lax.scan(step, ((start, start), (start, start)), from_inputs)
    first, second = (jnp.swapaxes(values, 0, 1) for values in outputs)
    return jnp.concatenate([first, reverse(second)], -1)


def _step(
    state: tuple[jax.Array, jax.Array], from_inputs: jax.Array, recurrent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The next hidden state and cell of one direction, each ``[batch, hidden]``."""
    hidden, cell = state
    into, forget, new, out = jnp.split(from_inputs + hidden @ recurrent, 4, -1)
    cell = nn.sigmoid(forget) * cell + nn.sigmoid(into) * jnp.tanh(new)
    return nn.sigmoid(out) * jnp.tanh(cell), cell
