"""RandAugment: to every image, two operations drawn from sixteen, always at the same magnitude.

The operations, their order and their values are those of the official JAX pipeline at magnitude 10
of 10; at another magnitude the values are in proportion. Distances in pixels belong to images of
224 pixels and shrink with smaller ones. Source: Workload facts, imagenet_resnet, 5d, and
imagenet_vit, 5.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.imagenet import operations

LAYERS = 2
MAGNITUDE = 10
MAX_MAGNITUDE = 10
FULL_SIZE = 224
NUMBERS_PER_LAYER = 4
"""Random numbers that a layer uses: the operation, its sign, and the place of a cutout."""

Apply = Callable[[NDArray[np.uint8], Sequence[float]], NDArray[np.uint8]]
"""Applies an operation to an image, given the sign's and the place's random numbers."""


def _signed(value: float, uniforms: Sequence[float]) -> float:
    return value if uniforms[0] < 0.5 else -value


@functools.lru_cache(maxsize=16)
def table(magnitude: float, size: int) -> dict[str, Apply]:
    """The operations by name, in the official order.

    Args:
      magnitude: 10 for the benchmark's.
      size: shorter side of the images, in pixels.
    """
    share = magnitude / MAX_MAGNITUDE
    scale = size / FULL_SIZE
    factor = 1.8 * share + 0.1
    pixels, half = round(100 * share * scale), round(40 * share * scale)
    op = operations

    def cutout(image: NDArray[np.uint8], uniforms: Sequence[float]) -> NDArray[np.uint8]:
        height, width, _ = image.shape
        return op.cutout(image, half, int(uniforms[1] * height), int(uniforms[2] * width))

    return {
        "AutoContrast": lambda image, _: op.autocontrast(image),
        "Equalize": lambda image, _: op.equalize(image),
        "Invert": lambda image, _: op.invert(image),
        "Rotate": lambda image, u: op.rotate(image, _signed(30 * share, u)),
        "Posterize": lambda image, _: op.posterize(image, int(4 * share)),
        "Solarize": lambda image, _: op.solarize(image, int(256 * share)),
        "Color": lambda image, _: op.color(image, factor),
        "Contrast": lambda image, _: op.contrast(image, factor),
        "Brightness": lambda image, _: op.brightness(image, factor),
        "Sharpness": lambda image, _: op.sharpness(image, factor),
        "ShearX": lambda image, u: op.shear_x(image, _signed(0.3 * share, u)),
        "ShearY": lambda image, u: op.shear_y(image, _signed(0.3 * share, u)),
        "TranslateX": lambda image, u: op.translate_x(image, int(_signed(pixels, u))),
        "TranslateY": lambda image, u: op.translate_y(image, int(_signed(pixels, u))),
        "Cutout": cutout,
        "SolarizeAdd": lambda image, _: op.solarize_add(image, int(110 * share)),
    }


def randaugment(
    image: NDArray[np.uint8],
    uniforms: Sequence[float],
    *,
    layers: int = LAYERS,
    magnitude: float = MAGNITUDE,
) -> NDArray[np.uint8]:
    """Applies operations drawn with equal chances, one after the other.

    Args:
      image: uint8 [height, width, 3].
      uniforms: at least ``layers * NUMBERS_PER_LAYER`` random numbers, at least 0 and below 1.
      layers: number of operations.
      magnitude: of all of them.

    Returns:
      uint8 [height, width, 3].
    """
    choices = list(table(magnitude, min(image.shape[:2])).values())
    for start in range(0, layers * NUMBERS_PER_LAYER, NUMBERS_PER_LAYER):
        numbers = uniforms[start : start + NUMBERS_PER_LAYER]
        image = choices[int(numbers[0] * len(choices))](image, numbers[1:])
    return image
