"""The plain way to make training images: Pillow from the file to the array, one after the other.

This is what a straightforward input pipeline does. It draws crops, flips and operations with the
same chances as ours, but resizes with Pillow's bicubic filter, which is faster where an image
shrinks by little and looks at more pixels where it shrinks by much.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageOps

SIZE = 224
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_GREY = (128, 128, 128)


def crop(image: Image.Image, draws: random.Random) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random part."""
    for _ in range(10):
        area = image.width * image.height * draws.uniform(0.1, 1)
        aspect = draws.uniform(3 / 4, 4 / 3)
        width, height = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if width <= image.width and height <= image.height:
            left = draws.randint(0, image.width - width)
            top = draws.randint(0, image.height - height)
            return left, top, left + width, top + height
    return 0, 0, image.width, image.height


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=_GREY
    )


def _cutout(image: Image.Image, draws: random.Random) -> Image.Image:
    x, y = draws.randrange(SIZE), draws.randrange(SIZE)
    ImageDraw.Draw(image).rectangle((x - 40, y - 40, x + 39, y + 39), fill=_GREY)
    return image


_OPERATIONS: list[Callable[[Image.Image, random.Random], Image.Image]] = [
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, _: ImageOps.invert(image),
    lambda image, draws: image.rotate(draws.choice((30, -30)), fillcolor=_GREY),
    lambda image, _: ImageOps.posterize(image, 4),
    lambda image, _: ImageOps.solarize(image, 0),
    lambda image, _: ImageEnhance.Color(image).enhance(1.9),
    lambda image, _: ImageEnhance.Contrast(image).enhance(1.9),
    lambda image, _: ImageEnhance.Brightness(image).enhance(1.9),
    lambda image, _: ImageEnhance.Sharpness(image).enhance(1.9),
    lambda image, draws: _affine(image, 1, draws.choice((0.3, -0.3)), 0, 0, 1, 0),
    lambda image, draws: _affine(image, 1, 0, 0, draws.choice((0.3, -0.3)), 1, 0),
    lambda image, draws: _affine(image, 1, 0, draws.choice((100, -100)), 0, 1, 0),
    lambda image, draws: _affine(image, 1, 0, 0, 0, 1, draws.choice((100, -100))),
    _cutout,
    lambda image, _: ImageChops.add(image, image.point(lambda value: 110 if value < 128 else 0)),
]


def one(path: Path, draws: random.Random, layers: int) -> NDArray[np.float32]:
    """A finished image, float32 [224, 224, 3]."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image = image.crop(crop(image, draws)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    if draws.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for _ in range(layers):
        image = draws.choice(_OPERATIONS)(image, draws)
    pixels = np.asarray(image, np.float32) / np.float32(255)
    return np.asarray((pixels - _MEAN) / _STD, np.float32)


def batches(
    paths: Iterable[Path], size: int, *, layers: int = 0, seed: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Stacks finished images; a rest that fills no batch is dropped."""
    draws = random.Random(seed)
    waiting = []
    for path in paths:
        waiting.append(one(path, draws, layers))
        if len(waiting) == size:
            yield np.stack(waiting)
            waiting = []
