"""Bicubic resizing without antialiasing, as the official JAX pipeline resizes (decision 1).

Pixel centres lie at half integers. An output pixel is the sum of the 4 x 4 input pixels around its
place, weighted by the Keys cubic with a = -0.5; pixels outside of the image are dropped and the
other weights divided by their sum. Nothing is clipped. Source: Workload facts, imagenet_resnet, 5.
(TensorFlow rounds the weights to a table of 1,024 places; here they are exact, which changes a
pixel by at most 0.2 of 255.)
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_A = -0.5
_TAPS = np.arange(-1, 3)
_PIXEL = np.dtype("V12")  # the three float32 channels of a pixel, moved as one


class Taps(NamedTuple):
    """What the pixels along one axis are made of.

    Attributes:
      places: input pixels of every output pixel, int64 [out, 4], inside of the image.
      weights: float32 [out, 4]; 0 for what lies outside.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.float32]


@functools.lru_cache(maxsize=2048)
def taps(size_in: int, size_out: int) -> Taps:
    """Returns the places and weights along an axis, read-only."""
    centres = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    first = np.floor(centres)
    places = first.astype(np.int64)[:, None] + _TAPS
    distance = np.abs(centres[:, None] - places)
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    inside = (places >= 0) & (places < size_in)
    weights = np.where(distance <= 1, near, far) * inside
    made = Taps(
        np.clip(places, 0, size_in - 1),
        (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32),
    )
    for array in made:
        array.flags.writeable = False
    return made


def resize(
    image: NDArray[np.uint8],
    out: NDArray[np.float32],
    *,
    flip: bool = False,
) -> None:
    """Resizes an image; threads may do so at once, since numpy releases the interpreter lock.

    Args:
      image: uint8 [rows, columns, 3].
      out: takes the result on the scale 0 to 255, not clipped; float32 [height, width, 3], in one
        piece.
      flip: whether to mirror the result, left for right.
    """
    height, width, _ = out.shape
    rows, columns, _ = image.shape
    vertical, horizontal = taps(rows, height), taps(columns, width)
    if flip:
        horizontal = Taps(horizontal.places[::-1], horizontal.weights[::-1])
    # Matrix products of [1, 4] with [4, many] are what numpy does quickest here, and for the second
    # axis the image is turned, so that its pixels lie side by side too.
    lines = np.ascontiguousarray(image).reshape(rows, -1).take(vertical.places, axis=0)
    short = np.matmul(vertical.weights[:, None, :], lines.astype(np.float32))
    turned = np.ascontiguousarray(_pixels(short.reshape(height, columns, 3)).T)
    strips = turned.view(np.float32).reshape(columns, -1).take(horizontal.places, axis=0)
    small = np.matmul(horizontal.weights[:, None, :], strips)
    _pixels(out)[...] = _pixels(small.reshape(width, height, 3)).T


def _pixels(image: NDArray[np.float32]) -> NDArray[np.void]:
    return image.view(_PIXEL)[..., 0]
