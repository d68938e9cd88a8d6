"""Small made-up scans in the form of the prepared data, for tests that need no anatomy.

The images are a few bright ellipses with a smooth phase, so a network can learn to remove the
artefacts of the missing columns.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.fastmri.layout import TRAIN_FOLDER, VALIDATION_FOLDER, Layout
from algoperf_ref.data.fastmri.mini import write
from algoperf_ref.data.fastmri.prepare import write_manifest

DESCRIPTION = "Made-up scans for tests."
LICENCE = "Apache-2.0"
MADE_FROM = "made-up scans"
_UNIT = 1e-4
_NOISE = 0.004


def scan(
    slices: int, seed: int = 0, *, rows: int = 64, columns: int = 36, crop: int = 32
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Makes up the k-space and the targets of a volume.

    Args:
      slices: number of slices.
      seed: of the ellipses, the phase and the noise.
      rows, columns: of the k-space.
      crop: height and width of the targets, at most rows and columns.

    Returns:
      complex64 [slices, rows, columns] and float32 [slices, crop, crop].
    """
    random = np.random.RandomState(seed)
    y, x = np.meshgrid(
        (np.arange(rows) - rows // 2) / crop,
        (np.arange(columns) - columns // 2) / crop,
        indexing="ij",
    )
    images = np.zeros((slices, rows, columns))
    for image in images:
        for _ in range(4):
            top, left = random.uniform(-0.25, 0.25, 2)
            height, width = random.uniform(0.06, 0.25, 2)
            inside = ((y - top) / height) ** 2 + ((x - left) / width) ** 2 < 1
            image[inside] += random.uniform(0.2, 1)
    phase = np.exp(1j * (random.normal() + random.normal() * x + random.normal() * y))
    noise = random.normal(size=(2, *images.shape)) * _NOISE
    scene = (images * phase + noise[0] + 1j * noise[1]) * _UNIT
    axes = (1, 2)
    kspace = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(scene, axes=axes), norm="ortho"), axes=axes
    )
    top, left = (rows - crop) // 2, (columns - crop) // 2
    target = np.abs(scene[:, top : top + crop, left : left + crop])
    return kspace.astype(np.complex64), target.astype(np.float32)


def write_scan(path: Path, slices: int, seed: int = 0, **shape: Any) -> None:
    """Writes a made-up volume; the arguments are those of :func:`scan`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, *scan(slices, seed, **shape), "CORPD_FBK")


def write_tiny_fastmri(
    data_dir: str | PathLike[str],
    *,
    train: int = 24,
    validation: int = 8,
    test: int = 8,
    crop: int = 32,
    seed: int = 0,
) -> Path:
    """Writes a small but valid data set in the layout of the mini tier; takes milliseconds.

    Args:
      data_dir: gets `mini/fastmri/...`.
      train, validation, test: number of slices, at least 1.
      crop: height and width of the images; the k-space is twice as high and a little wider.
      seed: of the made-up scans.

    Returns:
      `data_dir`.
    """
    layout = Layout.of(data_dir, "mini")
    shape = {"rows": 2 * crop, "columns": round(crop * 1.15) // 2 * 2, "crop": crop}
    number = 1_000_000

    def volume(folder: str, slices: int) -> None:
        nonlocal number
        path = layout.root / folder / f"file{number}.h5"
        write_scan(path, slices, seed * 10_000 + number % 10_000, **shape)
        number += 1

    for start in range(0, train, 4):
        volume(TRAIN_FOLDER, min(4, train - start))
    # Validation and test volumes take turns, so there are as many of both, or one more of the
    # former.
    pairs = max(1, min(validation, test, (validation + test) // 8))
    for pair in range(pairs):
        for slices in (validation, test):
            share = slices // pairs + (pair < slices % pairs)
            volume(VALIDATION_FOLDER, share)
    write_manifest(layout, MADE_FROM, DESCRIPTION, LICENCE)
    return Path(data_dir)
