"""The device memory of a training step is estimated without the device."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algoperf_ref import memory, workloads
from algoperf_ref.errors import UserError
from algoperf_ref.frameworks import torch_memory
from algoperf_ref.frameworks.torch_memory import KnownValues, SimulatedAllocator
from conformance_tests.workloads.samples import FRAMEWORKS
from spec import tiers
from spec.hardware import V100_MACHINE
from spec.workloads import base_name

FLOAT = 4
PADDING = torch.ones(100)
ROWS, INPUTS, HIDDEN, OUTPUTS = 64, 10, 50, 3


class Perceptron(nn.Module):
    """Two affine maps and a sigmoid, which saves its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(torch.sigmoid(self.first(inputs)))
        return outputs


class TinyWorkload:
    """What the estimator calls of a workload."""

    backend = torch_memory.planning_backend()

    def init_model_fn(self, key: Any) -> tuple[nn.Module, None]:
        return Perceptron(), None

    def model_fn(self, module: nn.Module, batch: Any, *_: Any) -> tuple[torch.Tensor, None]:
        return module(batch["inputs"]), None

    def loss_fn(self, labels: Any, logits: torch.Tensor, mask: Any) -> dict[str, Any]:
        return {"summed": logits.sum(), "n_valid_examples": len(logits)}


def test_the_figures_of_a_small_perceptron_are_those_of_a_calculation_by_hand() -> None:
    batch = {"inputs": np.zeros((ROWS, INPUTS), np.float32), "targets": np.zeros(ROWS, np.int64)}
    found = torch_memory.step_memory(TinyWorkload(), batch, num_devices=1)
    parameters = FLOAT * (INPUTS * HIDDEN + HIDDEN + HIDDEN * OUTPUTS + OUTPUTS)
    # NAdam: two moments of each parameter; of each of the four tensors a step and a product.
    optimizer_state = 2 * parameters + 4 * 2 * FLOAT
    in_batch = FLOAT * ROWS * INPUTS + 8 * ROWS
    assert found["parameters"] == parameters
    assert found["optimizer_state"] == optimizer_state
    assert (found["batch"], found["model_state"]) == (in_batch, 0)
    # The peak is in the backward pass of the sigmoid: its output, which was saved, the gradients of
    # that output and of its input, the gradients of the last layer, the logits, the loss, its mean
    # and the gradient of the loss (that of the logits is the same number many times).
    hidden, logits = FLOAT * ROWS * HIDDEN, FLOAT * ROWS * OUTPUTS
    last_layer = FLOAT * (HIDDEN * OUTPUTS + OUTPUTS)
    at_sigmoid = 3 * hidden + last_layer + logits + 3 * FLOAT
    assert found["peak"] == parameters + optimizer_state + in_batch + at_sigmoid


def test_several_devices_add_a_copy_of_the_gradients() -> None:
    batch = {"inputs": np.zeros((ROWS, INPUTS), np.float32), "targets": np.zeros(ROWS, np.int64)}
    one, two = (torch_memory.step_memory(TinyWorkload(), batch, count) for count in (1, 2))
    assert (one["communication"], two["communication"]) == (0, two["parameters"])
    assert two["peak"] == one["peak"] + two["parameters"]
    assert not torch.distributed.is_initialized()


def test_the_allocator_counts_storages_once_and_until_they_are_freed() -> None:
    with SimulatedAllocator() as allocator:
        first = torch.zeros(100)
        views = [first.view(10, 10), first[:50], first.detach()]
        assert allocator.live == 400
        second = first + 1
        assert allocator.live == allocator.peak == 800
        del second
        assert (allocator.live, allocator.peak) == (400, 800)
        allocator.reset_peak()
        first.add_(1)
        assert allocator.peak == 400
        del first
        assert allocator.live == 400  # the views are there
        views.clear()
        assert allocator.live == 0


def test_the_allocator_sees_what_autograd_saves() -> None:
    weight = torch.ones(25, requires_grad=True)
    with SimulatedAllocator() as allocator:
        result = (weight * 2).exp().sum()  # exp saves its result; the product is not needed
        assert allocator.live == 100 + FLOAT
        del result
        assert allocator.live == 0


def test_the_simulated_step_is_the_real_one() -> None:
    """The same allocator around a step with real tensors comes to the same peak."""
    module, inputs = Perceptron(), torch.zeros(ROWS, INPUTS)
    optimizer = torch.optim.NAdam(
        module.parameters(), weight_decay=0.01, decoupled_weight_decay=True, foreach=True
    )
    allocator = SimulatedAllocator()
    for tensor in (*module.parameters(), inputs):
        allocator.count(tensor)
    with allocator:
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            allocator.reset_peak()
            logits = module(inputs)
            loss = logits.sum()
            (loss / ROWS).backward()
            del logits, loss
            optimizer.step()
    batch = {"inputs": inputs.numpy(), "targets": np.zeros(ROWS, np.int64)}
    found = torch_memory.step_memory(TinyWorkload(), batch, num_devices=1)
    assert allocator.peak == found["peak"] - 8 * ROWS  # the labels


def test_values_of_the_batch_are_known_and_those_of_parameters_are_not() -> None:
    fake = torch_memory.FakeTensorMode(allow_non_fake_inputs=True)
    known = KnownValues(fake)
    value = torch.tensor([3, 0, 5, 0])
    with fake:
        weight = torch.ones(4)
        ids = known.give(value)
        with known:
            assert len(ids.nonzero()) == 2
            assert bool((ids > 4).any())
            zeros = torch.zeros(4)
            view = zeros[:2]
            assert float(view.sum()) == 0
            zeros.copy_(ids)
            assert float(view.sum()) == 3
            zeros.mul_(weight)
            with pytest.raises(UserError, match="depend on the parameters"):
                float(view.sum())


def test_a_large_view_of_a_small_storage_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlapping frames of a padding are many times as large as the padding."""
    monkeypatch.setattr(torch_memory, "MAX_KNOWN_BYTES", 400)
    fake = torch_memory.FakeTensorMode(allow_non_fake_inputs=True)
    known = KnownValues(fake)
    with fake:
        padding = known.give(PADDING)
    with fake, known:
        assert float(padding.unfold(0, 50, 1).amin(1).sum()) == 51
        with pytest.raises(UserError, match="depend on the parameters"):
            float(torch.cat([padding, padding]).sum())


def _check(found: memory.Estimate) -> None:
    """What holds for every estimate with NadamW."""
    assert found.gradients == found.parameters > 0
    assert 2 * found.parameters <= found.optimizer_state <= 2.01 * found.parameters
    assert found.temporaries > 0
    parts = (found.parameters, found.model_state, found.optimizer_state, found.batch)
    assert found.peak == sum(parts) + found.communication + found.temporaries
    assert found.communication == (found.parameters if found.framework == "pytorch" else 0)
    assert found.fits
    workload = workloads.load(found.workload, found.framework, found.tier)
    workload.init_model_fn(workload.backend.seed_key(0))
    assert found.parameters == FLOAT * _elements(workload.param_shapes)


@pytest.mark.parametrize(
    ("name", "framework"),
    [("mnist", "jax"), ("mnist", "pytorch"), ("ogbg", "pytorch"), ("criteo1tb", "pytorch")],
)
def test_the_estimate_of_a_mini_workload_grows_with_the_batch(name: str, framework: str) -> None:
    small, large = (memory.estimate(name, framework, "mini", rows, 2) for rows in (64, 512))
    _check(small)
    _check(large)
    assert small.parameters == large.parameters
    # The graphs of a batch have one more for the padding.
    assert large.batch == pytest.approx(8 * small.batch, rel=0.02)
    assert large.peak > small.peak


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", [n for n in workloads.names("mini") if n == base_name(n)])
def test_the_step_of_every_mini_workload_can_be_estimated(name: str, framework: str) -> None:
    _check(memory.estimate(name, framework, "mini"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_activations_are_proportional_to_the_batch(framework: str) -> None:
    """Of a batch so large that the peak is where the activations are."""
    one, two, three = (
        memory.estimate("mnist", framework, "mini", 2**13 * count, 1) for count in (1, 2, 3)
    )
    step = two.temporaries - one.temporaries
    assert step > 2**13 * FLOAT * 128  # at least the outputs of the hidden layer
    assert three.temporaries - two.temporaries == pytest.approx(step, rel=0.01)


def test_what_was_cached_meanwhile_is_not_fake() -> None:
    """The speech front end keeps a matrix between calls."""
    from algoperf_ref.workloads.librispeech import front_end_torch

    memory.estimate("librispeech_deepspeech", "pytorch", "mini", 2, 1)
    features, _ = front_end_torch.log_mel(torch.zeros(1, 2_000), torch.zeros(1, 2_000))
    assert type(features) is torch.Tensor
    assert torch.isfinite(features).all()


def test_the_batch_is_the_one_of_the_targets() -> None:
    expected = {"ogbg": 512, "ogbg_gelu": 512, "imagenet_vit": 1024, "imagenet_vit_glu": 512}
    for name, size in expected.items():
        row = tiers.get(name, "full")
        assert memory.reference_batch_size(row, "pytorch", 8) == size
    mini = tiers.get("ogbg", "mini")
    assert memory.reference_batch_size(mini, "jax", 8) == 32


def test_training_batches_have_what_training_has() -> None:
    vit = workloads.load("imagenet_vit", "pytorch", "mini")
    synthetic, batch = vit.synthetic_batch(4), memory.training_batch(vit, 4)
    assert batch["targets"].shape == (4, vit.spec.model_config["num_classes"])
    np.testing.assert_array_equal(batch["targets"].argmax(1), synthetic["targets"])
    assert batch["targets"].dtype == np.float32
    wmt = workloads.load("wmt", "pytorch", "mini")
    batch = memory.training_batch(wmt, 4)
    assert set(batch) == {
        *("inputs", "inputs_position", "inputs_segmentation", "weights"),
        *("targets", "targets_position", "targets_segmentation"),
    }
    ids, places = batch["inputs"], batch["inputs_position"]
    assert places.shape == ids.shape
    assert places.dtype == batch["inputs_segmentation"].dtype == np.int32
    np.testing.assert_array_equal(batch["inputs_segmentation"], ids > 0)
    assert (places[0, :3] == [0, 1, 2]).all()


def test_the_limit_is_the_memory_of_a_card_of_the_benchmark() -> None:
    limit = V100_MACHINE.accelerator_memory_gb * 10**9
    assert _estimate(peak=int(limit)).fits
    assert not _estimate(peak=int(limit) + 1).fits
    assert "does not fit into the 16 GB of a NVIDIA V100" in memory.report(
        _estimate(peak=int(limit) + 1)
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_command_prints_and_writes_the_figures(
    framework: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "memory.json"
    flags = [f"--framework={framework}", "--workload=mnist", "--tier", "mini", "--num-devices=4"]
    assert memory.main([*flags, f"--output={output}"]) == 0
    content = json.loads(output.read_text())
    assert content["fits"] is True
    assert content["num_devices"] == 4
    printed = capsys.readouterr().out
    assert "estimated per card, not measured on a device" in printed
    assert f"{content['peak'] / 1e9:.3f} GB" in printed
    assert "fits into the 16 GB" in printed


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"workload": "mnist5"}, "mnist5"),
        ({"workload": "cifar"}, "cifar has no mini tier"),
        ({"batch_size": "0"}, "--batch_size is 0"),
        ({"batch_size": "-8"}, "--batch_size is -8"),
        ({"batch_size": "99999999999"}, "--batch_size is 99999999999"),
        ({"batch_size": "12"}, "cannot be shared by 8 cards"),
        ({"num_devices": "0"}, "--num_devices is 0"),
        ({"num_devices": "3"}, "use another number of devices"),
        ({"output": "/nowhere/at/all.json"}, "there is no directory /nowhere/at"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    flags: dict[str, str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"workload": "mnist", "framework": "pytorch", "tier": "mini", **flags}
    assert memory.main([f"--{name}={value}" for name, value in given.items()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert expected in error
    assert len(error.splitlines()) == 1


def test_a_framework_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "algoperf_ref.frameworks.torch_memory")
    monkeypatch.delitem(sys.modules, "algoperf_ref.frameworks.torch_backend")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r'pip install "algoperf-ref\[torch\]"'):
        memory.estimate("mnist", "pytorch", "mini")


def _elements(tree: Any) -> int:
    if hasattr(tree, "shape_tuple"):
        return int(np.prod(tree.shape_tuple, dtype=np.int64))
    return sum(_elements(value) for value in tree.values())


def _estimate(peak: int) -> memory.Estimate:
    names = memory.Estimate.__dataclass_fields__
    sizes = dict.fromkeys(names, 1)
    named = {"workload": "ogbg", "framework": "jax", "tier": "full", "peak": peak}
    return memory.Estimate(**(sizes | named))  # type: ignore[arg-type]
