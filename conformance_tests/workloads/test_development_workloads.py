"""The development workloads on small files in the official formats: data, training, evaluation."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import algoperf_ref
from algoperf_ref import workloads
from algoperf_ref.data.cifar import files as cifar_files
from algoperf_ref.data.cifar import split as cifar_split
from algoperf_ref.data.mnist import commands as mnist_commands
from algoperf_ref.data.mnist import files as mnist_files
from algoperf_ref.data.mnist import split as mnist_split
from algoperf_ref.errors import MissingDataError
from algoperf_ref.harness.results import Status
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, to_numpy
from spec import tiers
from spec.submission import ForwardPassMode

SUBMISSION = Path(__file__).parents[2] / "reference_submissions" / "external_tuning" / "nadamw"
# Of the points of NadamW's search space; the learning rate of the first is too large for mnist.
POINT = 2
SIZES = {"train": 30, "validation": 11, "test": 9}
BATCH = 4
# Everything but the depth and the width of the network is as it is.
TINY = {"stage_sizes": (1, 1), "num_filters": 4}
per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
per_workload = pytest.mark.parametrize("name", ["mnist", "cifar"])
both = pytest.mark.parametrize(
    ("name", "framework"), [(n, f) for n in ("mnist", "cifar") for f in FRAMEWORKS]
)


def coloured(count: int, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8, whose brightness tells the label, and labels."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, 10, count)
    noise = random.randint(0, 20, (count, *shape))
    return (noise + 20 * labels.reshape(-1, *[1] * len(shape))).astype(np.uint8), labels


def write_mnist(data_dir: Path) -> None:
    root = mnist_files.Layout.of(data_dir, "full").root
    root.mkdir(parents=True)
    counts = (SIZES["train"] + SIZES["validation"], SIZES["test"])
    for seed, (kind, count) in enumerate(zip(mnist_files.KINDS, counts, strict=True)):
        images, labels = coloured(count, (28, 28), seed)
        # On the scale of the files nearly all units are saturated, and do not see the brightness.
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 8] = 220
        mnist_files.write_idx(root / f"{kind}-images-idx3-ubyte.gz", images)
        mnist_files.write_idx(root / f"{kind}-labels-idx1-ubyte.gz", labels.astype(np.uint8))


def write_cifar(data_dir: Path) -> None:
    folder = data_dir / "cifar" / cifar_files.FOLDER
    folder.mkdir(parents=True)
    # Five files share the 41 images for training and validation.
    counts = dict(zip(cifar_files.TRAIN_FILES, (8, 8, 8, 8, 9), strict=True))
    counts |= dict.fromkeys(cifar_files.TEST_FILES, SIZES["test"])
    for seed, (name, count) in enumerate(counts.items()):
        images, labels = coloured(count, (3072,), seed)
        content = {b"data": images, b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both data sets in their full tier, with few images."""
    monkeypatch.setitem(mnist_files.COUNTS, "full", SIZES)  # type: ignore[arg-type]
    for split, count in SIZES.items():
        monkeypatch.setitem(cifar_split.COUNTS, split, count)  # type: ignore[arg-type]
    write_mnist(tmp_path)
    write_cifar(tmp_path)
    return tmp_path


def small(name: str, framework: str) -> Any:
    """A workload for the small files."""
    made = workloads.load(name, framework, backend=backend(framework))
    row = dataclasses.replace(
        made.spec,
        num_train_examples=SIZES["train"],
        num_eval_train_examples=12,
        num_validation_examples=SIZES["validation"],
        num_test_examples=SIZES["test"],
        model_config={**made.spec.model_config, **(TINY if name == "cifar" else {})},
    )
    return type(made)(row, made.tier, made.backend)


def steps(workload: Any, data_dir: Path, count: int) -> tuple[Any, Any, list[float]]:
    """Plain gradient descent; returns parameters, model state and the mean losses."""
    device, is_jax = workload.backend, workload.framework == "jax"
    key = device.seed_key(0)
    params, state = workload.init_model_fn(key)
    rate = 0.1 if workload.name == "cifar" else 0.01

    def loss(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        logits, state = workload.model_fn(
            params, batch, state, ForwardPassMode.TRAIN, key, update_batch_norm=True
        )
        result = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return result["summed"] / result["n_valid_examples"], state

    if is_jax:
        import jax

        value_and_grad = fast_jit(jax.value_and_grad(loss, has_aux=True))
    losses = []
    batches = workload.build_input_queue(key, "train", data_dir, BATCH * 4)
    for batch in itertools.islice(batches, count):
        if is_jax:
            (value, state), gradients = value_and_grad(params, state, batch)
            params = jax.tree.map(lambda p, g: p - rate * g, params, gradients)
        else:
            params.zero_grad()
            value, state = loss(params, state, batch)
            value.backward()
            for parameter in params.parameters():
                parameter.data -= rate * parameter.grad
        losses.append(float(to_numpy(value)))
    return params, state, losses


@both
def test_training_on_the_official_files_lowers_the_loss(
    name: str, framework: str, data_dir: Path
) -> None:
    params, state, losses = steps(small(name, framework), data_dir, 40)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
    assert (state is None) == (name == "mnist" or framework == "pytorch")
    if name == "cifar":
        if framework == "jax":
            statistics = state["batch_stats"]["BatchNorm_init"]["mean"]
        else:
            statistics = dict(params.named_buffers())["bn1.running_mean"]
        assert to_numpy(statistics).any(), "the running statistics are not updated"


@pytest.mark.clause("WORK-10", "DATA-3", "DATA-4", "DATA-6")
@both
def test_an_evaluation_covers_every_image_exactly_once(
    name: str, framework: str, data_dir: Path
) -> None:
    workload = small(name, framework)
    key = workload.backend.seed_key(0)
    params, state = workload.init_model_fn(key)
    result = workload.eval_model(BATCH, params, state, key, data_dir)
    assert result == workload.eval_model(BATCH, params, state, key, data_dir)
    assert set(result) == {
        *(f"{s}/{m}" for s in ("train", "validation", "test") for m in ("accuracy", "loss")),
        "validation/num_examples",
        "test/num_examples",
    }
    for split in ("validation", "test"):
        batches = list(workload.build_input_queue(key, split, data_dir, BATCH))
        seen = np.concatenate([to_numpy(b["inputs"])[to_numpy(b["weights"]) > 0] for b in batches])
        assert len(seen) == result[f"{split}/num_examples"] == SIZES[split]
        # Against one batch that is the whole split.
        (whole,) = workload.build_input_queue(key, split, data_dir, SIZES[split])
        np.testing.assert_array_equal(seen, to_numpy(whole["inputs"]))
        logits, _ = workload.model_fn(params, whole, state, ForwardPassMode.EVAL, key, False)
        hits = to_numpy(logits).argmax(-1) == to_numpy(whole["targets"])
        assert result[f"{split}/accuracy"] == pytest.approx(hits.mean(), abs=1e-6)
        mean = float(workload.loss_fn(whole["targets"], logits)["summed"]) / SIZES[split]
        assert result[f"{split}/loss"] == pytest.approx(mean, rel=1e-4)


@both
def test_training_goes_on_at_any_step(name: str, framework: str, data_dir: Path) -> None:
    workload = small(name, framework)
    key = workload.backend.seed_key(5)
    queue = workload.build_input_queue(key, "train", data_dir, BATCH)
    tenth = next(itertools.islice(queue, 9, None))
    again = next(workload.build_input_queue(key, "train", data_dir, BATCH, start_step=9))
    for field in tenth:
        np.testing.assert_array_equal(to_numpy(again[field]), to_numpy(tenth[field]))


@pytest.mark.clause("DATA-2")
@per_workload
def test_both_frameworks_see_the_same_images_in_their_layouts(name: str, data_dir: Path) -> None:
    made = {framework: small(name, framework) for framework in FRAMEWORKS}
    # A seed of JAX is another number than one of PyTorch; from the same one come the same batches.
    streams = [w._numpy_batches(7, "train", data_dir, BATCH, 2) for w in made.values()]
    side, channels = (28, 1) if name == "mnist" else (32, 3)
    for in_jax, in_torch in itertools.islice(zip(*streams, strict=True), 9):
        assert in_jax["inputs"].shape == (BATCH, side, side, channels)
        assert in_jax["inputs"].dtype == np.float32
        np.testing.assert_array_equal(in_jax["inputs"].transpose(0, 3, 1, 2), in_torch["inputs"])
        np.testing.assert_array_equal(in_jax["targets"], in_torch["targets"])


def test_the_pipelines_take_the_constants_of_the_rows() -> None:
    mnist, cifar = tiers.get("mnist"), tiers.get("cifar")
    np.testing.assert_array_equal(np.asarray(mnist.train_mean, np.float32), [mnist_split.MEAN])
    np.testing.assert_array_equal(np.asarray(mnist.train_stddev, np.float32), [mnist_split.STD])
    np.testing.assert_array_equal(np.asarray(cifar.train_mean, np.float32), cifar_split.MEAN)
    np.testing.assert_array_equal(np.asarray(cifar.train_stddev, np.float32), cifar_split.STD)
    assert cifar.model_config["padding_size"] == cifar_split.PADDING
    assert cifar.model_config["crop_size"] == cifar_files.SIDE
    rows = [
        (mnist, mnist_files.COUNTS["full"]),
        (tiers.get("mnist", "mini"), mnist_files.COUNTS["mini"]),
        (cifar, cifar_split.COUNTS),
    ]
    for row, counts in rows:
        assert counts == {
            "train": row.num_train_examples,
            "validation": row.num_validation_examples,
            "test": row.num_test_examples,
        }


@per_workload
def test_missing_data_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=name):
        small(name, "pytorch").check_data(tmp_path)


@per_framework
def test_nadamw_reaches_the_mini_target_of_mnist(framework: str, tmp_path: Path) -> None:
    mnist_commands.prepare(tmp_path, "mini")
    points: list[Mapping[str, Any]] = json.loads(
        (SUBMISSION / "tuning_search_space.json").read_text()
    )
    result = algoperf_ref.run_trial(
        "mnist",
        framework,
        SUBMISSION,
        tier="mini",
        data_dir=tmp_path,
        hyperparameters=points[POINT],
        seed=0,
        clock="steps",
        max_global_steps=tiers.get("mnist", "mini").step_hint,
    )
    assert result.reached_validation_target, result.eval_results
    assert result.status is Status.TARGETS_REACHED
