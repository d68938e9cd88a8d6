"""One step of the full recommendation model by gradient descent, in a process of its own.

``python -m conformance_tests.workloads.criteo_full_step jax`` prints a JSON object: bytes of the
parameters, peak memory after initialisation and after the step, seconds, losses on the batch.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.criteo1tb.sizes import DlrmSizes
from conformance_tests.workloads import criteo_samples, samples
from spec import workloads

BATCH_SIZE = 64
LEARNING_RATE = 0.01


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def descend_jax(loss: Callable[[Any], Any], params: Any) -> tuple[float, Any]:
    """The loss before a step, and the parameters after it; the old ones are given away."""
    import jax

    def step(params: Any) -> tuple[Any, Any]:
        value, gradients = jax.value_and_grad(loss)(params)
        new = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradients)
        return value, new

    value, params = jax.block_until_ready(jax.jit(step, donate_argnums=0)(params))
    return float(value), params


def descend_pytorch(loss: Callable[[Any], Any], module: Any) -> tuple[float, Any]:
    """The loss before a step, and the module after it."""
    import torch

    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE, foreach=False)
    value = loss(module)
    value.backward()
    optimizer.step()
    return value.item(), module


def measure(framework: str, name: str = "criteo1tb") -> dict[str, float]:
    """Initialises a full model and takes a step."""
    backend = samples.backend(framework)
    sizes = DlrmSizes.of(workloads.get(name))
    model = criteo_samples.build(framework, sizes)
    losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
    inputs, labels = backend.place_batch(
        (criteo_samples.inputs(BATCH_SIZE), criteo_samples.labels(BATCH_SIZE))
    )
    key = backend.seed_key(0)

    def loss(params: Any) -> Any:
        logits = model.forward(params, inputs, training=True, key=key, dropout_rate=0.0)
        result = losses.sigmoid_cross_entropy(labels, logits)
        return result["summed"] / result["n_valid_examples"]

    start = time.perf_counter()
    # Only the parameters stay: the description would keep a second reference to them.
    params, shapes = (lambda new: (new.params, new.shapes))(model.initialise(key))
    backend.synchronize(params)
    initialised, initial_peak = time.perf_counter(), peak_bytes()
    descend = {"jax": descend_jax, "pytorch": descend_pytorch}[framework]
    before, params = descend(loss, params)
    stepped, peak = time.perf_counter(), peak_bytes()
    elements = sum(_size(shape.shape_tuple) for shape in samples.flatten(shapes).values())
    return {
        "parameter_bytes": 4 * elements,
        "peak_bytes_after_initialisation": initial_peak,
        "peak_bytes": peak,
        "initialisation_seconds": initialised - start,
        "step_seconds": stepped - initialised,
        "loss_before": before,
        "loss_after": loss(params).item(),
    }


def _size(shape: tuple[int, ...]) -> int:
    product = 1
    for extent in shape:
        product *= extent
    return product


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
