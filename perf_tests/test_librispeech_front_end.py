"""The speech front end beside the training step of the Conformer that it is a part of.

Features are made on the device in every step. That must stay a small part of the step, or they
should be made once for all; both are timed in turn in one run, at the sizes of the mini tier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from algoperf_ref import frameworks
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.librispeech.conformer_sizes import ConformerSizes
from perf_tests.interleaved import measure

_EXAMPLES, _SAMPLES, _LENGTH = 16, 25_600, 32
_SIZES = ConformerSizes(
    num_outputs=64,
    encoder_dim=64,
    num_attention_heads=4,
    num_encoder_layers=2,
    convolution_kernel_size=15,
    subsampling_channels=32,
)
_ROUNDS = 7
_MAX_SHARE = 0.25


def _batch(framework: str) -> tuple[Any, Any]:
    """Audio and labels, each with paddings, on the device."""
    random = np.random.RandomState(0)
    ends = np.linspace(0.5, 1.0, _EXAMPLES)[:, None]
    audio = 3_000 * random.randn(_EXAMPLES, _SAMPLES)
    paddings = np.arange(_SAMPLES) >= ends * _SAMPLES
    labels = random.randint(1, _SIZES.num_outputs, (_EXAMPLES, _LENGTH))
    label_paddings = np.arange(_LENGTH) >= 8 * ends
    backend = frameworks.create(framework)
    inputs = tuple(backend.replicate(array.astype(np.float32)) for array in (audio, paddings))
    kinds = (labels.astype(np.int32), label_paddings.astype(np.float32))
    return inputs, tuple(map(backend.replicate, kinds))


def _work(framework: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """The front end with its masks alone, and a whole step: loss, gradients and statistics."""
    backend = frameworks.create(framework)
    front_end = load_twin("algoperf_ref.workloads.librispeech.front_end_{}", framework)
    conformer = load_twin("algoperf_ref.workloads.librispeech.conformer_{}", framework)
    ctc_loss = load_twin("algoperf_ref.frameworks.{}_ctc", framework).ctc_loss
    inputs, labels = _batch(framework)
    model, key, masks = conformer.build(_SIZES, backend), backend.seed_key(0), _SIZES.spec_augment
    new = model.initialise(key)

    def loss(params: Any) -> Any:
        logits, state = model.forward_with_state(
            params,
            new.model_state,
            inputs,
            training=True,
            key=key,
            update_batch_norm=True,
            dropout_rate=0.1,
        )
        return ctc_loss(labels, logits)["summed"], state

    if framework == "jax":
        import jax

        def features(inputs: Any, key: Any) -> Any:
            values, paddings = front_end.log_mel(*inputs)
            return front_end.spec_augment(values, paddings, masks, key)

        compiled = jax.jit(features), jax.jit(jax.value_and_grad(loss, has_aux=True))
        return (
            lambda: jax.block_until_ready(compiled[0](inputs, key)),
            lambda: jax.block_until_ready(compiled[1](new.params)),
        )
    import torch

    @torch.no_grad()
    def features_in_torch() -> Any:
        values, paddings = front_end.log_mel(*inputs)
        return front_end.spec_augment(values, paddings, masks)

    def step_in_torch() -> None:
        new.params.zero_grad()
        loss(new.params)[0].backward()

    return features_in_torch, step_in_torch


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_the_front_end_is_a_small_part_of_a_step(
    benchmark: BenchmarkFixture, framework: str
) -> None:
    pair = benchmark.pedantic(measure, args=(*_work(framework), _ROUNDS), rounds=1)
    benchmark.extra_info["milliseconds"] = round(1e3 * float(np.median(pair.ours)), 2)
    benchmark.extra_info["milliseconds_of_a_step"] = round(1e3 * float(np.median(pair.twin)), 2)
    benchmark.extra_info["share"] = round(1 / pair.ratio, 3)
    print(f"\n{benchmark.extra_info}")
    assert 1 / pair.ratio <= _MAX_SHARE
