"""Images for every input: crops, resizing, operations, mixup, the stream of batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Part, evaluation_batches, training_batches
from algoperf_ref.data.imagenet import crops, mixup, operations, randaugment
from algoperf_ref.data.imagenet.cache import ImageCache
from algoperf_ref.data.imagenet.resizing import resize, taps
from algoperf_ref.data.imagenet.split import Augmentation, ImagenetSplit, open_split
from conformance_tests.support import pictures

seeds = st.integers(0, 2**64)
sides = st.integers(1, 40)
shares = st.floats(0, 1, exclude_max=True, width=32)
images = st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint8, (*shape, 3)))
magnitudes = st.floats(0, 10)
_SIZE = 16


# Crops.


@given(
    height=st.integers(1, 2000),
    width=st.integers(1, 2000),
    uniforms=st.lists(shares, min_size=crops.NUMBERS, max_size=crops.NUMBERS),
    min_area=st.floats(0.08, 1),
)
def test_a_crop_lies_in_the_image_within_the_limits(
    height: int, width: int, uniforms: list[float], min_area: float
) -> None:
    box = crops.random_crop(height, width, uniforms, min_area)
    assert box.top >= 0
    assert box.left >= 0
    assert 1 <= box.height <= height - box.top
    assert 1 <= box.width <= width - box.left
    if box == crops.central_crop(height, width):
        return
    area = box.height * box.width / (height * width)
    assert max(min_area, crops.MIN_COVERED) <= area <= crops.AREA_RANGE[1]
    low, high = crops.ASPECT_RANGE
    # One pixel of rounding.
    assert low * box.height - 1 <= box.width <= high * box.height + 1


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_the_centre_crop_is_a_square_of_seven_eighths(height: int, width: int) -> None:
    box = crops.central_crop(height, width)
    side = min(height, width)
    assert box.height == box.width == max(1, side * 224 // 256)
    assert 0 <= height - box.height - 2 * box.top + 1 <= 1
    assert 0 <= width - box.width - 2 * box.left + 1 <= 1


def test_crops_have_the_documented_law() -> None:
    uniforms = np.random.RandomState(0).random_sample((4000, crops.NUMBERS))
    boxes = np.array([crops.random_crop(375, 500, row) for row in uniforms.tolist()])
    areas = boxes[:, 2] * boxes[:, 3] / (375 * 500)
    aspects = boxes[:, 3] / boxes[:, 2]
    assert areas.min() >= 0.1  # smaller ones are drawn again
    assert areas.min() < 0.12
    assert areas.max() > 0.95
    # Uniform heights, so an area below its uniform mean of 0.54.
    assert 0.38 < areas.mean() < 0.48
    assert 0.98 < aspects.mean() < 1.06
    for axis, room in ((0, 375 - boxes[:, 2]), (1, 500 - boxes[:, 3])):
        places = boxes[room > 40, axis] / room[room > 40]
        assert 0.45 < places.mean() < 0.53
        assert (boxes[:, axis] < np.maximum(room, 1)).all()


# Resizing.


def _plain(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    def matrix(size_in: int, size_out: int) -> NDArray[np.float64]:
        centres = (np.arange(size_out) + 0.5) * size_in / size_out - 0.5
        weights = np.array([[cubic(c - place) for place in range(size_in)] for c in centres])
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    rows, columns, _ = image.shape
    return np.einsum(
        "ij,jkc,lk->ilc", matrix(rows, height), image, matrix(columns, width), optimize=True
    )


@given(image=images, height=sides, width=sides, flip=st.booleans())
def test_the_quick_resize_equals_the_documented_one(
    image: NDArray[np.uint8], height: int, width: int, flip: bool
) -> None:
    out = np.empty((height, width, 3), np.float32)
    resize(image, out, flip=flip)
    expected = _plain(image, height, width)
    np.testing.assert_allclose(out, expected[:, ::-1] if flip else expected, atol=2e-3)


@given(size_in=st.integers(1, 3000), size_out=st.integers(1, 300))
def test_weights_sum_to_one_inside_of_the_image(size_in: int, size_out: int) -> None:
    places, weights = taps(size_in, size_out)
    assert places.min() >= 0
    assert places.max() < size_in
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


@given(image=images)
def test_the_same_size_is_the_identity(image: NDArray[np.uint8]) -> None:
    out = np.empty(image.shape, np.float32)
    resize(image[:, ::-1], out, flip=True)  # a view with turned lines
    np.testing.assert_allclose(out, image, atol=1e-4)


# Operations.


@given(image=images, magnitude=magnitudes, uniforms=st.tuples(shares, shares, shares))
def test_operations_keep_shape_type_and_image(
    image: NDArray[np.uint8], magnitude: float, uniforms: tuple[float, float, float]
) -> None:
    before = image.copy()
    for name, operation in randaugment.table(magnitude, min(image.shape[:2])).items():
        made = operation(image, uniforms)
        assert (made.shape, made.dtype) == (image.shape, np.uint8), name
        np.testing.assert_array_equal(image, before, name)


_IDENTITIES: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "rotate": lambda image: operations.rotate(image, 0),
    "shear x": lambda image: operations.shear_x(image, 0),
    "shear y": lambda image: operations.shear_y(image, 0),
    "translate x": lambda image: operations.translate_x(image, 0),
    "translate y": lambda image: operations.translate_y(image, 0),
    "cutout": lambda image: operations.cutout(image, 0, 0, 0),
    "solarize add": lambda image: operations.solarize_add(image, 0),
    "posterize to all bits": lambda image: operations.posterize(image, 8),
    "color": lambda image: operations.color(image, 1),
    "contrast": lambda image: operations.contrast(image, 1),
    "brightness": lambda image: operations.brightness(image, 1),
    "sharpness": lambda image: operations.sharpness(image, 1),
    "twice inverted": lambda image: operations.invert(operations.invert(image)),
    "solarized twice": lambda image: operations.solarize(operations.solarize(image, 256), 256),
}


@given(image=images, name=st.sampled_from(sorted(_IDENTITIES)))
def test_no_magnitude_is_the_identity(image: NDArray[np.uint8], name: str) -> None:
    np.testing.assert_array_equal(_IDENTITIES[name](image), image)


@given(image=images, uniforms=st.tuples(shares, shares, shares))
def test_distances_of_magnitude_zero_are_none(
    image: NDArray[np.uint8], uniforms: tuple[float, float, float]
) -> None:
    table = randaugment.table(0, min(image.shape[:2]))
    for name in ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY", "Cutout", "SolarizeAdd"):
        np.testing.assert_array_equal(table[name](image, uniforms), image, name)


@given(image=images, pixels=st.integers(-45, 45))
def test_translations_move_by_whole_pixels(image: NDArray[np.uint8], pixels: int) -> None:
    height, width, _ = image.shape
    for made, axis, size in (
        (operations.translate_x(image, pixels), 1, width),
        (operations.translate_y(image, pixels), 0, height),
    ):
        expected = np.full_like(image, operations.FILL)
        kept = max(0, size - abs(pixels))
        if kept:
            to = slice(0, kept) if pixels >= 0 else slice(size - kept, size)
            of = slice(size - kept, size) if pixels >= 0 else slice(0, kept)
            index = (slice(None),) * axis
            expected[(*index, to)] = image[(*index, of)]
        np.testing.assert_array_equal(made, expected)


@given(image=images, threshold=st.integers(0, 256))
def test_solarize_holds_its_threshold_in_a_byte(image: NDArray[np.uint8], threshold: int) -> None:
    expected = np.where(image < threshold % 256, image, 255 - image)
    np.testing.assert_array_equal(operations.solarize(image, threshold), expected)


@given(image=images)
def test_equalize_is_the_rule_of_pillow(image: NDArray[np.uint8]) -> None:
    ops = pytest.importorskip("PIL.ImageOps")
    pil = pytest.importorskip("PIL.Image")
    expected = np.array(ops.equalize(pil.fromarray(image)))
    np.testing.assert_array_equal(operations.equalize(image), expected)


@given(image=images)
def test_autocontrast_uses_the_whole_range(image: NDArray[np.uint8]) -> None:
    made = operations.autocontrast(image)
    for channel in range(3):
        before, after = image[..., channel], made[..., channel]
        if before.min() == before.max():
            np.testing.assert_array_equal(after, before)
        else:
            assert (after.min(), after.max()) == (0, 255)


@given(image=images, factor=st.floats(0, 2.75, width=32))
def test_blends_are_the_documented_formula(image: NDArray[np.uint8], factor: float) -> None:
    wide = image.astype(np.float64)
    for made, other in (
        (operations.brightness(image, factor), np.zeros_like(wide)),
        (operations.contrast(image, factor), np.full_like(wide, 196)),
    ):
        expected = np.clip(other + factor * (wide - other), 0, 255)
        # Truncated, and float32 may fall on the other side of a whole number.
        assert np.abs(made - np.trunc(expected)).max() <= 1
        assert (made <= expected + 1e-3).all()


@given(image=images, uniforms=st.lists(shares, min_size=12, max_size=12))
def test_layers_are_applied_one_after_the_other(
    image: NDArray[np.uint8], uniforms: list[float]
) -> None:
    table = list(randaugment.table(10, min(image.shape[:2])).values())
    expected = image
    for layer in range(3):
        choice, *numbers = uniforms[4 * layer : 4 * layer + 4]
        expected = table[int(choice * 16)](expected, numbers)
    made = randaugment.randaugment(image, uniforms, layers=3)
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_array_equal(randaugment.randaugment(image, uniforms, layers=0), image)


# Mixup.


@given(seed=seeds, batch=st.integers(0, 10**6), alpha=st.sampled_from([0.0, 0.1, 0.2, 1.0]))
def test_the_weight_is_a_share_and_a_function_of_the_batch(
    seed: int, batch: int, alpha: float
) -> None:
    share = mixup.weight(seed, batch, alpha)
    assert 0 <= share <= 1
    mixup.weight.cache_clear()
    assert mixup.weight(seed, batch, alpha) == share
    assert alpha > 0 or share == 1


def test_weights_have_the_law_of_the_facts() -> None:
    drawn = np.array([mixup.weight(7, batch) for batch in range(3000)])
    # Beta(0.2, 0.2): mean 1/2, variance 1 / (4 * 1.4), and most of it near both ends.
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.var() == pytest.approx(1 / 5.6, abs=0.01)
    assert len(np.unique(drawn)) > 2900


@given(size=st.integers(1, 20), start=st.integers(0, 100))
def test_partners_are_the_rows_before_in_the_same_batch(size: int, start: int) -> None:
    positions = start * size + np.arange(size)
    expected = start * size + np.roll(np.arange(size), 1)
    np.testing.assert_array_equal(mixup.partners(positions, size), expected)


@given(
    rows=arrays(np.float32, (5, 3), elements=st.floats(-100, 100, width=32)),
    share=st.floats(0, 1),
)
def test_mixing_in_place_is_rolling(rows: NDArray[np.float32], share: float) -> None:
    expected = share * rows + (1 - share) * np.roll(rows, 1, axis=0)
    mixup.mix(rows, rows[-1].copy(), share)
    np.testing.assert_allclose(rows, expected, atol=1e-4)


# Batches.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures.write_tiny_imagenet(
        tmp_path_factory.mktemp("tiny"), train=13, validation=9, test=7, size=20
    )


_VARIED = {
    "resnet": Augmentation(),
    "operations": Augmentation(randaugment_layers=2),
    "mixup": Augmentation(min_area=0.35, randaugment_layers=1, mixup_alpha=0.2),
}


@pytest.fixture(scope="module")
def splits(tiny: Path) -> dict[str, ImagenetSplit]:
    return {
        name: open_split(tiny, "mini", "train", image_size=_SIZE, augmentation=varied)
        for name, varied in _VARIED.items()
    }


def _assert_same(one: Batch, other: Batch) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
        assert one[name].dtype == other[name].dtype


@pytest.mark.clause("DATA-2")
@pytest.mark.clause("DATA-8")
@settings(deadline=None)
@given(
    seed=seeds,
    name=st.sampled_from(sorted(_VARIED)),
    start=st.integers(0, 12),
    workers=st.integers(0, 2),
    threads=st.integers(0, 2),
    parts=st.sampled_from([1, 2, 3, 6]),
    kept=st.sampled_from([None, 0, 5, 13]),
)
def test_the_stream_is_the_same_for_any_workers_parts_resume_point_and_cache(
    tiny: Path,
    splits: dict[str, ImagenetSplit],
    seed: int,
    name: str,
    start: int,
    workers: int,
    threads: int,
    parts: int,
    kept: int | None,
) -> None:
    split = splits[name]
    whole = itertools.islice(
        training_batches(
            len(split),
            split.make(seed, global_batch_size=6),
            data_seed=seed,
            global_batch_size=6,
            workers=0,
        ),
        start,
        start + 3,
    )
    cache = None if kept is None else ImageCache(kept * 20 * 20 * 3)
    other = ImagenetSplit(
        "train",
        split.store,
        image_size=_SIZE,
        num_classes=10,
        augmentation=_VARIED[name],
        cache=cache,
    )
    streams = [
        training_batches(
            len(other),
            other.make(seed, global_batch_size=6, threads=threads),
            data_seed=seed,
            global_batch_size=6,
            part=Part(part, parts),
            start_step=start,
            workers=workers,
        )
        for part in range(parts)
    ]
    for batch in whole:
        made = [next(stream) for stream in streams]
        _assert_same(batch, {key: np.concatenate([one[key] for one in made]) for key in batch})


@settings(deadline=None)
@given(seed=seeds, step=st.integers(0, 5))
def test_mixup_mixes_neighbours_of_the_global_batch(
    splits: dict[str, ImagenetSplit], seed: int, step: int
) -> None:
    mixed, split = splits["mixup"], splits["mixup"]
    plain = ImagenetSplit(
        "train",
        split.store,
        image_size=_SIZE,
        num_classes=10,
        augmentation=Augmentation(min_area=0.35, randaugment_layers=1),
    )
    positions = step * 8 + np.arange(8)
    examples = positions % 13
    one = mixed.make(seed, global_batch_size=8)(examples, positions)
    other = plain.make(seed)(examples, positions)
    share = mixup.weight(seed, step)
    images = np.asarray(other["inputs"], np.float64)
    hot = np.eye(10)[np.asarray(other["targets"])]
    for name, rows in (("inputs", images), ("targets", hot)):
        expected = share * rows + (1 - share) * np.roll(rows, 1, axis=0)
        np.testing.assert_allclose(one[name], expected, atol=1e-5)
        assert one[name].dtype == np.float32
    np.testing.assert_allclose(one["targets"].sum(axis=1), 1, atol=1e-6)


@pytest.mark.clause("DATA-3")
@pytest.mark.clause("DATA-4")
@settings(deadline=None)
@given(
    name=st.sampled_from(["eval_train", "validation", "test"]),
    size=st.integers(1, 9),
    workers=st.integers(0, 2),
)
def test_an_evaluation_covers_every_image_once_in_order(
    tiny: Path, name: str, size: int, workers: int
) -> None:
    split = open_split(tiny, "mini", name, image_size=_SIZE)
    numbers = np.arange(len(split))
    expected = split.make()(numbers, numbers)
    batches = list(
        evaluation_batches(numbers, split.make(), global_batch_size=size, workers=workers)
    )
    used = np.concatenate([batch["weights"] for batch in batches]) == 1
    assert used.sum() == len(split)
    for key in expected:
        together = np.concatenate([batch[key] for batch in batches])
        np.testing.assert_array_equal(together[used], expected[key])
        assert not together[~used].any()
