"""Random numbers, masks and batches of the scans, beside those of the official pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from algoperf_ref.data import philox
from algoperf_ref.data.batches import WEIGHTS, evaluation_batches
from algoperf_ref.data.fastmri import masks
from algoperf_ref.data.fastmri.layout import Layout
from algoperf_ref.data.fastmri.mini import write
from algoperf_ref.data.fastmri.split import FastmriSplit, open_split
from algoperf_ref.data.fastmri.transforms import transform

GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline"
TOLERANCE = 1e-5
WIDTHS = (320, 322, 356, 368, 372, 386, 388, 400, 640)


@pytest.fixture(scope="module")
def numbers() -> Mapping[str, NDArray[Any]]:
    with np.load(GOLDEN / "fastmri.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def facts() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads((GOLDEN / "fastmri.json").read_text())
    return content


def _volume(number: int) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Built by the rule in fastmri.json."""
    random, width = np.random.RandomState(610 + number), (368, 372)[number]
    kspace = (random.randn(3, 640, width) + 1j * random.randn(3, 640, width)).astype(
        np.complex64
    ) * np.float32(1e-4)
    target = np.abs(random.randn(3, 320, 320)).astype(np.float32) * np.float32(1e-4)
    return kspace, target


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> FastmriSplit:
    data_dir = tmp_path_factory.mktemp("golden")
    folder = Layout.of(data_dir, "full").root / "knee_singlecoil_val"
    folder.mkdir(parents=True)
    for number in range(2):
        write(folder / f"vol{number}.h5", *_volume(number), "CORPD_FBK")
    return open_split(data_dir, "full", "validation", expected_examples=6)


def test_random_numbers_are_those_of_the_fact_sheet() -> None:
    found = philox.stateless_uniform((0, 0), 4)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32([0.21101546, 0.70601, 0.8000634, 0.77079225]))
    assert philox.fold_in((7, 9), 5).tolist() == [3446757168288027501, 5]


@pytest.mark.parametrize("width", WIDTHS)
def test_evaluation_masks_are_the_official_ones(
    width: int, numbers: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> None:
    np.testing.assert_array_equal(
        philox.stateless_uniform(masks.EVALUATION_SEED, width), numbers[f"eval_uniform/{width}"]
    )
    mask = masks.evaluation_mask(width)
    np.testing.assert_array_equal(mask, numbers[f"eval_mask/{width}"])
    info = facts["mask_info"][str(width)]
    assert masks.num_low_frequencies(width) == info["num_low_frequencies"]
    assert masks.center_start(width) == info["center_start"]
    assert masks.random_share(width) == np.float32(info["prob"])
    assert np.count_nonzero(mask) == info["kept_columns"]


def test_validation_batches_are_the_official_ones(
    validation: FastmriSplit, numbers: Mapping[str, NDArray[Any]]
) -> None:
    batches = list(evaluation_batches(range(6), validation.make(), global_batch_size=4))
    assert len(batches) == 2
    for number, batch in enumerate(batches):
        for name in ("inputs", "targets"):
            images = batch[name]
            assert images.shape == (4, 320, 320)
            assert images.dtype == np.float32
            expected = numbers[f"validation/{number}/{name}_stride10"]
            np.testing.assert_allclose(images[:, ::10, ::10], expected, rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(
                np.abs(images).max(axis=(1, 2)),
                numbers[f"validation/{number}/{name}_absmax"],
                rtol=0,
                atol=TOLERANCE,
            )
        for name in ("mean", "std", "volume_max"):
            expected = numbers[f"validation/{number}/{name}"]
            assert batch[name].dtype == np.float32
            np.testing.assert_allclose(batch[name], expected, rtol=1e-6)
    np.testing.assert_array_equal(batches[1][WEIGHTS], numbers["validation/1/weights"])


def test_one_whole_image_is_the_official_one(
    validation: FastmriSplit, numbers: Mapping[str, NDArray[Any]]
) -> None:
    batch = validation.make()(np.array([0]), np.array([0]))
    # Stored as float16, but for one row.
    np.testing.assert_allclose(batch["inputs"][0], numbers["single/inputs_f16"], atol=4e-3)
    for name in ("inputs", "targets"):
        np.testing.assert_allclose(
            batch[name][0, 160], numbers[f"single/{name}_row160"], rtol=0, atol=TOLERANCE
        )


def test_training_masks_follow_the_official_chain_of_seeds(
    numbers: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> None:
    chain = facts["train_rng"]
    seeds = philox.fold_in(np.array(chain["fold_in_0"], np.int64), np.arange(6))
    # The numbers of the file are the low words; the pipeline has whole 64-bit numbers.
    assert (seeds & 0xFFFFFFFF).tolist() == chain["per_example_fold_in"]
    statistics = []
    made = np.empty((2, 320, 320), np.float32)
    for example, seed in enumerate(seeds):
        kspace, target = (array[example % 3] for array in _volume(example // 3))
        mask = masks.column_mask(philox.stateless_uniform(seed, kspace.shape[1]))
        statistics.append(transform(kspace, target, mask, *made))
    # Shuffled in the official batches; their order is not ours to reproduce.
    means = np.concatenate([numbers["eval_train/0/mean"], numbers["eval_train/1/mean"][:2]])
    stds = np.concatenate([numbers["eval_train/0/std"], numbers["eval_train/1/std"][:2]])
    found = np.array(statistics)
    np.testing.assert_allclose(np.sort(found[:, 0]), np.sort(means), rtol=1e-6)
    np.testing.assert_allclose(np.sort(found[:, 1]), np.sort(stds), rtol=1e-6)


def test_the_example_of_the_fact_sheet() -> None:
    i, j = np.mgrid[:640, :368]
    kspace = (np.cos(0.01 * i * j) + 1j * np.sin(0.02 * (i + j))).astype(np.complex64)
    i, j = np.mgrid[:320, :320]
    target = (0.5 + 0.5 * np.sin(0.05 * i) * np.cos(0.03 * j)).astype(np.float32)
    inputs, targets = np.empty((2, 320, 320), np.float32)
    mean, std = transform(kspace, target, masks.evaluation_mask(368), inputs, targets)
    assert (mean, std) == pytest.approx((0.225732, 0.553442), abs=1e-6)
    assert inputs[0, 0] == pytest.approx(-0.275318, abs=2e-6)
    assert inputs[160, 160] == pytest.approx(0.0773491, abs=2e-6)
    assert inputs.max() == 6
    assert inputs.min() == pytest.approx(-0.407805, abs=2e-6)
    assert np.abs(inputs).sum() == pytest.approx(35159.77, abs=0.05)
    assert targets.sum() == pytest.approx(50575.14, abs=0.05)
    assert targets[5, 7] == pytest.approx(0.714172, abs=2e-6)
