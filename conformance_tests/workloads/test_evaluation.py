"""Input queues and evaluation of the graph workload."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from algoperf_ref.data.graphs import PackedGraphs
from algoperf_ref.workloads.ogbg import data, metrics
from algoperf_ref.workloads.ogbg.workload import OgbgWorkload
from conformance_tests.workloads import samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend
from spec import tiers
from spec.tiers import Tier

SIZES = {"train": 60, "validation": 25, "test": 20}
BATCH = 8


class CountingWorkload(OgbgWorkload):
    """Counts how often the evaluation step is traced (JAX) or run (PyTorch)."""

    calls = 0

    def evaluation_outputs(self, *args: Any) -> dict[str, Any]:
        self.calls += 1
        return super().evaluation_outputs(*args)


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> dict[str, PackedGraphs]:
    """Small random splits in the place of the files."""
    made = {split: samples.molecules(n, seed=n) for split, n in SIZES.items()}

    def load_split(data_dir: str, tier: str, split: str, *, expected_examples: int) -> PackedGraphs:
        packed = made[split.removeprefix("eval_")]
        assert (data_dir, tier, expected_examples) == ("somewhere", "mini", len(packed))
        return packed

    monkeypatch.setattr(data, "load_split", load_split)
    return made


def make(framework: str) -> CountingWorkload:
    row = tiers.get("ogbg", "mini")
    sizes = {"hidden_dims": (8,), "latent_dim": 8, "num_message_passing_steps": 1}
    spec = dataclasses.replace(
        row,
        num_train_examples=SIZES["train"],
        num_eval_train_examples=30,
        num_validation_examples=SIZES["validation"],
        num_test_examples=SIZES["test"],
        model_config={**row.model_config, **sizes},
    )
    return CountingWorkload(spec, Tier.MINI, backend(framework))


@pytest.mark.clause("WORK-10", "DATA-3", "DATA-4", "DATA-6")
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_evaluations_cover_every_example_once_and_repeat_exactly(
    framework: str, splits: dict[str, PackedGraphs]
) -> None:
    workload = make(framework)
    key = backend(framework).seed_key(0)
    params, state = workload.init_model_fn(key)
    first = workload.eval_model(BATCH, params, state, key, "somewhere")
    traces = workload.calls
    other_key = backend(framework).seed_key(1)
    second = workload.eval_model(
        BATCH, params, state, other_key, "somewhere", imagenet_v2_data_dir=None, global_step=3
    )
    assert first == second
    names = ("accuracy", "loss", "mean_average_precision")
    assert set(first) == {f"{s}/{m}" for s in ("train", "validation", "test") for m in names} | {
        "validation/num_examples",
        "test/num_examples",
    }
    assert first["validation/num_examples"] == SIZES["validation"]
    assert first["test/num_examples"] == SIZES["test"]
    if framework == "jax":
        assert traces == workload.calls == 1, "the evaluation step was compiled again"

    # Against one batch that holds the whole split.
    whole = next(iter(data.evaluation_batches(splits["test"], global_batch_size=40, num_shards=1)))
    step = workload.evaluation_outputs
    step = samples.fast_jit(step) if framework == "jax" else step
    outputs = step(params, backend(framework).place_batch(whole), state, key)
    expected = metrics.evaluation_metrics(**{k: samples.to_numpy(v) for k, v in outputs.items()})
    for metric, value in expected.items():
        assert first[f"test/{metric}"] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_evaluation_keeps_no_batch_alive(
    framework: str, splits: dict[str, PackedGraphs], monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = make(framework)
    key = backend(framework).seed_key(0)
    params, state = workload.init_model_fn(key)
    batches: list[weakref.ref[Any]] = []
    make_batches = workload._numpy_batches

    def watched(*args: Any) -> Iterator[Any]:
        for batch in make_batches(*args):
            batches.append(weakref.ref(batch["targets"]))
            yield batch

    monkeypatch.setattr(workload, "_numpy_batches", watched)
    workload.eval_model(BATCH, params, state, key, "somewhere")
    gc.collect()
    assert len(batches) >= 3
    # JAX may read the last numpy arrays in place; whatever it still holds does not grow.
    assert sum(batch() is not None for batch in batches) <= 1


@pytest.mark.clause("DATA-2")
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_training_queue_is_endless_resumable_and_on_the_device(
    framework: str, splits: dict[str, PackedGraphs]
) -> None:
    workload = make(framework)
    key = backend(framework).seed_key(5)
    queue = workload._build_input_queue(key, "train", "somewhere", global_batch_size=BATCH)
    batches = list(itertools.islice(queue, 30))
    assert {"inputs", "targets", "weights"} == set(batches[0])
    graph = batches[0]["inputs"]
    assert tuple(graph.nodes.shape) == (26 * BATCH + 1, 9)
    assert tuple(graph.edges.shape) == (56 * BATCH, 3)
    assert tuple(batches[0]["weights"].shape) == (BATCH + 1, 128)
    assert type(graph.nodes).__module__.split(".")[0] in ("jax", "jaxlib", "torch")
    assert not isinstance(graph.nodes, np.ndarray)
    resumed = workload.build_input_queue(key, "train", "somewhere", BATCH, start_step=29)
    again = next(resumed)
    for name in ("nodes", "senders", "n_node"):
        np.testing.assert_array_equal(
            samples.to_numpy(getattr(again["inputs"], name)),
            samples.to_numpy(getattr(batches[29]["inputs"], name)),
        )
    other = next(
        workload.build_input_queue(backend(framework).seed_key(6), "train", "somewhere", BATCH)
    )
    assert not np.array_equal(
        samples.to_numpy(other["targets"]), samples.to_numpy(batches[0]["targets"])
    )


def test_an_unknown_split_is_refused(splits: dict[str, PackedGraphs]) -> None:
    with pytest.raises(ValueError, match="unknown split 'valid': choose one of train"):
        make("pytorch").build_input_queue([0, 1], "valid", "somewhere", BATCH)
