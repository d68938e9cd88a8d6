"""Small made-up pictures in the form of the prepared images, for tests that need no photographs.

Every class has a colour and a direction of its stripes, so a network can learn to tell them apart.
"""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.imagenet.layout import FOLDERS, Layout
from algoperf_ref.data.imagenet.mini import CLASSES
from algoperf_ref.data.imagenet.prepare import write_manifest

DESCRIPTION = "Made-up pictures for tests."
LICENCE = "Apache-2.0"
MADE_FROM = "made-up pictures"


def picture(label: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Makes up a picture of a class.

    Args:
      label: 0 to 9.
      height, width: in pixels.
      seed: of the stripes' places and the noise.

    Returns:
      uint8 [height, width, 3].
    """
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = np.pi * label / 10
    stripes = np.sin(12 * (np.cos(angle) * x + np.sin(angle) * y) + random.uniform(0, 2 * np.pi))
    colour = 0.5 + 0.4 * np.cos(2 * np.pi * (label / 10 + np.array([0, 1, 2]) / 3))
    scene = 255 * colour * (0.7 + 0.3 * stripes[..., None])
    noise = random.normal(0, 4, (height, width, 3))
    return np.clip(scene + noise, 0, 255).astype(np.uint8)


def jpeg(pixels: NDArray[np.uint8], quality: int = 90) -> bytes:
    """A JPEG file of a picture, uint8 [height, width, 3]."""
    import simplejpeg  # type: ignore[import-untyped]

    data: bytes = simplejpeg.encode_jpeg(pixels, quality=quality, colorsubsampling="420")
    return data


def path_of(part: str, number: int, label: int, content: bytes) -> Path:
    """Where an image of a part lies in the tier's directory, in the form of the real names."""
    wnid = CLASSES[label]
    if part == "train":
        return FOLDERS[part] / wnid / f"{wnid}_{number}.JPEG"
    if part == "validation":
        return FOLDERS[part] / wnid / f"ILSVRC2012_val_{number + 1:08d}.JPEG"
    name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return FOLDERS[part] / str(label) / f"{name}.jpeg"


def write_images(
    root: Path,
    counts: dict[str, int],
    *,
    size: int | tuple[int, int] = 64,
    seed: int = 0,
    quality: int = 90,
) -> None:
    """Writes image folders; the classes take turns, so that every one is there from ten images on.

    Args:
      root: directory of the tier.
      counts: images of every part.
      size: of the pictures, one number or height and width.
      seed: of the pictures.
      quality: of the JPEG files.
    """
    height, width = (size, size) if isinstance(size, int) else size
    for place, (part, count) in enumerate(counts.items()):
        for number in range(count):
            # 7 has no divisor in common with 10: the order of names is not that of labels.
            label = 7 * number % 10
            drawn = picture(label, height, width, seed * 100_000 + place * 10_000 + number)
            content = jpeg(drawn, quality)
            path = root / path_of(part, number, label, content)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def write_tiny_imagenet(
    data_dir: str | PathLike[str],
    *,
    train: int = 24,
    validation: int = 10,
    test: int = 10,
    size: int = 64,
    seed: int = 0,
) -> Path:
    """Writes a small but valid data set in the layout of the mini tier; takes milliseconds.

    Args:
      data_dir: gets `mini/imagenet/...`.
      train, validation, test: number of images. Classes are numbered by the folders of the training
        images, so these must show all that the others show: at least 10, or as many as those.
      size: height and width of the images.
      seed: of the made-up pictures.

    Returns:
      `data_dir`.
    """
    layout = Layout.of(data_dir, "mini")
    counts = {"train": train, "validation": validation, "test": test}
    write_images(layout.root, counts, size=size, seed=seed)
    write_manifest(layout, MADE_FROM, DESCRIPTION, LICENCE, {})
    return Path(data_dir)
