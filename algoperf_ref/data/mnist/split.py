"""Splits of digits, and making rows of batches from them."""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Make
from algoperf_ref.data.mnist.files import COUNTS, Layout, read
from algoperf_ref.errors import MissingDataError

MEAN, STD = np.float32(0.1307), np.float32(0.3081)
"""Taken from, and divided by, values on the scale 0 to 255, as in the official pipelines, although
they are those of the scale 0 to 1. Source: Workload facts, dev_workloads."""
SPLITS = ("train", "eval_train", "validation", "test")


class MnistSplit:
    """The digits of a split, in the order of the files, all in memory.

    Attributes:
      name: of the split.
      images: uint8 [digits, 28, 28].
      labels: int32 [digits].
    """

    def __init__(self, name: str, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        self.name = name
        self.images = images
        self.labels = labels.astype(np.int32)

    def __len__(self) -> int:
        """Number of digits."""
        return len(self.labels)

    def make(self, data_seed: int = 0) -> Make:
        """Returns what makes rows of batches; nothing about a digit is random.

        Returns:
          A function of the numbers of n examples (and of their positions, which play no part). It
          returns ``inputs``, float32 [n, 28, 28, 1], and ``targets``, int32 [n].
        """

        def make(examples: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
            inputs = self.images[examples][..., None].astype(np.float32)
            inputs -= MEAN
            inputs /= STD
            return {"inputs": inputs, "targets": self.labels[examples]}

        return make


def open_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
) -> MnistSplit:
    """Opens a split.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: ``full`` or ``mini``.
      split: ``train``, ``eval_train`` (the same digits), ``validation`` or ``test``.
      expected_examples: number of digits that the split must have; None: any.

    Raises:
      MissingDataError: the split is absent, or has another number of digits.
      UserError: a file is damaged.
      ValueError: no such tier or split.
    """
    layout = Layout.of(data_dir, tier)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, expected one of {SPLITS}")
    images, labels = read(layout, "t10k" if split == "test" else "train")
    if split != "test":
        # The first files hold the training digits and then the validation digits.
        end = max(0, len(labels) - COUNTS[layout.tier]["validation"])
        part = slice(end, None) if split == "validation" else slice(0, end)
        images, labels = images[part], labels[part]
    opened = MnistSplit(split, images, labels)
    if expected_examples is not None and len(opened) != expected_examples:
        raise MissingDataError(
            f"{layout.root} has {len(opened):,} {split} digits, but the {layout.tier} tier has "
            f"{expected_examples:,}; prepare it with: {layout.prepare_command()}"
        )
    return opened
