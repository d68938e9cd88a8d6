"""Splits of slices, and making rows of batches from them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Make
from algoperf_ref.data.fastmri import index
from algoperf_ref.data.fastmri.cache import FinishedSlice, SliceCache
from algoperf_ref.data.fastmri.layout import SPLIT_FOLDERS, Layout
from algoperf_ref.data.fastmri.masks import evaluation_mask, training_masks
from algoperf_ref.data.fastmri.transforms import ConstantSlice, transform
from algoperf_ref.data.fastmri.volumes import Scratch, UnusableVolume, Volume, read_slice
from algoperf_ref.errors import MissingDataError, UserError
from spec.data_order import EVAL_TRAIN_SEED

_NO_SEED = -1  # of the evaluation splits, whose masks do not depend on one


class FastmriSplit:
    """The slices of a split: file after file in sorted order, slice after slice.

    Attributes:
      name: ``train``, ``eval_train``, ``validation`` or ``test``.
      root: directory of the tier.
      volumes: the files.
      image_shape: (height, width) of inputs and targets.
    """

    def __init__(
        self, name: str, root: Path, volumes: Sequence[Volume], cache: SliceCache | None = None
    ) -> None:
        """
        Args:
          name: of the split.
          root: directory of the tier.
          volumes: the files in order, at least one.
          cache: keeps finished slices; None keeps none.

        Raises:
          UserError: the files have targets of different shapes.
        """
        self.name = name
        self.root = root
        self.volumes = tuple(volumes)
        first = self.volumes[0]
        self.image_shape = (first.height, first.width)
        for volume in self.volumes:
            if (volume.height, volume.width) != self.image_shape:
                raise UnusableVolume(
                    f"{root / volume.name} has targets of {volume.height} x {volume.width}, but "
                    f"those of {first.name} are {first.height} x {first.width}"
                )
        self._cache = cache
        self._scratch = Scratch()
        self._starts = np.concatenate(
            [[0], np.cumsum([volume.slices for volume in self.volumes], dtype=np.int64)]
        )

    def __len__(self) -> int:
        """Number of slices."""
        return int(self._starts[-1])

    def locate(self, example: int) -> tuple[Volume, int]:
        """The file of an example, and the number of the slice in it.

        Raises:
          IndexError: there is no such example.
        """
        if not 0 <= example < len(self):
            raise IndexError(f"example {example} of {len(self)}")
        number = int(np.searchsorted(self._starts, example, side="right")) - 1
        return self.volumes[number], int(example - self._starts[number])

    def make(self, data_seed: int = 0) -> Make:
        """Returns what makes rows of batches; any number of threads may use it at once.

        Args:
          data_seed: of the run, for the masks of the split ``train``. The masks of ``eval_train``
            have a seed of their own (``spec.data_order.EVAL_TRAIN_SEED``), and those of
            ``validation`` and ``test`` are all the same, as in the official pipeline.

        Returns:
          A function of the numbers of n examples (and of their positions, which play no part). It
          returns ``inputs`` and ``targets``, float32 [n, height, width], normalised; and ``mean``,
          ``std`` and ``volume_max``, float32 [n], in the units of the scanner. It raises
          :class:`~algoperf_ref.data.fastmri.volumes.UnusableVolume` for a file that cannot be read
          and for a slice that cannot be normalised, by name.
        """
        seed = {"train": data_seed, "eval_train": EVAL_TRAIN_SEED}.get(self.name, _NO_SEED)

        def make(examples: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
            return self._rows(np.asarray(examples, np.int64), seed)

        return make

    def _rows(self, examples: NDArray[np.int64], seed: int) -> Batch:
        images = (len(examples), *self.image_shape)
        inputs, targets = np.empty(images, np.float32), np.empty(images, np.float32)
        mean, std, volume_max = np.empty((3, len(examples)), np.float32)
        missing = []
        for row, example in enumerate(examples.tolist()):
            volume, _ = self.locate(example)
            volume_max[row] = volume.volume_max
            kept = self._cache.get(self.name, seed, example) if self._cache else None
            if kept is None:
                missing.append(row)
            else:
                inputs[row], targets[row], mean[row], std[row] = kept
        for row, mask in zip(missing, self._masks(examples[missing], seed), strict=True):
            mean[row], std[row] = self._compute(int(examples[row]), mask, inputs[row], targets[row])
            if self._cache:
                finished = FinishedSlice(inputs[row], targets[row], mean[row], std[row])
                self._cache.put(self.name, seed, int(examples[row]), finished)
        return {
            "inputs": inputs,
            "targets": targets,
            "mean": mean,
            "std": std,
            "volume_max": volume_max,
        }

    def _masks(self, examples: NDArray[np.int64], seed: int) -> list[NDArray[np.bool_]]:
        widths = [self.locate(example)[0].columns for example in examples.tolist()]
        if seed == _NO_SEED:
            return [evaluation_mask(width) for width in widths]
        return training_masks(seed, examples, np.array(widths, np.int64))

    def _compute(
        self,
        example: int,
        mask: NDArray[np.bool_],
        out_input: NDArray[np.float32],
        out_target: NDArray[np.float32],
    ) -> tuple[np.float32, np.float32]:
        volume, number = self.locate(example)
        kspace, target = read_slice(self.root, volume, number, self._scratch)
        try:
            return transform(kspace, target, mask, out_input, out_target)
        except ConstantSlice as error:
            raise UnusableVolume(
                f"{self.root / volume.name}: slice {number} cannot be normalised, {error}; check "
                "the data with: python -m algoperf_ref.data verify fastmri"
            ) from error


def open_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
    cache: SliceCache | None = None,
) -> FastmriSplit:
    """Opens a split.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: ``full`` or ``mini``.
      split: ``train``, ``eval_train`` (the same slices with masks of their own), ``validation`` or
        ``test``.
      expected_examples: number of slices that the split must have; None: any. For ``eval_train``,
        that of the training split.
      cache: keeps finished slices, also those of other splits; None keeps none.

    Raises:
      MissingDataError: the split is absent, or has another number of slices.
      UserError: a file of it is unusable; the message names it.
      ValueError: no such tier or split.
    """
    layout = Layout.of(data_dir, tier)
    if split not in SPLIT_FOLDERS:
        raise ValueError(f"unknown split {split!r}, expected one of {tuple(SPLIT_FOLDERS)}")
    folder = SPLIT_FOLDERS[split]
    files = layout.of_split(split, index.refresh(layout, [folder])[folder])
    if not files:
        raise layout.missing(folder, split)
    unusable = [one for one in files if isinstance(one, UnusableVolume)]
    if unusable:
        more = f" (and {len(unusable) - 1} more)" if len(unusable) > 1 else ""
        raise UserError(f"{unusable[0]}{more}; get it again, or delete it and prepare again")
    volumes = [one for one in files if isinstance(one, Volume)]
    opened = FastmriSplit(split, layout.root, volumes, cache)
    if expected_examples is not None and len(opened) != expected_examples:
        raise MissingDataError(
            f"{layout.root / folder} has {len(opened)} {split} slices in {len(volumes)} files, but "
            f"the {layout.tier} tier has {expected_examples}; prepare it with: "
            f"{layout.prepare_command()}"
        )
    return opened
