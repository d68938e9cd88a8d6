"""Bidirectional LSTM in PyTorch; twin of ``lstm_jax``. Source: Workload facts
(librispeech_deepspeech), 2.

Not ``nn.LSTM``: its backward direction starts at the last frame of the batch, not of an example,
or it leaves out what is behind the example (Decisions, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from algoperf_ref.frameworks.torch_layers import TypedLayer, lecun_normal_
from spec.submission import ParameterType

_DIRECTIONS = ("", "_reverse")
_GATES = 4
_CUDNN_LSTM = 2
"""Number of the kind of network in torch's interface to cuDNN."""


class BiLstm(TypedLayer):
    """Two LSTMs, one in each direction, with zero initial states.

    Parameters have the names and shapes of ``nn.LSTM``: the gates (input, forget, cell, output)
    below each other, and two biases, which are added. Each gate starts as in the JAX twin:
    LeCun-normal from the inputs, orthogonal from the state, biases zero (Decisions, 1).

    Args:
      features: width of the inputs.
      hidden: width of the state of each direction.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self._hidden = hidden
        types = {}
        for suffix in _DIRECTIONS:
            for name, shape in (
                ("weight_ih", (_GATES * hidden, features)),
                ("weight_hh", (_GATES * hidden, hidden)),
                ("bias_ih", (_GATES * hidden,)),
                ("bias_hh", (_GATES * hidden,)),
            ):
                path = f"{name}_l0{suffix}"
                self.register_parameter(path, nn.Parameter(torch.empty(shape)))
                is_bias = name.startswith("bias")
                types[path] = ParameterType.BIAS if is_bias else ParameterType.WEIGHT
        self.parameter_types = types

    def initialise(self, generator: torch.Generator) -> None:
        """Draws the weights; see :class:`TypedLayer`."""
        for suffix in _DIRECTIONS:
            from_inputs, from_state, *biases = self._weights(suffix)
            lecun_normal_(from_inputs, from_inputs.shape[1], generator)
            for gate in from_state.detach().chunk(_GATES):
                nn.init.orthogonal_(gate, generator=generator)
            for bias in biases:
                nn.init.zeros_(bias)

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Returns the states, float ``[batch, frames, 2 * hidden]``: forward, then backward.

        The backward LSTM starts at the last frame of an example. Both go on over the frames behind
        it (Decisions, 1): forward in their order, backward from the last one down.

        Args:
          inputs: float ``[batch, frames, features]``.
          lengths: int ``[batch]``, frames of each example, on the same device.
        """
        frames = inputs.shape[1]
        places = torch.arange(frames, device=inputs.device)
        # Its own inverse: frames of an example in reverse order, then those behind it, too.
        order = ((lengths[:, None] - 1 - places) % frames)[..., None]

        def reverse(values: torch.Tensor) -> torch.Tensor:
            return values.gather(1, order.expand(-1, -1, values.shape[-1]))

        forward = self._run(inputs, "")
        backward = reverse(self._run(reverse(inputs), "_reverse"))
        return torch.cat([forward, backward], -1)

    def _run(self, inputs: torch.Tensor, suffix: str) -> torch.Tensor:
        """States of one direction over the frames as they come, by torch's fused kernels."""
        start = inputs.new_zeros(1, inputs.shape[0], self._hidden)
        outputs: torch.Tensor = torch.lstm(
            inputs,
            (start, start),
            self._weights(suffix),
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=self.training,
            bidirectional=False,
            batch_first=True,
        )[0]
        return outputs

    def _weights(self, suffix: str) -> list[torch.Tensor]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_l0{suffix}") for name in names]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> BiLstm:
        """Moves the parameters, and on CUDA puts those of a direction into one block of memory.

        cuDNN wants that, and would otherwise copy them in every pass and complain.
        """
        super()._apply(fn, recurse)
        for suffix in _DIRECTIONS:
            weights = self._weights(suffix)
            if not all(torch.backends.cudnn.is_acceptable(weight) for weight in weights):
                continue
            with torch.cuda.device_of(weights[0]), torch.no_grad():
                # Of one layer, one direction, batch first, and no projection of the state.
                torch._cudnn_rnn_flatten_weight(
                    weights,
                    len(weights),
                    weights[0].shape[1],
                    _CUDNN_LSTM,
                    self._hidden,
                    0,
                    1,
                    True,
                    False,
                )
        return self
