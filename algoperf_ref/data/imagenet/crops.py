"""Which part of an image is used: a random one for training, the centre for evaluation.

The random part has the law of TensorFlow's ``sample_distorted_bounding_box`` with the whole image
as the one object: an aspect ratio is drawn uniformly, then a height uniformly from those whole
numbers whose area is allowed, then the place; a part that covers too little of the image is drawn
again. Source: Workload facts, imagenet_resnet, 1 and 5a.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

ASPECT_RANGE = (3 / 4, 4 / 3)
"""Width by height of a random crop."""
AREA_RANGE = (0.08, 1.0)
"""Share of the image that a random crop covers, before :data:`MIN_COVERED`."""
MIN_COVERED = 0.1
"""Crops that cover less of the image are drawn again: small ones are rarer than the range says."""
ATTEMPTS = 10
NUMBERS_PER_ATTEMPT = 4
NUMBERS = ATTEMPTS * NUMBERS_PER_ATTEMPT
"""Random numbers that :func:`random_crop` may need."""

EVALUATION_SHARE = 224 / 256
"""Of the shorter side, the side of the square that an evaluation looks at."""


class Box(NamedTuple):
    """A part of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


def central_crop(height: int, width: int) -> Box:
    """The square in the centre that evaluations use."""
    side = max(1, int(EVALUATION_SHARE * min(height, width)))
    return Box((height - side + 1) // 2, (width - side + 1) // 2, side, side)


def random_crop(
    height: int,
    width: int,
    uniforms: Sequence[float],
    min_area: float = AREA_RANGE[0],
) -> Box:
    """Draws the part of a training image.

    Args:
      height, width: of the image.
      uniforms: :data:`NUMBERS` random numbers, at least 0 and below 1.
      min_area: least share of the image, at most 1.

    Returns:
      A part of at least ``min_area`` and :data:`MIN_COVERED` of the image. If no attempt succeeds,
      or the part is the whole image: that of :func:`central_crop`, as in the official pipeline.
    """
    for start in range(0, NUMBERS, NUMBERS_PER_ATTEMPT):
        box = _attempt(height, width, uniforms[start : start + NUMBERS_PER_ATTEMPT], min_area)
        if box is not None:
            whole = (box.height, box.width) == (height, width)
            return central_crop(height, width) if whole else box
    return central_crop(height, width)


def _attempt(height: int, width: int, uniforms: Sequence[float], min_area: float) -> Box | None:
    low, high = ASPECT_RANGE
    aspect = low + (high - low) * uniforms[0]
    whole = height * width
    smallest, largest = min_area * whole, AREA_RANGE[1] * whole
    # round() is to even at halves, like the official kernel's.
    least = round(math.sqrt(smallest / aspect))
    most = round(math.sqrt(largest / aspect))
    if round(most * aspect) > width:
        most = int((width + 0.5 - 1e-7) / aspect)
        most -= round(most * aspect) > width
    most = min(most, height)
    least = min(least, most)
    tall = least + int(uniforms[1] * (most - least + 1))
    wide = round(tall * aspect)
    # One pixel more or less, where only rounding broke the limits.
    if tall * wide < smallest:
        tall += 1
        wide = round(tall * aspect)
    if tall * wide > largest:
        tall -= 1
        wide = round(tall * aspect)
    if not (smallest <= tall * wide <= largest and 0 < wide <= width and 0 < tall <= height):
        return None
    if tall * wide < MIN_COVERED * whole:
        return None
    # The last place is never drawn, as in the official kernel: it counts places from 0 to one less
    # than the room that is left.
    return Box(int(uniforms[2] * (height - tall)), int(uniforms[3] * (width - wide)), tall, wide)
