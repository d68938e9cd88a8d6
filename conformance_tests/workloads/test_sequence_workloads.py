"""The workloads of sequences from files to metrics, on tiny data, in both frameworks.

Those that are in the full tier only have no part in the contract tests.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.workloads.librispeech.workload import ConformerWorkload
from algoperf_ref.workloads.wmt.workload import WmtWorkload
from conformance_tests.data.test_wmt_data import COUNTS, PIECES, prepare_tiny, write_text
from conformance_tests.support.utterances import write_tiny_librispeech
from conformance_tests.workloads import wmt_samples
from conformance_tests.workloads.samples import FRAMEWORKS, backend, fast_jit, flatten, to_numpy
from spec import workloads
from spec.submission import ForwardPassMode
from spec.workloads import WorkloadSpec

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
UTTERANCES = {"train": 12, "validation": 6, "test": 5}


def small(name: str, counts: dict[str, int], **config: Any) -> WorkloadSpec:
    """The row of a workload with tiny sizes."""
    row = workloads.get(name)
    return dataclasses.replace(
        row,
        num_train_examples=counts["train"],
        num_validation_examples=counts["validation"],
        num_test_examples=counts["test"],
        num_eval_train_examples=5,
        model_config={**row.model_config, **config},
    )


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny sentence pairs."""
    data_dir = tmp_path_factory.mktemp("wmt")
    write_text(data_dir / "wmt")
    prepare_tiny(data_dir)
    return data_dir


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny utterances."""
    data_dir = tmp_path_factory.mktemp("librispeech")
    write_tiny_librispeech(data_dir, **UTTERANCES)
    return data_dir


def translation(framework: str) -> Any:
    """A tiny translation workload."""
    sizes = {"vocab_size": PIECES, "embed_dim": 16, "num_heads": 4, "num_layers": 1, "mlp_dim": 16}
    return WmtWorkload(small("wmt", COUNTS, **sizes), "full", backend(framework))


def speech(framework: str) -> Any:
    """A tiny Conformer workload."""
    sizes = {
        "num_outputs": 64,
        "max_audio_length": 25_600,
        "max_target_length": 32,
        "encoder_dim": 16,
        "subsampling_channels": 4,
        "num_encoder_layers": 1,
        "num_attention_heads": 2,
    }
    row = small("librispeech_conformer", UTTERANCES, **sizes)
    return ConformerWorkload(row, "mini", backend(framework))


def with_values(workload: Any, values: dict[str, np.ndarray]) -> Any:
    """A PyTorch module with these values."""
    import torch

    module, _ = workload.init_model_fn(workload.backend.seed_key(0))
    state = {name: torch.tensor(np.asarray(value)) for name, value in values.items()}
    module.load_state_dict(module.state_dict() | state)
    return module


def train_a_little(workload: Any, data_dir: Path, steps: int) -> list[float]:
    """Mean losses of some steps of gradient descent on the first batch."""
    key = workload.backend.seed_key(0)
    batch = next(workload.build_input_queue(key, "train", data_dir, 4))
    params, state = workload.init_model_fn(key)

    def mean_loss(params: Any, batch: Any) -> Any:
        logits, _ = workload.model_fn(
            params, batch, state, ForwardPassMode.TRAIN, key, True, dropout_rate=0.0
        )
        loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return loss["summed"] / loss["n_valid_examples"]

    losses = []
    if workload.framework == "jax":
        import jax

        value_and_grad = fast_jit(jax.value_and_grad(mean_loss))
        for _ in range(steps):
            loss, gradients = value_and_grad(params, batch)
            params = jax.tree.map(lambda p, g: p - 0.05 * g, params, gradients)
            losses.append(float(loss))
        return losses
    import torch

    optimizer = torch.optim.SGD(params.parameters(), 0.05)
    for _ in range(steps):
        workload.backend.seed_global_generators(key)
        optimizer.zero_grad()
        loss = mean_loss(params, batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@per_framework
def test_translation_learns_from_files(framework: str, sentences: Path) -> None:
    losses = train_a_little(translation(framework), sentences, 4)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@per_framework
def test_speech_learns_from_files(framework: str, utterances: Path) -> None:
    losses = train_a_little(speech(framework), utterances, 4)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def check_evaluation(first: dict[str, float], second: dict[str, float], row: WorkloadSpec) -> None:
    """Both frameworks say the same of the same parameters."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert np.isfinite(value)
        assert second[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert first["validation/num_examples"] == row.num_validation_examples
    assert first["test/num_examples"] == row.num_test_examples


@pytest.mark.clause("EVAL-5")
def test_both_frameworks_evaluate_the_same_translations(sentences: Path) -> None:
    jax_side, torch_side = translation("jax"), translation("pytorch")
    params, _ = jax_side.init_model_fn(jax_side.backend.seed_key(1))
    module = with_values(torch_side, wmt_samples.transplant(params, glu=False))
    key = jax_side.backend.seed_key(0)
    results = [
        jax_side.eval_model(8, params, None, key, sentences),
        torch_side.eval_model(8, module, None, torch_side.backend.seed_key(0), sentences),
    ]
    check_evaluation(*results, jax_side.spec)
    assert {name.split("/")[1] for name in results[0]} == {
        *("loss", "accuracy", "bleu", "num_examples")
    }
    assert not jax_side.has_reached_validation_target(results[0])


@pytest.mark.clause("EVAL-5")
def test_an_evaluation_does_not_depend_on_the_batch_size(sentences: Path) -> None:
    workload = translation("pytorch")
    params, _ = workload.init_model_fn(workload.backend.seed_key(1))
    key = workload.backend.seed_key(0)
    first, second = (workload.eval_model(n, params, None, key, sentences) for n in (5, 12))
    for name, value in first.items():
        assert second[name] == pytest.approx(value, rel=1e-5), name


@per_framework
@pytest.mark.clause("EVAL-5")
def test_speech_is_evaluated_by_both_word_error_rates(framework: str, utterances: Path) -> None:
    workload = speech(framework)
    key = workload.backend.seed_key(0)
    params, state = workload.init_model_fn(key)
    result = workload.eval_model(4, params, state, key, utterances)
    assert {name.split("/")[1] for name in result} == {
        *("ctc_loss", "wer", "wer_plain", "num_examples")
    }
    assert np.isfinite(list(result.values())).all()
    # An empty answer scores about 0.63 by the benchmark's rate, and 1 by the plain one.
    assert result["validation/wer"] > 0.3
    assert result["validation/wer_plain"] > 0.6


@pytest.mark.clause("DATA-1")
def test_both_frameworks_read_the_same_batches(sentences: Path, utterances: Path) -> None:
    for make, data_dir in ((translation, sentences), (speech, utterances)):
        queues = [
            make(framework)._numpy_batches(5, "train", data_dir, 4, 2) for framework in FRAMEWORKS
        ]
        for first, second in itertools.islice(zip(*queues, strict=False), 3):
            ours, theirs = (_arrays(batch) for batch in (first, second))
            assert ours.keys() == theirs.keys()
            for name, array in ours.items():
                np.testing.assert_array_equal(array, theirs[name])


def _arrays(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for name, value in flatten(batch).items():
        parts = value if isinstance(value, tuple) else (value,)
        flat |= {f"{name}/{i}": to_numpy(part) for i, part in enumerate(parts)}
    return flat


@per_framework
@pytest.mark.parametrize("make", [translation, speech])
def test_synthetic_batches_have_the_structure_of_evaluation_batches(
    make: Any, framework: str, sentences: Path, utterances: Path
) -> None:
    workload = make(framework)
    data_dir = sentences if make is translation else utterances
    real = _arrays(next(workload._numpy_batches(0, "validation", data_dir, 4, 0)))
    made = _arrays(workload.synthetic_batch(4))
    assert {name: (a.shape, a.dtype) for name, a in made.items()} == {
        name: (a.shape, a.dtype) for name, a in real.items()
    }
