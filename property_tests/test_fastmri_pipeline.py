"""Scans for every input: masks, the quick transform beside a plain one, the stream of batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from algoperf_ref.data import philox
from algoperf_ref.data.batches import Batch, Part, evaluation_batches, training_batches
from algoperf_ref.data.fastmri import masks
from algoperf_ref.data.fastmri.cache import SliceCache
from algoperf_ref.data.fastmri.split import FastmriSplit, open_split
from algoperf_ref.data.fastmri.transforms import magnitudes, transform
from conformance_tests.support import scans

seeds = st.integers(0, 2**64)
words = st.integers(-(2**63), 2**63 - 1)
widths = st.integers(13, 700)
_SLICE_BYTES = 2 * 4 * 16 * 16


@given(first=words, second=words, count=st.integers(0, 50), more=st.integers(0, 20))
def test_random_numbers_are_a_function_of_the_seed_and_the_place(
    first: int, second: int, count: int, more: int
) -> None:
    pair = (first, second)
    numbers = philox.stateless_uniform(pair, count + more)
    assert numbers.shape == (count + more,)
    assert np.all((numbers >= 0) & (numbers < 1))
    np.testing.assert_array_equal(philox.stateless_uniform(pair, count), numbers[:count])
    many = philox.stateless_uniform([[second, first], pair], count)
    np.testing.assert_array_equal(many[1], numbers[:count])
    # Bits count, not signs.
    unsigned = np.array(pair, np.int64).view(np.uint64)
    np.testing.assert_array_equal(philox.stateless_uniform(unsigned, count), numbers[:count])


@given(first=words, second=words, data=st.lists(words, min_size=1, max_size=5))
def test_folding_in_keeps_the_number_and_hides_the_seed(
    first: int, second: int, data: list[int]
) -> None:
    folded = philox.fold_in((first, second), data)
    assert folded[:, 1].tolist() == data
    assert len(set(folded[:, 0].tolist())) == 1
    low, high = philox.stateless_words((first, second), 2).tolist()
    assert int(folded[0, 0]) % 2**64 == low + (high << 32)


@pytest.mark.parametrize("wrong", [(1, 2, 3), 5, (0.5, 1.0)])
def test_a_seed_is_a_pair_of_integers(wrong: object) -> None:
    with pytest.raises(ValueError, match="a seed is a pair of integers"):
        philox.stateless_uniform(wrong, 4)  # type: ignore[arg-type]


@given(seed=words, width=widths)
def test_a_mask_keeps_the_centre_and_about_a_quarter(seed: int, width: int) -> None:
    uniforms = philox.stateless_uniform((seed, 0), width)
    mask = masks.column_mask(uniforms)
    low, start = masks.num_low_frequencies(width), masks.center_start(width)
    assert low == int(np.float32(0.08) * np.float32(width))
    assert mask[start : start + low].all()
    # In the middle, but for half a column.
    assert abs(start - (width - start - low)) <= 1
    outside = np.ones(width, bool)
    outside[start : start + low] = False
    np.testing.assert_array_equal(mask[outside], uniforms[outside] < masks.random_share(width))
    kept, expected = np.count_nonzero(mask), width / masks.ACCELERATION
    assert low <= kept
    assert abs(kept - expected) <= 6 * np.sqrt(expected)


@given(
    data_seed=seeds,
    examples=st.lists(st.integers(0, 40_000), max_size=6),
    some_widths=st.lists(widths, min_size=6, max_size=6),
)
def test_a_training_mask_does_not_depend_on_the_others_of_its_batch(
    data_seed: int, examples: list[int], some_widths: list[int]
) -> None:
    wide = np.array(some_widths[: len(examples)], np.int64)
    numbers = np.array(examples, np.int64)
    together = masks.training_masks(data_seed, numbers, wide)
    assert [len(mask) for mask in together] == wide.tolist()
    for row, mask in enumerate(together):
        (alone,) = masks.training_masks(data_seed, numbers[row : row + 1], wide[row : row + 1])
        np.testing.assert_array_equal(mask, alone)


def _plain(
    kspace: NDArray[np.complex64], mask: NDArray[np.bool_], crop: Sequence[int]
) -> NDArray[np.float64]:
    """The documented way, in double precision and with nothing left out."""
    shifted = np.fft.ifftshift(np.where(mask, kspace, 0).astype(np.complex128))
    image = np.fft.fftshift(np.fft.ifft2(shifted)) * np.sqrt(kspace.size)
    top, left = ((size - part) // 2 for size, part in zip(kspace.shape, crop, strict=True))
    return np.abs(image)[top : top + crop[0], left : left + crop[1]]


@given(data=st.data(), rows=st.integers(2, 70), columns=st.integers(2, 70), seed=seeds)
def test_the_quick_transform_equals_the_documented_one(
    data: st.DataObject, rows: int, columns: int, seed: int
) -> None:
    crop = (data.draw(st.integers(1, rows)), data.draw(st.integers(2, columns)))
    random = np.random.RandomState(seed % 2**32)
    kspace = (random.randn(rows, columns) + 1j * random.randn(rows, columns)).astype(np.complex64)
    mask = random.random_sample(columns) < 0.4
    mask[random.randint(columns)] = True
    expected = _plain(kspace, mask, crop)
    found = np.empty(crop, np.float32)
    magnitudes(kspace, mask, found)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(expected.max(), 1))
    if expected.std() < 1e-2 * expected.mean():
        return  # dividing by next to nothing shows the rounding
    target = random.random_sample(crop).astype(np.float32)
    inputs, targets = np.empty((2, *crop), np.float32)
    mean, std = transform(kspace, target, mask, inputs, targets)
    assert mean == pytest.approx(expected.mean(), rel=1e-5)
    assert std == pytest.approx(expected.std(), rel=1e-4)
    for made, image in ((inputs, expected), (targets, target)):
        wanted = np.clip((image - expected.mean()) / expected.std(), -6, 6)
        np.testing.assert_allclose(made, wanted, atol=2e-3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scans.write_tiny_fastmri(
        tmp_path_factory.mktemp("tiny"), train=13, validation=5, test=4, crop=16
    )


@pytest.fixture(scope="module")
def train(tiny: Path) -> FastmriSplit:
    return open_split(tiny, "mini", "train")


def _assert_same(one: Batch, other: Batch) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
        assert one[name].dtype == other[name].dtype


@pytest.mark.clause("DATA-2")
@pytest.mark.clause("DATA-8")
@given(
    seed=seeds,
    start=st.integers(0, 12),
    workers=st.integers(0, 3),
    parts=st.sampled_from([1, 2, 3, 6]),
    kept=st.sampled_from([None, 0, 5, 13]),
)
def test_the_stream_is_the_same_for_any_workers_parts_resume_point_and_cache(
    tiny: Path,
    train: FastmriSplit,
    seed: int,
    start: int,
    workers: int,
    parts: int,
    kept: int | None,
) -> None:
    whole = itertools.islice(
        training_batches(
            len(train), train.make(seed), data_seed=seed, global_batch_size=6, workers=0
        ),
        start,
        start + 3,
    )
    cache = None if kept is None else SliceCache(kept * _SLICE_BYTES)
    cached = open_split(tiny, "mini", "train", cache=cache)
    streams = [
        training_batches(
            len(cached),
            cached.make(seed),
            data_seed=seed,
            global_batch_size=6,
            part=Part(part, parts),
            start_step=start,
            workers=workers,
        )
        for part in range(parts)
    ]
    for batch in whole:
        shares = [next(stream) for stream in streams]
        _assert_same(
            batch, {name: np.concatenate([share[name] for share in shares]) for name in batch}
        )


@pytest.mark.clause("DATA-3")
@pytest.mark.clause("DATA-4")
@given(
    name=st.sampled_from(["eval_train", "validation", "test"]),
    size=st.integers(1, 9),
    workers=st.integers(0, 2),
)
def test_an_evaluation_covers_every_slice_once_in_order(
    tiny: Path, name: str, size: int, workers: int
) -> None:
    split = open_split(tiny, "mini", name)
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
