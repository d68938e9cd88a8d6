"""The operations of RandAugment on images uint8 [height, width, 3]; each returns a new image.

They compute what the official JAX pipeline computes, sums of pixels of a test image included.
Source: Workload facts, imagenet_resnet, 5d.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

FILL = 128
"""Grey of what lies outside of a moved image, and of what is cut out."""

_GREY = np.array([0.2989, 0.5870, 0.1140], np.float32)
_LEVELS = np.arange(256)
_CONTRAST_PIVOT = 196
_SHARPNESS_CENTRE, _SHARPNESS_SUM = 4, 13  # the centre counts 1 + 4 of 13


def autocontrast(image: Image) -> Image:
    """Stretches every channel to 0 .. 255; a channel of one value stays as it is."""
    # Over the rows first: numpy is slow where the last axis, of three, is all that stays.
    low, high = image.min(axis=0).min(axis=0).astype(int), image.max(axis=0).max(axis=0).astype(int)
    tables = [
        _LEVELS if lo >= hi else np.clip((_LEVELS - lo) * 255 // (hi - lo), 0, 255)
        for lo, hi in zip(low, high, strict=True)
    ]
    return _by_channel(image, tables)


def equalize(image: Image) -> Image:
    """Spreads the values of every channel evenly, by Pillow's rule."""
    tables = []
    for channel in range(3):
        counts = np.bincount(image[..., channel].reshape(-1), minlength=256)
        used = counts[counts > 0]
        step = int(counts.sum() - used[-1]) // 255
        if step == 0:
            tables.append(_LEVELS)
            continue
        spread = (np.cumsum(counts) + step // 2) // step
        tables.append(np.clip(np.concatenate([[0], spread[:-1]]), 0, 255))
    return _by_channel(image, tables)


def _by_channel(image: Image, tables: list[NDArray[np.int64]]) -> Image:
    out = np.empty_like(image)
    for channel, table in enumerate(tables):
        out[..., channel] = table.astype(np.uint8).take(image[..., channel])
    return out


def _by_table(image: Image, table: NDArray[np.integer]) -> Image:
    return table.astype(np.uint8).take(image)


def invert(image: Image) -> Image:
    return 255 - image


def posterize(image: Image, bits: int) -> Image:
    """Keeps the upper bits: 8 is the identity, 0 is black."""
    return image & np.uint8(256 - (1 << (8 - bits)))


def solarize(image: Image, threshold: int) -> Image:
    """Inverts what is at or above a threshold, which the official JAX pipeline holds in one byte.

    Its threshold of 256 at full magnitude therefore is 0, and the operation is the same as
    :func:`invert`; in the official PyTorch pipeline it is the identity. Ours follows JAX, with
    which the targets were set (decisions 1 and 19).

    Args:
      image: uint8 [height, width, 3].
      threshold: is reduced modulo 256.
    """
    return _by_table(image, np.where(threshold % 256 > _LEVELS, _LEVELS, 255 - _LEVELS))


def solarize_add(image: Image, addition: int) -> Image:
    """Adds to what is below 128."""
    return _by_table(image, np.where(_LEVELS < 128, np.minimum(_LEVELS + addition, 255), _LEVELS))


def _blend(first: NDArray[np.float32], image: Image, factor: float) -> Image:
    """first + factor * (image - first), clipped and truncated; ``first`` is used up."""
    between = image - first
    between *= np.float32(factor)
    between += first
    return np.clip(between, 0, 255, out=between).astype(np.uint8)


def color(image: Image, factor: float) -> Image:
    """Away from grey: 0 is grey, 1 the identity, 2 twice the distance."""
    grey = image.astype(np.float32) @ _GREY
    # As TensorFlow converts to 0 .. 1 and back to whole numbers.
    grey = np.minimum(grey * np.float32(255.5 / 255), 255).astype(np.uint8).astype(np.float32)
    return _blend(np.broadcast_to(grey[..., None], image.shape), image, factor)


def contrast(image: Image, factor: float) -> Image:
    """Away from the grey level 196: 0 is that grey, 1 the identity.

    The official JAX pipeline means the mean grey of the image, but averages the counts of its
    histogram: 224 * 224 / 256 = 196 for every image. Ours keeps that level (decisions 1 and 19), at
    every image size; the official PyTorch pipeline uses the mean grey.
    """
    return _pointwise_blend(image, _CONTRAST_PIVOT, factor)


def brightness(image: Image, factor: float) -> Image:
    """Away from black: 0 is black, 1 the identity."""
    return _pointwise_blend(image, 0, factor)


def _pointwise_blend(image: Image, level: int, factor: float) -> Image:
    levels = _LEVELS.astype(np.uint8)
    return _blend(np.full(256, level, np.float32), levels, factor).take(image)


def sharpness(image: Image, factor: float) -> Image:
    """Away from a smoothed image: 0 is smoothed, 1 the identity. The border keeps its pixels."""
    height, width, _ = image.shape
    if min(height, width) < 3:
        return image.copy()
    wide = image.astype(np.uint16)
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    total += _SHARPNESS_CENTRE * wide[1:-1, 1:-1]
    smooth = image.astype(np.float32)
    smooth[1:-1, 1:-1] = total // _SHARPNESS_SUM
    return _blend(smooth, image, factor)


def cutout(image: Image, half: int, row: int, column: int) -> Image:
    """Fills a square of ``2 * half`` pixels around a place, as far as it lies in the image."""
    out = image.copy()
    out[max(0, row - half) : row + half, max(0, column - half) : column + half] = FILL
    return out


def rotate(image: Image, degrees: float) -> Image:
    """Turns about the centre, to the nearest pixel."""
    return _moved(image, *_rotation(image.shape[0], image.shape[1], degrees))


def shear_x(image: Image, level: float) -> Image:
    """Row y shows what lay ``level * y`` to the right."""
    return _moved(image, *_affine(image.shape[0], image.shape[1], (1, level, 0), (0, 1, 0)))


def shear_y(image: Image, level: float) -> Image:
    """Column x shows what lay ``level * x`` below."""
    return _moved(image, *_affine(image.shape[0], image.shape[1], (1, 0, 0), (level, 1, 0)))


def translate_x(image: Image, pixels: int) -> Image:
    """Shows what lay ``pixels`` to the right."""
    return _moved(image, *_affine(image.shape[0], image.shape[1], (1, 0, pixels), (0, 1, 0)))


def translate_y(image: Image, pixels: int) -> Image:
    """Shows what lay ``pixels`` below."""
    return _moved(image, *_affine(image.shape[0], image.shape[1], (1, 0, 0), (0, 1, pixels)))


def _moved(image: Image, places: NDArray[np.int64], outside: NDArray[np.int64]) -> Image:
    pixels = image.reshape(-1, 3).take(places, axis=0)
    pixels[outside] = FILL
    return pixels.reshape(image.shape)


def _rotation(
    height: int, width: int, degrees: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    return _affine(
        height,
        width,
        (cos, -sin, x - (cos * x - sin * y)),
        (sin, cos, y - (sin * x + cos * y)),
    )


# A run has ten such maps: five operations, each in two directions, at one size and magnitude.
@functools.lru_cache(maxsize=64)
def _affine(
    height: int,
    width: int,
    for_x: tuple[float, float, float],
    for_y: tuple[float, float, float],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where every output pixel comes from: flat places, and the outputs that come from outside."""
    y, x = np.mgrid[:height, :width]
    from_x, from_y = (_nearest(np.array(row, np.float32), x, y) for row in (for_x, for_y))
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    places = np.where(inside, from_y * width + from_x, 0).reshape(-1)
    return places, np.flatnonzero(~inside)


def _nearest(
    row: NDArray[np.float32], x: NDArray[np.int64], y: NDArray[np.int64]
) -> NDArray[np.int64]:
    # In float32 at every step, as in the official kernel: a shear of 0.3 by 5 is a tie there.
    places = row[0] * x.astype(np.float32) + row[1] * y.astype(np.float32) + row[2]
    # Halves away from zero: -0.5 lies outside of the image.
    return np.asarray(np.trunc(places + np.copysign(0.5, places)), np.int64)
