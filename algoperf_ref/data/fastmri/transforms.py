"""From the k-space of a slice to the network's input and target.

The documented way is: mask the k-space, shift, inverse Fourier transform in two dimensions
(orthonormal), shift back, crop the centre, take magnitudes, normalise by the mean and the standard
deviation of the result, clip. Source: Workload facts, fastmri, 5. What is computed here is the same
but for rounding, and skips what the result does not depend on:

- columns that the mask drops stay zero in the transform along the rows' axis, so only the kept
  ones are transformed;
- rows outside the crop are not transformed along the columns' axis;
- the shift before a transform only turns the phase of its result, which the magnitude loses;
- the shift after it, with the crop, is a choice of rows and columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLIP = np.float32(6)
"""Inputs and targets are clipped to at most this many standard deviations."""


class ConstantSlice(ValueError):
    """A slice whose standard deviation is zero or not finite, so that it cannot be normalised."""


class Statistics(NamedTuple):
    """Of the magnitudes of a masked slice, before they are normalised.

    Attributes:
      mean: their mean.
      std: their population standard deviation.
    """

    mean: np.float32
    std: np.float32


def _crop_of_shifted(size: int, crop: int) -> list[tuple[slice, slice]]:
    """Where a centre crop of a shifted axis lies in the axis that is not shifted.

    Returns:
      Pairs of (places in the crop, places in the axis), one or two of them.
    """
    start = ((size - crop) // 2 + (size + 1) // 2) % size
    before = min(crop, size - start)
    parts = [(slice(0, before), slice(start, start + before))]
    if before < crop:
        parts.append((slice(before, crop), slice(0, crop - before)))
    return parts


def magnitudes(
    kspace: NDArray[np.complex64], mask: NDArray[np.bool_], out: NDArray[np.float32]
) -> None:
    """Computes the magnitude image of a masked slice.

    Args:
      kspace: complex64 [rows, columns].
      mask: kept columns, bool [columns].
      out: takes the centre crop of the image, float32 [height, width], no larger than the k-space.
    """
    rows, columns = kspace.shape
    height, width = out.shape
    kept = np.flatnonzero(mask)
    along_rows = np.fft.ifft(kspace.take(kept, axis=1), axis=0, norm="ortho")
    cropped = np.zeros((height, columns), np.complex64)
    for to, of in _crop_of_shifted(rows, height):
        cropped[to, kept] = along_rows[of]
    image = np.fft.ifft(cropped, axis=1, norm="ortho")
    for to, of in _crop_of_shifted(columns, width):
        np.abs(image[:, of], out=out[:, to])


def transform(
    kspace: NDArray[np.complex64],
    target: NDArray[np.float32],
    mask: NDArray[np.bool_],
    out_input: NDArray[np.float32],
    out_target: NDArray[np.float32],
) -> Statistics:
    """Makes the input and the target of the network.

    Args:
      kspace: complex64 [rows, columns].
      target: the image from the whole k-space, float32 [height, width].
      mask: kept columns, bool [columns].
      out_input: takes the normalised input, float32 [height, width].
      out_target: takes the target, normalised with the same statistics; may be ``target``.

    Returns:
      The mean and the standard deviation.

    Raises:
      ConstantSlice: there is nothing to normalise by. (The official pipeline makes NaN of it.)
    """
    with np.errstate(invalid="ignore", over="ignore"):  # ends in an error of its own
        magnitudes(kspace, mask, out_input)
        mean = out_input.mean()
        # In two passes, as a difference of squares would lose digits.
        np.subtract(out_input, mean, out=out_input)
        std = np.sqrt(np.square(out_input).mean())
    if not (np.isfinite(std) and std > 0):
        raise ConstantSlice(f"its standard deviation is {std}")
    np.subtract(target, mean, out=out_target)
    for image in (out_input, out_target):
        np.divide(image, std, out=image)
        np.clip(image, -CLIP, CLIP, out=image)
    return Statistics(mean, std)
