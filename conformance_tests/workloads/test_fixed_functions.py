"""The fixed functions of a workload have the documented parameters and results."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads import load
from conformance_tests.workloads import samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend, flatten
from spec import calls
from spec.submission import ForwardPassMode


class Pass:
    """A workload, its first parameters, and the results of a forward pass and of the loss."""

    def __init__(self, framework: str) -> None:
        own = backend(framework)
        self.workload: Any = load("ogbg", framework, "mini", backend=own)
        key = own.seed_key(0)
        self.params, self.model_state = self.workload.init_model_fn(key)
        self.batch: Any = own.place_batch(samples.batch(3))
        self.logits, self.new_state = self.workload.model_fn(
            self.params,
            self.batch,
            self.model_state,
            ForwardPassMode.EVAL,
            key,
            update_batch_norm=False,
        )
        self.loss = self.workload.loss_fn(self.batch["targets"], self.logits, self.batch["weights"])


@pytest.fixture(scope="module", params=FRAMEWORKS)
def forward(request: pytest.FixtureRequest) -> Pass:
    return Pass(request.param)


@pytest.mark.clause("SUB-21")
@pytest.mark.parametrize("name", list(calls.FIXED_SIGNATURES))
def test_they_have_the_documented_parameters(forward: Pass, name: str) -> None:
    parameters = inspect.signature(getattr(forward.workload, name)).parameters
    names = calls.FIXED_SIGNATURES[name]
    # A model with batch normalisation may take more, which submissions need not know.
    assert tuple(parameters)[: len(names)] == names
    required = [p.name for p in parameters.values() if p.default is p.empty]
    optional = {"dropout_rate", "mask_batch", "label_smoothing"}
    assert required == [parameter for parameter in names if parameter not in optional]


@pytest.mark.clause("SUB-18")
def test_parameters_are_32_bit_floats(forward: Pass) -> None:
    params = forward.params
    named = dict(params.named_parameters()) if hasattr(params, "named_parameters") else params
    dtypes = {str(value.dtype).removeprefix("torch.") for value in flatten(named).values()}
    assert dtypes == {calls.PARAMETER_DTYPE}


@pytest.mark.clause("SUB-16")
def test_logits_are_not_activated_and_the_state_is_handed_on(forward: Pass) -> None:
    logits = samples.to_numpy(forward.logits)
    assert logits.min() < 0.0  # a probability is not
    assert forward.new_state is forward.model_state is None


@pytest.mark.clause("SUB-15", "SUB-16")
def test_the_loss_takes_the_logits_and_gives_sum_number_and_losses_of_examples(
    forward: Pass,
) -> None:
    calls.check_loss_result(forward.loss)
    logits = samples.to_numpy(forward.logits).astype(np.float64)
    labels = samples.to_numpy(forward.batch["targets"])
    valid = samples.to_numpy(forward.batch["weights"]) > 0
    probability = 1 / (1 + np.exp(-logits))
    likelihood = np.where(labels == 1, probability, 1 - probability)
    expected = -np.log(likelihood[valid]).sum()
    assert float(forward.loss["summed"]) == pytest.approx(expected, rel=1e-4)
    assert float(forward.loss["n_valid_examples"]) == valid.sum()
