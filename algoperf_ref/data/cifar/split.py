"""Splits of CIFAR-10, and making rows of batches from them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Make
from algoperf_ref.data.cifar import files
from algoperf_ref.data.philox import fold_in, stateless_uniform
from algoperf_ref.errors import MissingDataError

COUNTS: Mapping[str, int] = {"train": 45_000, "validation": 5_000, "test": 10_000}
"""Images of every split; validation images are the last of the training files. Source: Workload
facts, dev_workloads."""
MEAN = np.array([0.49139968, 0.48215827, 0.44653124], np.float32)
STD = np.array([0.24703233, 0.24348505, 0.26158768], np.float32)
"""Of the channels, on the scale 0 to 1."""
PADDING = 4
"""Pixels that a training image grows by before it is cropped again: half of them on each side, as
in the official JAX pipeline (decision 1). The PyTorch pipeline adds as many on each side."""
SPLITS = ("train", "eval_train", "validation", "test")

# Told apart from other uses of the data seed: the letters "cifa".
_PURPOSE = 0x63696661


class CifarSplit:
    """The images of a split, in the order of the files, all in memory.

    Attributes:
      name: of the split.
      images: uint8 [images, 32, 32, 3].
      labels: int32 [images].
    """

    def __init__(self, name: str, images: NDArray[np.uint8], labels: NDArray[np.int32]) -> None:
        self.name = name
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def make(self, data_seed: int = 0) -> Make:
        """Returns what makes rows of batches.

        Args:
          data_seed: of the run. The place of a training image's crop and its flip are a pure
            function of it and of the image's position in the stream; the other splits have
            neither.

        Returns:
          A function of the numbers of n examples and of their positions. It returns ``inputs``,
          float32 [n, 32, 32, 3], and ``targets``, int32 [n].
        """
        random = self.name == "train"
        seed = np.random.SeedSequence([data_seed, _PURPOSE]).generate_state(2, np.uint64)

        def make(examples: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
            images = self.images[examples]
            if random:
                images = vary(images, stateless_uniform(fold_in(seed, positions), 3))
            inputs = images.astype(np.float32)
            inputs /= np.float32(255)
            inputs -= MEAN
            inputs /= STD
            return {"inputs": inputs, "targets": self.labels[examples]}

        return make


def vary(images: NDArray[np.uint8], uniforms: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Moves images by up to two pixels in each direction, black coming in, and flips half of them.

    Args:
      images: uint8 [n, height, width, 3].
      uniforms: random numbers, at least 0 and below 1, float32 [n, 3].

    Returns:
      uint8 [n, height, width, 3].
    """
    edge = PADDING // 2
    padded = np.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    rows, columns = (np.arange(size) for size in images.shape[1:3])
    top, left = (uniforms[:, :2] * np.float32(PADDING + 1)).astype(np.int64).T
    columns = np.where(uniforms[:, 2:] < 0.5, columns[::-1], columns) + left[:, None]
    numbers = np.arange(len(images))[:, None, None]
    return np.asarray(padded[numbers, (top[:, None] + rows)[:, :, None], columns[:, None, :]])


def open_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
) -> CifarSplit:
    """Opens a split.

    Args:
      data_dir: directory of all data sets.
      tier: ``full``.
      split: ``train``, ``eval_train`` (the same images, not varied), ``validation`` or ``test``.
      expected_examples: number of images that the split must have; None: any.

    Raises:
      MissingDataError: the data are absent, or the split has another number of images.
      UserError: a file is damaged, or there is no such tier of these data.
      ValueError: no such tier or split.
    """
    files.check_tier(tier)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, expected one of {SPLITS}")
    place = files.find(data_dir)
    if place is None:
        raise files.missing(data_dir)
    images, labels = files.read(place, files.TEST_FILES if split == "test" else files.TRAIN_FILES)
    if split != "test":
        end = max(0, len(labels) - COUNTS["validation"])
        part = slice(end, None) if split == "validation" else slice(0, end)
        images, labels = images[part], labels[part]
    opened = CifarSplit(split, images, labels)
    if expected_examples is not None and len(opened) != expected_examples:
        raise MissingDataError(
            f"{place} has {len(opened):,} {split} images, but there should be "
            f"{expected_examples:,}; download {files.ARCHIVE} again"
        )
    return opened
